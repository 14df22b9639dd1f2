"""Lab 3: ResNet-20, its accuracy, and its predictions on the held-out test images."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from grader.checks.outcome import check, could_not_check, fail
from grader.checks.support import missing
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.predictions import score
from grader.evidence.record import max_validation_accuracy
from grader.execution.trace_events import NetEvent
from grader.rubric import Rubric

RESNET20 = ("resnet20_a", "resnet20_a_behind", "resnet20_b")
# Option A and B, each also with biases in its convolutions, which BN makes ineffective.
PARAMETERS = (269_722, 270_410, 272_474, 273_258)


def residual_net(lab: Lab) -> NetEvent:
    """The notebook's ResNet: one that equals ResNet-20, else the deepest net that was called."""
    if not lab.nets:
        broken = lab.broken_nets
        if broken:
            fail(f"{broken[0].cls} raises on a batch of (2, 3, 32, 32) images: {broken[0].problem}")
        missing(lab, "no network was built when the notebook ran")
    equal = lab.nets_equal_to(*RESNET20)
    return equal[0] if equal else max(lab.nets, key=lambda net: sum(layer.kind == "conv" for layer in net.layers))


def topology(net: NetEvent) -> dict[int, int]:
    """Number of executed 3x3 convolutions by output channels; 7, 6, 6 at 16, 32, 64 for ResNet-20."""
    counts: dict[int, int] = {}
    for layer in net.layers:
        if layer.kind == "conv" and layer.weight is not None and layer.weight[2:] == (3, 3):
            counts[layer.weight[0]] = counts.get(layer.weight[0], 0) + 1
    return counts


@check("lab3.a", "architecture", evidence="challenge")
def check_resnet20(lab3: Lab) -> None:
    """The network computes ResNet-20's function (Section 4.2, n = 3) with any weights, with shortcut A or B."""
    net = residual_net(lab3)
    if lab3.nets_equal_to(*RESNET20):
        return
    counts = topology(net)
    if counts == {16: 7, 32: 6, 64: 6}:
        fail(
            f"{net.cls} has ResNet-20's convolutions, but with the same weights its outputs differ: look at where ReLU, "
            "BN and the addition stand, and at the strides",
            credit=0.5,
        )
    found = ", ".join(f"{number} at {channels}" for channels, number in sorted(counts.items())) or "none"
    fail(
        f"3x3 convolutions by channels in {net.cls}: {found}; expected 7 at 16, 6 at 32, 6 at 64",
        credit=0.25 if len(counts) >= 3 else 0.0,
        parameters=net.used,
    )


@check("lab3.a", "parameter_count", evidence="challenge")
def check_resnet20_parameters(lab3: Lab) -> None:
    """The network uses ResNet-20's number of parameters: 269,722 with option A, 272,474 with option B."""
    net = residual_net(lab3)
    if net.used not in PARAMETERS:
        expected = "269,722 (option A) or 272,474 (option B)"
        fail(f"{net.cls} uses {net.used:,} parameters; expected {expected}", unused=net.unused)


@check("lab3.b", "trained", evidence="trace")
def check_resnet_trained(lab3: Lab) -> None:
    """ResNet is trained on training images in train mode, and validated in eval mode."""
    net = residual_net(lab3)
    wanted = {net.net} | {other.net for other in lab3.nets if topology(other) == topology(net)}
    runs = [run for run in lab3.runs if run.net in wanted and "train" in run.splits]
    if not runs:
        missing(lab3, f"no optimizer step on {net.cls} with training images was seen when the notebook ran")
    run = max(runs, key=lambda run: run.steps)
    bugs = []
    if run.in_train_mode < 0.9:
        bugs.append("steps were taken in eval mode: call train() every epoch")
    if run.zeroed < 0.9:
        bugs.append("gradients add up from step to step: call zero_grad()")
    if "test" in run.splits:
        bugs.append("steps were taken on the test split")
    if any(passed.training for passed in run.validations):
        bugs.append("validation ran in train mode: call eval() before it")
    if not run.validations:
        bugs.append("it was never called on validation images")
    if bugs:
        fail("; ".join(bugs), credit=0.5 if len(bugs) == 1 else 0.0, run=run.describe())


def bar(evidence: Evidence, rubric: Rubric) -> float:
    """Lab 3's accuracy bar on this course's data."""
    return rubric.bars.lab3 - (rubric.bars.lossy_allowance if evidence.lossy else 0.0)


@check("lab3.b", "validation_accuracy", evidence="record")
def check_resnet_accuracy(evidence: Evidence, lab3: Lab, rubric: Rubric) -> None:
    """The validation accuracy in the saved outputs reaches the assignment's 90 %."""
    best, wanted = max_validation_accuracy(lab3.record), bar(evidence, rubric)
    if best is None:
        fail(f"the saved outputs of {lab3.file} show no validation accuracy (were they cleared before handing in?)")
    if best < wanted:
        credit = 0.5 if best >= wanted - 0.05 else 0.0
        fail(f"the best validation accuracy in the saved outputs is {best:.4f}, expected {wanted:.2f}", credit=credit)


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
def check_held_out_accuracy(evidence: Evidence, rubric: Rubric, record_property: Callable[[str, object], None]) -> None:
    """The predicted labels agree with the held-out labels on 90 % of the test images."""
    predicted = labels(evidence)
    if evidence.truth is None:
        could_not_check("no held-out labels here: only the format was checked; the score comes at grading")
    result, wanted = score(evidence.truth, predicted), bar(evidence, rubric)
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
    points = [(a, s) for a, s in zip(scale.accuracy, scale.share, strict=True) if a < wanted] + [(wanted, 1.0)]
    if accuracy <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if accuracy <= x1:
            return y0 + (y1 - y0) * (accuracy - x0) / (x1 - x0)
    return 1.0
