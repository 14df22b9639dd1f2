"""The course's data as built: read back whole, labels and places in the source included, and checked first."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.data.layout import DataError, Sizes, data_files, load_heldout, load_split
from reference.data.source import Originals
from reference.data.transform import Split, assign


def instructor_manifest(heldout: Path) -> Path:
    """heldout.csv -> heldout.manifest.json."""
    return heldout.with_suffix(".manifest.json")


def load_course(originals: Originals, data: Path, heldout: Path, sizes: Sizes | None = None) -> dict[str, Split]:
    """The course's splits as written, with each image's index in the source.

    Raises:
        DataError: a file is absent or differs from the instructor's manifest, or the originals are not the ones that
            the data were built from.
    """
    manifest = _read_manifest(instructor_manifest(heldout))
    found = digest(originals.images, originals.labels)
    if found != manifest["originals_sha256"]:
        expected = f"the originals that {data} was built from (SHA-256 {manifest['originals_sha256']})"
        raise DataError(f"{originals.kind}: expected {expected}, found others (SHA-256 {found}).")
    paths = [(data / name, manifest["files"][name]) for name in data_files()]
    for path, checksum in [*paths, (heldout, manifest["heldout"]["sha256"])]:
        _check_file(path, checksum)
    indices = assign(manifest["seed"], originals.labels, sizes or Sizes())
    splits = {}
    for name in indices:
        images, labels = load_split(data, name)
        splits[name] = Split(images, load_heldout(heldout) if labels is None else labels, indices[name])
    return splits


def digest(*arrays: NDArray[np.uint8]) -> str:
    """SHA-256, in hexadecimal, of the arrays' values in C order."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _check_file(path: Path, checksum: str) -> None:
    try:
        found = digest(np.frombuffer(path.read_bytes(), dtype=np.uint8))
    except OSError as error:
        raise DataError(f"{path}: expected a file of the course's data here, but {error.strerror}.") from None
    if found != checksum:
        raise DataError(f"{path}: expected SHA-256 {checksum} as in the manifest, found {found}.")


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{path}: expected the instructor's manifest beside the labels, but {error.strerror}."
        ) from None
    except ValueError as error:
        raise DataError(f"{path}: expected the instructor's manifest, found no JSON ({error}).") from None
    wanted = {"files", "heldout", "seed", "course_id", "originals_sha256"}
    if not isinstance(manifest, dict) or not wanted <= manifest.keys():
        raise DataError(
            f"{path}: expected the instructor's manifest with {', '.join(sorted(wanted))}, found other content."
        )
    return manifest
