"""Claims that something contradicts are flagged with both figures, and cost nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence_builders import Cell, built, evidence, lab, run
from running import CHECKS

from grader.checks.contradictions import contradictions, reach
from grader.checks.registry import judge
from grader.checks.verdict import Verdict
from grader.evidence.checkpoint import CheckpointScore
from grader.evidence.evidence import Evidence
from grader.rubric import load_rubric

RUBRIC = load_rubric()


def log(first: float, *, start: int = 0, epochs: int = 6) -> str:
    """The printed log of a training whose training accuracy begins at `first`."""
    lines = (
        f"Epoch {start + k}:\nTraining loss: {2 - k / 9:.4f}, Training accuracy: {first + k / 99:.4f}\n"
        f"Validation loss: {2 - k / 7:.4f}, Validation accuracy: {0.4 + k / 77:.4f}\n"
        for k in range(epochs)
    )
    return "".join(lines)


def flags(role: str, *cells: Cell) -> list[str]:
    """What is flagged in a submission with one notebook."""
    handed_in = evidence(lab(role, cells))
    return contradictions(handed_in, handed_in.labs[role])


def trained(printed: str, **fields: object) -> Cell:
    """A cell with a training."""
    return Cell("train()", (*built(), *run(**fields)), printed=printed)


# -- a run that goes on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 1])
def test_a_first_epoch_that_is_too_good_is_flagged_with_both_figures(start: int) -> None:
    (flag,) = flags("lab2", trained(log(0.63, start=start)))
    assert flag.startswith("cell 1 claims a training accuracy of 0.6300 after the first epoch")
    assert "at most 0.46" in flag


def test_the_second_log_of_a_cell_is_looked_at_too() -> None:
    assert len(flags("lab1", trained(log(0.35) + log(0.71)))) == 1


@pytest.mark.parametrize(("role", "printed"), [("lab1", log(0.46)), ("lab1", log(0.7, start=12)), ("lab3", log(0.63))])
def test_new_networks_resumed_logs_and_resnets_are_not_flagged(role: str, printed: str) -> None:
    assert flags(role, trained(printed)) == []


# -- a learning rate that was another ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "printed", ["lr = 0.1\n", "learning rate: 0.1\n", "lr=1e-1, bn=True\n", "Learning rate of 0.1", "{'lr': 0.1}"]
)
def test_a_printed_rate_that_no_step_had_is_flagged_with_both_figures(printed: str) -> None:
    assert flags("lab2", trained(printed)) == [
        "cell 1 prints the learning rate 0.1, but its steps were taken with 0.01"
    ]


def test_rates_of_a_sweep_that_were_all_the_same() -> None:
    printed = "".join(f"lr={rate}\nBest validation accuracy: 0.61\n" for rate in (1.0, 0.1, 0.01))
    assert flags("lab2", trained(printed)) == [
        "cell 1 prints the learning rate 0.1, 1, but its steps were taken with 0.01"
    ]


@pytest.mark.parametrize(
    ("printed", "rates"),
    [
        ("lr 0.01", (0.01,)),
        ("lr: 0.0100, batch 128", (0.01,)),
        ("Epoch 20 lr=0.0001", (0.01, 0.001)),
        ("Epoch 3, lr: 0.1873", (0.02, 0.2, 0.1)),
        ("1000 lr 5000", (0.01,)),
        ("no rate", (0.01,)),
    ],
)
def test_rates_that_steps_had_or_a_schedule_passes_through_are_not_flagged(
    printed: str, rates: tuple[float, ...]
) -> None:
    assert flags("lab2", trained(printed, rates=rates)) == []


def test_what_a_cell_without_a_training_prints_is_no_claim() -> None:
    assert flags("lab2", Cell("print(0)", printed="lr = 0.1")) == []


def test_a_result_that_was_kept_may_be_shown_again() -> None:
    again = trained("lr=0.1: 0.7012\nlr=0.01: 0.6866\n")
    assert flags("lab2", Cell("train(0.1)", (*built(1), *run(1, rates=(0.1,)))), again) == []
    assert len(flags("lab2", again, Cell("train(0.1)", (*built(1), *run(1, rates=(0.1,)))))) == 1


# -- an output of another notebook -----------------------------------------------------------------------------------


def two(first: str, second: str) -> Evidence:
    return evidence(lab("lab1", [Cell("a"), trained(first)]), lab("lab2", [trained(second)]))


def test_the_same_log_in_two_notebooks_is_flagged_at_the_later_one() -> None:
    handed_in = two(log(0.35), log(0.35))
    assert contradictions(handed_in, handed_in.labs["lab1"]) == []
    (flag,) = contradictions(handed_in, handed_in.labs["lab2"])
    assert flag == "cell 1 shows the same 6 epochs, to the last digit, as cell 2 of lab1.ipynb"


@pytest.mark.parametrize("second", [log(0.36), log(0.35, epochs=4), ""])
def test_other_logs_and_short_ones_are_not_flagged(second: str) -> None:
    first = log(0.35, epochs=4) if second == log(0.35, epochs=4) else log(0.35)
    handed_in = two(first, second)
    assert contradictions(handed_in, handed_in.labs["lab2"]) == []


# -- a checkpoint ----------------------------------------------------------------------------------------------------


def judged(score: CheckpointScore) -> Verdict:
    """The verdict on a claimed validation accuracy of 0.9143 beside a checkpoint."""
    handed_in = replace(evidence(lab("lab3", [trained("Best validation accuracy: 0.9143")])), checkpoint=score)
    return judge(CHECKS["lab3.b/validation_accuracy"], handed_in, RUBRIC, {})


def test_a_checkpoint_that_supports_the_claim_is_found_and_flags_nothing() -> None:
    verdict = judged(CheckpointScore("resnet.pth", 0.9043, 0.97))
    assert (verdict.outcome, verdict.flags) == ("passed", ())
    assert verdict.found["checkpoint"] == "resnet.pth reaches 0.9043 on the validation images"


def test_a_checkpoint_that_contradicts_the_claim_is_flagged_with_both_figures() -> None:
    verdict = judged(CheckpointScore("resnet.pth", 0.8712, 0.62))
    assert verdict.outcome == "passed"
    assert verdict.flags == (
        "the saved outputs claim a validation accuracy of 0.9143, but resnet.pth reaches 0.8712 on the validation "
        "images",
        "predictions.csv has the labels of resnet.pth on 62.0% of test images",
    )


def test_a_checkpoint_that_could_not_be_measured_says_why() -> None:
    verdict = judged(CheckpointScore("resnet.pth", problem="it holds no state dictionary"))
    assert (verdict.outcome, verdict.flags) == ("passed", ())
    assert verdict.found["checkpoint"] == "resnet.pth: it holds no state dictionary"


# -- better than any known -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lossy", "source", "lab1", "lab3"),
    [(True, "course", 0.681, 0.914), (False, "course", 0.711, 0.944), (True, "embedded", 0.711, 0.944)],
)
def test_what_can_be_believed_depends_on_the_images(lossy: bool, source: str, lab1: float, lab3: float) -> None:
    handed_in = evidence(lossy=lossy, source=source)
    believed = [reach(handed_in, handed_in.labs[role], RUBRIC)[1] for role in ("lab1", "lab3")]
    assert believed == pytest.approx([lab1, lab3])


def test_a_rubric_without_known_results_believes_all() -> None:
    handed_in = evidence()
    assert reach(handed_in, handed_in.labs["lab1"], RUBRIC.model_copy(update={"best": {}})) == (1.0, 1.0)
