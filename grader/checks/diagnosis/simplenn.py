"""Where a net departs from Table 1 of the assignment, with or without BN behind its convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grader.checks.diagnosis.graph import (
    ACTIVATIONS,
    DROPOUTS,
    OUTPUTS,
    POOLINGS,
    Convolution,
    Departure,
    Step,
    UnsureError,
    called,
    chain,
    square,
)
from grader.execution.trace_events import LayerRecord


@dataclass(frozen=True)
class Row:
    """A layer with weights, and the steps up to the next one."""

    layer: Step
    behind: tuple[Step, ...]


@dataclass(frozen=True)
class Wanted:
    """What follows a layer: its activation's name ("" for none), whether BN and max pooling do."""

    activation: str
    bn: bool = False
    pooling: bool = False


CONVOLUTIONS = {"conv1": Convolution(8, 5), "conv2": Convolution(16, 3)}
UNITS = {"fc1": 120, "fc2": 84, "fc3": 10}


def departure(layers: Sequence[LayerRecord], *, activation: str = "ReLU", bn: bool = False) -> Departure | None:
    """The first departure from SimpleNN in order of execution; None where there is none that is sure."""
    try:
        before, rows = _rows(chain(layers))
    except UnsureError:
        return None
    if before:
        return Departure(f"{called(before[0])} stands before conv1; none expected", "more_layers")
    counted = _count(rows)
    return counted or _first(rows, activation, bn)


def unnamed(layers: Sequence[LayerRecord]) -> tuple[str, ...]:
    """Operations that are neither layers nor torch's own activations, such as those of a hand-made activation."""
    try:
        return tuple(dict.fromkeys(part for step in chain(layers) if not step.is_sure for part in step.parts))
    except UnsureError:
        return ()


def _rows(steps: list[Step]) -> tuple[tuple[Step, ...], list[Row]]:
    """The steps before the first layer with weights, and the rows from there."""
    starts = [place for place, step in enumerate(steps) if step.type in ("Conv2d", "Linear")]
    if not starts:
        raise UnsureError
    ends = [*starts[1:], len(steps)]
    rows = [Row(steps[start], tuple(steps[start + 1 : end])) for start, end in zip(starts, ends, strict=True)]
    sure = tuple(step for step in steps[: starts[0]] if step.is_sure)
    return sure, rows


def _count(rows: list[Row]) -> Departure | None:
    """Another number of convolutions or of fully-connected layers."""
    types = [row.layer.type for row in rows]
    found = types.count("Conv2d"), types.count("Linear")
    if types == sorted(types) and found == (2, 3):
        return None
    reason = f"2 convolutions and then 3 fully-connected layers expected; found {found[0]} and {found[1]}"
    return Departure(reason, "more_layers" if found[0] >= 2 and found[1] >= 3 else "fewer_layers")


def _first(rows: list[Row], activation: str, bn: bool) -> Departure | None:
    for (name, wanted), row in zip(CONVOLUTIONS.items(), rows[:2], strict=True):
        executed = Convolution.of(row.layer.record)
        geometry = wanted.against(executed)
        if geometry is not None:
            wider = replace(executed, channels=wanted.channels) == wanted
            return Departure(f"{name}: {geometry}", "other_units" if wider else "other_geometry")
        found = _behind(name, row.behind, Wanted(activation, bn, pooling=True)) or _no_bias(name, row, bn)
        if found is not None:
            return found
    for (name, units), row in zip(UNITS.items(), rows[2:], strict=True):
        weight = row.layer.record.weight or (0, 0)
        if weight[0] != units:
            return Departure(f"{name}: {units} units expected; found {weight[0]}", "other_units")
        found = _behind(name, row.behind, Wanted("" if name == "fc3" else activation)) or _no_bias(name, row, False)
        if found is not None:
            return found
    return None


def _no_bias(name: str, row: Row, bn: bool) -> Departure | None:
    if row.layer.record.bias or bn:
        return None
    return Departure(f"{name} has no bias; expected one", "no_bias")


def _behind(name: str, steps: tuple[Step, ...], wanted: Wanted) -> Departure | None:
    """The first departure among the steps behind a layer."""
    return (
        _bn(name, steps, wanted)
        or _activation(name, steps, wanted)
        or (_pooling(name, steps) if wanted.pooling else None)
        or _dropout(name, steps)
    )


def _dropout(name: str, steps: tuple[Step, ...]) -> Departure | None:
    found = [step for step in steps if step.type in DROPOUTS]
    reason = f"{called(found[0])} is executed behind {name}; none expected" if found else ""
    return Departure(reason, "other_in_train_mode") if found else None


def _bn(name: str, steps: tuple[Step, ...], wanted: Wanted) -> Departure | None:
    found = [place for place, step in enumerate(steps) if step.type.startswith("BatchNorm")]
    if not wanted.bn:
        credit = "more_layers" if wanted.pooling else "bn_behind_other_layers"
        return Departure(f"BN is executed behind {name}; none expected there", credit) if found else None
    if not found:
        return Departure(f"no BN behind {name}", "bn_not_behind_each_convolution") if _all_sure(steps) else None
    before = [step for step in steps[: found[0]] if step.type in ACTIVATIONS]
    if before:
        reason = f"BN stands behind the activation ({called(before[0])}) of {name}; expected directly behind {name}"
        return Departure(reason, "bn_behind_activation")
    if any(step.type in POOLINGS for step in steps[: found[0]]):
        return Departure(f"BN stands behind the pooling of {name}; expected directly behind {name}", "bn_misplaced")
    if len(found) > 1:
        return Departure(f"{len(found)} BN layers behind {name}; expected one", "more_layers")
    if steps[found[0]].record.weight is None:
        return Departure(f"the BN behind {name} has no weight and bias to learn", "bn_without_weights")
    return None


def _all_sure(steps: tuple[Step, ...]) -> bool:
    return all(step.is_sure for step in steps)


def _activation(name: str, steps: tuple[Step, ...], wanted: Wanted) -> Departure | None:
    found = [step for step in steps if step.type in ACTIVATIONS or step.type in OUTPUTS]
    if not wanted.activation:
        ends = [step for step in found if step.type != "LogSoftmax"]
        credit = "softmax_at_the_end" if ends and ends[0].type == "Softmax" else "activation_at_the_end"
        return Departure(f"{called(ends[0])} behind {name}; none expected", credit) if ends else None
    other = [step for step in found if step.type != wanted.activation]
    if other:
        return Departure(f"{wanted.activation} expected behind {name}; found {called(other[0])}", "other_activation")
    if not found:
        reason = f"no {wanted.activation} behind {name}"
        return Departure(reason, "activation_missing") if _all_sure(steps) else None
    if wanted.activation != "ReLU" and len(found) > 1:
        return Departure(f"{wanted.activation} is executed {len(found)} times behind {name}", "other_activation")
    if wanted.activation != "ReLU" and wanted.pooling and _pools_first(steps, found[0]):
        return Departure(f"{wanted.activation} of {name} stands behind the pooling; expected before", "other_order")
    return None


def _pools_first(steps: tuple[Step, ...], activation: Step) -> bool:
    """ReLU and max pooling can be exchanged; an activation that falls and rises again cannot."""
    return any(step.type in POOLINGS and step.first < activation.first for step in steps)


def _pooling(name: str, steps: tuple[Step, ...]) -> Departure | None:
    found = [step for step in steps if step.type in POOLINGS]
    if not found:
        return Departure(f"no max pooling behind {name}", "other_pooling") if _all_sure(steps) else None
    if len(found) > 1:
        return Departure(f"{len(found)} pooling layers behind {name}; expected one", "other_pooling")
    record = found[0].record
    if found[0].type == "AdaptiveMaxPool2d":  # of the right output size it is the same
        return None
    if found[0].type != "MaxPool2d":
        return Departure(f"max pooling expected behind {name}; found {called(found[0])}", "other_pooling")
    kernel = square(record.kernel_size, 0)
    geometry = kernel, square(record.stride, kernel or 0), square(record.padding, 0), square(record.dilation, 1)
    if geometry == (2, 2, 0, 1):
        return None
    shown = ", ".join(
        f"{word} {'other' if size is None else size}"
        for word, size, usual in zip(
            ("kernel", "stride", "padding", "dilation"), geometry, (None, None, 0, 1), strict=True
        )
        if size != usual
    )
    return Departure(f"pooling behind {name}: kernel 2, stride 2 expected; found {shown}", "other_pooling")
