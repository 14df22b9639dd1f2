"""Every check against its examples; a check without examples is a failure of its own."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import examples_lab1_data
import examples_lab1_training
import examples_lab2_models
import examples_lab2_sweeps
import examples_lab3
import examples_learning
import examples_part1
import pytest
from evidence_builders import Cell, built, evidence, fed, lab, moved, run
from running import CHECKS, RUBRIC, Example, lab_of, name_of, outcome_of

from grader.checks.registry import Check
from grader.evidence.evidence import LABS, Lab

MODULES = (
    examples_part1,
    examples_lab1_data,
    examples_lab1_training,
    examples_lab2_models,
    examples_lab2_sweeps,
    examples_lab3,
    examples_learning,
)
EXAMPLES: dict[str, list[Example]] = {name: some for module in MODULES for name, some in module.EXAMPLES.items()}
PAIRS = [
    pytest.param(CHECKS[name], example, id=f"{name}/{example.name}")
    for name, examples in EXAMPLES.items()
    for example in examples
    if name in CHECKS
]
NEVER_OPEN = {"lab3.b/predictions_format"}  # a file is in the format or it is not
WITH_A_LAB = [pytest.param(check, id=name_of(check)) for check in CHECKS.values() if lab_of(check)]


@pytest.mark.parametrize(("check", "example"), PAIRS)
def test_example(check: Check, example: Example) -> None:
    outcome, credit, reason = outcome_of(check, example.make())
    assert (outcome, reason) == (example.outcome, reason if example.reason in reason else example.reason)
    assert credit == pytest.approx(example.credit, abs=1e-9)
    assert (outcome == "passed") == (reason == "")


@pytest.mark.parametrize("check", [pytest.param(check, id=name_of(check)) for check in CHECKS.values()])
def test_every_check_has_an_example_of_each_outcome(check: Check) -> None:
    judged = set() if check.evidence == "person" else {"passed"}
    expected = judged | {"failed"} | (set() if name_of(check) in NEVER_OPEN else {"could_not_check"})
    assert {example.outcome for example in EXAMPLES.get(name_of(check), ())} == expected


def test_every_check_has_a_weight_and_every_weight_a_check() -> None:
    weighed = {f"{name}/{check}" for name, item in RUBRIC.items.items() for check in item.checks}
    assert weighed == set(CHECKS)
    assert len(CHECKS) == 73


def test_every_example_belongs_to_a_check() -> None:
    assert set(EXAMPLES) == set(CHECKS)


def test_examples_of_a_check_have_names_of_their_own() -> None:
    for examples in EXAMPLES.values():
        names = [example.name for example in examples]
        assert len(names) == len(set(names))


def test_a_failure_always_gives_a_reason_to_look_for() -> None:
    assert all(e.reason for examples in EXAMPLES.values() for e in examples if e.outcome != "passed")


@pytest.mark.parametrize("check", [pytest.param(check, id=name_of(check)) for check in CHECKS.values()])
def test_the_sentence_of_a_check_is_one_sentence(check: Check) -> None:
    assert check.sentence.endswith(".")
    assert check.sentence[:1].isupper() or check.sentence.startswith("predictions.csv")


@pytest.mark.parametrize("check", WITH_A_LAB)
def test_without_a_notebook_every_check_of_the_lab_fails(check: Check) -> None:
    outcome, credit, reason = outcome_of(check, evidence())
    assert (outcome, credit) == ("failed", 0.0)
    assert reason == f"no notebook of {LABS[lab_of(check) or '']} was found"


@pytest.mark.parametrize("check", WITH_A_LAB)
def test_where_the_grader_could_not_run_a_notebook_nothing_is_lost(check: Check) -> None:
    unstarted = Lab(lab_of(check) or "", "lab.ipynb", "the kernel did not start", "grader")
    assert outcome_of(check, evidence(unstarted)) == ("could_not_check", 0.0, "the kernel did not start")


@pytest.mark.parametrize("check", WITH_A_LAB)
def test_an_empty_notebook_earns_nothing_and_leaves_nothing_open(check: Check) -> None:
    outcome, credit, _ = outcome_of(check, evidence(lab(lab_of(check) or "", [Cell("pass")])))
    assert (outcome, credit) == ("failed", 0.0)


@pytest.mark.parametrize("check", WITH_A_LAB)
def test_a_failing_import_saves_no_points(check: Check) -> None:
    cells = [Cell("pass"), Cell("import nosuch", status="error", error="ModuleNotFoundError: No module named 'nosuch'")]
    outcome, credit, _ = outcome_of(check, evidence(lab(lab_of(check) or "", cells)))
    assert (outcome, credit) == ("failed", 0.0)


def told_of(labels: list[int], predicted: list[int]) -> list[str]:
    """The reasons that every check gives to a submission with these predictions, graded with these labels."""
    handed_in = examples_lab3.claimed(0)
    predictions = replace(handed_in.predictions, labels=tuple(predicted))
    graded = replace(handed_in, predictions=predictions, truth=tuple(labels))
    return [outcome_of(check, graded)[2] for check in CHECKS.values()]


def test_reasons_do_not_hold_the_labels_of_the_test_images() -> None:
    truth, wrong = [k * k % 7 for k in range(10_000)], [9] * 10_000
    for labels in (truth, truth[::-1]):
        reasons = told_of(labels, wrong)
        runs = {"".join(map(str, labels[k : k + 8])) for k in range(len(labels) - 7)}
        digits = [re.sub(r"\D", "", reason) for reason in reasons]
        assert not any(run in text for run in runs for text in digits)


def test_reasons_depend_on_how_many_labels_are_predicted_and_not_on_which() -> None:
    truth = [k * k % 7 for k in range(10_000)]
    half_wrong = [label if k % 2 else 9 for k, label in enumerate(truth)]
    permuted = [(3 * label + 1) % 7 for label in truth]
    others_wrong = [9 if k % 2 else label for k, label in enumerate(permuted)]
    reasons = told_of(truth, half_wrong)
    assert any("0.5000" in reason for reason in reasons)
    assert reasons == told_of(permuted, others_wrong)


@pytest.mark.parametrize(("lossy", "bars"), [(False, [0.65, 0.9, 0.9]), (True, [0.62, 0.87, 0.87])])
def test_the_bar_that_was_applied_is_recorded_and_no_other_is_claimed(lossy: bool, bars: list[float]) -> None:
    handed_in = evidence(
        lab("lab1", [Cell("train()", run(), printed="Best validation accuracy: 0.61")]),
        lab("lab3", [Cell("train()", run(), printed="Best validation accuracy: 0.86")]),
        predictions=examples_lab3.predicted(8_600).predictions,
        truth=examples_lab3.TRUTH,
        lossy=lossy,
    )
    judged = [CHECKS[name] for name in ("lab1.g/validation_accuracy", "lab3.b/validation_accuracy")]
    for check, bar in zip([*judged, CHECKS["lab3.b/held_out_accuracy"]], bars, strict=True):
        recorded: dict[str, object] = {}
        outcome, _, reason = outcome_of(check, handed_in, recorded)
        assert (outcome, recorded["bar"]) == ("failed", bar)
        assert f"{bar:.2f}" in reason
        assert not re.search(r"\d+ ?%", check.sentence)


def test_a_notebook_made_for_a_gpu_says_that_it_ran_without_one() -> None:
    for device, says in (("cuda", True), ("cpu", False)):
        seen = (*built(), moved().model_copy(update={"device": device}), fed())
        recorded: dict[str, object] = {}
        outcome_of(CHECKS["lab1.d/deployed"], evidence(lab("lab1", [Cell("net.to('cuda')", seen)])), recorded)
        assert ("ran on" in recorded) is says


def test_all_checks_of_a_long_notebook_take_less_than_two_seconds() -> None:
    runs = [event for number in range(60) for event in run(number, optimizer=number, steps=200)]
    cells = [Cell("for lr in rates:\n    train(net, lr)", tuple(runs), printed="Epoch 1: val acc: 0.61\n" * 20_000)]
    hindered = [Cell(f"import package_{k}", status="error", error="No module named 'p'") for k in range(100)]
    long = evidence(*(lab(role, [*cells, *hindered]) for role in LABS))
    started = time.process_time()
    for check in CHECKS.values():
        outcome_of(check, long)
    assert time.process_time() - started < 2.0
