"""The course's data folder: file names, sizes, class ids, and reading it back."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# CIFAR-10's own class order (https://www.cs.toronto.edu/~kriz/cifar.html); alphabetical, so folder names sort into it.
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = ("train", "val", "test")
IMAGE_SHAPE = (32, 32, 3)
MANIFEST = "manifest.json"


class DataError(Exception):
    """Bad input; the message is one sentence that names what was expected and what was found."""


@dataclass(frozen=True)
class Sizes:
    """Images per class: of the source's own two splits, and of the course's three."""

    source_train: int = 5000
    source_test: int = 1000
    train: int = 4500
    val: int = 500
    test: int = 1000

    def __post_init__(self) -> None:
        if self.source_train + self.source_test != self.train + self.val + self.test:
            raise ValueError(f"the course's splits must use every image of the source exactly once, got {self}")


def images_file(split: str) -> str:
    return f"{split}-images-batch.npy"


def labels_file(split: str) -> str:
    return f"{split}-labels-batch.npy"


def data_files() -> list[str]:
    """Names of the arrays in the student's folder; the test split has no labels."""
    return [images_file(split) for split in SPLITS] + [labels_file(split) for split in SPLITS if split != "test"]


def load_split(root: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Read one split of the data folder.

    Args:
        root: the data folder.
        split: "train", "val" or "test".

    Returns:
        Images (N, 32, 32, 3) uint8 and course class ids (N,) uint8; None in place of the ids for "test".

    Raises:
        DataError: a file is absent, is no .npy file, or has another shape, dtype or range than the layout's.
        ValueError: `split` is none of the three.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    images = _load(root / images_file(split))
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != IMAGE_SHAPE:
        found = f"{images.dtype} {images.shape}"
        raise DataError(f"{root / images_file(split)}: expected uint8 images (N, 32, 32, 3), found {found}.")
    if split == "test":
        return images, None
    labels = _load(root / labels_file(split))
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        expected = f"uint8 class ids ({len(images)},), one for each image"
        raise DataError(f"{root / labels_file(split)}: expected {expected}, found {labels.dtype} {labels.shape}.")
    if labels.size and labels.max() >= len(CLASSES):
        raise DataError(f"{root / labels_file(split)}: expected class ids 0 to 9, found {labels.max()}.")
    return images, labels


def load_heldout(path: Path) -> NDArray[np.uint8]:
    """Read the instructor's labels as `build` wrote them: course class ids (N,) uint8, in the order of the test images.

    Raises:
        DataError: the file is absent, or a line is not what `build` writes.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise DataError(f"{path}: expected the held-out labels here, but {error.strerror}.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected a CSV of digits, found other characters.") from None
    if not lines or lines[0] != "Id,Label":
        raise DataError(
            f"{path}: expected the header 'Id,Label', found {lines[0][:40] if lines else 'an empty file'!r}."
        )
    for i, line in enumerate(lines[1:]):
        if not re.fullmatch(rf"{i},[0-9]", line):
            raise DataError(f"{path}, line {i + 2}: expected '{i},<class id 0 to 9>', found {line[:40]!r}.")
    return np.array([int(line[-1]) for line in lines[1:]], dtype=np.uint8)


def _load(path: Path) -> NDArray[np.uint8]:
    try:
        array: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: expected the course's data file here, found none.") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: expected a .npy array, found a file that cannot be read as one ({error}).") from None
    return array
