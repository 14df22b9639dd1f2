"""Runs: what each training in a notebook really was, put together from the trace's events."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from grader.execution.trace_events import (
    DatasetEvent,
    InputEvent,
    LayerRecord,
    LoaderEvent,
    NetEvent,
    PassEvent,
    PenaltyEvent,
    SchedulerEvent,
    StepEvent,
    Transform,
)

MAX_RUNS = 400  # the most seen in a notebook were 18
FEW = 2  # images of a step when a notebook's allowance is used up (course_world.budget)


@dataclass(frozen=True)
class Schedule:
    """A learning rate scheduler made for a run's optimizer, and how often its `step()` was called."""

    kind: str
    steps: int


@dataclass(frozen=True)
class Run:
    """The steps of one optimizer, with one weight decay, on one net.

    `rates` are the learning rates in the order in which they came into force; `architectures` the names of the known
    functions that the net equals; `layers` those that it executes; shares are of all steps, in [0, 1];
    `updates_called_net` is False where the optimizer steps another net than the one whose loss was computed;
    `called` is the number of the net that was called last before the first step;
    `kept_graphs` is the most losses of earlier steps that were held with their graphs at a step;
    `epochs` counts passes over training images;
    `images` is the size of a full batch, and `losses` are those of full batches alone;
    `transform` is what happened to the training images on their way from the data set to the net.
    """

    net: int | None
    architectures: frozenset[str]
    layers: tuple[LayerRecord, ...]
    updates_called_net: bool
    optimizer: str
    rates: tuple[float, ...]
    momentum: float
    weight_decay: float
    cells: tuple[int, ...]
    steps: int
    images: int
    earlier_steps: int
    splits: frozenset[str | None]
    transform: Transform | None
    covers: float
    in_train_mode: float
    zeroed: float
    loss_kind: str | None
    loss_fed: str | None
    first_loss: float | None
    losses: tuple[float, ...]
    penalty: PenaltyEvent | None
    validations: tuple[PassEvent, ...]
    called: int | None = None
    epochs: int = 0
    kept_graphs: int = 0
    schedulers: tuple[Schedule, ...] = ()

    @property
    def rate(self) -> float:
        """The learning rate that the run is named after: the largest (a schedule may warm up to it, or decay)."""
        return max(self.rates)

    @property
    def decays(self) -> bool:
        """The learning rate fell while the run went on."""
        return any(later < earlier * 0.999 for earlier, later in zip(self.rates, self.rates[1:], strict=False))

    @property
    def augments(self) -> bool:
        """The training images were cropped and flipped at random."""
        return self.transform is not None and self.transform.augments

    @property
    def has_bn(self) -> bool:
        """A batch normalisation is executed, wherever it stands: its places are judged with the architecture alone."""
        executed = any(layer.type.startswith("BatchNorm") for layer in self.layers)
        return executed or self.is_any("simplenn_bn", "simplenn_bn_swish")

    def is_any(self, *names: str) -> bool:
        """Whether the net equals one of these architectures."""
        return not self.architectures.isdisjoint(names)

    @property
    def where(self) -> str:
        """`cell 5`, as a reader counts."""
        return f"cell {self.cells[0] + 1}" if self.cells else "a cell"

    def describe(self) -> str:
        """One line for a student: where it happened and what it really was."""
        rates = ", ".join(f"{rate:g}" for rate in self.rates[:4]) + (", ..." if len(self.rates) > 4 else "")
        return (
            f"{self.where}: {self.steps} steps of {self.optimizer} with lr={rates}, momentum={self.momentum:g}, "
            f"weight_decay={self.weight_decay:g}"
        )


def build_runs(
    events: Sequence[Any], architectures: Mapping[int, frozenset[str]], cells: Sequence[int]
) -> tuple[Run, ...]:
    """The first `MAX_RUNS` runs by their first step; `cells[k]` is the notebook's index of the k-th executed cell."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, event in enumerate(events):
        if isinstance(event, StepEvent):
            key = event.optimizer, event.net, event.fed, event.weight_decay
            groups.setdefault(key, []).append(position)
    trace = _Trace(
        events=events,
        architectures=architectures,
        cells=cells,
        steps=sorted(position for positions in groups.values() for position in positions),
        starts=sorted(positions[0] for positions in groups.values()),
        nets={event.net: event for event in events if isinstance(event, NetEvent)},
        loaders={event.loader: event for event in events if isinstance(event, LoaderEvent)},
        inputs=[event for event in events if isinstance(event, InputEvent)],
        validation=validation_loaders(events),
    )
    in_order = sorted(groups.values(), key=lambda positions: positions[0])
    return tuple(_build_run(trace, positions) for positions in in_order[:MAX_RUNS])


@dataclass(frozen=True)
class _Trace:
    """A notebook's events, and what all of its runs look up in them; `steps` and `starts` are sorted positions."""

    events: Sequence[Any]
    architectures: Mapping[int, frozenset[str]]
    cells: Sequence[int]
    steps: list[int]
    starts: list[int]
    nets: dict[int, NetEvent]
    loaders: dict[int, LoaderEvent]
    inputs: list[InputEvent]
    validation: frozenset[int]

    def schedulers(self, optimizer: int) -> tuple[Schedule, ...]:
        """The schedulers of an optimizer, in the order in which they were made."""
        last = {e.scheduler: e for e in self.events if isinstance(e, SchedulerEvent) and e.optimizer == optimizer}
        return tuple(Schedule(event.kind, event.steps) for event in last.values())

    def before(self, position: int) -> Sequence[Any]:
        """Events since the last step of any run before `position`, which is a step."""
        earlier = bisect_left(self.steps, position)
        return self.events[self.steps[earlier - 1] if earlier else 0 : position]

    def transform(self, nets: Sequence[int], loader: int) -> Transform | None:
        """What a net's images went through: as it was fed them, as another net of the loader was, as they were read."""
        fed = [event for event in self.inputs if event.loader == loader and event.seen is not None]
        fed.sort(key=lambda event: event.net not in nets)
        read = self.loaders[loader].transform if loader in self.loaders else None
        if read is not None and read.other:
            return read  # of noise; images of a batch that are changed in an unknown way may resemble known changes
        found = [t for t in (*(event.seen for event in fed), read) if t is not None]
        return next((t for t in found if t.augments), next((t for t in found if t.is_random), read))

    def until_next_run(self, first: int, last: int) -> Sequence[Any]:
        """Events from the first step of a run until the first one of a run that begins after its last."""
        later = bisect_right(self.starts, last)
        return self.events[first : self.starts[later] if later < len(self.starts) else None]


def validation_loaders(events: Iterable[Any]) -> frozenset[int]:
    """Numbers of the loaders over the validation split, or over a part of the training split held out of training."""
    events = list(events)
    loaders = [event for event in events if isinstance(event, LoaderEvent)]
    stepped = {event.loader for event in events if isinstance(event, StepEvent)}
    everything = max((e.size for e in events if isinstance(e, DatasetEvent) and e.split == "train"), default=0)
    trained = max((e.size or 0 for e in loaders if e.split == "train" and e.loader in stepped), default=0)

    def held_out(loader: LoaderEvent) -> bool:
        part = loader.split == "train" and loader.loader not in stepped
        return part and 0 < trained <= everything - (loader.size or everything)

    return frozenset(loader.loader for loader in loaders if loader.split == "val" or held_out(loader))


def _build_run(trace: _Trace, positions: list[int]) -> Run:
    steps: list[StepEvent] = [trace.events[position] for position in positions]
    first = steps[0]
    numbers = [number for number in (first.net, first.fed) if number is not None]
    events = trace.until_next_run(positions[0], positions[-1])
    passes = [event for event in events if isinstance(event, PassEvent)]
    loaders = Counter(step.loader for step in steps if step.loader is not None)
    full = _full(steps)
    return Run(
        net=numbers[0] if numbers else None,
        architectures=frozenset().union(*(trace.architectures.get(number, frozenset()) for number in numbers)),
        layers=next((trace.nets[number].layers for number in numbers if number in trace.nets), ()),
        updates_called_net=_updates_called_net(steps, trace.nets, passes),
        called=first.fed,
        optimizer=first.kind,
        rates=tuple(_changes(step.lr for step in steps)),
        momentum=first.momentum,
        weight_decay=first.weight_decay,
        cells=tuple(trace.cells[k] for k in dict.fromkeys(s.cell for s in steps) if 0 <= k < len(trace.cells)),
        steps=len(steps),
        images=full,
        earlier_steps=first.earlier_steps or 0,
        splits=frozenset(step.split for step in steps),
        transform=trace.transform(numbers, loaders.most_common(1)[0][0]) if loaders else None,
        # Parameters of several modules have no one owner to compare with; the net that was called stands for them.
        covers=first.covers if first.net is not None else 1.0,
        in_train_mode=_share(step.training for step in steps),
        zeroed=_share(step.fresh_gradients is not False for step in steps),
        loss_kind=first.loss_kind,
        loss_fed=first.loss_fed,
        first_loss=_loss(first),
        losses=tuple(loss for s in steps if s.images == full and (loss := _loss(s)) is not None),
        penalty=_last_penalty([*trace.before(positions[0]), *trace.events[positions[0] : positions[-1]]], numbers),
        kept_graphs=max(step.kept_graphs for step in steps),
        schedulers=trace.schedulers(first.optimizer),
        epochs=sum(p.steps > 0 and not set(numbers).isdisjoint(p.nets) for p in passes),
        validations=_validations(events, positions[-1] - positions[0], trace.validation, numbers),
    )


def _validations(
    events: Sequence[Any], last: int, loaders: frozenset[int], numbers: Sequence[int]
) -> tuple[PassEvent, ...]:
    """Passes over validation images without a step, up to the first behind a run's `last` step.

    What comes later is a look at a trained net, not a part of its training.
    """
    found = [
        (place, event)
        for place, event in enumerate(events)
        if isinstance(event, PassEvent) and event.loader in loaders and not event.steps
        if not set(numbers).isdisjoint(event.nets)
    ]
    behind = [event for place, event in found if place > last]
    return (*(event for place, event in found if place <= last), *behind[:1])


def _updates_called_net(steps: Sequence[StepEvent], nets: Mapping[int, NetEvent], passes: Sequence[PassEvent]) -> bool:
    """Whether the parameters that are stepped are of the net that was called, or of another part before the loss.

    A net that a new one took the name of is gone, so that its parameters are no net's; gradients tell them apart.
    """
    stepped, called = steps[0].net, steps[0].fed
    if called is None or stepped == called:
        return True
    if any(passed.steps and {stepped, called} <= set(passed.nets) for passed in passes):  # trained side by side
        return True
    outputs = [event.output for number, event in nets.items() if number in (stepped, called)]
    rivals = len(outputs) == 2 and all(outputs) and outputs[0][1:] == outputs[1][1:]  # type: ignore[index]
    return not rivals and any(step.has_gradients for step in steps)


def _full(steps: Sequence[StepEvent]) -> int:
    """The usual number of images of a step; of two, as the small world reads in the end, none where there are more.

    A net that takes long is given a smaller part of each batch after its first step. Steps on two images are too noisy
    to show whether a net learns.
    """
    sizes = Counter(step.images for step in steps if step.images > FEW)
    return sizes.most_common(1)[0][0] if sizes else max(step.images for step in steps)


def _loss(step: StepEvent) -> float | None:
    """The loss function's value; of one that gave a value for each image, or of the student's own, what was minimised.

    None where neither was a single finite number.
    """
    return step.cross_entropy if step.cross_entropy is not None else step.loss


def _changes(values: Iterable[float]) -> list[float]:
    changes: list[float] = []
    for value in values:
        if not changes or value != changes[-1]:
            changes.append(value)
    return changes


def _last_penalty(events: Iterable[Any], nets: Iterable[int]) -> PenaltyEvent | None:
    numbers = set(nets)
    found = [event for event in events if isinstance(event, PenaltyEvent) and event.net in numbers]
    return found[-1] if found else None


def _share(flags: Iterable[bool]) -> float:
    return fmean(float(flag) for flag in flags)
