"""Reading the data folder and the held-out labels back, and what is said about bad files."""

from pathlib import Path

import numpy as np
import pytest

from reference.data import CLASSES, DataError, load_split
from reference.data.layout import Sizes, load_heldout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("train", 4), ("test", 3)):
        np.save(tmp_path / f"{split}-images-batch.npy", rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8))
    np.save(tmp_path / "train-labels-batch.npy", np.array([0, 9, 3, 3], dtype=np.uint8))
    return tmp_path


def test_load_split(root: Path) -> None:
    images, labels = load_split(root, "train")
    assert (images.shape, images.dtype) == ((4, 32, 32, 3), np.uint8)
    assert labels is not None
    assert (labels.tolist(), labels.dtype) == ([0, 9, 3, 3], np.uint8)


def test_test_split_has_no_labels(root: Path) -> None:
    images, labels = load_split(root, "test")
    assert len(images) == 3
    assert labels is None


def test_unknown_split(root: Path) -> None:
    with pytest.raises(ValueError, match="one of train, val, test, got 'dev'"):
        load_split(root, "dev")


def test_absent_file(root: Path) -> None:
    with pytest.raises(DataError, match=r"val-images-batch\.npy: expected the course's data file here, found none"):
        load_split(root, "val")


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_no_array(root: Path, content: bytes) -> None:
    (root / "train-images-batch.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"train-images-batch\.npy: expected a \.npy array"):
        load_split(root, "train")


def test_pickled_objects_are_not_loaded(root: Path) -> None:
    np.save(root / "train-images-batch.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"expected a \.npy array"):
        load_split(root, "train")


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (np.zeros((4, 3, 32, 32), np.uint8), r"uint8 \(4, 3, 32, 32\)"),
        (np.zeros((4, 32, 32, 3), np.float32), "float32"),
        (np.zeros((4, 3072), np.uint8), r"\(4, 3072\)"),
    ],
)
def test_wrong_images(root: Path, images: np.ndarray, found: str) -> None:
    np.save(root / "train-images-batch.npy", images)
    with pytest.raises(DataError, match=rf"expected uint8 images \(N, 32, 32, 3\), found .*{found}"):
        load_split(root, "train")


@pytest.mark.parametrize("labels", [np.zeros(3, np.uint8), np.zeros(4, np.int64), np.zeros((4, 1), np.uint8)])
def test_wrong_labels(root: Path, labels: np.ndarray) -> None:
    np.save(root / "train-labels-batch.npy", labels)
    with pytest.raises(DataError, match=r"expected uint8 class ids \(4,\), one for each image, found"):
        load_split(root, "train")


def test_class_id_out_of_range(root: Path) -> None:
    np.save(root / "train-labels-batch.npy", np.array([0, 1, 2, 10], np.uint8))
    with pytest.raises(DataError, match="expected class ids 0 to 9, found 10"):
        load_split(root, "train")


def test_load_heldout(tmp_path: Path) -> None:
    path = tmp_path / "heldout.csv"
    path.write_text("Id,Label\n0,7\n1,0\n2,9\n")
    assert load_heldout(path).tolist() == [7, 0, 9]
    assert load_heldout(path).dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "expected the header 'Id,Label', found 'an empty file'"),
        (b"id,label\n0,1\n", "expected the header 'Id,Label', found 'id,label'"),
        (b"Id,Label\n0,1\n2,1\n", "line 3: expected '1,<class id 0 to 9>', found '2,1'"),
        (b"Id,Label\n0,10\n", "line 2: expected '0,<class id 0 to 9>', found '0,10'"),
        (b"Id,Label\n0,\xb2\n", "expected a CSV of digits, found other characters"),
    ],
)
def test_bad_heldout(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "heldout.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        load_heldout(path)
    assert complaint in str(raised.value)


def test_absent_heldout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the held-out labels here, but No such file"):
        load_heldout(tmp_path / "heldout.csv")


def test_sizes_use_every_image() -> None:
    sizes = Sizes()
    assert (sizes.train * 10, sizes.val * 10, sizes.test * 10) == (45_000, 5_000, 10_000)
    with pytest.raises(ValueError, match="exactly once"):
        Sizes(source_train=5, source_test=1, train=3, val=1, test=1)


def test_classes_are_alphabetical() -> None:
    assert list(CLASSES) == sorted(CLASSES)
