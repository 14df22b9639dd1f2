"""The calibration: the file that comes with the grader, and measuring it anew."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev

import pytest

from grader import __main__, calibrate
from grader.calibrate import RECIPES, CalibrationError, Conditions, Sample, extended, notebook_for
from grader.calibration import CHECKPOINTS, Calibration, Distribution, Measured, fall, load_calibration, read
from grader.execution.world import World

STORED = load_calibration()
ENTRIES = [
    pytest.param(measured, id=f"{lab}-{source}")
    for lab, sources in STORED.labs.items()
    for source, measured in sources.items()
]


def distributions(measured: Measured) -> list[Distribution]:
    return [*measured.falls.values(), measured.noise, measured.first_loss, measured.overfit]


# -- the file that comes with the grader -----------------------------------------------------------------------------


def test_every_lab_was_measured_on_both_sources() -> None:
    assert set(STORED.labs) == set(RECIPES)
    assert all(set(sources) == {"embedded", "course"} for sources in STORED.labs.values())


@pytest.mark.parametrize("measured", ENTRIES)
def test_thresholds_follow_from_the_values(measured: Measured) -> None:
    for found in distributions(measured):
        assert len(found.values) == measured.seeds
        assert (found.mean, found.deviation) == pytest.approx((fmean(found.values), stdev(found.values)))
        sign = 1 if found.side == "above" else -1
        assert found.threshold == pytest.approx(found.mean + sign * 4 * found.deviation)
    assert {found.side for found in measured.falls.values()} == {"below"}
    assert {found.side for found in distributions(measured)[-3:]} == {"above"}


@pytest.mark.parametrize("measured", ENTRIES)
def test_noise_is_told_from_learning_and_right_nets_learn_one_batch(measured: Measured) -> None:
    assert measured.falls[max(measured.falls)].mean > max(measured.noise.threshold, 0.02)
    assert measured.noise.threshold < 0.3
    assert measured.overfit.threshold < 1.0
    assert 2.2 < measured.first_loss.mean < 2.8


@pytest.mark.parametrize("measured", [entry for lab in ("lab1", "lab2") for entry in STORED.labs[lab].values()])
def test_simplenn_learns_beyond_noise_with_any_seed(measured: Measured) -> None:
    assert measured.falls[256].threshold > measured.falls[128].threshold > max(measured.noise.threshold, 0.02)


@pytest.mark.parametrize("measured", ENTRIES)
def test_how_it_was_measured_is_said_without_a_folder_of_the_machine(measured: Measured) -> None:
    assert measured.command.startswith("python -m grader calibrate")
    assert "/" not in measured.command + measured.hardware
    assert {"python", "torch", "numpy"} <= set(measured.versions)


@pytest.mark.parametrize("measured", ENTRIES)
def test_twenty_seeds_were_measured(measured: Measured) -> None:
    assert measured.seeds == 20
    assert measured.command.endswith("--seeds 20")


def test_its_picture_lies_beside_it() -> None:
    picture = Path(calibrate.__file__).with_name("calibration.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 400_000


# -- its parts -------------------------------------------------------------------------------------------------------


def test_fall_is_the_mean_of_the_first_eight_losses_minus_that_of_the_last() -> None:
    losses = [2.0] * 8 + [9.0] * 8 + [0.5] * 8 + [7.0] * 8
    assert fall(losses, 24) == 1.5
    assert fall(losses, 32) == -5.0


def test_distribution_of_two_values() -> None:
    found = Distribution.of([1.0, 3.0], "below")
    assert (found.mean, found.threshold) == (2.0, pytest.approx(2 - 4 * 2**0.5))
    assert Distribution.of([1.0, 3.0], "above").threshold == pytest.approx(2 + 4 * 2**0.5)


CONDITIONS = Conditions("python -m grader calibrate", {"torch": "2"}, "1 x core", "a net")


def sample(value: float, steps: int = 270) -> Sample:
    return Sample(tuple(2.3 - value * k for k in range(steps)), (2.3,) * 27, 2.3 + value, value)


def test_more_seeds_are_added_to_those_of_an_earlier_measurement() -> None:
    four = [sample(value) for value in (0.001, 0.002, 0.003, 0.004)]
    at_once = extended(None, four, CONDITIONS)
    in_turn = extended(extended(None, four[:2], CONDITIONS), four[2:], CONDITIONS)
    assert at_once == in_turn
    assert (at_once.seeds, tuple(at_once.falls)) == (4, CHECKPOINTS)
    assert (at_once.checkpoint(100), at_once.checkpoint(31)) == (64, None)


def test_a_measurement_on_other_versions_is_not_continued() -> None:
    measured = extended(None, [sample(0.1, 40), sample(0.2, 40)], CONDITIONS)
    assert tuple(measured.falls) == (32,)
    assert CONDITIONS.hold(measured)
    assert not Conditions(**(asdict(CONDITIONS) | {"versions": {"torch": "3"}})).hold(measured)


def test_no_file_is_an_empty_calibration(tmp_path: Path) -> None:
    assert read(tmp_path / "none.json") == Calibration()


@pytest.mark.parametrize("lab", RECIPES)
def test_notebook_is_cut_behind_its_first_training_and_has_the_seed(lab: str) -> None:
    cells = [cell["source"] for cell in notebook_for(RECIPES[lab], 17)["cells"]]
    assert sum("manual_seed(17)" in source for source in cells) == 1
    assert not any("manual_seed(0)" in source for source in cells)
    assert not any('train("plain"' in source for source in cells)
    assert cells[-1] == RECIPES[lab].frozen


def test_notebook_of_another_form_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"simplenn-cifar10.ipynb has no cell with nothing"):
        notebook_for(recipe_with(last="nothing"), 0)


def recipe_with(**fields: str) -> calibrate.Recipe:
    return calibrate.Recipe(**(asdict(RECIPES["lab1"]) | fields))


# -- measuring -------------------------------------------------------------------------------------------------------


def fake_run(_recipe: calibrate.Recipe, _world: World, seed: int) -> Sample:
    return sample(0.001 * (seed + 1))


def test_entries_of_the_other_source_stay_and_an_interrupted_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def run(recipe: calibrate.Recipe, world: World, seed: int) -> Sample:
        asked.append(seed)
        if len(asked) == 4:
            raise CalibrationError("interrupted")
        return fake_run(recipe, world, seed)

    out = tmp_path / "calibration.json"
    other = extended(None, [sample(0.1), sample(0.2)], CONDITIONS)
    out.write_text(Calibration(labs={"lab1": {"course": other}}).model_dump_json())
    monkeypatch.setattr(calibrate, "run_once", run)
    with pytest.raises(CalibrationError):
        calibrate.calibrate(None, 5, out, ["lab1"])
    assert read(out).labs["lab1"]["embedded"].seeds == 3
    done = calibrate.calibrate(None, 5, out, ["lab1"])
    assert asked == [0, 1, 2, 3, 3, 4]
    assert done == read(out)
    assert done.labs["lab1"]["course"] == other
    assert done.labs["lab1"]["embedded"].seeds == 5
    assert out.with_suffix(".png").stat().st_size > 1_000
    again = calibrate.calibrate(None, 2, out, ["lab1"])
    assert (again.labs["lab1"]["embedded"].seeds, asked[6:]) == (2, [0, 1])


@pytest.mark.slow
def test_two_seeds_through_the_real_kernel(tmp_path: Path) -> None:
    out = tmp_path / "calibration.json"
    assert __main__.main(["calibrate", "--seeds", "2", "--labs", "lab1", "--out", str(out)]) == 0
    measured = read(out).labs["lab1"]["embedded"]
    assert measured.seeds == 2
    assert tuple(measured.falls) == CHECKPOINTS
    assert min(measured.falls[256].values) > 1.0 > 0.05 > max(map(abs, measured.noise.values))
    assert max(measured.overfit.values) < 0.2
    assert len(set(measured.first_loss.values)) == 2


def test_a_call_that_cannot_work_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["calibrate", "--seeds", "1"]) == 2
    assert "a standard deviation needs two" in capsys.readouterr().err
    assert __main__.main(["calibrate", "--data", str(tmp_path), "--out", str(tmp_path / "c.json")]) == 2
    assert "train-images-batch.npy is missing" in capsys.readouterr().err
