"""Reading CIFAR-10's originals from every kind of source, and what is said about bad ones."""

import io
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference.data.layout import CLASSES, DataError, Sizes
from reference.data.source import MEMBER_LIMIT, read_originals


def pack(folder: Path, mode: str) -> Path:
    path = folder.with_name("packed.tar")
    with tarfile.open(path, mode) as tar:
        tar.add(folder, arcname="any/where")
    return path


def write(folder: Path, batches: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in batches.items():
        (folder / name).write_bytes(content)
    return folder


def message(source: Path | str, sizes: Sizes) -> str:
    with pytest.raises(DataError) as raised:
        read_originals(str(source), sizes)
    text = str(raised.value)
    assert "\n" not in text
    assert "expected" in text
    return text


def test_folder_of_images(image_folder: Path, tiny: Sizes) -> None:
    originals = read_originals(str(image_folder), tiny)
    assert originals.images.shape == (60, 32, 32, 3)
    assert originals.images.dtype == np.uint8
    assert np.bincount(originals.labels).tolist() == [6] * 10
    assert np.bincount(originals.labels[originals.from_test]).tolist() == [1] * 10
    assert (originals.kind, originals.lossy) == ("image-folder", False)
    cat = CLASSES.index("cat")
    chosen = originals.images[(originals.labels == cat) & originals.from_test]
    assert np.array_equal(chosen[0], np.asarray(Image.open(image_folder / "test" / "cat" / "0.png")))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_equals_folder(image_folder: Path, tiny: Sizes, mode: str) -> None:
    from_folder = read_originals(str(image_folder), tiny)
    from_tar = read_originals(str(pack(image_folder, mode)), tiny)
    assert from_tar.kind == "image-tar"
    assert np.array_equal(from_tar.images, from_folder.images)
    assert np.array_equal(from_tar.labels, from_folder.labels)
    assert np.array_equal(from_tar.from_test, from_folder.from_test)


def test_jpeg_is_lossy(image_folder: Path, tiny: Sizes, jpeg: Callable[[int, int], bytes]) -> None:
    (image_folder / "train" / "cat" / "0.png").unlink()
    (image_folder / "train" / "cat" / "0.jpg").write_bytes(jpeg(32, 32))
    assert read_originals(str(image_folder), tiny).lossy


def test_progress_is_reported(image_folder: Path) -> None:
    for i in range(5, 1990):
        os.link(image_folder / "train" / "cat" / "0.png", image_folder / "train" / "cat" / f"{i}.png")
    lines: list[str] = []
    with pytest.raises(DataError, match="expected 5 images in train/cat, found 1990"):
        read_originals(str(image_folder), Sizes(5, 1, 3, 1, 2), progress=lines.append)
    assert lines == ["2,000 images read"]


@pytest.mark.usefixtures("fake_torchvision")
def test_batches(batches: dict[str, bytes], tmp_path: Path, tiny: Sizes) -> None:
    folder = write(tmp_path / "cifar-10-batches-py", batches)
    originals = read_originals(str(folder), tiny)
    assert (originals.kind, originals.lossy) == ("cifar-10-batches", False)
    assert np.bincount(originals.labels[originals.from_test]).tolist() == [1] * 10
    # The format's definition: 1024 red values row by row, then green, then blue.
    first = np.load(io.BytesIO(batches["data_batch_1"]), allow_pickle=True)["data"][0]
    assert originals.images[0, 0, 1].tolist() == [first[1], first[1024 + 1], first[2048 + 1]]

    archive = pack(folder, "w:gz")
    from_archive = read_originals(str(archive), tiny)
    assert from_archive.kind == "cifar-10-archive"
    assert np.array_equal(from_archive.images, originals.images)


@pytest.mark.usefixtures("fake_torchvision")
def test_torchvision_downloads_to_cache(tmp_path: Path, tiny: Sizes) -> None:
    originals = read_originals("torchvision", tiny, cache=tmp_path / "cache")
    assert originals.kind == "torchvision"
    assert len(originals.images) == 60
    assert (tmp_path / "cache" / "cifar-10-batches-py" / "test_batch").is_file()


def test_download_fails(fake_torchvision: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Sizes) -> None:
    def fail(self: object, root: str, download: bool) -> None:
        raise RuntimeError("Error\ndownloading")

    monkeypatch.setattr(fake_torchvision, "__init__", fail)
    with pytest.raises(DataError, match=r"expected to download CIFAR-10 to .*cache.*\(Error downloading\)"):
        read_originals("torchvision", tiny, cache=tmp_path / "cache")


def test_published_checksums_are_known() -> None:
    from reference.data.source import published_checksums

    checksums = published_checksums()
    assert list(checksums) == [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    assert all(len(checksum) == 32 for checksum in checksums.values())


@pytest.mark.usefixtures("fake_torchvision")
def test_damaged_batch_is_refused_before_unpickling(batches: dict[str, bytes], tmp_path: Path, tiny: Sizes) -> None:
    marker = tmp_path / "unpickled"
    attack = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    folder = write(tmp_path / "batches", {**batches, "data_batch_3": attack})
    assert "data_batch_3: expected MD5" in message(folder, tiny)
    assert not marker.exists()


@pytest.mark.usefixtures("fake_torchvision")
def test_missing_batch(batches: dict[str, bytes], tmp_path: Path, tiny: Sizes) -> None:
    del batches["data_batch_4"]
    text = message(write(tmp_path / "batches", batches), tiny)
    assert text.startswith("data_batch_4: expected this file")
    assert "found only data_batch_1, data_batch_2" in text


@pytest.mark.usefixtures("fake_torchvision")
def test_wrong_count_in_batches(batches: dict[str, bytes], tmp_path: Path) -> None:
    text = message(write(tmp_path / "batches", batches), Sizes(6, 1, 4, 1, 2))
    assert "expected 6 images of each class in train, found [5, 5" in text


def test_no_such_file(tmp_path: Path, tiny: Sizes) -> None:
    assert "found no such file" in message(tmp_path / "absent.tar", tiny)


def test_no_tar(tmp_path: Path, tiny: Sizes) -> None:
    path = tmp_path / "cifar.tar"
    path.write_bytes(b"<html>404</html>" * 100)
    assert message(path, tiny) == f"{path}: expected a tar archive, found a file that is none."


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_breaks_off(image_folder: Path, tiny: Sizes, mode: str) -> None:
    path = pack(image_folder, mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    # bzip2 yields nothing before its first whole block, so that half of a small file shows no tar at all.
    assert re.search("expected a (whole )?tar archive, found", message(path, tiny))


def test_neither_batches_nor_images(tmp_path: Path, tiny: Sizes) -> None:
    (tmp_path / "notes.txt").write_text("no images")
    assert "found neither in this folder" in message(tmp_path, tiny)


def test_missing_class(image_folder: Path, tiny: Sizes) -> None:
    shutil.rmtree(image_folder / "test" / "deer")
    assert "expected ten classes in test/, found no image of deer" in message(image_folder, tiny)


def test_missing_split(image_folder: Path, tiny: Sizes) -> None:
    shutil.rmtree(image_folder / "train")
    assert "expected ten classes in train/, found no image of airplane, automobile" in message(image_folder, tiny)


def test_unknown_class(image_folder: Path, tiny: Sizes) -> None:
    shutil.copytree(image_folder / "train" / "cat", image_folder / "train" / "plane")
    assert "in train/, found plane besides them" in message(image_folder, tiny)


def test_wrong_count(image_folder: Path, tiny: Sizes) -> None:
    (image_folder / "train" / "dog" / "2.png").unlink()
    assert "expected 5 images in train/dog, found 4" in message(image_folder, tiny)


def test_wrong_size(image_folder: Path, tiny: Sizes, jpeg: Callable[[int, int], bytes]) -> None:
    (image_folder / "train" / "dog" / "2.jpg").write_bytes(jpeg(48, 32))
    text = "train/dog/2.jpg: expected an image of 32 x 32 pixels, found 48 x 32."
    assert message(image_folder, tiny) == text


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\xff\xd8\xff\xe0 no more"])
def test_unreadable_image(image_folder: Path, tiny: Sizes, content: bytes) -> None:
    (image_folder / "train" / "dog" / "2.png").write_bytes(content)
    assert message(image_folder, tiny).startswith("train/dog/2.png: expected a JPEG or PNG image, found")


def test_truncated_image(image_folder: Path, tiny: Sizes, jpeg: Callable[[int, int], bytes]) -> None:
    (image_folder / "train" / "dog" / "2.jpg").write_bytes(jpeg(32, 32)[:-200])
    assert message(image_folder, tiny).startswith("train/dog/2.jpg: expected a JPEG or PNG image, found")


def test_links_in_tar_are_ignored_and_nothing_is_extracted(
    image_folder: Path, tiny: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (32, 32)).save(secret)
    path = pack(image_folder, "w")
    with tarfile.open(path, "a") as tar:
        for kind, name in ((tarfile.SYMTYPE, "train/cat/5.png"), (tarfile.LNKTYPE, "train/cat/6.png")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, str(secret)
            tar.addfile(link)
        content = secret.read_bytes()
        outside = tarfile.TarInfo("../../outside.png")
        outside.size = len(content)
        tar.addfile(outside, io.BytesIO(content))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert len(read_originals(str(path), tiny).images) == 60
    assert list(work.iterdir()) == []
    assert not (tmp_path / "outside.png").exists()


def test_huge_member(image_folder: Path, tiny: Sizes) -> None:
    path = image_folder / "train" / "cat" / "7.png"
    with path.open("wb") as file:
        file.truncate(MEMBER_LIMIT + 1)
    assert f"expected files of at most {MEMBER_LIMIT} bytes, found any/where/train/cat/7.png" in message(
        pack(image_folder, "w:gz"), tiny
    )
