"""The terminal's table and the words of results.json, from grades made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grader.checks.verdict import Verdict
from grader.grade import Grade, grade
from grader.report.results_json import results, write_results
from grader.report.terminal import summary_lines
from grader.rubric import load_rubric

REASON = "the training DataLoader does not shuffle: shuffle=True is missing"


def verdict(check: str, outcome: str, credit: float = 0.0, reason: str = "", evidence: str = "trace") -> Verdict:
    fields = {"item": "lab1.c", "check": check, "sentence": "A sentence.", "evidence": evidence}
    return Verdict.model_validate({**fields, "outcome": outcome, "credit": credit, "reason": reason})


@pytest.fixture
def graded() -> Grade:
    verdicts = [
        verdict("course_dataset", "passed", 1.0),
        verdict("training_loader", "failed", 0.0, REASON),
        verdict("validation_loader", "could_not_check", 0.0, "the grader met an error of its own (KeyError)"),
    ]
    return grade(load_rubric(), verdicts)


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_no_line_of_the_table_is_wider_than_the_terminal(graded: Grade, width: int) -> None:
    lines = summary_lines(graded, Path("out"), width, colour=False)
    assert max(map(len, lines)) <= width
    assert any(line.startswith("lab1.c") for line in lines)
    assert REASON in " ".join(" ".join(line[24:].split()) for line in lines).replace("- ", "-")[:10_000] or width < 80


def test_colours_only_where_the_terminal_has_them(graded: Grade) -> None:
    assert "\x1b[" in "".join(summary_lines(graded, Path("out"), 80, colour=True))
    assert "\x1b[" not in "".join(summary_lines(graded, Path("out"), 80, colour=False))


def test_a_long_path_stays_whole(graded: Grade) -> None:
    out = Path("/a/long/way/to/the/results/of/one/submission/among/many/hundreds")
    assert f"Results: {out}/results.json" in summary_lines(graded, out, 40, colour=False)


def test_points_are_awarded_lost_or_open(graded: Grade) -> None:
    test = next(test for test in results(graded, {})["tests"] if test["number"] == "lab1.c")
    assert (test["score"], test["extra_data"]["lost"], test["extra_data"]["open"]) == (0.67, 0.66, 0.67)
    assert test["status"] == "failed"
    assert test["extra_data"]["needs_review"] is True
    assert [check["needs_review"] for check in test["extra_data"]["checks"]] == [False, False, True]


def test_the_output_holds_the_assignments_words_and_each_reason(graded: Grade) -> None:
    test = next(test for test in results(graded, {})["tests"] if test["number"] == "lab1.c")
    assert "imported from tools.dataset" in test["output"]
    assert f"[--] A sentence.: {REASON}" in test["output"]
    assert "[ok] A sentence." in test["output"]


def test_findings_are_shown_with_the_check(graded: Grade) -> None:
    found = {"accuracy": 0.88081, "interval": [0.8743, 0.887], "recall": [0.5, None], "text": "word " * 100}
    passed = verdict("course_dataset", "passed", 1.0).model_copy(update={"found": found})
    document = grade(load_rubric(), [passed])
    output = next(test["output"] for test in results(document, {})["tests"] if test["number"] == "lab1.c")
    assert "accuracy: 0.8808" in output
    assert "interval: 0.8743, 0.887" in output
    assert "recall: 0.5, None" in output
    assert max(map(len, output.splitlines())) < 400
    lines = summary_lines(document, Path("out"), 80, colour=False)
    assert "Held-out accuracy: 0.8808 (95 % interval 0.8743 to 0.8870)" in lines


def test_a_flag_costs_nothing_and_asks_for_a_person(graded: Grade) -> None:
    claim = "cell 5 says lr=0.1, but every step was taken with lr=0.01"
    flagged = verdict("course_dataset", "passed", 1.0).model_copy(update={"flags": (claim,)})
    document = grade(load_rubric(), [flagged, *graded.items[12].verdicts[1:]])
    test = next(test for test in results(document, {})["tests"] if test["number"] == "lab1.c")
    assert (test["score"], test["extra_data"]["needs_review"]) == (0.67, True)
    assert test["extra_data"]["checks"][0]["needs_review"] is True
    assert f"for a person to judge: {claim}" in test["output"]
    assert claim in " ".join(" ".join(summary_lines(document, Path("out"), 300, colour=False)).split())


def test_the_total_is_shown_only_where_every_item_is(graded: Grade) -> None:
    assert "points" not in results(graded, {})["output"]  # part 1 is held back until grades are published
    shown = tuple(item.model_copy(update={"visibility": "visible"}) for item in graded.items)
    document = results(graded.model_copy(update={"items": shown}), {"device": "cpu"})
    assert document["score"] == 0.67
    assert document["extra_data"]["device"] == "cpu"
    assert document["output"].startswith("0.67 of 100 points by machine")
    assert f"{graded.open:g} points wait for a person" in document["output"]


def test_answers_and_held_out_accuracy_are_shown_after_publication() -> None:
    held_back = {name for name, item in load_rubric().items.items() if item.visibility != "visible"}
    assert held_back == {*(f"part1.{k}" for k in range(1, 11)), "lab3.b"}


def test_an_item_is_passed_or_failed_only_once_it_is_decided(graded: Grade) -> None:
    status = {test["number"]: test.get("status") for test in results(graded, {})["tests"]}
    assert status["lab1.c"] == "failed"
    assert status["lab1.d"] is None


def test_results_are_written_whole(graded: Grade, tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    write_results(path, graded, {})
    assert json.loads(path.read_text())["score"] == 0.67
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
