"""DataLoaders of the small world: no worker processes, batches within the budget, and a record of every pass.

The test split always yields all of its rows, since notebooks assert their number.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data import dataset as torch_dataset

from course_world.augmentation import describe_dataset
from course_world.budget import budget
from course_world.chains import shortcuts
from course_world.images import COURSE_SIZES, course_images, source, split_of
from course_world.recorder import recorder

FINGERPRINT = 64  # numbers by which a batch is known again
SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


@dataclass
class Pass:
    """One pass over one loader: what was fed, and what the nets that saw it did."""

    loader: int
    split: str | None
    images: torch.Tensor | None = None
    batches: int = 0
    nets: tuple[int, ...] = ()
    training: bool | None = None
    grad: bool | None = None
    steps: int = 0

    def fed(self, batch: Any) -> bool:
        """Whether `batch`, which a net is called on, comes from this pass: the images themselves or made from them."""
        if self.images is None or not isinstance(batch, torch.Tensor) or not batch.dim():
            return False
        if batch.untyped_storage().data_ptr() == self.images.untyped_storage().data_ptr():
            return True
        mine, theirs = self.images.reshape(-1)[:FINGERPRINT], batch.detach().reshape(-1)[:FINGERPRINT]
        return mine.shape == theirs.shape and bool(torch.allclose(mine.float().cpu(), theirs.float().cpu()))


class Loaders:
    """The loaders seen so far and the pass that runs now."""

    def __init__(self) -> None:
        self.known: list[tuple[DataLoader[Any], Any]] = []
        self.current: Pass | None = None
        self.last: Pass | None = None

    def of(self, batch: Any, net: int) -> Pass | None:
        """The pass that the batch a net is called on was taken from, None for made-up images."""
        this = self.current
        if this is None:
            return self.last if self.last is not None and self.last.fed(batch) else None
        if this.fed(batch):
            return this
        if this.images is None or not isinstance(batch, torch.Tensor) or not batch.dim() or not len(batch):
            return None
        # Mirrored, normalised or mixed images are as many as were fed, several views of them a multiple; a part of
        # them is known by the net being in the middle of this pass.
        size, asked = len(this.images), len(batch)
        made_from_it = asked % size == 0 or (size % asked == 0 and net in this.nets)
        return this if made_from_it else None

    def number(self, loader: DataLoader[Any]) -> int:
        """The loader's number; a loader whose transform was exchanged is another one. A new one is described."""
        transform = getattr(course_images(loader.dataset), "transform", None)
        for number, (known, with_transform) in enumerate(self.known):
            if known is loader and with_transform is transform:
                return number
        self.known.append((loader, transform))
        number = len(self.known) - 1
        recorder.emit(
            "loader",
            loader=number,
            split=split_of(loader.dataset),
            batch_size=_batch_size(loader),
            shuffled=_shuffled(loader),
            size=_size(loader.dataset),
            transform=describe_dataset(loader.dataset),
        )
        return number


loaders = Loaders()


def _size(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except TypeError:
        return None


def _batch_size(loader: DataLoader[Any]) -> int | None:
    size = loader.batch_size if loader.batch_size is not None else getattr(loader.batch_sampler, "batch_size", None)
    return size if isinstance(size, int) else None


def _shuffled(loader: DataLoader[Any]) -> bool:
    """Whether the loader asks for its items in another order than the data set's: for an unknown sampler, by a look."""
    sampler: Any = loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
    if type(sampler) is BatchSampler:
        sampler = sampler.sampler
    if isinstance(sampler, SHUFFLING):
        return True
    if isinstance(sampler, SequentialSampler):
        return False
    try:
        with recorder.aside():
            indices = [index for _, index in zip(range(1_000), _flat(sampler), strict=False)]
    except Exception:  # noqa: BLE001  (a sampler that cannot be read here fails in the student's loop)
        return False
    return indices != sorted(indices)


def _flat(sampler: Any) -> Iterator[int]:
    for entry in sampler:
        if isinstance(entry, int):
            yield entry
        else:
            yield from (int(index) for index in entry)


def _batches(
    original: Callable[[DataLoader[Any]], Iterator[Any]], loader: DataLoader[Any], split: Any
) -> Iterator[Any]:
    """The loader's batches: of the training and validation images as many of each as the budget allows."""
    if split in ("train", "val") and loader.batch_sampler is not None:
        dataset: Any = loader.dataset
        for indices in loader.batch_sampler:
            source.fetched.clear()
            chosen = list(indices)
            yield loader.collate_fn([dataset[index] for index in chosen[: budget.cut(len(chosen))]])
            if budget.spent:
                return
    else:
        yield from original(loader)


def _iterate(original: Callable[[DataLoader[Any]], Iterator[Any]], loader: DataLoader[Any]) -> Iterator[Any]:
    this = Pass(loaders.number(loader), split_of(loader.dataset))
    outer, loaders.current = loaders.current, this
    shortcuts.forget()
    try:
        for batch in _batches(original, loader, this.split):
            images = batch[0] if isinstance(batch, (list, tuple)) and batch else batch
            this.batches += 1
            this.images = images if isinstance(images, torch.Tensor) else None
            loaders.current = this
            yield batch
            loaders.current = this  # it may have been left for another cell since
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


def _scaled_lengths(dataset: Any, lengths: Any) -> Any:
    """Lengths of a split that add up to the course's number of images, in proportion for the small world's."""
    images = course_images(dataset)
    numbers = list(lengths)
    if images is None or not all(isinstance(n, int) for n in numbers) or sum(numbers) != COURSE_SIZES[images.mode]:
        return lengths
    scaled = [n * len(dataset) // sum(numbers) for n in numbers]
    return [scaled[0] + len(dataset) - sum(scaled), *scaled[1:]]


def install() -> None:
    """Replace what a DataLoader does at construction and at each pass, and how a data set is split at random."""
    original_init, original_iter = DataLoader.__init__, DataLoader.__iter__
    original_split = torch.utils.data.random_split
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

    @functools.wraps(original_split)
    def random_split(dataset: Any, lengths: Any, *args: Any, **kwargs: Any) -> Any:
        return original_split(dataset, _scaled_lengths(dataset, lengths), *args, **kwargs)

    DataLoader.__init__ = init  # type: ignore[method-assign]
    DataLoader.__iter__ = iterate  # type: ignore[method-assign, assignment]
    for module in (torch.utils.data, torch_dataset):
        module.random_split = random_split  # type: ignore[attr-defined]
