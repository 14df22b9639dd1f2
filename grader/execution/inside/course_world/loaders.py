"""DataLoaders of the small world: no worker processes, and few batches once a run has shown what it does.

Each new optimizer begins a run with an allowance of multiply-adds, the first run of a notebook with the largest; once
it is spent, every pass over a loader yields one batch of `CHEAP_BATCH` images. So every epoch of a long sweep still
happens: schedules decay where they should, result arrays that were sized by the number of epochs are filled, and 540
epochs take seconds.
The test split always yields all of its rows, since notebooks assert their number.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler

from course_world.augmentation import describe_transform
from course_world.recorder import recorder

# SimpleNN takes 0.09e9 multiply-adds for the forward pass of a batch of 128, ResNet-20 5.2e9.
FIRST_RUN = 12e9
LATER_RUN = 2.5e9
ALL_RUNS = 40e9
CHEAP_BATCH = 8


@dataclass
class Pass:
    """One pass over one loader: what was fed, and what the nets that saw it did."""

    loader: int
    split: str | None
    batch: Any = None
    first_pixels: torch.Tensor | None = None
    batches: int = 0
    nets: tuple[int, ...] = ()
    training: bool | None = None
    grad: bool | None = None
    steps: int = 0


class Loaders:
    """The loaders seen so far and the pass that runs now."""

    def __init__(self) -> None:
        self.known: dict[int, DataLoader[Any]] = {}
        self.current: Pass | None = None
        self.last: Pass | None = None
        self.left = FIRST_RUN
        self.left_in_all = ALL_RUNS

    def new_run(self) -> None:
        """A new optimizer begins a new run, which may show itself with full batches again."""
        untouched = self.left_in_all == ALL_RUNS
        self.left = min(FIRST_RUN if untouched else LATER_RUN, self.left_in_all)

    def spend(self, multiply_adds: float) -> None:
        """A training step on a batch that took this many multiply-adds in its forward pass."""
        self.left -= multiply_adds
        self.left_in_all -= multiply_adds

    def number(self, loader: DataLoader[Any]) -> int:
        """The loader's number; at its first pass its description is recorded."""
        for number, known in self.known.items():
            if known is loader:
                return number
        number = len(self.known)
        self.known[number] = loader
        dataset = _innermost(loader.dataset)
        transform = getattr(dataset, "transform", None)
        recorder.emit(
            "loader",
            loader=number,
            split=_split(loader),
            batch_size=loader.batch_size,
            shuffled=_shuffled(loader),
            size=_size(loader.dataset),
            transform=None if _split(loader) is None else describe_transform(transform),
        )
        return number


loaders = Loaders()


def _innermost(dataset: Any) -> Any:
    while hasattr(dataset, "dataset"):  # torch.utils.data.Subset and its like
        dataset = dataset.dataset
    return dataset


def _split(loader: DataLoader[Any]) -> str | None:
    mode = getattr(_innermost(loader.dataset), "mode", None)
    return mode if mode in ("train", "val", "test") else None


def _size(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except TypeError:
        return None


def _shuffled(loader: DataLoader[Any]) -> bool:
    sampler = loader.sampler
    return isinstance(sampler, RandomSampler) or "random" in type(sampler).__name__.lower()


def _cheap_batches(loader: DataLoader[Any]) -> Iterator[Any]:
    sampler: Any = loader.batch_sampler
    if sampler is None:
        return
    for indices in sampler:
        collate: Callable[..., Any] = loader.collate_fn
        yield collate([loader.dataset[i] for i in list(indices)[:CHEAP_BATCH]])
        return


def _batches(original: Iterator[Any], loader: DataLoader[Any], this: Pass) -> Iterator[Any]:
    cheap = this.split in ("train", "val") and loaders.left <= 0 and loader.batch_sampler is not None
    for batch in _cheap_batches(loader) if cheap else original:
        this.batches += 1
        this.batch = batch
        images = batch[0] if isinstance(batch, (list, tuple)) else batch
        this.first_pixels = images.reshape(-1)[:64].float() if isinstance(images, torch.Tensor) else None
        yield batch
        if this.split == "train" and loaders.left <= 0:
            return


def _iterate(original: Callable[[DataLoader[Any]], Iterator[Any]], loader: DataLoader[Any]) -> Iterator[Any]:
    this = Pass(loaders.number(loader), _split(loader))
    outer, loaders.current = loaders.current, this
    try:
        yield from _batches(original(loader), loader, this)
    finally:
        loaders.current, loaders.last = outer, this
        recorder.emit(
            "pass",
            loader=this.loader,
            split=this.split,
            batches=this.batches,
            nets=list(this.nets),
            training=this.training,
            grad=this.grad,
            steps=this.steps,
        )


def install() -> None:
    """Replace what a DataLoader does at construction and at each pass."""
    original_init, original_iter = DataLoader.__init__, DataLoader.__iter__
    signature = inspect.signature(original_init)

    @functools.wraps(original_init)
    def init(self: DataLoader[Any], *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        # Worker processes cost more than the small world's images, and hide what they load from the trace.
        for name in ("num_workers", "prefetch_factor", "persistent_workers", "timeout", "multiprocessing_context"):
            bound.arguments.pop(name, None)
        bound.arguments["pin_memory"] = False
        original_init(*bound.args, **bound.kwargs)

    def iterate(self: DataLoader[Any]) -> Iterator[Any]:
        return _iterate(original_iter, self)

    DataLoader.__init__ = init  # type: ignore[method-assign]
    DataLoader.__iter__ = iterate  # type: ignore[method-assign, assignment]
