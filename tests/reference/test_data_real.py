"""The course data built from real CIFAR-10 images; skipped where they are not at hand."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from reference.data import load_split
from reference.data.build import build
from reference.data.course import load_course
from reference.data.layout import load_heldout
from reference.data.source import Originals, read_originals
from reference.data.transform import row_matches

TAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-jpeg.tar.xz"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TAR.is_file(), reason=f"needs CIFAR-10 as JPEG files at {TAR}"),
]


@pytest.fixture(scope="module")
def originals() -> Originals:
    return read_originals(str(TAR))


@pytest.fixture(scope="module")
def course(originals: Originals, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("course")
    data, heldout = root / "data", root / "heldout.csv"
    build(originals, data, heldout, 661)
    return data, heldout


def test_sizes(course: tuple[Path, Path]) -> None:
    data, heldout = course
    for split, n in (("train", 45_000), ("val", 5_000), ("test", 10_000)):
        images, labels = load_split(data, split)
        assert images.shape == (n, 32, 32, 3)
        labels = load_heldout(heldout) if labels is None else labels
        assert np.bincount(labels).tolist() == [n // 10] * 10
    with heldout.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 10_000


def test_labels_are_those_of_the_stored_results(course: tuple[Path, Path]) -> None:
    # Labels do not depend on the JPEG decoder's version, pixels do.
    data, heldout = course
    expected = {
        data / "train-labels-batch.npy": "83194e521544c0c01753dba875a57a20a1b32324a5f77b4384fb4a05550e3a7c",
        data / "val-labels-batch.npy": "945789f2de9d6f24206b68c4765bdca876584d54911b486561355a22c3d25d7c",
        heldout: "1d07dbc66debec501978f64e7c14dbb4eb9299c70e68589d3d45a58e17ce142a",
    }
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in expected} == expected


def test_preprocessing(course: tuple[Path, Path], originals: Originals) -> None:
    assert originals.lossy
    splits = load_course(originals, *course)
    for split in splits.values():
        step = split.images.astype(np.int16) - originals.images[split.indices]
        assert (int(step.min()), int(step.max())) == (-1, 1)
        share, deviation = originals.from_test[split.indices].mean(), np.sqrt(5 / 36 / len(split.indices))
        assert abs(share - 1 / 6) < 4 * deviation
        assert not np.any(split.labels == originals.labels[split.indices])
    assert row_matches(splits["test"].images, originals.images) == 0
