"""Lab 2: augmentation, batch normalization, Swish, and the sweeps over learning rates and regularization strengths."""

from __future__ import annotations

import re

from grader.checks.claims import judge_accuracy, judge_reported
from grader.checks.diagnosis import simplenn
from grader.checks.diagnosis.graph import Departure
from grader.checks.learning import is_calibrated, judge_learning, judge_one_batch
from grader.checks.outcome import RecordProperty, check, could_not_check, fail
from grader.checks.support import differs, for_a_person, missing, words
from grader.checks.sweeps import has_l1, judge_sweep, l2_penalty, learning_rates, runs_of, strengths
from grader.checks.swish import PARTS, SWISH, has_swish, is_borrowed, nearest
from grader.checks.training import (
    fail_for,
    found_rates,
    judge_runs,
    loop_bugs,
    no_run,
    same,
    shortcomings,
    training_runs,
    validation_bugs,
)
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.runs import Run
from grader.execution.trace_events import NetEvent, Transform
from grader.rubric import Rubric

BN = ("simplenn_bn", "simplenn_bn_swish")
RATES = (1.0, 0.1, 0.05, 0.01, 0.005, 0.001)
STRENGTHS = (1e-2, 1e-3, 1e-4, 1e-5, 0.0)
WEIGHTS = r"(?i)weights?(?![a-z_]*_?decay)|param|state_dict"
LAB_1_RATE = {"SGD": 0.01}  # other optimizers begin at a tenth of it


# -- (a) -------------------------------------------------------------------------------------------------------------


@check("lab2.a", "augmentation", evidence="trace")
def check_augmentation(lab2: Lab) -> None:
    """A model is trained on images that are randomly cropped with a padding of 4 and randomly flipped."""
    transforms = [(run, run.transform) for run in training_runs(lab2) if run.transform is not None]
    if any(transform.augments and transform.max_shift == 4 for _, transform in transforms):
        return
    for run, transform in transforms:
        if transform.is_random and transform.error is None:
            reason = f"{run.where}: expected random crops with a padding of 4 and random flips; {_found(transform)}"
            if transform.max_shift == 4 and transform.other and not transform.flips:
                could_not_check(f"{reason}: a person must look whether these are flips of another kind")
            fail(reason, credit="incomplete_augmentation")
    reason = "no run was trained on augmented images: every image reached the network the same way each time"
    no_run(lab2, reason, wanted=lambda run: run.augments)


def _found(transform: Transform) -> str:
    """What happened to training images, in words."""
    crops = f"the largest shift is {transform.max_shift} pixels" if transform.max_shift else "nothing is cropped"
    flips = f"{'with' if transform.flips else 'without'} flips"
    if transform.always_flipped:
        flips = "every image is flipped"
    return f"{crops}, {flips}{', and images are changed in another way' if transform.other else ''}"


@check("lab2.a", "validation_unaugmented", evidence="trace")
def check_validation_unaugmented(lab2: Lab) -> None:
    """Validation images are not augmented."""
    loaders = lab2.validation_loaders()
    if not loaders:
        missing(lab2, "no DataLoader over the validation split was iterated", sign=r"DataLoader|_?loader\b")
    validated = {passed.loader for run in lab2.runs for passed in run.validations}
    for loader in [loader for loader in loaders if loader.loader in validated] or loaders:
        if loader.transform is not None and loader.transform.is_random:
            where = lab2.where(loader)
            fail(f"{where}: validation images are augmented at random; validation must measure the images themselves")


@check("lab2.a", "learns", evidence="trace")
def check_augmented_learns(lab2: Lab, record_property: RecordProperty) -> None:
    """On augmented images the training loss falls by more than noise explains."""
    runs = [run for run in training_runs(lab2) if run.transform is not None and run.transform.is_random]
    if not runs:
        no_run(lab2, "no run was trained on augmented images", wanted=lambda run: run.augments)
    judge_learning(lab2, runs, record_property, lambda run: is_calibrated(run, augmented=True))


@check("lab2.a", "observations", evidence="person")
def check_augmentation_observations(evidence: Evidence) -> None:
    """Validation accuracy with and without augmentation is compared."""
    for_a_person(evidence, "lab2.a")


# -- (b) -------------------------------------------------------------------------------------------------------------


@check("lab2.b.bn", "architecture", evidence="challenge")
def check_bn_architecture(evidence: Evidence, lab2: Lab, record_property: RecordProperty) -> None:
    """A BN layer follows each convolution of SimpleNN, before the activation."""
    if lab2.nets_equal_to(*BN):
        return
    with_bn = [net for net in lab2.nets if any(layer.type.startswith("BatchNorm") for layer in net.layers)]
    if not with_bn:
        _no_bn(lab2)
    net = with_bn[-1]
    activation = "Swish" if any(layer.type in PARTS for layer in net.layers) else "ReLU"
    departure = simplenn.departure(net.layers, activation=activation, bn=True)
    order = [layer.kind for layer in net.layers if layer.kind in ("conv", "bn")]
    if order != ["conv", "bn"] * 2:
        first = f" ({departure.reason})" if departure is not None else ""
        fail(
            f"the order in {net.cls} ({lab2.where(net)}) is {' -> '.join(order)}{first}; "
            f"expected conv -> bn -> conv -> bn",
            credit="bn_not_behind_each_convolution",
        )
    if departure is not None and _as_in_lab_1(evidence, net, departure):
        record_property("as in Lab 1", departure.reason)
        return
    differs(lab2, net, departure, own=simplenn.unnamed(net.layers))


def _as_in_lab_1(evidence: Evidence, net: NetEvent, departure: Departure) -> bool:
    """A mistake that Lab 1 (a) has taken points for already, in a net whose BN layers stand right."""
    read = [net.layers[layer.reads[0]].kind for layer in net.layers if layer.kind == "bn" and layer.reads]
    before = [simplenn.departure(other.layers) for other in evidence.labs["lab1"].nets]
    return departure in before and read == ["conv", "conv"]


def _no_bn(lab: Lab) -> None:
    """No BN layer is executed: it may have been constructed all the same."""
    for net in lab.nets:
        if net.unused and "BatchNorm" in lab.source:
            name = f"{net.cls} ({lab.where(net)})"
            fail(f"{name} constructs layers with {net.unused} parameters, but forward() never calls them")
    missing(lab, "no network with batch normalization was called when the notebook ran", sign="BatchNorm")


def runs_with_bn(lab: Lab) -> list[Run]:
    """Runs of nets that execute a BN layer."""
    return [run for run in training_runs(lab) if run.has_bn]


def with_relu(runs: list[Run]) -> list[Run]:
    """Those whose net has no Swish, which is another question; all where there are no others."""
    return [run for run in runs if not has_swish(run)] or runs


@check("lab2.b.bn", "trained", evidence="trace")
def check_bn_trained(lab2: Lab, rubric: Rubric) -> None:
    """The network with BN is trained afresh on augmented images, in train mode, and validated in eval mode."""
    runs = with_relu(runs_with_bn(lab2))
    if not runs:
        no_run(lab2, "no run trained SimpleNN with BN layers after its convolutions", wanted=lambda run: run.has_bn)
    judge_runs(lab2, runs, rubric)
    # BN is what the two modes differ in, so the loop counts here; the same loop elsewhere costs nothing again.
    whole = [run for run in runs if not shortcomings(lab2, run)]
    fail_for(min((loop_bugs(run) + validation_bugs(run) for run in whole), key=len))


@check("lab2.b.bn", "validation_accuracy", evidence="record")
def check_lab2_accuracy(evidence: Evidence, lab2: Lab, rubric: Rubric, record_property: RecordProperty) -> None:
    """The best validation accuracy of the improved pipeline reaches the goal of Lab 2."""
    judge_accuracy(evidence, lab2, rubric, record_property)


@check("lab2.b.bn", "one_batch", evidence="challenge")
def check_bn_one_batch(lab2: Lab) -> None:
    """The network with BN can learn one batch of real images by heart."""
    with_bn = [net for net in lab2.nets if any(layer.type.startswith("BatchNorm") for layer in net.layers)]
    if not with_bn:
        _no_bn(lab2)
    judge_one_batch(lab2, next(iter(lab2.nets_equal_to(*BN)), None) or with_bn[-1])


@check("lab2.b.bn", "observations", evidence="person")
def check_bn_observations(evidence: Evidence) -> None:
    """The change of the best validation accuracy by BN is stated."""
    for_a_person(evidence, "lab2.b.bn")


def is_larger(run: Run) -> bool:
    """Whether a run has a larger learning rate than Lab 1 began with."""
    return run.rate > 1.1 * LAB_1_RATE.get(run.optimizer, 0.001)


@check("lab2.b.lr", "larger_rate_with_bn", evidence="trace")
def check_larger_rate_with_bn(lab2: Lab, rubric: Rubric) -> None:
    """A network with BN is trained from fresh weights with a learning rate larger than the 0.01 of Lab 1."""
    runs = runs_with_bn(lab2)
    larger = with_relu([run for run in runs if is_larger(run)])
    if not larger:
        found = f"with a larger learning rate; found {found_rates(runs)}" if runs else "at all"
        no_run(lab2, f"no network with BN was trained {found}", wanted=lambda run: run.has_bn)
    judge_runs(lab2, larger, rubric)


@check("lab2.b.lr", "comparison", evidence="trace")
def check_rate_comparison(lab2: Lab) -> None:
    """The larger rate is set against something: the network without BN at a larger rate, or BN at several rates."""
    with_bn = runs_with_bn(lab2)
    plain = any(not run.has_bn and not has_swish(run) and is_larger(run) for run in training_runs(lab2))
    if not with_bn:
        no_run(lab2, "nothing to compare: no network with BN was trained")
    astray = [run for run in lab2.runs if not run.updates_called_net and is_larger(run) and _calls_plain(lab2, run)]
    if astray and not plain:
        other = "the optimizer steps another network than the one that is called"
        fail(f"{astray[0].where}: the network that BN is compared with was never trained: {other}")
    if not plain and len({run.rate for run in with_bn}) < 2:
        found = f"with BN the only learning rate is {found_rates(with_bn)}"
        no_run(
            lab2, f"nothing to compare: {found}, and no network without BN was trained with a larger one than Lab 1's"
        )


def _calls_plain(lab: Lab, run: Run) -> bool:
    """The net that was called has ReLUs and no BN, as the one that BN is compared with."""
    types = {layer.type for net in lab.nets if net.net == run.called for layer in net.layers}
    return "ReLU" in types and not any(kind.startswith("BatchNorm") for kind in types)


@check("lab2.b.lr", "observations", evidence="person")
def check_larger_rate_observations(evidence: Evidence) -> None:
    """The empirical results are stated and interpreted."""
    for_a_person(evidence, "lab2.b.lr")


@check("lab2.b.swish", "architecture", evidence="challenge")
def check_swish_architecture(lab2: Lab) -> None:
    """All ReLUs of SimpleNN are replaced by an own Swish, x * sigmoid(x)."""
    nets = lab2.nets_equal_to(*SWISH) or (nearest(lab2),)
    if all(is_borrowed(lab2, net) for net in nets):
        where = lab2.where(nets[0])
        fail(f"{where}: Swish is torch's own SiLU; the item asks to implement it on your own", credit="borrowed_swish")


@check("lab2.b.swish", "trained", evidence="trace")
def check_swish_trained(lab2: Lab, rubric: Rubric) -> None:
    """The network with BN and Swish is trained with a learning rate of 0.1."""
    runs = [run for run in training_runs(lab2) if has_swish(run)]
    if not runs:
        no_run(lab2, "no run trained a network with Swish", wanted=has_swish)
    with_bn = [run for run in runs if run.has_bn]
    if not any(run.has_bn for run in lab2.runs):  # which (b) Batch normalization has taken points for
        with_bn = runs
    if not with_bn:
        no_run(
            lab2, f"Swish was trained without BN layers ({runs[0].describe()})", credit="without_bn", wanted=has_swish
        )
    wanted = [run for run in with_bn if same(run.rate, 0.1)]
    if not wanted:
        reason = f"BN with Swish was trained with lr={found_rates(with_bn)}; the item asks for 0.1"
        no_run(lab2, reason, credit="another_learning_rate", wanted=has_swish)
    judge_runs(lab2, wanted, rubric)


@check("lab2.b.swish", "observations", evidence="person")
def check_swish_observations(evidence: Evidence) -> None:
    """Swish is compared with ReLU."""
    for_a_person(evidence, "lab2.b.swish")


# -- (c) -------------------------------------------------------------------------------------------------------------


@check("lab2.c.lr", "trained", evidence="trace")
def check_rates_trained(evidence: Evidence, lab2: Lab, rubric: Rubric) -> None:
    """A network with BN is trained with each of the learning rates 1.0, 0.1, 0.05, 0.01, 0.005, 0.001."""
    judge_sweep(evidence, lab2, "lab2.c.lr", "learning rate", learning_rates(lab2, RATES, rubric))


@check("lab2.c.lr", "reported", evidence="record")
def check_rates_reported(evidence: Evidence, lab2: Lab, rubric: Rubric) -> None:
    """A result is reported for each learning rate."""
    judge_reported(evidence, lab2, "lab2.c.lr", runs_of(learning_rates(lab2, RATES, rubric)), len(RATES))


@check("lab2.c.lr", "observations", evidence="person")
def check_rates_observations(evidence: Evidence) -> None:
    """It is concluded whether a large learning rate is beneficial."""
    for_a_person(evidence, "lab2.c.lr")


@check("lab2.c.l2", "trained", evidence="trace")
def check_strengths_trained(evidence: Evidence, lab2: Lab, rubric: Rubric) -> None:
    """A network with BN is trained with each L2 strength 1e-2, 1e-3, 1e-4, 1e-5, 0.0 at a learning rate of 0.01."""
    judge_sweep(evidence, lab2, "lab2.c.l2", "L2 strength", strengths(lab2, STRENGTHS, rubric))


@check("lab2.c.l2", "reported", evidence="record")
def check_strengths_reported(evidence: Evidence, lab2: Lab, rubric: Rubric) -> None:
    """A result is reported for each regularization strength."""
    judge_reported(evidence, lab2, "lab2.c.l2", runs_of(strengths(lab2, STRENGTHS, rubric)), len(STRENGTHS))


@check("lab2.c.l2", "observations", evidence="person")
def check_strengths_observations(evidence: Evidence) -> None:
    """The importance of the regularization strength is commented on."""
    for_a_person(evidence, "lab2.c.l2")


@check("lab2.c.l1", "penalty", evidence="trace")
def check_l1_penalty(lab2: Lab) -> None:
    """The loss has an L1 term: its gradient is lambda * sign(w) on the weights, and weight_decay is off."""
    with_l1 = [run for run in training_runs(lab2) if has_l1(run)]
    alone = [run for run in with_l1 if run.weight_decay == 0]
    covered = max((run.penalty.l1.covers for run in alone if run.penalty is not None), default=0.0)
    if covered >= 0.5:
        return
    if alone:
        fail(
            f"{alone[0].where}: L1 acts on {covered:.0%} of the weights; expected it on all layers",
            credit="l1_on_some_layers",
        )
    if with_l1:
        run = with_l1[0]
        fail(
            f"{run.where}: weight_decay={run.weight_decay:g} is still on: L1 should take L2's place",
            credit="l1_beside_l2",
        )
    penalised = [run for run in training_runs(lab2) if run.penalty is not None]
    diverged = [run for run in training_runs(lab2) if run.weight_decay == 0 and run.loss_kind and not run.losses]
    if diverged and not penalised:
        found = "the loss of this run is not a number, so that a penalty in it could not be measured"
        could_not_check(f"{diverged[-1].where}: {found}: a person must look")
    own = [run for run in training_runs(lab2) if run.weight_decay == 0 and run.loss_kind is None]
    if own and not penalised and re.search(r"\babs\(|norm\(|sign\(", lab2.source):
        could_not_check(f"{own[-1].where}: the loss is none of torch's, so that a penalty in it could not be measured")
    if not penalised:
        no_run(lab2, "no run had an L1 penalty as a part of its loss", wanted=has_l1)
    _judge_other_penalty(penalised[-1])


def _judge_other_penalty(run: Run) -> None:
    penalty = run.penalty
    assert penalty is not None
    if penalty.gradient_norm == 0:
        found = f"the penalty adds {penalty.value:g} to the loss but no gradient to the weights"
        fail(f"{run.where}: {found}: it is computed on .data, detached or of biases alone, or its factor is 0")
    if l2_penalty(penalty):
        fail(f"{run.where}: the penalty in the loss is L2, with a gradient along w; expected lambda * sign(w)")
    if penalty.l1.coefficient < 0:
        fail(
            f"{run.where}: the penalty is subtracted: it rewards large weights; expected + lambda * |w|",
            credit="l1_subtracted",
        )
    could_not_check(f"{run.where}: a penalty is in the loss, but neither L1 nor L2 of all weights: a person must look")


@check("lab2.c.l1", "distribution", evidence="record")
def check_distribution(evidence: Evidence, lab2: Lab) -> None:
    """The distributions of weights after L1 and L2 regularization are shown."""
    sign = r"\.hist\b|\bhist\(|histogram|histplot|kde|displot|violin|boxplot|\bbins\b"  # a `hist` may be a history
    drawn = [cell.index for cell in lab2.plots if lab2.code.reaches(cell.index, sign)]
    if any(_reads_weights(lab2, index) for index in drawn):
        return
    if drawn:
        could_not_check(f"cell {drawn[0] + 1} draws a distribution, but perhaps not of weights: a person must look")
    if re.search(r"histogram|distribution", words(evidence, "lab2.c.l1"), re.IGNORECASE):
        could_not_check("no plot was found, but the answer speaks of the distributions: a person must look")
    missing(lab2, "no plot of the distributions of weights was found among the outputs", sign=sign)


def _reads_weights(lab: Lab, index: int) -> bool:
    """Weights are named in a cell, in code that it calls, or in the text of a cell that gave a name its value."""
    if lab.code.reaches(index, WEIGHTS):
        return True
    cells = lab.code.cells
    imported = {name for cell in cells.values() for name in re.findall(r"\b(?:import|as) (\w+)", cell.text)}
    used = cells[index].uses - imported
    sources = (other for other, cell in cells.items() if other != index and not cell.binds.isdisjoint(used))
    return any(re.search(WEIGHTS, cells[other].text) for other in sources)  # making and training a net reads them too


@check("lab2.c.l1", "observations", evidence="person")
def check_l1_observations(evidence: Evidence) -> None:
    """The distributions are compared and described."""
    for_a_person(evidence, "lab2.c.l1")
