"""The data set interface that students receive."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference.notebooks.tools import dataset
from reference.notebooks.tools.dataset import CIFAR10, CourseDataError

COUNTS = {"train": 6, "val": 4, "test": 3}


def images_of(mode: str) -> np.ndarray:
    return np.random.default_rng(COUNTS[mode]).integers(0, 256, (COUNTS[mode], 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    for mode, count in COUNTS.items():
        np.save(root / f"{mode}-images-batch.npy", images_of(mode))
        if mode != "test":
            np.save(root / f"{mode}-labels-batch.npy", np.arange(count, dtype=np.uint8))
    return root


@pytest.fixture
def archive(data: Path, tmp_path: Path) -> Path:
    """The course's zip, its files in a folder and a stranger beside them."""
    path = tmp_path / "course.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for file in data.iterdir():
            opened.write(file, f"cifar10/{file.name}")
        opened.writestr("../outside.txt", "not wanted")
        opened.writestr("cifar10/notes.txt", "not wanted")
    return path


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_DATA_URL", raising=False)


@pytest.mark.parametrize("mode", ["train", "val"])
def test_a_labelled_item_is_a_pil_image_and_an_int(data: Path, mode: str) -> None:
    split = CIFAR10(str(data), mode=mode)
    assert len(split) == COUNTS[mode]
    image, label = split[2]
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert np.array_equal(np.asarray(image), images_of(mode)[2])
    assert type(label) is int
    assert label == 2


def test_a_test_item_is_the_image_alone(data: Path) -> None:
    image = CIFAR10(data, mode="test")[1]
    assert np.array_equal(np.asarray(image), images_of("test")[1])


def test_transforms_are_applied_to_image_and_label(data: Path) -> None:
    split = CIFAR10(data, transform=lambda image: image.size, target_transform=lambda label: -label)
    assert split[3] == ((32, 32), -3)
    assert CIFAR10(data, mode="test", transform=lambda image: image.size)[0] == (32, 32)


def test_an_unknown_mode_is_named(data: Path) -> None:
    with pytest.raises(ValueError, match='mode must be "train", "val" or "test", not \'validation\''):
        CIFAR10(data, mode="validation")


@pytest.mark.parametrize("download", [True, False])
def test_missing_data_say_how_to_get_them(tmp_path: Path, download: bool) -> None:
    with pytest.raises(CourseDataError) as raised:
        CIFAR10(tmp_path, mode="val", download=download)
    message = str(raised.value)
    assert f"val-images-batch.npy and val-labels-batch.npy not found in {tmp_path}" in message
    for way in (
        "instructor",
        "COURSE_DATA_URL",
        "python -m reference.data build",
        f"python -m fixtures.embedded --out {tmp_path}",
    ):
        assert way in message
    assert isinstance(raised.value, FileNotFoundError)


def test_a_notebook_shows_the_message_in_place_of_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(CourseDataError) as raised:
        CIFAR10(tmp_path)
    assert raised.value._render_traceback_() == [f"CourseDataError: {raised.value}"]


def test_download_fetches_the_zip_and_unpacks_only_the_course_files(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_DATA_URL", archive.as_uri())
    root = tmp_path / "new" / "data"
    assert len(CIFAR10(root, mode="train", download=True)) == COUNTS["train"]
    assert {path.name for path in root.iterdir()} == {name for names in dataset.FILES.values() for name in names}
    assert not list(tmp_path.rglob("*.txt"))


def test_the_address_may_stand_in_the_module(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "DATA_URL", archive.as_uri())
    assert len(CIFAR10(tmp_path / "new", mode="test")) == COUNTS["test"]


def test_nothing_is_fetched_unless_asked_for(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DATA_URL", archive.as_uri())
    with pytest.raises(CourseDataError, match="not found in"):
        CIFAR10(tmp_path / "new", download=False)


def test_nothing_is_fetched_where_the_files_are(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DATA_URL", "file:///no/such/file.zip")
    assert len(CIFAR10(data, download=True)) == COUNTS["train"]


@pytest.mark.parametrize("url", ["file:///no/such/file.zip", "no address"])
def test_a_failed_download_names_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("COURSE_DATA_URL", url)
    with pytest.raises(CourseDataError, match=f"could not be had from {url}: ") as raised:
        CIFAR10(tmp_path)
    assert "How to get the data" in str(raised.value)


def test_a_download_that_is_no_zip_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.html").write_text("<p>log in first</p>")
    monkeypatch.setenv("COURSE_DATA_URL", (tmp_path / "page.html").as_uri())
    with pytest.raises(CourseDataError, match="not a zip file"):
        CIFAR10(tmp_path / "data")


def test_a_zip_without_the_files_leaves_them_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as opened:
        opened.writestr("notes.txt", "not the data")
    monkeypatch.setenv("COURSE_DATA_URL", (tmp_path / "other.zip").as_uri())
    with pytest.raises(CourseDataError, match=r"train-images-batch\.npy and train-labels-batch\.npy not found"):
        CIFAR10(tmp_path / "data")


def test_a_zip_that_unpacks_to_too_much_is_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_DATA_URL", archive.as_uri())
    monkeypatch.setattr(dataset, "MAX_FILE_BYTES", 1000)
    with pytest.raises(CourseDataError, match="at most 1000 expected"):
        CIFAR10(tmp_path / "new")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-images-batch.npy", np.zeros((6, 3, 32, 32), np.uint8), r"expected uint8 \(N, 32, 32, 3\), found uint8"),
        ("train-images-batch.npy", np.zeros((6, 32, 32, 3)), r"expected uint8 \(N, 32, 32, 3\), found float64"),
        ("train-labels-batch.npy", np.zeros((6, 1), np.uint8), r"expected uint8 \(N\), found uint8 \(6, 1\)"),
        ("train-labels-batch.npy", np.zeros(5, np.uint8), "6 train images but 5 labels"),
    ],
)
def test_damaged_arrays_are_named(data: Path, name: str, array: np.ndarray, message: str) -> None:
    np.save(data / name, array)
    with pytest.raises(CourseDataError, match=message):
        CIFAR10(data)


@pytest.mark.parametrize("content", [b"", b"no array", np.lib.format.MAGIC_PREFIX])
def test_a_file_that_is_no_array_is_named(data: Path, content: bytes) -> None:
    (data / "train-images-batch.npy").write_bytes(content)
    with pytest.raises(CourseDataError, match=r"train-images-batch\.npy is no array file"):
        CIFAR10(data)
