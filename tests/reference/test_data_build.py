"""What `build` writes, where, with which mode, and what it refuses."""

import csv
import hashlib
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from reference.data import CLASSES, DataError, load_split
from reference.data.build import build, verify_targets
from reference.data.layout import Sizes
from reference.data.source import Originals, read_originals
from reference.data.transform import derangement

SEED = 123


@pytest.fixture
def originals(image_folder: Path, tiny: Sizes) -> Originals:
    return read_originals(str(image_folder), tiny)


def test_layout(originals: Originals, tmp_path: Path, tiny: Sizes) -> None:
    data, heldout = tmp_path / "student" / "data", tmp_path / "staff" / "heldout.csv"
    build(originals, data, heldout, SEED, tiny)
    names = [f"{split}-{kind}-batch.npy" for split in ("train", "val") for kind in ("images", "labels")]
    assert {path.name for path in data.iterdir()} == {*names, "test-images-batch.npy", "manifest.json"}
    assert list(data.parent.iterdir()) == [data]
    for split, n in (("train", 30), ("val", 10), ("test", 20)):
        images, labels = load_split(data, split)
        assert images.shape == (n, 32, 32, 3)
        assert labels is None or np.bincount(labels).tolist() == [n // 10] * 10


def test_heldout_labels_are_those_of_the_test_images(originals: Originals, tmp_path: Path, tiny: Sizes) -> None:
    data, heldout = tmp_path / "data", tmp_path / "heldout.csv"
    build(originals, data, heldout, SEED, tiny)
    with heldout.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Id"] for row in rows] == [str(i) for i in range(20)]
    images, _ = load_split(data, "test")
    distance = np.abs(images[:, None].astype(int) - originals.images[None]).max(axis=(2, 3, 4))
    nearest = distance.argmin(axis=1)
    assert distance.min(axis=1).max() == 1
    assert [int(row["Label"]) for row in rows] == derangement(SEED)[originals.labels[nearest]].tolist()


def test_same_seed_and_source_give_the_same_bytes(originals: Originals, tmp_path: Path, tiny: Sizes) -> None:
    def contents(root: Path, seed: int) -> dict[str, bytes]:
        build(originals, root / "data", root / "heldout.csv", seed, tiny)
        return {path.name: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    first, second, other = contents(tmp_path / "a", SEED), contents(tmp_path / "b", SEED), contents(tmp_path / "c", 124)
    assert first == second
    assert all(first[name] != other[name] for name in first)


def test_modes(originals: Originals, tmp_path: Path, tiny: Sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    created: dict[str, int] = {}
    original_open = os.open

    def spy(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = original_open(path, flags, mode)
        created[path.name] = stat.S_IMODE(os.fstat(descriptor).st_mode)  # before a byte is written
        return descriptor

    monkeypatch.setattr("reference.data.build.os.open", spy)
    previous = os.umask(0)
    try:
        build(originals, tmp_path / "data", tmp_path / "heldout.csv", SEED, tiny)
    finally:
        os.umask(previous)
    assert created == {"heldout.csv": 0o600, "heldout.manifest.json": 0o600}
    for name in created:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_student_manifest_tells_no_secret(originals: Originals, tmp_path: Path, tiny: Sizes) -> None:
    data, heldout = tmp_path / "data", tmp_path / "heldout.csv"
    build(originals, data, heldout, 987_654_321, tiny)
    text = (data / "manifest.json").read_text()
    manifest = json.loads(text)
    assert set(manifest) == {"source", "lossy", "counts", "files", "versions"}
    assert (manifest["source"], manifest["lossy"]) == ("image-folder", False)
    assert manifest["counts"] == {"train": 30, "val": 10, "test": 20}
    for name, checksum in manifest["files"].items():
        assert hashlib.sha256((data / name).read_bytes()).hexdigest() == checksum
    assert len(manifest["files"]) == 5
    assert "987654321" not in text
    assert hashlib.sha256(heldout.read_bytes()).hexdigest() not in text


def test_instructor_manifest_tells_all(originals: Originals, tmp_path: Path, tiny: Sizes) -> None:
    data, heldout = tmp_path / "data", tmp_path / "labels.csv"
    build(originals, data, heldout, SEED, tiny)
    student = json.loads((data / "manifest.json").read_text())
    manifest = json.loads((tmp_path / "labels.manifest.json").read_text())
    assert student.items() <= manifest.items()
    assert manifest["seed"] == SEED
    assert manifest["course_id"] == dict(zip(CLASSES, derangement(SEED).tolist(), strict=True))
    assert manifest["heldout"] == {"file": "labels.csv", "sha256": hashlib.sha256(heldout.read_bytes()).hexdigest()}


@pytest.mark.parametrize("inside", ["heldout.csv", "deeper/heldout.csv", "../data/heldout.csv"])
def test_labels_inside_the_data_folder_are_refused(tmp_path: Path, inside: str) -> None:
    with pytest.raises(DataError, match="expected a path outside the student's data folder"):
        verify_targets(tmp_path / "data", tmp_path / "data" / inside)


def test_labels_inside_the_data_folder_by_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(DataError, match="expected a path outside the student's data folder"):
        verify_targets(tmp_path / "data", tmp_path / "link" / "heldout.csv")


def test_nothing_is_overwritten(originals: Originals, tmp_path: Path, tiny: Sizes) -> None:
    data, heldout = tmp_path / "data", tmp_path / "heldout.csv"
    data.mkdir()
    build(originals, data, heldout, SEED, tiny)  # an empty folder is fine
    with pytest.raises(DataError, match="expected a new or empty folder"):
        build(originals, data, tmp_path / "other.csv", SEED, tiny)
    with pytest.raises(DataError, match=r"heldout\.csv: expected no file here yet"):
        build(originals, tmp_path / "other", heldout, SEED, tiny)
    heldout.unlink()
    with pytest.raises(DataError, match=r"heldout\.manifest\.json: expected no file here yet"):
        build(originals, tmp_path / "other", heldout, SEED, tiny)


def test_a_link_in_place_of_the_labels_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "heldout.csv").symlink_to(tmp_path / "public.csv")
    with pytest.raises(DataError, match="expected no file here yet"):
        verify_targets(tmp_path / "data", tmp_path / "heldout.csv")


def test_a_file_in_place_of_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match="found one with content or a file"):
        verify_targets(tmp_path / "data", tmp_path / "heldout.csv")


def test_failure_leaves_nothing_behind(
    originals: Originals, tmp_path: Path, tiny: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        build(originals, out / "data", out / "heldout.csv", SEED, tiny)
    assert list(out.iterdir()) == []


def test_an_image_that_equals_an_original_is_refused(tmp_path: Path, tiny: Sizes, originals: Originals) -> None:
    from reference.data.transform import change_pixels

    images = originals.images.copy()
    images[0] = change_pixels(SEED, images, np.array([1]))[0]
    planted = Originals(images, originals.labels, originals.from_test, "image-folder", False)
    with pytest.raises(DataError, match="to equal an original, found 1"):
        build(planted, tmp_path / "data", tmp_path / "heldout.csv", SEED, tiny)
    assert not (tmp_path / "data").exists()
