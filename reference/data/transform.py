"""The course's special preprocessing: which image goes where, under which class id, with which pixels.

Everything is drawn from SHAKE-256 of the seed (FIPS 202), one stream for each purpose. Unlike numpy's generators its
output never changes with a version, so a seed and a source give the same bytes everywhere; and it is one-way, so a
student who knows the originals, and with them every pixel change, still cannot compute the seed or another stream.

What this defeats: training on public CIFAR-10 labels or using a net trained on them as it is (class ids are deranged);
looking up images by a hash of their bytes, mirrored or not, of single rows, or after dropping low bits (every value
of every image moves by -1, 0 or +1 with equal chance); knowing the held-out images by their place (splits are
shuffled and mix the public train and test images); rebuilding the labels from the public code (the seed is secret).

What it does not defeat: nearest-neighbour search in the public data, perceptual hashes and block averages, since no
change that leaves accuracy alone moves an image far; and a pretrained net whose ten outputs are re-ordered with the
help of the course's training labels. A seed short enough to be guessed can be found by trying.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference.data.layout import CLASSES, SPLITS, Sizes


@dataclass(frozen=True)
class Split:
    """Images (N, 32, 32, 3) uint8, course class ids (N,) uint8, and each image's index in the source (N,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    indices: NDArray[np.int64]


def _stream(seed: int, purpose: str, size: int) -> bytes:
    return hashlib.shake_256(f"{seed}/{purpose}".encode()).digest(size)


def _permutation(seed: int, purpose: str, n: int) -> NDArray[np.int64]:
    keys = np.frombuffer(_stream(seed, purpose, 8 * n), dtype="<u8")
    return np.argsort(keys, kind="stable").astype(np.int64)


def derangement(seed: int) -> NDArray[np.uint8]:
    """Course class id of each original class id: (10,) uint8, uniform over permutations without a fixed point."""
    identity = np.arange(len(CLASSES))
    attempt = 0
    while True:  # a permutation has no fixed point with chance 1/e
        mapping = _permutation(seed, f"classes/{attempt}", len(CLASSES))
        if not np.any(mapping == identity):
            return mapping.astype(np.uint8)
        attempt += 1


def assign(seed: int, labels: NDArray[np.uint8], sizes: Sizes) -> dict[str, NDArray[np.int64]]:
    """Indices into the source of each course split: stratified by class, then shuffled.

    Args:
        seed: any non-negative integer.
        labels: original class ids (N,), `sizes.source_train + sizes.source_test` of each class.
        sizes: images per class.
    """
    bounds = [sizes.train, sizes.train + sizes.val]
    parts: dict[str, list[NDArray[np.int64]]] = {split: [] for split in SPLITS}
    for original in range(len(CLASSES)):
        members = np.flatnonzero(labels == original)
        shuffled = members[_permutation(seed, f"split/{original}", len(members))]
        for split, chosen in zip(SPLITS, np.split(shuffled, bounds), strict=True):
            parts[split].append(chosen)
    pooled = {split: np.concatenate(parts[split]) for split in SPLITS}
    return {split: pooled[split][_permutation(seed, f"order/{split}", len(pooled[split]))] for split in SPLITS}


def change_pixels(seed: int, images: NDArray[np.uint8], indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Move every value of the chosen images by -1, 0 or +1 with equal chance, within 0..255.

    Args:
        seed: any non-negative integer.
        images: originals (N, 32, 32, 3) uint8.
        indices: the chosen images (M,); the change of an image depends on its index alone.

    Returns:
        Changed images (M, 32, 32, 3) uint8.
    """
    changed = np.empty((len(indices), *images.shape[1:]), dtype=np.uint8)
    for row, index in enumerate(indices):
        drawn = np.frombuffer(_stream(seed, f"pixels/{index}", images[index].size), dtype=np.uint8)
        step = (drawn % 3).astype(np.int16) - 1
        changed[row] = np.clip(images[index] + step.reshape(images[index].shape), 0, 255)
    return changed


def make_splits(seed: int, images: NDArray[np.uint8], labels: NDArray[np.uint8], sizes: Sizes) -> dict[str, Split]:
    """The three course splits, keyed by name; arguments as in `assign` and `change_pixels`."""
    mapping = derangement(seed)
    return {
        split: Split(change_pixels(seed, images, indices), mapping[labels[indices]], indices)
        for split, indices in assign(seed, labels, sizes).items()
    }


def hash_matches(images: NDArray[np.uint8], originals: NDArray[np.uint8]) -> int:
    """How many images have the exact bytes of an original or of its mirror image; both arrays (N, 32, 32, 3) uint8."""
    known = {_digest(image) for image in originals} | {_digest(image) for image in originals[:, :, ::-1]}
    return sum(_digest(image) in known for image in images)


def row_matches(images: NDArray[np.uint8], originals: NDArray[np.uint8]) -> int:
    """How many rows of the images (32 pixels) have the exact bytes of a row of an original or of its mirror image."""
    mirrored = np.ascontiguousarray(originals[:, :, ::-1])
    known = {hash(row) for source in (originals, mirrored) for row in _rows(source)}
    return sum(hash(row) in known for row in _rows(images))


def _rows(images: NDArray[np.uint8]) -> Iterator[bytes]:
    row = images.shape[2] * images.shape[3]
    for image in images:
        content = image.tobytes()
        yield from (content[start : start + row] for start in range(0, len(content), row))


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
