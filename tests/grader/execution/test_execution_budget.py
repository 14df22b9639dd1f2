"""The allowance of a notebook: full batches, smaller ones of a large net, few images, one batch a pass."""

from __future__ import annotations

import sys

import pytest
from notebook_runs import Given, Ran, run_given

from grader.execution.world import INSIDE, World

sys.path.append(str(INSIDE))
from course_world.budget import FEW, FEWEST, Budget

SIMPLENN, RESNET20, RESNET18 = 0.7e6, 41e6, 560e6  # multiply-adds of an image's forward pass


def steps_until(budget: Budget, multiply_adds: float, images: int, loader: int = 0) -> list[int]:
    """The sizes of the batches of a run as long as they are full ones."""
    sizes = []
    while budget.full:
        sizes.append(budget.cut(images))
        budget.spend(multiply_adds, sizes[-1], loader)
    return sizes


def test_first_run_has_a_few_hundred_steps_of_simplenn() -> None:
    sizes = steps_until(Budget(), SIMPLENN, 128)
    assert 270 <= len(sizes) <= 350
    assert set(sizes) == {128}


def test_first_run_of_resnet20_has_some_sixty_steps_of_32_images() -> None:
    sizes = steps_until(Budget(), RESNET20, 128)
    assert 60 <= len(sizes) <= 70
    assert (sizes[0], set(sizes[1:])) == (128, {32})


def test_a_larger_net_is_not_given_less_than_some_images() -> None:
    assert set(steps_until(Budget(), RESNET18, 128)[1:]) == {FEWEST}


def test_later_runs_have_about_eight_steps_and_then_few_images() -> None:
    budget = Budget()
    steps_until(budget, SIMPLENN, 128)
    budget.new_run()
    assert 7 <= len(steps_until(budget, SIMPLENN, 128)) <= 10
    assert (budget.cut(128), budget.cut(1), budget.spent) == (FEW, 1, False)


def test_the_second_loader_is_seen_at_length_and_the_third_is_not() -> None:
    budget = Budget()
    steps_until(budget, SIMPLENN, 128, loader=0)
    for loader, least, most in ((1, 128, 150), (2, 7, 10)):
        budget.new_run()
        assert least <= len(steps_until(budget, SIMPLENN, 128, loader)) <= most


def test_an_optimizer_made_again_before_any_step_leaves_the_first_run_whole() -> None:
    budget = Budget()
    budget.new_run()
    budget.new_run()
    assert len(steps_until(budget, SIMPLENN, 128)) >= 270


def test_a_notebook_without_end_is_spent_at_last() -> None:
    budget = Budget()
    for _ in range(200_000):
        if budget.spent:
            break
        budget.new_run()
        budget.spend(SIMPLENN, budget.cut(128), 0)
    assert budget.spent


TRAINING = {
    "prelude": """
import torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from tools.dataset import CIFAR10
batches = DataLoader(CIFAR10("./data", transform=transforms.ToTensor()), batch_size=128, shuffle=True)
def train(net, epochs):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for epoch in range(epochs):
        for x, y in batches:
            optimizer.zero_grad(); F.cross_entropy(net(x), y).backward(); optimizer.step()
def block(a, b, stride): return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU())
""",
    "large": """
wide = [block(3, 16, 1), *(block(16, 16, 1) for _ in range(15))]
train(nn.Sequential(*wide, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)), 2)
""",
    "small": "train(nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.ReLU(), nn.Linear(8, 10)), 4)",
}


@pytest.fixture(scope="module")
def ran(world: World, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_given({"training": Given(TRAINING)}, tmp_path_factory.mktemp("budget"), world)["training"]


@pytest.mark.slow
def test_batches_of_a_large_net_are_cut_after_its_first_step(ran: Ran) -> None:
    images = [step.images for step in ran.of("large", "step")]
    assert images[0] == 128
    assert {32 <= size <= 40 for size in images[1:]} == {True}


@pytest.mark.slow
def test_batches_of_a_small_net_are_whole_again_after_its_first_step(ran: Ran) -> None:
    images = [step.images for step in ran.of("small", "step")]
    assert len(images) == 16
    assert images[1:4] == [128, 128, 128]
