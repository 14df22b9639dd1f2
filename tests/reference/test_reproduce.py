"""`python -m reference`: all results, going on after a kill, and one row again."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from fixtures import embedded
from reference import __main__, experiment, lab3, reproduce, training
from reference.experiment import Plan, Setting, jobs, total_cost, train_job
from reference.models import ResNet20, SimpleNN
from reference.speed import has_bfloat16
from reference.summary import summary
from reference.training import Recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The course's layout with 200 training and 100 validation images, the 10,000 test rows, and heldout.csv."""
    root = tmp_path_factory.mktemp("course")
    (root / "data").mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 200), ("val", 100)):
        labels = rng.permutation(np.arange(count, dtype=np.uint8) % 10)
        np.save(root / "data" / f"{split}-images-batch.npy", embedded.draw(labels, rng))
        np.save(root / "data" / f"{split}-labels-batch.npy", labels)
    few = embedded.draw(np.arange(10, dtype=np.uint8), rng)
    np.save(root / "data" / "test-images-batch.npy", np.tile(few, (1000, 1, 1, 1)))
    rows = "".join(f"{number},{number % 10}\n" for number in range(10_000))
    (root / "heldout.csv").write_text("Id,Label\n" + rows)
    return root


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def arguments_of(course: Path, out: Path, labs: Sequence[str], *more: str) -> list[str]:
    small = ["--epochs", "2", "--resnet-epochs", "1", "--compare", "1", "--seeds", "2", "--device", "cpu"]
    return ["all", "--data", str(course / "data"), "--out", str(out), "--labs", *labs, *small, *more]


def record(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on standard error."""
    (line,) = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.slow
def test_all_writes_records_plots_predictions_their_score_and_text(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "kept" / "results"
    more = ["--heldout", str(course / "heldout.csv"), "--results", str(results)]
    assert __main__.main(arguments_of(course, tmp_path / "out", ["lab1", "lab3"], *more)) == 0
    names = {"lab1.json", "lab1.png", "lab3.json", "lab3.png", "part1.json", "heldout.json", "README.md"}
    assert {path.name for path in results.iterdir()} == names | {"predictions.csv", "resnet20.safetensors"}
    assert (tmp_path / "kept" / "ANSWERS.md").is_file()
    assert record(results / "lab1.json")["command"].startswith("python -m reference all --data")
    assert record(results / "lab1.json")["epochs"] == 2
    heldout = record(results / "heldout.json")
    lines = (results / "predictions.csv").read_text().splitlines()[1:]
    assert heldout["n"] == 10_000
    assert heldout["correct"] == sum(int(line.split(",")[1]) == number % 10 for number, line in enumerate(lines))
    net = ResNet20()
    net.load_state_dict(load_file(results / "resnet20.safetensors"))
    images = torch.from_numpy(np.load(course / "data" / "test-images-batch.npy")[:10])
    recipe = Recipe(**record(results / "lab3.json")["runs"]["resnet20"]["recipe"])
    assert training.predict(net, images, recipe).tolist() == [int(line.split(",")[1]) for line in lines[:10]]
    assert "README.md" in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_results_of_an_undisturbed_one(course: Path, tmp_path: Path) -> None:
    arguments = [*arguments_of(course, tmp_path / "killed", ["lab1"]), "--epochs", "40"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "reference", *arguments], cwd=ROOT, env=environment)
    while not (tmp_path / "killed" / "lab1" / "plain-seed0.state").is_file():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((tmp_path / "killed" / "results").iterdir()) == []
    assert __main__.main(arguments) == 0
    whole = [*arguments_of(course, tmp_path / "whole", ["lab1"]), "--epochs", "40"]
    assert __main__.main(whole) == 0
    runs = [record(tmp_path / name / "results" / "lab1.json")["runs"] for name in ("killed", "whole")]
    for plans in runs:
        for plan in plans.values():
            for seed in plan["seeds"]:
                del seed["seconds"]
    assert runs[0] == runs[1]


def test_a_run_with_other_options_in_the_same_folder_is_refused(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main(arguments_of(course, tmp_path, ["lab1"])) == 0
    assert __main__.main([*arguments_of(course, tmp_path, ["lab1"]), "--epochs", "3"]) == 2
    assert "plain-seed0.state: expected the state of a run with epochs=3, found epochs=2" in error_of(capsys)


def test_labels_that_cannot_be_read_are_told_before_anything_is_trained(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = arguments_of(course, tmp_path / "out", ["lab1"], "--heldout", str(tmp_path / "absent.csv"))
    assert __main__.main(arguments) == 2
    assert "absent.csv" in error_of(capsys)
    assert not (tmp_path / "out").exists()


# One row again


def kept(tmp_path: Path, values: dict[str, Any], run: str = "constant") -> Path:
    """A folder of results whose lab1.json has one row with these figures."""
    row = {"recipe": {"epochs": 1, "batch_size": 64}, "best_val_accuracy": values, "seeds": []}
    (tmp_path / "lab1.json").write_text(json.dumps({"epochs": 1, "runs": {run: row}}))
    return tmp_path


@pytest.mark.parametrize(
    ("values", "reproduced", "text"),
    [
        ([0.48, 0.50, 0.52], True, "0.5390, in the record 0.5000 ± 0.0200 (n = 3): 1.9 standard deviations away"),
        ([0.48, 0.50, 0.52], True, "after 3 seeds one more value in twenty lies beyond 5.0"),
        ([0.482, 0.50, 0.518], False, "2.2 standard deviations away"),
        ([0.99], True, "in the record 0.9900 (no deviation to compare with)"),
    ],
)
def test_a_row_is_reproduced_within_two_standard_deviations(values: list[float], reproduced: bool, text: str) -> None:
    console = Console(file=io.StringIO(), soft_wrap=True)
    assert reproduce.compare_row("constant", 0.539, summary(values), console) is reproduced
    assert text in console.file.getvalue()  # type: ignore[attr-defined]


def test_repeat_trains_the_row_with_the_recipe_of_the_record(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = kept(tmp_path, {"mean": 0.99, "std": 0.001, "n": 3, "values": [0.989, 0.99, 0.991]})
    arguments = ["repeat", "lab1", "constant", "--data", str(course / "data"), "--device", "cpu"]
    assert __main__.main([*arguments, "--results", str(results)]) == 1
    found = re.search(r"constant: (0\.\d{4}), in the record 0\.9900 ± 0\.0010", capsys.readouterr().out)
    assert found is not None
    splits = training.load_splits(course / "data")
    recipe = Recipe(epochs=1, batch_size=64, seed=100, bfloat16=has_bfloat16(torch.device("cpu")))
    expected = training.train(training.seeded(SimpleNN, 100), splits, recipe, device="cpu").best_val_accuracy
    assert float(found[1]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected a JSON object, found list"),
        ("{}", "expected a record with 'runs'"),
        ('{"runs": {"constant": {}}}', "expected a record with 'recipe'"),
        ('{"runs": {"constant": {"recipe": {"colour": 1}}}}', "unexpected keyword argument 'colour'"),
    ],
)
def test_a_record_that_cannot_be_used_is_one_sentence(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lab1.json").write_text(text)
    assert __main__.main(["repeat", "lab1", "constant", "--results", str(tmp_path)]) == 2
    error = error_of(capsys)
    assert "lab1.json" in error
    assert message in error


def test_a_row_that_no_lab_plans_any_more_is_one_sentence(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = kept(tmp_path, {"mean": 0.5, "std": 0.1, "n": 3, "values": [0.4, 0.5, 0.6]}, run="older")
    arguments = ["repeat", "lab1", "older", "--data", str(course / "data"), "--results", str(results)]
    assert __main__.main(arguments) == 2
    assert "older: expected a run that lab1 plans" in error_of(capsys)


def test_a_results_folder_that_is_a_file_is_told_before_anything_is_trained(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    arguments = arguments_of(course, tmp_path / "out", ["lab1"], "--results", str(tmp_path / "file"))
    assert __main__.main(arguments) == 2
    assert "file" in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_the_state_of_another_net_is_one_sentence(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(course / "data"), "--epochs", "1", "--out", str(tmp_path), "--device", "cpu"]
    assert lab3.main(arguments) == 0
    assert lab3.main([*arguments, "--option", "B", "--resume"]) == 2
    assert "resnet20-seed0.state: expected the state of ResNet20, found another" in error_of(capsys)


def test_a_row_that_the_record_does_not_have_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = kept(tmp_path, {"mean": 0.5, "std": 0.1, "n": 3, "values": [0.4, 0.5, 0.6]})
    assert __main__.main(["repeat", "lab1", "variable", "--results", str(results)]) == 2
    assert "expected one of the runs constant, found 'variable'" in error_of(capsys)
    assert __main__.main(["repeat", "lab2", "bn", "--results", str(results)]) == 2
    assert "lab2.json" in error_of(capsys)


# The time left


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_weighs_epochs_by_cost_and_leaves_out_what_was_found_done(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = training.load_splits(course / "data")
    setting = Setting(course / "data", 10, (0,), "cpu", tmp_path, resume=True)
    plans = {"net": Plan(SimpleNN, Recipe(epochs=10), cost=9.0), "other": Plan(SimpleNN, Recipe(epochs=10))}
    first, second = jobs(plans, (0,))
    assert total_cost([first, second]) == 100

    class Killed(Exception):
        pass

    with experiment.meter(100, Console(quiet=True)) as shown:

        def kill(description: str, cost: float) -> None:
            if shown.completed == 45:
                raise Killed
            shown.completed += cost

        monkeypatch.setattr(shown, "epoch", kill)
        with pytest.raises(Killed):  # the state of the sixth epoch is kept
            train_job(first, splits, setting, shown)
    clock = Clock()
    monkeypatch.setattr(experiment, "perf_counter", clock)
    seen = []
    with experiment.meter(100, Console(quiet=True)) as shown:
        told = shown.epoch

        def minute(description: str, cost: float) -> None:
            clock.now += 60
            told(description, cost)
            (task,) = shown.progress.tasks
            seen.append((task.completed, task.fields["left"]))

        monkeypatch.setattr(shown, "epoch", minute)
        train_job(first, splits, setting, shown)
        # 9 units a minute: 37 are left after the seventh epoch, 10 after the tenth.
        assert [seen[0], seen[-1]] == [(63, "4 min left"), (90, "67 s left")]
        train_job(first, splits, setting, shown)
        assert shown.completed == 180  # a finished job counts at once


def test_no_row_of_the_kept_records_is_unknown_to_the_labs() -> None:
    for lab in reproduce.LABS:
        path = __main__.RESULTS / f"{lab}.json"
        options = reproduce.cli.parser(reproduce.LABS[lab]).parse_args(["--no-bfloat16", "--device", "cpu"])
        options.train_images, options.compare = 100, 1
        assert set(record(path)["runs"]) <= set(reproduce.LABS[lab].plans(options))
