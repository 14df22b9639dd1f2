"""CIFAR-10's originals, read from whatever the instructor has: torchvision's download or files, or images by class.

Every source is a folder or a tar (any compression) and is read the same way: file by file, in memory. Nothing is
extracted, and links and special files in a tar are ignored.
"""

import hashlib
import io
import lzma
import pickle
import re
import struct
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reference.data.layout import CLASSES, IMAGE_SHAPE, DataError, Sizes

BATCH = re.compile(r"(?:.*/)?(data_batch_[1-5]|test_batch)")
IMAGE = re.compile(r"(?:.*/)?(train|test)/([^/]+)/([^/.][^/]*\.(?:jpe?g|png))", re.IGNORECASE)
MEMBER_LIMIT = 64 << 20  # bytes; CIFAR-10's largest file has 31 MB
UNREADABLE_TAR = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)
UNREADABLE_IMAGE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Originals:
    """CIFAR-10 as published, in an order that depends on the files' names alone.

    Attributes:
        images: (60000, 32, 32, 3) uint8.
        labels: original class ids (60000,) uint8, in the order of `CLASSES`.
        from_test: (60000,) bool, true for the images of CIFAR-10's own test split.
        kind: "torchvision", "cifar-10-archive", "cifar-10-batches", "image-folder" or "image-tar".
        lossy: true where the files are JPEG, so that the pixels differ from the published ones.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    from_test: NDArray[np.bool_]
    kind: str
    lossy: bool


def read_originals(
    source: str, sizes: Sizes | None = None, *, cache: Path | None = None, progress: Progress = lambda line: None
) -> Originals:
    """Read every original image and label.

    Args:
        source: the word "torchvision", or the path of a tar or a folder that holds either CIFAR-10's Python batches
            or images named train/<class>/<name>.jpg (or .png) and test/<class>/<name>.jpg, at any depth.
        sizes: expected images per class; CIFAR-10's own by default.
        cache: where "torchvision" keeps its download; `TORCH_HOME/datasets` by default.
        progress: called now and then with a line on how far reading has come.

    Raises:
        DataError: what is wrong with the source, in one sentence.
        OSError: a file cannot be opened.
    """
    sizes = sizes or Sizes()
    if source == "torchvision":
        root = _download(cache)
        return _read(root, "torchvision", sizes, progress)
    path = Path(source)
    if path.is_dir():
        return _read(path, "", sizes, progress)
    if not path.exists():
        raise DataError(f"{source}: expected a tar, a folder or the word torchvision, found no such file.")
    return _read(path, "", sizes, progress)


def _download(cache: Path | None) -> Path:
    import torch

    cifar10 = _torchvision_cifar10()
    root = cache or Path(torch.hub.get_dir()).parent / "datasets"
    try:
        cifar10(str(root), download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"torchvision: expected to download CIFAR-10 to {root}, but that failed ({reason}).") from None
    return root / str(cifar10.base_folder)


def _read(path: Path, kind: str, sizes: Sizes, progress: Progress) -> Originals:
    batches: dict[str, bytes] = {}
    images: dict[tuple[str, str, str], NDArray[np.uint8]] = {}
    lossy = False
    for name, content in _files(path):
        if match := BATCH.fullmatch(name):
            batches[match[1]] = content
        elif match := IMAGE.fullmatch(name):
            split, label, file = match[1].lower(), match[2], match[3]
            images[split, label, file], is_jpeg = _decode(name, content)
            lossy |= is_jpeg
            if len(images) % 2000 == 0:
                progress(f"{len(images):,} images read")
    shape = "folder" if path.is_dir() else "tar"
    if batches:
        kind = kind or ("cifar-10-batches" if shape == "folder" else "cifar-10-archive")
        return read_batches(batches, published_checksums(), kind, sizes)
    if images:
        return _collect(path, images, f"image-{shape}", lossy, sizes)
    expected = "CIFAR-10's data_batch_1 to 5 and test_batch, or train/<class>/<name>.jpg and test/<class>/<name>.jpg"
    raise DataError(f"{path}: expected {expected}, found neither in this {shape}.")


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each wanted file, names relative to the source with forward slashes."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path).as_posix()
            if _wanted(name) and file.is_file():
                yield name, file.read_bytes()
        return
    try:
        if not tarfile.is_tarfile(path):
            raise DataError(f"{path}: expected a tar archive, found a file that is none.")
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isreg() and _wanted(member.name):
                    yield member.name, _read_member(tar, member, path)
    except UNREADABLE_TAR as error:
        raise DataError(f"{path}: expected a whole tar archive, found one that breaks off ({error}).") from None


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    if member.size > MEMBER_LIMIT:
        found = f"{member.name} of {member.size} bytes"
        raise DataError(f"{path}: expected files of at most {MEMBER_LIMIT} bytes, found {found}.")
    stream = tar.extractfile(member)
    assert stream is not None, "a regular member has content"
    return stream.read()


def _wanted(name: str) -> bool:
    return bool(BATCH.fullmatch(name) or IMAGE.fullmatch(name))


def _decode(name: str, content: bytes) -> tuple[NDArray[np.uint8], bool]:
    """Pixels (32, 32, 3) uint8 of one file, and whether it is JPEG."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.size != IMAGE_SHAPE[:2]:
                width, height = image.size
                raise DataError(f"{name}: expected an image of 32 x 32 pixels, found {width} x {height}.")
            return np.asarray(image.convert("RGB")), image.format == "JPEG"
    except UNREADABLE_IMAGE as error:
        raise DataError(
            f"{name}: expected a JPEG or PNG image, found a file that cannot be decoded ({error})."
        ) from None


def _collect(
    path: Path, images: Mapping[tuple[str, str, str], NDArray[np.uint8]], kind: str, lossy: bool, sizes: Sizes
) -> Originals:
    counts = Counter((split, label) for split, label, _ in images)
    for split, expected in (("train", sizes.source_train), ("test", sizes.source_test)):
        found = {label for found_split, label in counts if found_split == split}
        if missing := [label for label in CLASSES if label not in found]:
            raise DataError(f"{path}: expected ten classes in {split}/, found no image of {', '.join(missing)}.")
        if unknown := sorted(found - set(CLASSES)):
            raise DataError(
                f"{path}: expected CIFAR-10's classes in {split}/, found {', '.join(unknown)} besides them."
            )
        for label in CLASSES:
            if counts[split, label] != expected:
                count = counts[split, label]
                raise DataError(f"{path}: expected {expected} images in {split}/{label}, found {count}.")
    # Sorted, so that a folder and a tar of the same images give the same order.
    keys = sorted(images, key=lambda key: (key[0] == "test", CLASSES.index(key[1]), key[2]))
    return Originals(
        images=np.stack([images[key] for key in keys]),
        labels=np.array([CLASSES.index(label) for _, label, _ in keys], dtype=np.uint8),
        from_test=np.array([split == "test" for split, _, _ in keys]),
        kind=kind,
        lossy=lossy,
    )


def published_checksums() -> dict[str, str]:
    """MD5 of each of CIFAR-10's Python batches, as torchvision lists them, training batches first."""
    cifar10 = _torchvision_cifar10()
    return dict((*cifar10.train_list, *cifar10.test_list))


def _torchvision_cifar10() -> Any:
    """torchvision's class, imported only where a source needs it: the import takes seconds."""
    from torchvision.datasets import CIFAR10  # type: ignore[import-untyped]

    return CIFAR10


def read_batches(batches: Mapping[str, bytes], checksums: Mapping[str, str], kind: str, sizes: Sizes) -> Originals:
    """Decode CIFAR-10's Python batches (format: https://www.cs.toronto.edu/~kriz/cifar.html).

    Args:
        batches: content of each batch file by name.
        checksums: expected names and their MD5 in hexadecimal; nothing is unpickled before its checksum is right.
        kind: what `Originals.kind` is to say.
        sizes: expected images per class.

    Raises:
        DataError: a batch is absent, has another checksum, or the batches hold another number of images.
    """
    pixels, labels, from_test = [], [], []
    for name, checksum in checksums.items():
        if name not in batches:
            raise DataError(
                f"{name}: expected this file among CIFAR-10's Python batches, found only {', '.join(sorted(batches))}."
            )
        found = hashlib.md5(batches[name], usedforsecurity=False).hexdigest()
        if found != checksum:
            raise DataError(f"{name}: expected MD5 {checksum}, found {found}: the file is damaged or not CIFAR-10's.")
        batch = pickle.loads(batches[name], encoding="latin1")
        pixels.append(np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32))  # (N, C, H, W)
        labels.append(np.asarray(batch["labels"], dtype=np.uint8))
        from_test.append(np.full(len(labels[-1]), name.startswith("test")))
    originals = Originals(
        images=np.ascontiguousarray(np.concatenate(pixels).transpose(0, 2, 3, 1)),  # (N, H, W, C)
        labels=np.concatenate(labels),
        from_test=np.concatenate(from_test),
        kind=kind,
        lossy=False,
    )
    for is_test, expected in ((False, sizes.source_train), (True, sizes.source_test)):
        counts = np.bincount(originals.labels[originals.from_test == is_test], minlength=len(CLASSES))
        if np.any(counts != expected):
            split = "test" if is_test else "train"
            raise DataError(f"{kind}: expected {expected} images of each class in {split}, found {counts.tolist()}.")
    return originals
