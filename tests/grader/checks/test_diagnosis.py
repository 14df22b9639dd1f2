"""Diagnosis on the records of real nets: the first departure, named; nothing where the record does not tell."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from departing_nets import (
    CONV1,
    CONV2,
    FIRST,
    SECOND,
    Build,
    Head,
    Stem,
    behind_conv1,
    concatenated,
    first_block,
    layered,
    projected,
    strided,
    styled,
    twice_activated,
    without_bn,
    without_second_bn,
)
from torch import nn
from torch.nn import functional as F

from grader.checks.diagnosis import resnet, simplenn
from grader.checks.diagnosis.graph import Departure
from grader.execution.trace_events import LayerRecord
from grader.execution.world import INSIDE
from grader.rubric import load_rubric

sys.path += [str(INSIDE), str(Path(__file__).parent.parent / "execution")]
import student_nets as student
from course_world.operations import Watch

pytestmark = pytest.mark.usefixtures("one_thread")


def record(net: nn.Module) -> tuple[LayerRecord, ...]:
    """What the trace holds of a net's first call."""
    with torch.no_grad(), Watch() as watch:
        net(torch.zeros(2, 3, 32, 32))
    return tuple(LayerRecord.model_validate(json.loads(json.dumps(o.describe()))) for o in watch.operations)


SIMPLENN: list[tuple[Build, str, str]] = [
    (student.LeakyReLU, "ReLU expected behind conv1; found LeakyReLU (slope 0.01)", "other_activation"),
    (student.NoReLUBetween, "no ReLU behind fc2", "activation_missing"),
    (student.ReLUAtTheEnd, "ReLU behind fc3; none expected", "activation_at_the_end"),
    (student.AveragePools, "max pooling expected behind conv1; found average pooling", "other_pooling"),
    (student.Padded, "conv1: kernel 5, stride 1, no padding expected; found padding 2", "other_geometry"),
    (student.Dropped, "dropout (p=0.5) is executed behind fc1; none expected", "other_in_train_mode"),
    (student.Softmax, "softmax behind fc3; none expected", "softmax_at_the_end"),
    (
        layered(*FIRST, nn.Conv2d(8, 16, 5, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        "conv2: kernel 3, stride 1, no padding expected; found kernel 5, padding 1",
        "other_geometry",
    ),
    (
        layered(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        "conv1: 8 channels expected; found 6 channels",
        "other_units",
    ),
    (
        layered(CONV1, nn.ReLU(), nn.MaxPool2d(3, 2), *SECOND, units=(400, 120, 84, 10)),
        "pooling behind conv1: kernel 2, stride 2 expected; found kernel 3, stride 2",
        "other_pooling",
    ),
    (
        layered(*FIRST, CONV2, nn.ReLU(), units=(2304, 120, 84, 10)),
        "no max pooling behind conv2",
        "other_pooling",
    ),
    (layered(*FIRST, *SECOND, units=(576, 128, 84, 10)), "fc1: 120 units expected; found 128", "other_units"),
    (
        layered(*FIRST, *SECOND, units=(576, 120, 10)),
        "2 convolutions and then 3 fully-connected layers expected; found 2 and 2",
        "fewer_layers",
    ),
    (
        layered(*FIRST, nn.BatchNorm2d(8), *SECOND),
        "BN is executed behind conv1; none expected there",
        "more_layers",
    ),
    (
        layered(nn.Conv2d(3, 8, 5, bias=False), nn.ReLU(), nn.MaxPool2d(2), *SECOND),
        "conv1 has no bias; expected one",
        "no_bias",
    ),
    (layered(nn.BatchNorm2d(3), *FIRST, *SECOND), "BN stands before conv1; none expected", "more_layers"),
]
WITH_BN: list[tuple[Build, str, str]] = [
    (
        student.NormalisedAfterReLU,
        "BN stands behind the activation (ReLU) of conv1; expected directly behind conv1",
        "bn_behind_activation",
    ),
    (
        student.NormalisedAfterPool,
        "BN stands behind the pooling of conv1; expected directly behind conv1",
        "bn_misplaced",
    ),
    (student.NormalisedNeverCalled, "no BN behind conv1", "bn_not_behind_each_convolution"),
    (
        layered(CONV1, nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), *SECOND),
        "no BN behind conv2",
        "bn_not_behind_each_convolution",
    ),
    (
        layered(CONV1, nn.BatchNorm2d(8, affine=False), nn.ReLU(), nn.MaxPool2d(2), *SECOND),
        "the BN behind conv1 has no weight and bias to learn",
        "bn_without_weights",
    ),
]
WITH_SWISH: list[tuple[Build, str, str]] = [
    (student.SwishButForOne, "Swish expected behind fc2; found ReLU", "other_activation"),
    (student.Table1, "no BN behind conv1", "bn_not_behind_each_convolution"),
]
RESNET: list[tuple[Build, str, str]] = [
    (styled("B without BN"), "the shortcut of stage 2 block 1 has a projection without BN", "projection_without_bn"),
    (
        styled("BN after ReLU"),
        "BN stands behind the activation of stage 1 block 1 conv1; expected before",
        "bn_behind_activation",
    ),
    (styled("ReLU missing"), "no ReLU behind stage 1 block 1 conv1", "activation_missing"),
    (
        styled("ReLU before the addition"),
        "stage 1 block 1: a ReLU stands before the addition; expected behind it alone",
        "relu_misplaced",
    ),
    (styled("no ReLU after the addition"), "stage 1 block 1: no ReLU behind the addition", "relu_misplaced"),
    (
        first_block(lambda block, x: F.relu(block.main(x)) + x),
        "stage 1 block 1: the last ReLU stands before the addition",
        "relu_misplaced",
    ),
    (styled("no shortcut"), "stage 1 block 1: no shortcut is added", "no_shortcut"),
    (first_block(lambda block, x: F.relu(block.main(x))), "stage 1 block 1: no shortcut is added", "no_shortcut"),
    (
        styled("averaging shortcut"),
        "the shortcut of stage 2 block 1 takes average pooling over 2x2 pixels; option A takes every second pixel",
        "other_shortcut",
    ),
    (
        styled("stride in the second"),
        "stage 2 block 1: stride 2 expected in conv1; found in conv2",
        "other_order",
    ),
    (
        styled("pooled after the stem"),
        "max pooling behind the first convolution, as for ImageNet; none expected",
        "pooling_in_stem",
    ),
    (
        styled("B with a ReLU"),
        "the shortcut of stage 2 block 1 adds a ReLU that the paper does not have",
        "other_shortcut",
    ),
    (styled("dropout"), "dropout (p=0.3) before the classifier; none expected", "other_in_train_mode"),
    (
        first_block(behind_conv1),
        "stage 1 block 1: the shortcut does not start at the block's input",
        "other_shortcut",
    ),
    (
        first_block(concatenated),
        "stage 1 block 1: the shortcut is concatenated; expected an addition",
        "no_shortcut",
    ),
    (
        first_block(projected),
        "stage 1 block 1: a projection in the shortcut; the identity expected",
        "other_shortcut",
    ),
    (first_block(without_second_bn), "no BN behind stage 1 block 1 conv2", "bn_missing"),
    (first_block(without_bn), "no BN behind stage 1 block 1 conv1", "bn_missing"),
    (
        lambda: Stem(nn.Conv2d(3, 16, 7, 1, 3), nn.BatchNorm2d(16), nn.ReLU()),
        "the first convolution: kernel 3, stride 1, padding 1 expected; found kernel 7, padding 3",
        "other_geometry",
    ),
    (
        lambda: Stem(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU()),
        "no BN behind the first convolution",
        "bn_missing",
    ),
    (
        lambda: strided(1),
        "stage 2 block 1 conv1: kernel 3, stride 2, padding 1 expected; found stride 1",
        "other_stride",
    ),
    (
        lambda: Head(nn.Flatten(), nn.Linear(4096, 10)),
        "global average pooling before the classifier is missing",
        "global_pooling_missing",
    ),
    (
        lambda: Head(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(256, 10)),
        "average pooling before the classifier leaves maps of 2x2; expected 1x1",
        "global_pooling_missing",
    ),
    (
        lambda: Head(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
        "global average pooling expected; found adaptive max pooling",
        "other_pooling",
    ),
    (
        lambda: Head(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 32), nn.Linear(32, 10)),
        "one fully-connected layer with 10 units expected; found 32",
        "more_layers",
    ),
    (
        lambda: Head(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1)),
        "softmax behind the classifier; none expected",
        "softmax_at_the_end",
    ),
]


def named(cases: list[tuple[Build, str, str]]) -> list[object]:
    return [pytest.param(*case, id=case[1]) for case in cases]


@pytest.mark.parametrize(("build", "reason", "credit"), named(SIMPLENN))
def test_departure_from_simplenn(build: Build, reason: str, credit: str) -> None:
    assert simplenn.departure(record(build())) == Departure(reason, credit)


@pytest.mark.parametrize(("build", "reason", "credit"), named(WITH_BN))
def test_departure_from_simplenn_with_bn(build: Build, reason: str, credit: str) -> None:
    assert simplenn.departure(record(build()), bn=True) == Departure(reason, credit)


@pytest.mark.parametrize(("build", "reason", "credit"), named(WITH_SWISH))
def test_departure_from_simplenn_with_swish(build: Build, reason: str, credit: str) -> None:
    assert simplenn.departure(record(build()), bn=True, activation="Swish") == Departure(reason, credit)


@pytest.mark.parametrize(("build", "reason", "credit"), named(RESNET))
def test_departure_from_resnet20(build: Build, reason: str, credit: str) -> None:
    assert resnet.departure(record(build())) == Departure(reason, credit)


def test_every_credit_stands_in_the_rubric() -> None:
    credits = {credit for cases in (SIMPLENN, WITH_BN, WITH_SWISH, RESNET) for _, _, credit in cases}
    assert credits <= set(load_rubric().partial_credit)


@pytest.mark.parametrize(
    "build",
    [
        student.Table1,
        student.Functional,
        student.Listed,
        student.PoolsFirst,
        student.SeveralOutputs,
        student.LogSoftmax,
        student.NormalisedNeverCalled,
        layered(CONV1, nn.ReLU(), nn.AdaptiveMaxPool2d(14), *SECOND),
        layered(CONV1, nn.ReLU(), nn.ReLU(), nn.Dropout(0.0), nn.MaxPool2d(2, 2, ceil_mode=True), *SECOND),
    ],
)
def test_no_departure_in_a_right_simplenn(build: Build) -> None:
    assert simplenn.departure(record(build())) is None


@pytest.mark.parametrize(
    "style",
    ["plain", "zeros by cat", "biases", "zeros in the middle", "B", "B, shortcut first", "B, both convolutions first"],
)
def test_no_departure_in_a_right_resnet20(style: str) -> None:
    assert resnet.departure(record(student.ResNet(style))) is None


@pytest.mark.parametrize(
    "head",
    [
        (nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(64, 10)),
        (nn.AvgPool2d(8), nn.Dropout(0.0), nn.Flatten(), nn.Linear(64, 10), nn.LogSoftmax(1)),
    ],
)
def test_no_departure_in_a_right_head(head: tuple[nn.Module, ...]) -> None:
    assert resnet.departure(record(Head(*head))) is None


def test_one_more_relu_behind_a_relu_is_no_departure() -> None:
    assert resnet.departure(record(first_block(twice_activated)())) is None


@pytest.mark.parametrize(
    ("build", "own"),
    [
        (student.OwnSwish, ("neg", "exp", "Add", "div")),
        (student.Transposed, ("permute",)),
        (student.Functional, ("Clamp",)),
    ],
)
def test_operations_that_the_record_does_not_explain(build: Build, own: tuple[str, ...]) -> None:
    net = record(build())
    bn = any(layer.kind == "bn" for layer in net)
    assert simplenn.departure(net, activation="Swish" if bn else "ReLU", bn=bn) is None
    assert simplenn.unnamed(net) == own


def test_a_net_that_branches_is_no_simplenn_and_nothing_is_said_of_it() -> None:
    assert simplenn.departure(record(student.ResNet())) is None
    assert simplenn.departure(()) is None
    assert resnet.departure(()) is None
    assert resnet.departure(record(first_block(lambda block, x: F.relu(block.main(x) * 0.5 + x))())) is None


def test_a_record_that_reads_itself_or_what_is_not_there_ends_the_search() -> None:
    right = list(record(student.ResNet("B")))
    added = next(place for place, layer in enumerate(right) if layer.type == "Add")
    for reads in ((added,), (added - 1, added), (added - 1, 10**6), tuple(range(64))):
        forged = [*right[:added], right[added].model_copy(update={"reads": reads}), *right[added + 1 :]]
        assert resnet.departure(forged) is None
