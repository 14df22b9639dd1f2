"""Runs: what each training in a notebook really was, put together from the trace's events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from grader.execution.trace_events import LoaderEvent, PassEvent, PenaltyEvent, StepEvent, Transform


@dataclass(frozen=True)
class Run:
    """The steps of one optimizer on one net.

    `rates` are the learning rates in the order in which they came into force; `architectures` the names of the known
    functions that the net equals; shares are of all steps, in [0, 1].
    """

    net: int | None
    architectures: frozenset[str]
    optimizer: str
    rates: tuple[float, ...]
    momentum: float
    weight_decay: float
    cells: tuple[int, ...]
    steps: int
    earlier_steps: int
    splits: frozenset[str | None]
    transform: Transform | None
    covers: float
    in_train_mode: float
    zeroed: float
    loss_kind: str | None
    loss_fed: str | None
    losses: tuple[float, ...]
    penalty: PenaltyEvent | None
    validations: tuple[PassEvent, ...]

    @property
    def rate(self) -> float:
        """The learning rate that the run is named after: the largest (a schedule may warm up to it or decay from it)."""
        return max(self.rates)

    @property
    def decays(self) -> bool:
        """The learning rate fell while the run went on."""
        return any(later < earlier * 0.999 for earlier, later in zip(self.rates, self.rates[1:], strict=False))

    @property
    def augments(self) -> bool:
        """The training images were cropped and flipped at random."""
        return self.transform is not None and self.transform.augments

    def is_any(self, *names: str) -> bool:
        """Whether the net equals one of these architectures."""
        return not self.architectures.isdisjoint(names)

    def describe(self) -> str:
        """One line for a student: where it happened and what it really was."""
        rates = ", ".join(f"{rate:g}" for rate in self.rates[:4]) + (", ..." if len(self.rates) > 4 else "")
        where = f"cell {self.cells[0] + 1}" if self.cells else "a cell"
        return (
            f"{where}: {self.steps} steps of {self.optimizer} with lr={rates}, momentum={self.momentum:g}, "
            f"weight_decay={self.weight_decay:g}"
        )


def build_runs(
    events: Sequence[Any], architectures: dict[int, frozenset[str]], cells: Sequence[int]
) -> tuple[Run, ...]:
    """All runs in order of their first step; `cells[k]` is the notebook's index of the k-th executed code cell."""
    loaders = {event.loader: event for event in events if isinstance(event, LoaderEvent)}
    groups: dict[tuple[int, int | None], list[int]] = {}
    for position, event in enumerate(events):
        if isinstance(event, StepEvent):
            groups.setdefault((event.optimizer, event.net), []).append(position)
    starts = sorted(positions[0] for positions in groups.values())
    runs = []
    for positions in sorted(groups.values(), key=lambda positions: positions[0]):
        before = max((start for start in starts if start < positions[0]), default=0)
        after = min((start for start in starts if start > positions[-1]), default=len(events))
        steps = [events[position] for position in positions]
        runs.append(
            _build_run(
                steps,
                architectures.get(steps[0].net, frozenset()),
                loaders,
                penalty=_penalty(events[before : positions[-1]], steps[0].net),
                validations=_validations(events[positions[0] : after], steps[0].net),
                cells=_notebook_cells(steps, cells),
            )
        )
    return tuple(runs)


def _notebook_cells(steps: Iterable[StepEvent], cells: Sequence[int]) -> tuple[int, ...]:
    executed = dict.fromkeys(step.cell for step in steps)
    return tuple(cells[number] for number in executed if 0 <= number < len(cells))


def _penalty(events: Sequence[Any], net: int | None) -> PenaltyEvent | None:
    found = [event for event in events if isinstance(event, PenaltyEvent) and event.net == net]
    return found[-1] if found else None


def _validations(events: Sequence[Any], net: int | None) -> tuple[PassEvent, ...]:
    return tuple(e for e in events if isinstance(e, PassEvent) and e.split == "val" and net in e.nets)


def _share(flags: Iterable[bool]) -> float:
    return fmean(float(flag) for flag in flags)


def _build_run(
    steps: list[StepEvent],
    architectures: frozenset[str],
    loaders: dict[int, LoaderEvent],
    *,
    penalty: PenaltyEvent | None,
    validations: tuple[PassEvent, ...],
    cells: tuple[int, ...],
) -> Run:
    first = steps[0]
    rates = [first.lr]
    for step in steps:
        if step.lr != rates[-1]:
            rates.append(step.lr)
    loader = loaders.get(first.loader) if first.loader is not None else None
    # Steps on shortened batches are too noisy to show whether a net learns.
    full = max(step.images for step in steps)
    return Run(
        net=first.net,
        architectures=architectures,
        optimizer=first.kind,
        rates=tuple(rates),
        momentum=first.momentum,
        weight_decay=first.weight_decay,
        cells=cells,
        steps=len(steps),
        earlier_steps=first.earlier_steps or 0,
        splits=frozenset(step.split for step in steps),
        transform=loader.transform if loader is not None else None,
        covers=first.covers,
        in_train_mode=_share(step.training for step in steps),
        zeroed=_share(step.fresh_gradients is not False for step in steps),
        loss_kind=first.loss_kind,
        loss_fed=first.loss_fed,
        losses=tuple(s.cross_entropy for s in steps if s.cross_entropy is not None and s.images == full),
        penalty=penalty,
        validations=validations,
    )
