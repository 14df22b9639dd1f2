"""The trace of one notebook, read as hostile input into typed events.

The hooks inside the kernel write JSON lines; whatever does not have the expected form is dropped and counted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MAX_BYTES = 40_000_000
MAX_EVENTS = 60_000

Name = Annotated[str, Field(max_length=2_000)]
Shape = Annotated[tuple[int, ...], Field(max_length=8)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Split = Literal["train", "val", "test"] | None


class Event(BaseModel):
    """What every event carries: the number of the code cell, counted from 0, in which it happened."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    cell: int


class ReadyEvent(Event):
    """The world stands; every trace begins with it."""

    event: Literal["ready"]


class LayerRecord(BaseModel):
    """One executed layer: its type, the shape of its weight and of its output, its geometry."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Name
    weight: Shape | None = None
    bias: bool = False
    output: Shape | None = None
    kernel_size: int | Shape | None = None
    stride: int | Shape | None = None
    padding: int | Shape | Name | None = None

    @property
    def kind(self) -> str:
        """`conv`, `bn`, `linear` or `other`."""
        prefixes = {"Conv2d": "conv", "BatchNorm2d": "bn", "Linear": "linear"}
        return prefixes.get(self.type, "other")


class NetEvent(Event):
    """A net at its first call: executed layers in order, parameters used and unused."""

    event: Literal["net"]
    net: int
    cls: Name
    origin: Name
    layers: Annotated[tuple[LayerRecord, ...], Field(max_length=400)]
    used: int
    unused: int
    input: Shape | None = None
    output: Shape | None = None
    copied: bool


class BrokenNetEvent(Event):
    """A net that raised when it was called on images."""

    event: Literal["broken_net"]
    net: int
    cls: Name
    origin: Name
    problem: Name


class Normalisation(BaseModel):
    """output = (pixel / 255 - mean) / std, per channel."""

    model_config = ConfigDict(frozen=True)
    mean: tuple[Number, Number, Number]
    std: tuple[Number, Number, Number]


class Transform(BaseModel):
    """What a transform did to one known image in 32 calls; see course_world.augmentation."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    error: Name | None = None
    tensor: bool = False
    shape: Shape | None = None
    shifts: int = 0
    max_shift: int = 0
    flips: bool = False
    always_flipped: bool = False
    other: bool = False
    normalisation: Normalisation | None = None

    @property
    def augments(self) -> bool:
        """Random crops with padding and random flips both happened."""
        return self.shifts > 4 and self.max_shift > 0 and self.flips and not self.always_flipped

    @property
    def is_random(self) -> bool:
        """The same image came out in more than one way."""
        return self.shifts > 1 or (self.flips and not self.always_flipped) or self.other


class DatasetEvent(Event):
    """A course data set was constructed."""

    event: Literal["dataset"]
    split: Split
    transform: Name
    size: int


class LoaderEvent(Event):
    """A loader at its first pass."""

    event: Literal["loader"]
    loader: int
    split: Split
    batch_size: int | None
    shuffled: bool
    size: int | None
    transform: Transform | None


class PassEvent(Event):
    """One pass over a loader and what the nets fed by it did: train mode and gradients as in its last batch."""

    event: Literal["pass"]
    loader: int
    split: Split
    batches: int
    nets: Annotated[tuple[int, ...], Field(max_length=64)]
    training: bool | None
    grad: bool | None
    steps: int


class InputEvent(Event):
    """The first images of each split that a net was called on; `split` is None for images of no loader."""

    event: Literal["input"]
    net: int
    split: Split
    loader: int | None
    shape: Shape
    dtype: Name
    mean: tuple[Number, ...] | None
    std: tuple[Number, ...] | None
    low: Number | None
    high: Number | None
    steps: int
    device: Name


class MovedEvent(Event):
    """A net was sent to a device by `.to` or `.cuda`."""

    event: Literal["moved"]
    net: int
    cls: Name
    device: Name


class InitialLossEvent(Event):
    """A loss of a net that had not been stepped, from which no gradient was taken."""

    event: Literal["initial_loss"]
    net: int
    split: Split
    kind: Name
    value: Number | None


class PenaltyFit(BaseModel):
    """Coefficient of sign(w) or of w in the penalty's gradient, and the share of the gradient left unexplained."""

    model_config = ConfigDict(frozen=True)
    coefficient: Number
    unexplained: Number


class PenaltyEvent(Event):
    """Gradient of the loss minus that of its cross-entropy term, over all weights with two or more dimensions."""

    event: Literal["penalty"]
    net: int
    value: Number
    gradient_norm: Number
    l1: PenaltyFit
    l2: PenaltyFit


class StepEvent(Event):
    """One `optimizer.step()`."""

    event: Literal["step"]
    net: int | None
    fed: int | None
    optimizer: int
    kind: Name
    lr: Number
    momentum: Number
    weight_decay: Number
    covers: Number
    earlier_steps: int | None
    images: int
    training: bool
    split: Split
    loader: int | None
    loss: Number | None
    cross_entropy: Number | None
    loss_kind: Name | None
    loss_fed: Name | None
    fresh_gradients: bool | None


class SaveEvent(Event):
    """`torch.save` of an object that holds a net's weights."""

    event: Literal["save"]
    net: int
    steps: int


AnyEvent = Annotated[
    ReadyEvent
    | NetEvent
    | BrokenNetEvent
    | DatasetEvent
    | LoaderEvent
    | PassEvent
    | InputEvent
    | MovedEvent
    | InitialLossEvent
    | PenaltyEvent
    | StepEvent
    | SaveEvent,
    Field(discriminator="event"),
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyEvent)


def read_events(path: Path, *, start: int = 0) -> tuple[list[Any], int, int]:
    """Events from byte `start` on, the number of lines that were no event, and the byte after the last whole line."""
    if not path.is_file():
        return [], 0, start
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(MAX_BYTES)
    end = data.rfind(b"\n") + 1
    events: list[Any] = []
    malformed = 0
    for line in data[:end].splitlines()[:MAX_EVENTS]:
        try:
            events.append(_ADAPTER.validate_python(json.loads(line)))
        except (ValueError, RecursionError, ValidationError):
            malformed += 1
    return events, malformed, start + end
