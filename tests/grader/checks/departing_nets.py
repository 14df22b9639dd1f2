"""Nets that depart from SimpleNN and ResNet-20 in one place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.append(str(Path(__file__).parent.parent / "execution"))
import student_nets as student

Build = Callable[[], nn.Module]


def layered(*features: nn.Module, units: tuple[int, ...] = (576, 120, 84, 10)) -> Build:
    """A SimpleNN with other features."""

    def build() -> nn.Module:
        fc = [nn.Linear(a, b) for a, b in pairwise(units)]
        activated = [part for layer in fc[:-1] for part in (layer, nn.ReLU())]
        return nn.Sequential(*features, nn.Flatten(), *activated, fc[-1])

    return build


CONV1, CONV2 = nn.Conv2d(3, 8, 5), nn.Conv2d(8, 16, 3)
FIRST, SECOND = (CONV1, nn.ReLU(), nn.MaxPool2d(2)), (CONV2, nn.ReLU(), nn.MaxPool2d(2))


class Head(student.ResNet):
    """ResNet-20 with another end."""

    def __init__(self, *head: nn.Module) -> None:
        super().__init__()
        self.head = nn.Sequential(*head)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(x)))
        return logits


class Stem(student.ResNet):
    def __init__(self, *stem: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(*stem)


class OwnBlock(student.Block):
    """The first block is another one."""

    def __init__(self, forward: Callable[[student.Block, Tensor], Tensor]) -> None:
        super().__init__(16, 16, "plain")
        self.own = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.own(self, x)


def first_block(forward: Callable[[student.Block, Tensor], Tensor]) -> Build:
    def build() -> nn.Module:
        net = student.ResNet()
        net.blocks[0] = OwnBlock(forward)
        return net

    return build


def styled(style: str) -> Build:
    return lambda: student.ResNet(style)


def without_second_bn(block: student.Block, x: Tensor) -> Tensor:
    return F.relu(block.conv2(F.relu(block.bn1(block.conv1(x)))) + x)


def strided(stride: int) -> nn.Module:
    """ResNet-20 with another stride in stage 2."""
    net = student.ResNet("zeros by cat")
    net.blocks[3].conv1.stride = (stride, stride)
    net.blocks[3].shortcut = lambda x: torch.cat([x, torch.zeros_like(x)], dim=1)
    return net


def behind_conv1(block: student.Block, x: Tensor) -> Tensor:
    y = block.conv1(x)
    return F.relu(block.bn2(block.conv2(F.relu(block.bn1(y)))) + y)


def concatenated(block: student.Block, x: Tensor) -> Tensor:
    return F.relu(torch.cat([block.main(x), x], 1)[:, :16])


def projected(block: student.Block, x: Tensor) -> Tensor:
    return F.relu(block.main(x) + F.conv2d(x, torch.ones(16, 16, 1, 1)))


def twice_activated(block: student.Block, x: Tensor) -> Tensor:
    return F.relu(block.main(x) + F.relu(x))


def without_bn(block: student.Block, x: Tensor) -> Tensor:
    return F.relu(block.bn2(block.conv2(F.relu(block.conv1(x)))) + x)
