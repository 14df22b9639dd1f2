"""Learning rate schedulers: which optimizer each belongs to, and how often its `step()` was called.

torch has no hook for schedulers, so the classes' own `step` is wrapped, that of a student's class when the first one is
made. Documentation: `torch.optim.lr_scheduler.LRScheduler`.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from course_world.recorder import harmless, recorder
from course_world.steps import number_of


@dataclass
class Schedule:
    """One scheduler: its number and the times it was stepped since it was made."""

    number: int
    steps: int = 0


known: weakref.WeakKeyDictionary[Any, Schedule] = weakref.WeakKeyDictionary()
numbers = iter(range(1_000_000_000))
# Schedulers whose constructor or step is on the stack: a class calls those of the class that it is made of.
making: list[Any] = []
running: list[Any] = []


def _note(scheduler: Any, schedule: Schedule) -> None:
    optimizer = getattr(scheduler, "optimizer", None)
    recorder.emit(
        "scheduler",
        scheduler=schedule.number,
        optimizer=number_of(optimizer) if isinstance(optimizer, Optimizer) else None,
        kind=type(scheduler).__name__,
        steps=schedule.steps,
        lr=float(optimizer.param_groups[0]["lr"]) if isinstance(optimizer, Optimizer) else None,
    )


@harmless
def _made(scheduler: Any) -> None:
    for cls in type(scheduler).__mro__:
        _watch_step(cls)
    if scheduler not in known:
        known[scheduler] = Schedule(next(numbers))
        _note(scheduler, known[scheduler])


@harmless
def _stepped(scheduler: Any) -> None:
    schedule = known.get(scheduler)
    if schedule is not None:  # the first step belongs to the making of the scheduler
        schedule.steps += 1
        _note(scheduler, schedule)


def _watch_step(cls: type[Any]) -> None:
    original: Callable[..., Any] | None = vars(cls).get("step")
    if original is None or hasattr(original, "watched_by_course_world"):
        return

    @functools.wraps(original)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        running.append(self)
        try:
            result = original(self, *args, **kwargs)
        finally:
            running.pop()
        if not any(other is self for other in running):
            _stepped(self)
        return result

    step.watched_by_course_world = True  # type: ignore[attr-defined]
    cls.step = step


def _watch_construction(cls: type[Any]) -> None:
    original: Callable[..., Any] | None = vars(cls).get("__init__")
    if original is None:
        return

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        making.append(self)
        try:
            original(self, *args, **kwargs)
        finally:
            making.pop()
        if not any(other is self for other in making):  # not for the constructor of the class that this one is made of
            _made(self)

    cls.__init__ = init


def install() -> None:
    """Watch every scheduler."""
    for value in list(vars(lr_scheduler).values()):
        if isinstance(value, type) and issubclass(value, LRScheduler):
            _watch_step(value)
            _watch_construction(value)
