"""Shortcuts through the usual transforms: the same images, the same random numbers used up; others go their way."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from notebook_runs import Given, Ran, run_given
from PIL import Image
from torchvision import transforms as T

from grader.execution.world import INSIDE, World

sys.path.append(str(INSIDE))
from course_world.alike import computed_once
from course_world.chains import Shortcuts, chain_of

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
PLAIN = [T.ToTensor(), T.Normalize(MEAN, STD)]
USUAL: dict[str, Sequence[Any]] = {
    "plain": PLAIN,
    "not normalised": [T.ToTensor()],
    "augmented": [T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), *PLAIN],
    "mirrored first": [T.RandomHorizontalFlip(0.3), T.RandomCrop(32, padding=2), *PLAIN],
    "mirrored as a tensor": [T.RandomCrop(32, 4), T.ToTensor(), T.RandomHorizontalFlip(), T.Normalize(MEAN, STD)],
    "not padded": [T.RandomCrop(32), *PLAIN],
    "normalised twice": [*PLAIN, T.Normalize((0.5,), (0.5,), inplace=True)],
}
OTHER: dict[str, Sequence[Any]] = {
    "cropped after it was normalised": [*PLAIN, T.RandomCrop(32, padding=4)],
    "filled with gray": [T.RandomCrop(32, padding=4, fill=128), *PLAIN],
    "reflected": [T.RandomCrop(32, padding=4, padding_mode="reflect"), *PLAIN],
    "smaller": [T.RandomCrop(28), *PLAIN],
    "cropped twice": [T.RandomCrop(32, padding=4), T.RandomCrop(32, padding=4), *PLAIN],
    "one's own": [lambda image: image, *PLAIN],
    "turned": [T.RandomRotation(10), *PLAIN],
    "no tensor": [T.RandomHorizontalFlip()],
    "normalised before it is a tensor": [T.Normalize(MEAN, STD), T.ToTensor()],
    "a channel too few": [T.ToTensor(), T.Normalize(MEAN[:2], STD[:2])],
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8))
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("name", USUAL)
def test_a_shortcut_gives_the_same_images_and_draws_the_same_numbers(name: str, images: Any) -> None:
    transform = T.Compose(USUAL[name])
    shortcut = Shortcuts().find(transform, images, len(images))
    assert shortcut is not None
    torch.manual_seed(1)
    short = [shortcut.read(index) for index in range(len(images))]
    then = torch.rand(1)
    torch.manual_seed(1)
    long = [transform(Image.fromarray(np.array(image))) for image in images]
    assert torch.equal(torch.rand(1), then)
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(short, long, strict=True))


@pytest.mark.parametrize("name", OTHER)
def test_there_is_no_shortcut_through_another_chain(name: str) -> None:
    assert chain_of(OTHER[name]) is None


def test_a_shortcut_ends_where_the_transform_changes(images: Any) -> None:
    shortcuts, transform = Shortcuts(), T.Compose(list(PLAIN))
    assert shortcuts.find(transform, images, 12) is not None
    transform.transforms.append(T.RandomErasing())
    assert shortcuts.find(transform, images, 12) is None
    shortcuts.forget()
    assert shortcuts.find(T.Compose(PLAIN), images, 12) is not None


def test_a_setting_that_changes_between_two_passes_counts_in_the_second(images: Any) -> None:
    flip = T.RandomHorizontalFlip(0.0)
    shortcuts, transform = Shortcuts(), T.Compose([flip, T.ToTensor(), T.Normalize(MEAN, STD)])
    before = shortcuts.find(transform, images, 12)
    transform.transforms[2].std = (0.5, 0.5, 0.5)
    shortcuts.forget()
    after = shortcuts.find(transform, images, 12)
    assert before is not None
    assert after is not None
    assert not torch.equal(before.read(0), after.read(0))


def test_images_that_can_be_written_to_are_read_each_time(images: Any) -> None:
    assert Shortcuts().find(T.Compose(PLAIN), np.array(images), 12) is None


def test_what_is_read_is_the_readers_own(images: Any, tmp_path: Path) -> None:
    shortcut = Shortcuts().find(T.ToTensor(), images, 12)
    assert shortcut is not None
    first = shortcut.read(3)
    kept = first.clone()
    first.zero_()
    assert torch.equal(shortcut.read(3), kept)


# -- images that repeat ----------------------------------------------------------------------------------------------


def test_rows_that_repeat_are_computed_once() -> None:
    asked = []

    def net(images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return images.flatten(1)[:, :10] * 2

    few = torch.randn(10, 3, 32, 32)
    batch = torch.cat([few, few.flip(0), few, few, few[:3]])
    answered = computed_once(net, batch)
    assert answered is not None
    assert torch.equal(answered, net(batch))
    assert asked == [10, len(batch)]


def test_a_net_is_asked_as_usual_where_it_cannot_be_asked_for_fewer_rows() -> None:
    few = torch.randn(5, 3, 32, 32)
    batch = few.repeat(10, 1, 1, 1)
    assert computed_once(lambda images: images.view(50, -1), batch) is None
    assert computed_once(lambda images: images.mean(), batch) is None
    assert computed_once(lambda images: [images], batch) is None
    assert computed_once(lambda images: images, torch.randn(50, 3, 32, 32)) is None


TEST_PASSES = {
    "prelude": """
import torch, torch.nn as nn
from torch.utils.data import DataLoader
from torchvision import transforms
from tools.dataset import CIFAR10
rows = []
class Net(nn.Module):
    def __init__(self, size=None):
        super().__init__()
        self.size, self.fc = size, nn.Linear(3072, 10)
    def forward(self, x):
        rows.append(len(x))
        return self.fc(x.view(self.size or len(x), -1))
def predict(net):
    rows.clear()
    with torch.no_grad():
        for x in DataLoader(CIFAR10("./data", mode="test", transform=transforms.ToTensor()), batch_size=100):
            for view in (x, x.flip(3)):
                assert torch.allclose(net(view), net.forward(view), atol=1e-5)
    print(min(rows))
""",
    "eval": "predict(Net().eval())",
    "train": "predict(Net().train())",
    "size": "predict(Net(100).eval())",
}


@pytest.fixture(scope="module")
def passes(world: World, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_given({"passes": Given(TEST_PASSES)}, tmp_path_factory.mktemp("passes"), world)["passes"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fewest"), [("eval", 10), ("train", 100), ("size", 10)])
def test_a_test_pass_answers_for_every_row(passes: Ran, name: str, fewest: int) -> None:
    assert (passes.status(name), passes.result(name)["error"]) == ("ok", "")
    (ended,) = passes.of(name, "pass")
    assert (ended.split, ended.batches, ended.training) == ("test", 3, name == "train")
    assert passes.printed(name).strip() == str(fewest)
