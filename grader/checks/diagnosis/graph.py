"""The executed operations of a net as a graph: what reads what, and which operations make up one activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from grader.execution.trace_events import LayerRecord

ACTIVATIONS = {
    **dict.fromkeys(("ReLU", "LeakyReLU", "ELU", "GELU", "Mish", "Hardswish", "Sigmoid", "Tanh", "Swish"), ""),
    "SiLU": "Swish",
    "relu6": "ReLU6",
    "hardtanh": "Hardtanh",
    "prelu": "PReLU",
    "selu": "SELU",
    "celu": "CELU",
    "softplus": "Softplus",
    "log_sigmoid": "LogSigmoid",
    "hardsigmoid": "Hardsigmoid",
}
POOLINGS = {
    "MaxPool2d": "max pooling",
    "AvgPool2d": "average pooling",
    "AdaptiveAvgPool2d": "adaptive average pooling",
    "AdaptiveMaxPool2d": "adaptive max pooling",
}
DROPOUTS = ("Dropout", "Dropout2d")
OUTPUTS = ("Softmax", "LogSoftmax")
# Operations whose meaning is sure from their name and geometry; of others it depends on numbers that are not recorded.
SURE = {"Conv2d", "Linear", "BatchNorm2d", "BatchNorm1d", *ACTIVATIONS, *POOLINGS, *DROPOUTS, *OUTPUTS}


@dataclass(frozen=True)
class Departure:
    """Where a net first departs from the wanted function, and the name of what is left of the points."""

    reason: str
    credit: str


class UnsureError(Exception):
    """The record does not tell what is executed here, or what reads what."""


@dataclass(frozen=True)
class Step:
    """One operation, or several that make up one activation, whose types are `parts`."""

    type: str
    first: int
    last: int
    record: LayerRecord
    parts: tuple[str, ...]

    @property
    def is_sure(self) -> bool:
        """Whether the name says what is computed."""
        return self.type in SURE

    @property
    def has_effect(self) -> bool:
        """False for a dropout that drops nothing."""
        return self.type not in DROPOUTS or self.record.p != 0.0


@dataclass(frozen=True)
class Graph:
    """Operations in order of execution."""

    layers: tuple[LayerRecord, ...]

    @cached_property
    def readers(self) -> tuple[tuple[int, ...], ...]:
        """For each operation those that read its output."""
        found: list[list[int]] = [[] for _ in self.layers]
        for index, layer in enumerate(self.layers):
            for read in layer.reads:
                found[read].append(index)
        return tuple(map(tuple, found))

    def step(self, index: int) -> Step:
        """The operation alone."""
        layer = self.layers[index]
        name = ACTIVATIONS.get(layer.type) or layer.type
        return Step(name, index, index, layer, (layer.type,))

    def first(self) -> Step:
        """The one operation that reads the images. Raises UnsureError."""
        heads = [index for index, layer in enumerate(self.layers) if not layer.reads]
        forged = any(read >= index for index, layer in enumerate(self.layers) for read in layer.reads)
        if len(heads) != 1 or forged:  # a trace is the student's: it may claim anything
            raise UnsureError
        return self.step(heads[0])

    def after(self, index: int) -> Step | None:
        """What reads an operation: one more, or several that together make one step; None at the end.

        Raises UnsureError where the branches do not meet again.
        """
        readers = self.readers[index]
        if not readers:
            return None
        if len(readers) == 1 and self.layers[readers[0]].reads == (index,):
            return self.step(readers[0])
        parts = [index]
        for number in range(index + 1, len(self.layers)):
            if set(self.layers[number].reads) & set(parts):
                parts.append(number)
                if self._is_closed(index, parts):
                    return self._merged(index, parts[1:])
        raise UnsureError

    def _is_closed(self, start: int, parts: Sequence[int]) -> bool:
        """All that is computed from `start` up to here flows into the last of the parts, and nothing else does."""
        inside, last = set(parts), parts[-1]
        flows = all(set(self.readers[part]) <= inside for part in parts[:-1])
        return flows and all(set(self.layers[part].reads) <= inside for part in parts[1:]) and last != start

    def _merged(self, start: int, parts: Sequence[int]) -> Step:
        if any(self.layers[part].weight for part in parts):  # layers in branches are no activation
            raise UnsureError
        types = tuple(self.layers[part].type for part in parts)
        last = self.layers[parts[-1]]
        swish = types == ("Sigmoid", "Multiply") and set(last.reads) == {start, parts[0]}
        return Step("Swish" if swish else "+".join(types), parts[0], parts[-1], last, types)


def chain(layers: Sequence[LayerRecord]) -> list[Step]:
    """The steps of a net without branches, in order. Raises UnsureError."""
    graph = Graph(tuple(layers))
    step: Step | None = graph.first()
    steps: list[Step] = []
    while step is not None:
        steps.append(step)
        step = graph.after(step.last)
    return [step for step in steps if step.has_effect]


# -- words -----------------------------------------------------------------------------------------------------------


def called(step: Step) -> str:
    """What a step is, for a sentence: `average pooling`, `LeakyReLU (slope 0.1)`, `dropout (p=0.5)`."""
    record = step.record
    if step.type in POOLINGS:
        return POOLINGS[step.type]
    if step.type in DROPOUTS:
        return "dropout" if record.p is None else f"dropout (p={record.p:g})"
    if step.type == "LeakyReLU" and record.negative_slope is not None:
        return f"LeakyReLU (slope {record.negative_slope:g})"
    names = {"BatchNorm2d": "BN", "BatchNorm1d": "BN", "Conv2d": "a convolution", "Linear": "a fully-connected layer"}
    return names.get(step.type, step.type.lower() if step.type in OUTPUTS else step.type)


def square(value: int | tuple[int, ...] | str | None, default: int) -> int | None:
    """One number for a size that is the same in both directions; None for another."""
    if value is None or value == ():
        return default
    if isinstance(value, str):
        return 0 if value == "valid" else None
    if isinstance(value, int):
        return value
    return value[0] if len(set(value)) == 1 else None


@dataclass(frozen=True)
class Convolution:
    """The geometry of a convolution; a size is None where it is not the same in both directions."""

    channels: int
    kernel: int | None
    stride: int | None = 1
    padding: int | None = 0
    dilation: int | None = 1
    groups: int = 1

    @classmethod
    def of(cls, record: LayerRecord) -> Convolution:
        """As it was executed."""
        weight = record.weight or (0, 0, 0, 0)
        kernel = square(weight[2:], 0)
        padding = square(record.padding, 0)
        if record.padding == "same" and kernel is not None and kernel % 2:
            padding = kernel // 2
        stride, dilation = square(record.stride, 1), square(record.dilation, 1)
        return cls(weight[0], kernel, stride, padding, dilation, record.groups or 1)

    def against(self, found: Convolution) -> str | None:
        """`kernel 5, stride 1, no padding expected; found kernel 3, padding 1`; None where nothing differs.

        The number of channels is named where it differs alone.
        """
        if self == found:
            return None
        unlike = [name for name in vars(self) if getattr(self, name) != getattr(found, name)]
        shown = ["kernel", "stride", "padding"] if set(unlike) - {"channels"} else []
        wanted = [name for name in vars(self) if name in shown or name in unlike]
        expected = ", ".join(self._part(name) for name in wanted)
        return f"{expected} expected; found {', '.join(found._part(name) for name in unlike)}"

    def _part(self, name: str) -> str:
        value = getattr(self, name)
        if name == "channels":
            return f"{value} channels"
        if name == "groups":
            return f"{value} groups" if value > 1 else "1 group"
        if name == "padding" and value == 0:
            return "no padding"
        return f"{name} {value}" if value is not None else f"another {name}"
