"""Tiny stand-ins for CIFAR-10, made of random pixels: 5 training and 1 test image of each class."""

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference.data.layout import CLASSES, Sizes

TINY = Sizes(source_train=5, source_test=1, train=3, val=1, test=2)


@pytest.fixture
def tiny() -> Sizes:
    return TINY


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """train/<class>/0.png to 4.png and test/<class>/0.png, all different."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for split, count in (("train", TINY.source_train), ("test", TINY.source_test)):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture
def batches() -> dict[str, bytes]:
    """CIFAR-10's Python batches: one image of each class in each of the six files."""
    rng = np.random.default_rng(1)
    content = {}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        data = rng.integers(0, 256, size=(10, 3072), dtype=np.uint8)
        content[name] = pickle.dumps({"data": data, "labels": list(range(10))})
    return content


@pytest.fixture
def fake_torchvision(batches: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> type:
    """Stands in for torchvision's class: lists the checksums of `batches`, and "downloads" them."""

    class FakeCIFAR10:
        base_folder = "cifar-10-batches-py"
        train_list = [  # noqa: RUF012 - torchvision's own is a plain list
            [name, hashlib.md5(content).hexdigest()] for name, content in batches.items() if name != "test_batch"
        ]
        test_list = [["test_batch", hashlib.md5(batches["test_batch"]).hexdigest()]]  # noqa: RUF012

        def __init__(self, root: str, download: bool = False) -> None:
            write_batches(Path(root) / self.base_folder, batches)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeCIFAR10)
    return FakeCIFAR10


def write_batches(folder: Path, batches: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in batches.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def jpeg() -> Callable[[int, int], bytes]:
    """Makes a grey JPEG file of the given width and height."""

    def make(width: int, height: int) -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", (width, height), (128, 128, 128)).save(stream, "JPEG")
        return stream.getvalue()

    return make
