"""The trace of one notebook, read as hostile input into typed events.

The hooks inside the kernel write JSON lines; whatever does not have the expected form is dropped and counted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from grader.execution.untrusted import UntrustedFileError, read_untrusted

MAX_BYTES = 40_000_000
MAX_EVENTS = 60_000

Name = Annotated[str, Field(max_length=2_000)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Shape = Annotated[tuple[Count, ...], Field(max_length=8)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Split = Literal["train", "val", "test"] | None


class Event(BaseModel):
    """What every event carries: the number of the code cell, counted from 0, in which it happened."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    cell: Annotated[int, Field(strict=True, ge=-1, le=1_000_000)]


class ReadyEvent(Event):
    """The world stands; every trace begins with it."""

    event: Literal["ready"]


class LayerRecord(BaseModel):
    """One executed operation: its type, the shape of its weight and of its output, its geometry.

    Activations, pooling, additions and the like are there too, in order of execution; `reads` are the positions of the
    operations whose outputs went into it. `name` is the layer's in the net, `layer1.0.conv1` for a weight that the net
    holds as `layer1.0.conv1.weight`, or the parameter's own name where that does not end with `.weight`. `p` is a
    dropout's probability; an operation without a name here, such as `div`, has torch's own for its type.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Name
    weight: Shape | None = None
    bias: bool = False
    output: Shape | None = None
    kernel_size: int | Shape | None = None
    stride: int | Shape | None = None
    padding: int | Shape | Name | None = None
    dilation: int | Shape | None = None
    groups: Count | None = None
    ceil_mode: bool = False
    p: Number | None = None
    negative_slope: Number | None = None
    reads: Annotated[tuple[Count, ...], Field(max_length=64)] = ()
    name: Name = ""

    @property
    def kind(self) -> str:
        """`conv`, `bn`, `linear` or `other`."""
        prefixes = {"Conv2d": "conv", "BatchNorm2d": "bn", "Linear": "linear"}
        return prefixes.get(self.type, "other")


class NetEvent(Event):
    """A net at its first call: executed operations in order, parameters that any of them took and the rest."""

    event: Literal["net"]
    net: Count
    cls: Name
    origin: Name
    layers: Annotated[tuple[LayerRecord, ...], Field(max_length=400)]
    used: Count
    unused: Count
    input: Shape | None = None
    output: Shape | None = None
    copied: bool


class BrokenNetEvent(Event):
    """A net that raised when it was called on images."""

    event: Literal["broken_net"]
    net: Count
    cls: Name
    origin: Name
    problem: Name


class Normalisation(BaseModel):
    """output = (pixel / 255 - mean) / std, per channel."""

    model_config = ConfigDict(frozen=True)
    mean: tuple[Number, Number, Number]
    std: tuple[Number, Number, Number]


class Transform(BaseModel):
    """What happened to one known image in 32 readings, or to the images of a batch; see course_world.augmentation."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    error: Name | None = None
    tensor: bool = False
    shape: Shape | None = None
    shifts: Count = 0
    max_shift: Count = 0
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
    size: Count


class LoaderEvent(Event):
    """A loader at its first pass."""

    event: Literal["loader"]
    loader: Count
    split: Split
    batch_size: Count | None
    shuffled: bool
    size: Count | None
    transform: Transform | None


class PassEvent(Event):
    """One pass over a loader and what the nets fed by it did: train mode and gradients as in its last batch."""

    event: Literal["pass"]
    loader: Count
    split: Split
    batches: Count
    nets: Annotated[tuple[Count, ...], Field(max_length=64)]
    training: bool | None
    grad: bool | None
    steps: Count


class InputEvent(Event):
    """The first images of each loader that a net was called on; `split` is None for images of no loader.

    `seen` is what happened to the images between the course's data set and the net, wherever it happened.
    """

    event: Literal["input"]
    net: Count
    split: Split
    loader: Count | None
    shape: Shape
    dtype: Name
    mean: tuple[Number, ...] | None
    std: tuple[Number, ...] | None
    low: Number | None
    high: Number | None
    steps: Count
    device: Name
    seen: Transform | None = None


class MovedEvent(Event):
    """A net was sent to a device by `.to` or `.cuda`."""

    event: Literal["moved"]
    net: Count
    cls: Name
    device: Name


class InitialLossEvent(Event):
    """A loss of a net that had not been stepped, from which no gradient was taken."""

    event: Literal["initial_loss"]
    net: Count
    split: Split
    kind: Name
    value: Number | None


class PenaltyFit(BaseModel):
    """Coefficient of sign(w) or of w in the penalty's gradient, and the share of the gradient left unexplained.

    `covers` is the share of the weights in tensors whose own coefficient is positive.
    """

    model_config = ConfigDict(frozen=True)
    coefficient: Number
    unexplained: Number
    covers: Number = 1.0


class PenaltyEvent(Event):
    """Gradient of what is minimised minus that of its loss term, over all weights with two or more dimensions."""

    event: Literal["penalty"]
    net: Count | None
    value: Number
    gradient_norm: Number
    l1: PenaltyFit
    l2: PenaltyFit


class StepEvent(Event):
    """One `optimizer.step()`.

    `kept_graphs` counts losses of earlier steps that something still holds with their graphs.
    `net` holds the stepped parameters, `fed` was called last. Settings are those of the group with most weights.
    `fresh_gradients`: none were left when the first of the `backwards` backward passes before this step began.
    """

    event: Literal["step"]
    net: Count | None
    fed: Count | None
    optimizer: Count
    kind: Name
    lr: Number
    momentum: Number
    weight_decay: Number
    covers: Number
    earlier_steps: Count | None
    images: Count
    training: bool
    split: Split
    loader: Count | None
    loss: Number | None
    cross_entropy: Number | None
    loss_kind: Name | None
    loss_fed: Name | None
    fresh_gradients: bool | None
    groups: Count = 1
    backwards: Count = 1
    has_gradients: bool = True
    kept_graphs: Count = 0


class SchedulerEvent(Event):
    """A learning rate scheduler was made (`steps` 0), or its `step()` was called for the `steps`-th time.

    `lr` is that of the optimizer's first group afterwards.
    """

    event: Literal["scheduler"]
    scheduler: Count
    optimizer: Count | None
    kind: Name
    steps: Count
    lr: Number | None


class SaveEvent(Event):
    """`torch.save` of an object that holds a net's weights; `changed` since the net was first seen, by whatever."""

    event: Literal["save"]
    net: Count
    steps: Count
    changed: bool = False


class LoadEvent(Event):
    """`load_state_dict` of a net; `steps` that the weights had taken here, None for weights from elsewhere."""

    event: Literal["load"]
    net: Count
    steps: Count | None


class FaultEvent(Event):
    """A hook of the grader's failed; the student's cell went on."""

    event: Literal["fault"]
    where: Name
    problem: Name


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
    | SchedulerEvent
    | SaveEvent
    | LoadEvent
    | FaultEvent,
    Field(discriminator="event"),
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyEvent)


def read_events(path: Path, *, start: int = 0) -> tuple[list[Any], int, int]:
    """Events from byte `start` on, the number of lines that were no event, and the byte after the last whole line.

    At most MAX_BYTES are read and MAX_EVENTS lines looked at; a trace that is no regular file has no events.
    """
    try:
        data = read_untrusted(path, MAX_BYTES, start=start, whole=False)
    except UntrustedFileError:
        return [], 0, start
    events, malformed, read = parse_events(data)
    return events, malformed, start + read


def parse_events(data: bytes) -> tuple[list[Any], int, int]:
    """Events in `data`, the number of lines that were no event, and the byte after the last whole line."""
    end = data.rfind(b"\n") + 1
    if not end and len(data) == MAX_BYTES:  # one endless line
        return [], 1, len(data)
    lines = data[:end].split(b"\n", MAX_EVENTS)[:MAX_EVENTS]
    events = [event for line in lines if line and (event := _event(line)) is not None]
    return events, sum(map(bool, lines)) - len(events), end


def _event(line: bytes) -> Any:
    try:
        return _ADAPTER.validate_python(json.loads(line))
    except (ValueError, RecursionError):
        return None
