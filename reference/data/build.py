"""Write the student's data folder and, apart from it, the instructor's held-out labels with their manifest.

Seed, derangement and checksum of the labels go only into the instructor's manifest beside the labels: whoever has the
seed and the originals can rebuild every label.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from reference.data.course import digest, instructor_manifest
from reference.data.layout import CLASSES, MANIFEST, DataError, Sizes, data_files, images_file, labels_file
from reference.data.source import Originals
from reference.data.transform import Split, derangement, hash_matches, make_splits


def verify_targets(out: Path, heldout: Path) -> None:
    """Refuse, before any work, to overwrite something or to put the labels where students see them.

    Raises:
        DataError: naming the path and what is wrong with it.
    """
    if heldout.resolve().is_relative_to(out.resolve()):
        raise DataError(f"{heldout}: expected a path outside the student's data folder {out}, found one inside it.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: expected a new or empty folder for the data, found one with content or a file.")
    for path in (heldout, instructor_manifest(heldout)):
        if os.path.lexists(path):
            raise DataError(f"{path}: expected no file here yet, found one; labels are never overwritten.")


def build(originals: Originals, out: Path, heldout: Path, seed: int, sizes: Sizes | None = None) -> None:
    """Write both sides; the same originals and seed give the same bytes.

    The data folder appears complete or not at all, and after the labels. Labels and instructor's manifest have
    mode 0600 from the moment they exist.

    Args:
        originals: what `read_originals` returned.
        out: the student's data folder, new or empty.
        heldout: the instructor's CSV, `Id,Label` and one row for each test image.
        seed: any non-negative integer; keep it as secret as the labels.
        sizes: images per class; the course's by default.

    Raises:
        DataError: a target is in the way, or (never seen) a changed image equals an original.
        OSError: writing failed.
    """
    verify_targets(out, heldout)
    out = out.resolve()
    splits = make_splits(seed, originals.images, originals.labels, sizes or Sizes())
    for name, split in splits.items():
        if matches := hash_matches(split.images, originals.images):
            raise DataError(f"seed {seed}: expected no image of {name} to equal an original, found {matches}.")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    written: list[Path] = []
    try:
        partial.mkdir(parents=True)
        student = _write_data(partial, splits, originals)
        heldout.parent.mkdir(parents=True, exist_ok=True)
        labels = heldout_csv(splits["test"].labels).encode()
        manifest = {
            **student,
            "heldout": {"file": heldout.name, "sha256": hashlib.sha256(labels).hexdigest()},
            "seed": seed,
            "course_id": {name: int(i) for name, i in zip(CLASSES, derangement(seed), strict=True)},
            "originals_sha256": digest(originals.images, originals.labels),
        }
        for path, content in ((heldout, labels), (instructor_manifest(heldout), _json(manifest))):
            _write_private(path, content)
            written.append(path)
        partial.replace(out)
    except BaseException:
        for path in written:
            path.unlink()
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def heldout_csv(labels: NDArray[np.uint8]) -> str:
    """The format of predictions.csv: a header and one row for each test image, ids from 0."""
    return "Id,Label\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels))


def _write_data(folder: Path, splits: Mapping[str, Split], originals: Originals) -> dict[str, Any]:
    for name, split in splits.items():
        np.save(folder / images_file(name), split.images)
        if name != "test":
            np.save(folder / labels_file(name), split.labels)
    manifest = {
        "source": originals.kind,
        "lossy": originals.lossy,
        "counts": {name: len(split.labels) for name, split in splits.items()},
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in data_files()},
        "versions": {
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        },
    }
    (folder / MANIFEST).write_bytes(_json(manifest))
    return manifest


def _write_private(path: Path, content: bytes) -> None:
    """Create the file with mode 0600; fails if anything, a link included, already has the name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except BaseException:
        path.unlink()
        raise


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
