"""Lab 3: ResNet-20, its accuracy, and its predictions on the held-out test images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from grader.checks.borrowed import borrowed_call
from grader.checks.claims import judge_accuracy
from grader.checks.diagnosis import resnet
from grader.checks.learning import judge_learning, judge_one_batch
from grader.checks.outcome import RecordProperty, check, could_not_check, fail
from grader.checks.support import differs, largest_net
from grader.checks.training import Bug, fail_for, loop_bugs, no_run, saved_untrained, training_runs, validation_bugs
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.predictions import score
from grader.evidence.runs import Run
from grader.execution.trace_events import LayerRecord, LoadEvent, NetEvent, PassEvent, StepEvent
from grader.rubric import Rubric

RESNET20 = ("resnet20_a", "resnet20_a_behind", "resnet20_b")
# Option A and B, each also with biases in its convolutions, which BN makes ineffective.
PARAMETERS = (269_722, 270_410, 272_474, 273_258)
AUGMENTED = "validation images are augmented at random; validation must measure the images themselves"
TOPOLOGY = {16: 7, 32: 6, 64: 6}


def residual_net(lab: Lab) -> NetEvent:
    """The notebook's ResNet: one that equals ResNet-20, else the deepest net that was called."""
    equal = lab.nets_equal_to(*RESNET20)
    return equal[0] if equal else largest_net(lab)


def topology(layers: Iterable[LayerRecord]) -> dict[int, int]:
    """Number of executed 3x3 convolutions by output channels; 7, 6, 6 at 16, 32, 64 for ResNet-20."""
    counts: dict[int, int] = {}
    for layer in layers:
        if layer.kind == "conv" and layer.weight is not None and layer.weight[2:] == (3, 3):
            counts[layer.weight[0]] = counts.get(layer.weight[0], 0) + 1
    return counts


@check("lab3.a", "architecture", evidence="challenge")
def check_resnet20(lab3: Lab) -> None:
    """The network computes ResNet-20's function (Section 4.2, n = 3) with any weights, with shortcut A or B."""
    if lab3.nets_equal_to(*RESNET20):
        return
    net = residual_net(lab3)
    call = borrowed_call(lab3, net)
    if call is not None:
        fail(f"the network comes from a library of models ({call}); the item asks to implement ResNet-20 yourself")
    counts, departure = topology(net.layers), resnet.departure(net.layers)
    of_size = departure is None or departure.credit == "other_widths_or_depth"
    if counts != TOPOLOGY and (of_size or len(counts) < len(TOPOLOGY)):
        found = ", ".join(f"{number} at {channels}" for channels, number in sorted(counts.items())) or "none"
        fail(
            f"3x3 convolutions by channels in {net.cls} ({lab3.where(net)}): {found}; "
            f"expected 7 at 16, 6 at 32, 6 at 64",
            credit="other_widths_or_depth" if len(counts) >= len(TOPOLOGY) else 0.0,
        )
    differs(lab3, net, departure)


@check("lab3.a", "parameter_count", evidence="challenge")
def check_resnet20_parameters(lab3: Lab, record_property: RecordProperty) -> None:
    """The network uses ResNet-20's number of parameters: 269,722 with option A, 272,474 with option B."""
    net = residual_net(lab3)
    record_property("used", net.used)
    record_property("unused", net.unused)
    if not lab3.nets_equal_to(*RESNET20) and net.used not in PARAMETERS:
        expected = "269,722 (option A) or 272,474 (option B)"
        unused = f", besides {net.unused:,} that it never uses" if net.unused else ""
        fail(f"{net.cls} ({lab3.where(net)}) uses {net.used:,} parameters{unused}; expected {expected}")


@check("lab3.a", "one_batch", evidence="challenge")
def check_resnet_one_batch(lab3: Lab) -> None:
    """The network can learn one batch of real images by heart."""
    judge_one_batch(lab3, residual_net(lab3))


@check("lab3.b", "trained", evidence="trace")
def check_resnet_trained(lab3: Lab) -> None:
    """ResNet is trained on training images in train mode, validated in eval mode, and what was trained is saved."""
    net = residual_net(lab3)
    runs = [run for run in training_runs(lab3) if topology(run.layers) == topology(net.layers)]
    if not runs:
        no_run(lab3, f"no optimizer step on {net.cls} ({lab3.where(net)}) with training images was seen")
    run = max(runs, key=lambda run: run.steps)
    if any("test" in run.splits for run in runs):
        fail("steps were taken on the test split; do not train on the test set", run=run.describe())
    if any("val" in run.splits for run in runs):
        fail("steps were taken on validation images, which then measure nothing", run=run.describe())
    wrong_net_saved = saved_untrained(lab3)
    elsewhere = [event for event in lab3.of_type(LoadEvent) if event.steps is None and event.net == run.net]
    if elsewhere and not wrong_net_saved:  # what is loaded may be the wrong net that was saved
        where = lab3.where(elsewhere[0])
        could_not_check(f"{where} loads weights that were not trained in this notebook: a person must look")
    validations = run.validations + copies_validated(lab3, run)
    bugs = loop_bugs(run) + validation_bugs(replace(run, validations=validations)) + wrong_net_saved
    if run.loss_kind == "cross_entropy" and run.loss_fed == "probabilities":
        sentence = f"{run.where}: cross-entropy applies softmax itself: feed it logits, without your softmax"
        bugs.append(Bug("softmax_and_loss", sentence))
    if not validations and not any(run.validations for run in runs):
        bugs.append(Bug("never_validated", "it was never called on validation images while it was trained"))
    fail_for(bugs + _other_bugs(lab3, run, validations), run=run.describe())


def _other_bugs(lab: Lab, run: Run, validations: tuple[PassEvent, ...]) -> list[Bug]:
    """Validation images that are augmented, and schedulers that are never stepped."""
    measured = {passed.loader for passed in validations}
    transforms = [loader.transform for loader in lab.loaders if loader.loader in measured]
    random = any(transform is not None and transform.is_random for transform in transforms)
    bugs = [Bug("validation_augmented", f"{run.where}: {AUGMENTED}")] if random else []
    if run.schedulers and not any(schedule.steps for schedule in run.schedulers) and len(run.rates) == 1:
        sentence = f"{run.where}: the {run.schedulers[-1].kind} scheduler is made, but its step() is never called"
        bugs.append(Bug("scheduler_never_stepped", sentence))
    return bugs


@check("lab3.b", "learns", evidence="trace")
def check_resnet_learns(lab3: Lab, record_property: RecordProperty) -> None:
    """The training loss of ResNet falls by more than noise explains."""
    net = residual_net(lab3)
    runs = [run for run in training_runs(lab3) if topology(run.layers) == topology(net.layers)]
    if not runs:
        no_run(lab3, f"no optimizer step on {net.cls} ({lab3.where(net)}) with training images was seen")
    judge_learning(lab3, runs, record_property)


def copies_validated(lab: Lab, run: Run) -> tuple[PassEvent, ...]:
    """Passes of nets with the trained net's layers over validation images since its first step, such as its average."""
    alike = {net.net for net in lab.nets if topology(net.layers) == topology(run.layers)}
    loaders = {loader.loader for loader in lab.validation_loaders()}
    steps = (k for k, event in enumerate(lab.events) if isinstance(event, StepEvent) and event.net == run.net)
    passes = (event for event in lab.events[next(steps, 0) :] if isinstance(event, PassEvent))
    return tuple(event for event in passes if event.loader in loaders and not alike.isdisjoint(event.nets))


@check("lab3.b", "validation_accuracy", evidence="record")
def check_resnet_accuracy(evidence: Evidence, lab3: Lab, rubric: Rubric, record_property: RecordProperty) -> None:
    """The validation accuracy in the saved outputs reaches the bar of the assignment."""
    judge_accuracy(evidence, lab3, rubric, record_property)


def labels(evidence: Evidence) -> tuple[int, ...]:
    """The predicted labels, or what is wrong with the file."""
    predictions = evidence.predictions
    if predictions.labels is None:
        fail(predictions.problem or "predictions.csv cannot be read", line=predictions.line)
    return predictions.labels


@check("lab3.b", "predictions_format", evidence="file")
def check_predictions_format(evidence: Evidence) -> None:
    """predictions.csv has the header Id,Label and one label of 0-9 for each of the 10,000 test images."""
    labels(evidence)


@check("lab3.b", "held_out_accuracy", evidence="file")
def check_held_out_accuracy(evidence: Evidence, rubric: Rubric, record_property: RecordProperty) -> None:
    """The share of held-out test images whose label is predicted reaches the bar of the assignment."""
    wanted = rubric.bars.on(evidence.lossy, "lab3")
    record_property("bar", wanted)
    predicted = labels(evidence)
    if evidence.truth is None:
        could_not_check("no held-out labels here: only the format was checked; the score comes at grading")
    result = score(evidence.truth, predicted)
    record_property("accuracy", result.accuracy)
    record_property("interval", list(result.interval))
    record_property("recall", list(result.recall))
    if result.accuracy < wanted:
        low, high = result.interval
        fail(
            f"accuracy on the held-out images is {result.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}); "
            f"full points at {wanted:.2f}",
            credit=share(result.accuracy, rubric, wanted),
        )


def share(accuracy: float, rubric: Rubric, wanted: float) -> float:
    """Share of the points on the rubric's piecewise linear scale, which ends with 1 at the bar."""
    scale = rubric.held_out_scale
    below = [(a, s) for a, s in zip(scale.accuracy, scale.share, strict=True) if a < wanted]
    accuracies, shares = zip(*below, (wanted, 1.0), strict=True)
    return float(np.interp(accuracy, accuracies, shares))
