"""The course's CIFAR-10: 45,000 training, 5,000 validation and 10,000 unlabelled test images.

Files under ``root``, all uint8: ``{train,val,test}-images-batch.npy`` (N, 32, 32, 3) and
``{train,val}-labels-batch.npy`` (N,).
"""

import os
import shutil
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

# Address of a zip with the files above; the instructor of a course sets it, here or in the environment.
DATA_URL = ""

FILES = {
    "train": ("train-images-batch.npy", "train-labels-batch.npy"),
    "val": ("val-images-batch.npy", "val-labels-batch.npy"),
    "test": ("test-images-batch.npy",),
}
MAX_FILE_BYTES = 1 << 30  # the largest file of the course holds 138 MB; what unpacks to more is no course data

HOW_TO_GET = """How to get the data, any one of:
  - copy the folder `data` that your instructor shares to {root}
  - set the environment variable COURSE_DATA_URL to the address of the course's zip and run this cell again
  - instructors build it from CIFAR-10: python -m reference.data build
  - a small generated set to try the code on: python -m fixtures.embedded --out {root}"""


class CourseDataError(FileNotFoundError):
    """The course's data are missing or damaged; the message says how to get them."""

    def _render_traceback_(self) -> list[str]:
        """IPython prints these lines in place of a traceback, so that the message is all a student sees."""
        return [f"{type(self).__name__}: {self}"]


def _missing(root: Path, mode: str) -> list[str]:
    return [name for name in FILES[mode] if not (root / name).is_file()]


def _unpack(archive: Path, root: Path) -> None:
    """Copy the course's files, and nothing else, from the zip to ``root``; folders inside the zip are ignored."""
    wanted = {name for names in FILES.values() for name in names}
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = PurePosixPath(member.filename).name
            if member.is_dir() or name not in wanted:
                continue
            if member.file_size > MAX_FILE_BYTES:
                raise CourseDataError(
                    f"{name} in the zip has {member.file_size} bytes; at most {MAX_FILE_BYTES} expected"
                )
            part = root / f"{name}.part"
            with opened.open(member) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target)
            part.replace(root / name)  # an interrupted download leaves no half file under the final name


def _download(url: str, root: Path) -> None:
    """Fetch the zip at ``url`` and unpack it to ``root``; ``CourseDataError`` when it cannot be had or is no zip."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "data.zip"
        try:
            with urllib.request.urlopen(url, timeout=60) as response, archive.open("wb") as target:
                shutil.copyfileobj(response, target)
            _unpack(archive, root)
        except CourseDataError:
            raise
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            message = f"the course's data could not be had from {url}: {error}\n{HOW_TO_GET.format(root=root)}"
            raise CourseDataError(message) from error


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Map the array in ``path`` into memory; its first dimension is free, the others must be ``shape``."""
    try:
        array: np.ndarray[Any, np.dtype[np.uint8]] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CourseDataError(f"{path} is no array file ({error}); get the data anew") from error
    if array.dtype != np.uint8 or array.shape[1:] != shape:
        expected = "(" + ", ".join(["N", *map(str, shape)]) + ")"
        found = f"{array.dtype} {array.shape}"
        raise CourseDataError(f"{path}: expected uint8 {expected}, found {found}; get the data anew")
    return array


class CIFAR10(Dataset[Any]):
    """One split of the course's data. Images stay on disk until they are asked for.

    Args:
        root: folder with the files.
        mode: ``"train"``, ``"val"`` or ``"test"``.
        download: fetch the files from ``COURSE_DATA_URL`` (environment) or ``DATA_URL`` (above) if they are not there.
        transform: applied to the image, a PIL image (RGB, 32 x 32).
        target_transform: applied to the label, an int from 0 to 9.

    Items of ``train`` and ``val`` are ``(image, label)``, those of ``test`` the image alone.

    Raises:
        ValueError: ``mode`` is none of the three.
        CourseDataError: the files are missing or damaged; the message says how to get them.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        mode: Literal["train", "val", "test"] = "train",
        download: bool = True,
        transform: Callable[[Image.Image], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        if mode not in FILES:
            raise ValueError(f'mode must be "train", "val" or "test", not {mode!r}')
        self.root = Path(root)
        self.mode = mode
        self.transform = transform
        self.target_transform = target_transform
        url = os.environ.get("COURSE_DATA_URL") or DATA_URL
        if download and url and _missing(self.root, mode):
            _download(url, self.root)
        if missing := _missing(self.root, mode):
            where = self.root.absolute()
            raise CourseDataError(f"{' and '.join(missing)} not found in {where}.\n{HOW_TO_GET.format(root=where)}")
        self.images = _open(self.root / FILES[mode][0], (32, 32, 3))  # (N, 32, 32, 3)
        self.labels = None if mode == "test" else _open(self.root / FILES[mode][1], ())  # (N,)
        if self.labels is not None and len(self.labels) != len(self.images):
            raise CourseDataError(
                f"{self.root}: {len(self.images)} {mode} images but {len(self.labels)} labels; get the data anew"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        """The image, transformed, and for ``train`` and ``val`` its label."""
        image: Any = Image.fromarray(np.array(self.images[index]))
        if self.transform is not None:
            image = self.transform(image)
        if self.labels is None:
            return image
        label: Any = int(self.labels[index])
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label
