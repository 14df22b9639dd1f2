"""The few images of the small world, and how a look at them shows what a chain of data sets and transforms does."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from course_world.chains import shortcuts
from course_world.recorder import recorder

SPLITS = ("train", "val", "test")
COURSE_SIZES = {"train": 45_000, "val": 5_000, "test": 10_000}
MAX_FETCHED = 4_096
TEST_IMAGES = 10  # that the rows of the test split repeat: nobody sees what a net of the small world says of them


class Source:
    """What every data set of the small world reads from: the images by split, or one known image instead of them all.

    `fetched` are the raw images handed out for the batch that is being put together.
    """

    def __init__(self) -> None:
        self.instead: NDArray[np.uint8] | None = None
        self.fetched: list[NDArray[np.uint8]] = []
        self._folder = Path(os.environ.get("COURSE_WORLD_DATA", "."))

    def images(self, split: str) -> NDArray[np.uint8]:
        """(N, 32, 32, 3) uint8."""
        array: NDArray[np.uint8] = np.load(self._folder / f"{split}-images-batch.npy", mmap_mode="r")
        return array

    def labels(self, split: str) -> list[int] | None:
        """N labels, None for the test split."""
        if split == "test":
            return None
        labels: list[int] = np.load(self._folder / f"{split}-labels-batch.npy").astype(int).tolist()
        return labels

    def hand_out(self, image: NDArray[np.uint8]) -> Image.Image:
        """The image as PIL, or the known one while there is one."""
        if self.instead is not None:
            return Image.fromarray(self.instead)
        image = np.array(image)
        self.note(image)
        return Image.fromarray(image)

    def note(self, image: NDArray[np.uint8]) -> None:
        """This raw image is handed out."""
        if len(self.fetched) < MAX_FETCHED:
            self.fetched.append(image)

    @contextlib.contextmanager
    def showing(self, image: NDArray[np.uint8]) -> Iterator[None]:
        """Every item of every data set is this image."""
        self.instead = image
        try:
            yield
        finally:
            self.instead = None


source = Source()


class CourseImages(Dataset[Any]):
    """Items are `(transform(PIL image 32x32 RGB), int label)`, in the test split the image alone."""

    def __init__(
        self, mode: str, transform: Callable[..., Any] | None, target_transform: Callable[..., Any] | None
    ) -> None:
        self.mode = mode
        self.transform = transform
        self.target_transform = target_transform
        self.images = self.data = source.images(mode)
        self.labels = self.targets = source.labels(mode)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Any:
        index = self._index(int(index))
        image = self._image(index)
        if self.labels is None:
            return image
        label: Any = self.labels[index]
        return image, label if self.target_transform is None else self.target_transform(label)

    def _image(self, index: int) -> Any:
        """The transformed image."""
        shortcut = shortcuts.find(self.transform, self.images, self._distinct) if source.instead is None else None
        if shortcut is not None and shortcut.raw is not None:
            source.note(shortcut.raw[index])
            return shortcut.read(index)
        image = source.hand_out(self.images[index])
        return image if self.transform is None else self.transform(image)

    @property
    def _distinct(self) -> int:
        return min(TEST_IMAGES, len(self)) if self.mode == "test" else len(self)

    def _index(self, index: int) -> int:
        """An index that the course's larger split would have is served too: a notebook may name image 12,345."""
        if not -COURSE_SIZES[self.mode] <= index < COURSE_SIZES[self.mode]:
            raise IndexError(f"index {index} is out of range for the {COURSE_SIZES[self.mode]} {self.mode} images")
        return index % self._distinct


def course_images(dataset: Any, depth: int = 4) -> CourseImages | None:
    """The images of the small world below a Subset, a ConcatDataset or a wrapper of the student's."""
    if isinstance(dataset, CourseImages) or depth == 0:
        return dataset if isinstance(dataset, CourseImages) else None
    for value in list(getattr(dataset, "__dict__", {}).values()):
        inner = value if isinstance(value, (list, tuple)) and len(value) < 8 else [value]
        for entry in inner:
            found = course_images(entry, depth - 1) if isinstance(entry, Dataset) else None
            if found is not None:
                return found
    return None


def split_of(dataset: Any) -> str | None:
    """The split that a data set takes its images from; a copy of them in memory is told by its size."""
    images = course_images(dataset)
    if images is not None:
        return images.mode
    try:
        size = len(dataset)
    except TypeError:
        return None
    return next((split for split in SPLITS if len(source.images(split)) == size), None)


def note_dataset(split: str, transform: Any, size: int) -> None:
    """One `dataset` event."""
    described = re.sub(r" at 0x[0-9a-f]+", "", repr(transform))[:2000]  # an address differs from run to run
    recorder.emit("dataset", split=split, transform=described, size=size)
