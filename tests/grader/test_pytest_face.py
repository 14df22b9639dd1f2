"""`pytest grader` end to end: real notebooks in real kernels, on the embedded data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from fixtures import submissions

ROOT = Path(__file__).resolve().parents[2]
# Points of DESIGN.md: ten questions of 3, three labs, 10 of them bonus.
ITEMS = {
    "part1.1": 3,
    "part1.2": 3,
    "part1.3": 3,
    "part1.4": 3,
    "part1.5": 3,
    "part1.6": 3,
    "part1.7": 3,
    "part1.8": 3,
    "part1.9": 3,
    "part1.10": 3,
    "lab1.a": 2,
    "lab1.b": 2,
    "lab1.c": 2,
    "lab1.d": 2,
    "lab1.e": 2,
    "lab1.f": 2,
    "lab1.g": 3,
    "lab1.h": 4,
    "lab2.a": 6,
    "lab2.b.bn": 5,
    "lab2.b.lr": 5,
    "lab2.b.swish": 5,
    "lab2.c.lr": 7,
    "lab2.c.l2": 7,
    "lab2.c.l1": 6,
    "lab3.a": 8,
    "lab3.b": 12,
}


def grade(out: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run `pytest grader` as a user would, and read results.json."""
    command = [sys.executable, "-m", "pytest", "grader", "-p", "no:cacheprovider", "--out", str(out), *options]
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    results = out / "results.json"
    return done, json.loads(results.read_text()) if results.is_file() else {}


def by_item(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {test["number"]: test for test in results["tests"]}


def lost(results: dict[str, Any]) -> dict[str, float]:
    return {test["number"]: test["extra_data"]["lost"] for test in results["tests"] if test["extra_data"]["lost"]}


Graded = tuple[subprocess.CompletedProcess[str], dict[str, Any]]


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    return grade(tmp_path_factory.mktemp("complete"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    folder = submissions.make("template", tmp_path_factory.mktemp("template") / "submission")
    return grade(folder.parent / "out", "--submission", str(folder))


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    folder = submissions.make("half_done", tmp_path_factory.mktemp("half") / "submission")
    return grade(folder.parent / "out", "--submission", str(folder))


# -- the complete submission -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_options_the_sample_submission_loses_nothing(complete: Graded) -> None:
    done, results = complete
    assert done.returncode == 0, done.stdout
    assert lost(results) == {}
    assert results["score"] + results["extra_data"]["open"] >= 100


@pytest.mark.slow
def test_only_prose_is_open_in_the_sample_submission(complete: Graded) -> None:
    _, results = complete
    waiting = [c for t in results["tests"] for c in t["extra_data"]["checks"] if c["outcome"] == "could_not_check"]
    assert {check["evidence"] for check in waiting} == {"person"}
    assert all(check["found"]["text"] and check["found"]["where"] for check in waiting)


@pytest.mark.slow
def test_results_are_in_gradescopes_schema(complete: Graded) -> None:
    _, results = complete
    tests = by_item(results)
    assert {number: test["max_score"] for number, test in tests.items()} == ITEMS
    for test in tests.values():
        assert 0 <= test["score"] <= test["max_score"]
        undecided = test["extra_data"]["open"] and not test["extra_data"]["lost"]
        assert test.get("status") == (None if undecided else "failed" if test["extra_data"]["lost"] else "passed")
        assert test["visibility"] in ("hidden", "after_due_date", "after_published", "visible")
        assert test["name"]
        assert test["output"]
        extra = test["extra_data"]
        assert test["score"] + extra["lost"] + extra["open"] == pytest.approx(test["max_score"])
    assert results["score"] == pytest.approx(min(100, sum(test["score"] for test in tests.values())))
    assert results["output_format"] == "text"


@pytest.mark.slow
def test_every_check_names_its_evidence_and_reads_as_a_sentence(complete: Graded) -> None:
    _, results = complete
    checks = [check for test in results["tests"] for check in test["extra_data"]["checks"]]
    assert {check["evidence"] for check in checks} == {"challenge", "trace", "record", "file", "person"}
    assert all(len(check["sentence"]) > 20 and check["sentence"].endswith(".") for check in checks)


@pytest.mark.slow
def test_the_terminal_shows_a_table_by_item_and_no_traceback(complete: Graded) -> None:
    done, _ = complete
    assert "Traceback" not in done.stdout + done.stderr
    for item in ITEMS:
        assert any(line.startswith(item + " ") for line in done.stdout.splitlines()), item
    assert "results.json" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "out" not in line) <= 100


@pytest.mark.slow
def test_the_same_submission_graded_twice_gives_the_same_results(complete: Graded, tmp_path: Path) -> None:
    _, first = complete
    _, second = grade(tmp_path)
    assert second == first


# -- the untouched template, and a submission between the two --------------------------------------------------------


@pytest.mark.slow
def test_the_untouched_template_gets_only_what_was_given(template: Graded) -> None:
    done, results = template
    assert done.returncode == 1
    # SimpleNN stands in the template, so the check of its architecture passes; nothing else was given.
    passed = {(t["number"], c["check"]) for t in results["tests"] for c in t["extra_data"]["checks"] if c["credit"] > 0}
    assert passed == {("lab1.a", "architecture")}
    assert results["extra_data"]["open"] == 0


@pytest.mark.slow
def test_every_lost_point_has_a_reason(template: Graded, half_done: Graded) -> None:
    for _, results in (template, half_done):
        for test in results["tests"]:
            failed = [check for check in test["extra_data"]["checks"] if check["outcome"] == "failed"]
            assert bool(failed) == (test["extra_data"]["lost"] > 0), test["number"]
            assert all(len(check["reason"]) > 20 for check in failed)
            assert all(check["reason"] in test["output"] for check in failed)


@pytest.mark.slow
def test_a_half_done_submission_lies_between(complete: Graded, template: Graded, half_done: Graded) -> None:
    low, middle, high = (results["score"] for _, results in (template, half_done, complete))
    assert low + 10 < middle < high - 10
    lost_items = lost(half_done[1])
    assert {"lab3.a", "lab3.b", "part1.6", "part1.10"} <= lost_items.keys()
    assert not {item for item in lost_items if item.startswith("lab1")}
    assert not lost_items.keys() & {"part1.1", "part1.5"}


# -- broken notebooks ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """Lab 1 has a cell that raises at its end, Lab 2 is no JSON, Lab 3's kernel dies before training."""
    folder = submissions.make("complete", tmp_path_factory.mktemp("broken") / "submission")
    lab1 = nbformat.read(folder / "simplenn-cifar10.ipynb", as_version=4)
    lab1.cells.append(new_code_cell("raise RuntimeError('a last thought')"))
    nbformat.write(lab1, folder / "simplenn-cifar10.ipynb")
    (folder / "simplenn-cifar10-dev.ipynb").write_text('{"cells": [')
    lab3 = nbformat.read(folder / "resnet-cifar10.ipynb", as_version=4)
    training = next(i for i, cell in enumerate(lab3.cells) if cell.cell_type == "code" and "EPOCHS =" in cell.source)
    lab3.cells.insert(training, new_code_cell("import os; os._exit(1)"))
    nbformat.write(lab3, folder / "resnet-cifar10.ipynb")
    return grade(folder.parent / "out", "--submission", str(folder))


@pytest.mark.slow
def test_a_cell_that_raises_costs_nothing_by_itself(broken: Graded) -> None:
    assert not [item for item in lost(broken[1]) if item.startswith("lab1")]


@pytest.mark.slow
def test_broken_json_is_named_with_its_place(broken: Graded) -> None:
    items = by_item(broken[1])
    for item in (name for name in ITEMS if name.startswith("lab2")):
        assert "simplenn-cifar10-dev.ipynb" in items[item]["output"]
        assert "JSON (line 1, column" in items[item]["output"]
        assert items[item]["score"] == 0


@pytest.mark.slow
def test_a_kernel_that_dies_costs_only_what_comes_after(broken: Graded) -> None:
    items = by_item(broken[1])
    assert items["lab3.a"]["extra_data"]["lost"] == 0
    trained = next(check for check in items["lab3.b"]["extra_data"]["checks"] if check["check"] == "trained")
    assert trained["outcome"] == "could_not_check"  # a machine short of memory kills kernels too: a person looks
    assert "the kernel left with exit code 1 while this cell ran" in trained["reason"]


# -- the call itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--submission", "nowhere"], "*--submission nowhere: there is no such file or folder*"),
        (["--data", "nowhere"], "*--data nowhere: there is no such file or folder*"),
        (["--labels", "nowhere.csv"], "*--labels nowhere.csv: there is no such file or folder*"),
        (["--device", "tpu"], "*argument --device: invalid choice: 'tpu'*"),
        (["--out", "a-file"], "*--out a-file is a file; it must be a folder*"),
        (["--cell-timeout", "-1"], "*--cell-timeout -1: expected a number above 0*"),
        (["--data", "data", "--labels", "heldout.csv"], "*--labels belong to other course data than --data*"),
    ],
)
def test_a_wrong_call_is_one_sentence(pytester: pytest.Pytester, options: list[str], message: str) -> None:
    pytester.path.joinpath("a-file").write_text("")
    pytester.path.joinpath("heldout.csv").write_text("")
    pytester.path.joinpath("heldout.manifest.json").write_text('{"files": {"train-images-batch.npy": "1"}}')
    pytester.mkdir("data").joinpath("manifest.json").write_text('{"files": {"train-images-batch.npy": "2"}}')
    result = pytester.runpytest_subprocess(str(ROOT / "grader"), *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert "Traceback" not in result.stderr.str()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        ("archive.zip", ["--submission", "archive.zip"], "*is not a notebook; --submission takes the folder*"),
        ("data/", ["--submission", ".", "--data", "data"], "*train-images-batch.npy is missing*"),
        ("labels.csv", ["--submission", ".", "--labels", "labels.csv"], "*held-out labels: labels.csv*"),
        ("x", ["--submission", ".", "--out", "/proc/results"], "*--out /proc/results: nothing can be written there*"),
    ],
)
def test_wrong_files_are_one_sentence(pytester: pytest.Pytester, make: str, options: list[str], message: str) -> None:
    path = pytester.path / make
    path.mkdir() if make.endswith("/") else path.write_text("x")
    result = pytester.runpytest_subprocess(str(ROOT / "grader"), *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([message])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_an_error_of_the_graders_own_costs_no_point_and_is_not_hidden(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(breaks="import grader.pipeline\ndef gather_evidence(options):\n    {}['no such key']\n"
                               "grader.pipeline.gather_evidence = gather_evidence\n")  # fmt: skip
    result = pytester.runpytest_subprocess(str(ROOT / "grader"), "-p", "breaks", "--submission", ".")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(["The grader met errors of its own; no point was lost to them. Details: *"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert "KeyError: 'no such key'" in (pytester.path / "out" / "grader-errors.log").read_text()
    results = json.loads((pytester.path / "out" / "results.json").read_text())
    assert lost(results) == {}


def test_without_a_sample_submission_it_asks_for_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(handed_out="import sys\nsys.modules['fixtures.submissions'] = None\n")
    result = pytester.runpytest_subprocess(str(ROOT / "grader"), "-p", "handed_out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*there is no sample submission here; say what to grade: --submission FOLDER*"])


def test_the_help_lists_every_option(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(str(ROOT / "grader"), "--help")
    for option in ("--submission", "--data", "--labels", "--device", "--out", "--cell-timeout", "--notebook-timeout"):
        result.stdout.fnmatch_lines([f"*{option}*"])
