"""Lab 2: augmentation, batch normalization, Swish, and the sweeps over learning rates and regularization strengths."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from grader.checks.outcome import check, could_not_check, fail
from grader.checks.support import for_a_person, missing
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.runs import Run

BN = ("simplenn_bn", "simplenn_bn_swish")
PLAIN = ("simplenn", "simplenn_swish")
RATES = (1.0, 0.1, 0.05, 0.01, 0.005, 0.001)
STRENGTHS = (1e-2, 1e-3, 1e-4, 1e-5, 0.0)


def fresh_runs(lab: Lab) -> tuple[Run, ...]:
    """Runs on training images, or the reason why there are none."""
    runs = tuple(run for run in lab.runs if "train" in run.splits)
    if not runs:
        missing(lab, "no optimizer step on training images was seen when the notebook ran")
    return runs


def found_rates(runs: Iterable[Run]) -> str:
    """The learning rates that runs really had, for a reason."""
    rates = sorted({run.rate for run in runs}, reverse=True)
    return "none" if not rates else ", ".join(f"{rate:g}" for rate in rates)


def same(a: float, b: float) -> bool:
    """Equal hyperparameters, whatever arithmetic they came from."""
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-9)


# -- (a) -------------------------------------------------------------------------------------------------------------


@check("lab2.a", "augmentation", evidence="trace")
def check_augmentation(lab2: Lab) -> None:
    """A model is trained on images that are randomly cropped with a padding of 4 and randomly flipped."""
    runs = fresh_runs(lab2)
    if any(run.augments and run.transform is not None and run.transform.max_shift == 4 for run in runs):
        return
    transforms = [run.transform for run in runs if run.transform is not None and run.transform.error is None]
    crops = max((t.max_shift for t in transforms), default=0)
    flips = any(t.flips for t in transforms)
    if not crops and not flips:
        missing(lab2, "no run was trained on augmented images: every image reached the network the same way each time")
    found = f"largest shift {crops} pixels, flips: {'yes' if flips else 'no'}"
    fail(f"the augmentation is not a random crop with padding 4 and a random flip ({found})", credit=0.5)


@check("lab2.a", "validation_unaugmented", evidence="trace")
def check_validation_unaugmented(lab2: Lab) -> None:
    """Validation images are not augmented."""
    loaders = [loader for loader in lab2.loaders if loader.split == "val"]
    if not loaders:
        missing(lab2, "no DataLoader over the validation split was iterated")
    if any(loader.transform is not None and loader.transform.is_random for loader in loaders):
        fail("the validation images are augmented at random; validation must measure the images themselves")


@check("lab2.a", "observations", evidence="person")
def check_augmentation_observations(evidence: Evidence) -> None:
    """Validation accuracy with and without augmentation is compared."""
    for_a_person(evidence, "lab2.a")


# -- (b) -------------------------------------------------------------------------------------------------------------


@check("lab2.b.bn", "architecture", evidence="challenge")
def check_bn_architecture(lab2: Lab) -> None:
    """A BN layer follows each convolution of SimpleNN, before the activation."""
    if lab2.nets_equal_to(*BN):
        return
    layered = [net for net in lab2.nets if any(layer.kind == "bn" for layer in net.layers)]
    if not layered:
        unused = [net for net in lab2.nets if net.unused]
        if unused:
            fail(f"{unused[0].cls} has layers with {unused[0].unused:,} parameters that are never called in forward()")
        missing(lab2, "no network with batch normalization was called when the notebook ran")
    order = [layer.kind for layer in layered[0].layers if layer.kind in ("conv", "bn")]
    if order == ["conv", "bn", "conv", "bn"]:
        fail(
            f"{layered[0].cls} has a BN layer for each convolution, but its outputs are not those of SimpleNN with "
            "conv -> BN -> activation: look at the order of BN, activation and pooling",
            credit=0.5,
        )
    found = " -> ".join(order)
    fail(f"the order of layers in {layered[0].cls} is {found}; expected conv -> bn -> conv -> bn", credit=0.25)


@check("lab2.b.bn", "trained", evidence="trace")
def check_bn_trained(lab2: Lab) -> None:
    """The network with BN is trained from fresh weights."""
    runs = [run for run in fresh_runs(lab2) if run.is_any(*BN)]
    if not runs:
        missing(lab2, "no run trained SimpleNN with BN")
    if all(run.earlier_steps for run in runs):
        before = f"it had {runs[0].earlier_steps} steps before"
        fail(f"the network was not re-initialised: {before} ({runs[0].describe()})", credit=0.5)


@check("lab2.b.bn", "observations", evidence="person")
def check_bn_observations(evidence: Evidence) -> None:
    """The change of the best validation accuracy by BN is stated."""
    for_a_person(evidence, "lab2.b.bn")


@check("lab2.b.lr", "larger_rate_with_bn", evidence="trace")
def check_larger_rate_with_bn(lab2: Lab) -> None:
    """A network with BN is trained with a learning rate larger than the 0.01 of Lab 1."""
    runs = [run for run in fresh_runs(lab2) if run.is_any(*BN)]
    if not any(run.rate > 0.011 for run in runs):
        missing(lab2, f"no run of a network with BN used a rate above 0.01; rates really used: {found_rates(runs)}")


@check("lab2.b.lr", "comparison", evidence="trace")
def check_rate_comparison(lab2: Lab) -> None:
    """The larger rate is set against something: the network without BN at a larger rate, or BN at several rates."""
    runs = fresh_runs(lab2)
    plain = any(run.is_any(*PLAIN) and run.rate > 0.011 for run in runs)
    rates = {run.rate for run in runs if run.is_any(*BN)}
    if not plain and len(rates) < 2:
        missing(lab2, f"nothing to compare: BN was trained at {found_rates(r for r in runs if r.is_any(*BN))} only")


@check("lab2.b.lr", "observations", evidence="person")
def check_larger_rate_observations(evidence: Evidence) -> None:
    """The empirical results are stated and interpreted."""
    for_a_person(evidence, "lab2.b.lr")


@check("lab2.b.swish", "architecture", evidence="challenge")
def check_swish_architecture(lab2: Lab) -> None:
    """All ReLUs of SimpleNN are replaced by an own Swish, x * sigmoid(x)."""
    nets = lab2.nets_equal_to("simplenn_swish", "simplenn_bn_swish")
    if not nets:
        missing(lab2, "no network equals SimpleNN with every ReLU replaced by x * sigmoid(x)")
    borrowed = any(layer.type == "SiLU" for net in nets for layer in net.layers)
    if borrowed or not re.search(r"sigmoid|\bexp\(", lab2.source):
        fail("Swish is torch's own SiLU; the assignment asks to implement it on your own", credit=0.5)


@check("lab2.b.swish", "trained", evidence="trace")
def check_swish_trained(lab2: Lab) -> None:
    """The network with BN and Swish is trained with a learning rate of 0.1."""
    runs = [run for run in fresh_runs(lab2) if run.is_any("simplenn_swish", "simplenn_bn_swish")]
    if not runs:
        missing(lab2, "no run trained a network with Swish")
    with_bn = [run for run in runs if run.is_any("simplenn_bn_swish")]
    if not with_bn:
        fail(f"Swish was trained without BN layers ({runs[0].describe()})", credit=0.5)
    if not any(same(run.rate, 0.1) for run in with_bn):
        fail(f"BN with Swish was trained with lr={found_rates(with_bn)}; the item asks for 0.1", credit=0.5)


@check("lab2.b.swish", "observations", evidence="person")
def check_swish_observations(evidence: Evidence) -> None:
    """Swish is compared with ReLU."""
    for_a_person(evidence, "lab2.b.swish")


# -- (c) -------------------------------------------------------------------------------------------------------------


def value_of(run: Run) -> float:
    """What a sweep's run is worth: full with augmentation and BN, as the item asks; half without either."""
    return 1.0 if run.augments and run.is_any(*BN) else 0.5


def judge_sweep(lab: Lab, wanted: dict[str, list[Run]], what: str) -> None:
    """Share of a sweep's values that were really trained."""
    credit = sum(max((value_of(run) for run in runs), default=0.0) for runs in wanted.values()) / len(wanted)
    absent = [value for value, runs in wanted.items() if not runs]
    if credit == 1:
        return
    if absent:
        missing(lab, f"no run was trained with {what} {', '.join(absent)}", credit=credit)
    halves = [value for value, runs in wanted.items() if max(map(value_of, runs)) < 1]
    fail(f"runs with {what} {', '.join(halves)} were trained without augmentation or without BN", credit=credit)


@check("lab2.c.lr", "trained", evidence="trace")
def check_rates_trained(lab2: Lab) -> None:
    """A network is trained with each of the learning rates 1.0, 0.1, 0.05, 0.01, 0.005, 0.001."""
    runs = fresh_runs(lab2)
    judge_sweep(lab2, {f"{rate:g}": [r for r in runs if same(r.rate, rate)] for rate in RATES}, "learning rate")


@check("lab2.c.lr", "reported", evidence="record")
def check_rates_reported(evidence: Evidence, lab2: Lab) -> None:
    """A result is reported for each learning rate."""
    judge_reported(evidence, lab2, "lab2.c.lr", len(RATES))


def judge_reported(evidence: Evidence, lab: Lab, item: str, wanted: int) -> None:
    """At least `wanted` accuracies in the saved outputs or in the written answer."""
    accuracies = len(lab.record.best) + len({e.cell for e in lab.record.epochs if e.val_accuracy is not None})
    passage = lab.written.get(item) or evidence.answers.passages.get(item)
    written = len(re.findall(r"\b0?\.\d{2,}|\b\d{1,2}(?:\.\d+)?\s?%", passage.text)) if passage is not None else 0
    if max(accuracies, written) >= wanted:
        return
    if evidence.answers.problems or any(cell.kind == "markdown" and "![" in cell.source for cell in lab.submitted):
        could_not_check("the results may stand in a picture or in a report that could not be read")
    credit = max(accuracies, written) / wanted
    fail(f"results for {max(accuracies, written)} of {wanted} values were found in outputs and text", credit=credit)


@check("lab2.c.lr", "observations", evidence="person")
def check_rates_observations(evidence: Evidence) -> None:
    """It is concluded whether a large learning rate is beneficial."""
    for_a_person(evidence, "lab2.c.lr")


@check("lab2.c.l2", "trained", evidence="trace")
def check_strengths_trained(lab2: Lab) -> None:
    """A network is trained with each L2 strength 1e-2, 1e-3, 1e-4, 1e-5, 0.0 at a learning rate of 0.01."""
    runs = [run for run in fresh_runs(lab2) if same(run.rate, 0.01)]
    wanted = {f"{s:g}": [r for r in runs if same(r.weight_decay, s) and not _has_l1(r)] for s in STRENGTHS}
    judge_sweep(lab2, wanted, "learning rate 0.01 and L2 strength")


@check("lab2.c.l2", "reported", evidence="record")
def check_strengths_reported(evidence: Evidence, lab2: Lab) -> None:
    """A result is reported for each regularization strength."""
    judge_reported(evidence, lab2, "lab2.c.l2", len(STRENGTHS))


@check("lab2.c.l2", "observations", evidence="person")
def check_strengths_observations(evidence: Evidence) -> None:
    """The importance of the regularization strength is commented on."""
    for_a_person(evidence, "lab2.c.l2")


def _has_l1(run: Run) -> bool:
    return run.penalty is not None and run.penalty.l1.unexplained < 0.05 and run.penalty.l1.coefficient > 0


@check("lab2.c.l1", "penalty", evidence="trace")
def check_l1_penalty(lab2: Lab) -> None:
    """The loss has an L1 term: its gradient is lambda * sign(w) on the weights, and weight_decay is off."""
    runs = [run for run in fresh_runs(lab2) if run.penalty is not None]
    if any(_has_l1(run) and run.weight_decay == 0 for run in runs):
        return
    with_decay = [run for run in runs if _has_l1(run)]
    if with_decay:
        fail(
            f"the L1 run still has weight_decay={with_decay[0].weight_decay:g}: L1 should take L2's place", credit=0.75
        )
    if not runs:
        missing(lab2, "no run had a penalty added to its loss")
    penalty = runs[0].penalty
    assert penalty is not None
    if penalty.gradient_norm == 0:
        fail(f"the penalty adds {penalty.value:g} to the loss but has no gradient (computed on .data, or times 0)")
    l1, l2 = penalty.l1.model_dump(), penalty.l2.model_dump()
    fail("the penalty's gradient is not lambda * sign(w) on the weights", l1=l1, l2=l2)


@check("lab2.c.l1", "distribution", evidence="record")
def check_distribution(lab2: Lab) -> None:
    """The distributions of weights after L1 and L2 regularization are shown."""
    if any(re.search(r"\bhist|kde|displot|bins", cell.source) for cell in lab2.plots):
        return
    missing(lab2, "no plot of weight distributions was found among the outputs")


@check("lab2.c.l1", "observations", evidence="person")
def check_l1_observations(evidence: Evidence) -> None:
    """The distributions are compared and described."""
    for_a_person(evidence, "lab2.c.l1")
