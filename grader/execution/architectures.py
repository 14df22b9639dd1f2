"""The right answers as small functions of images and weights: what a challenge compares a student's net with.

Each architecture is a function `(images, layers) -> logits`. `layers` hands out convolutions, batch normalisations and
linear layers in order of execution: the first time it draws their weights, afterwards it applies the same ones again.
So one description serves to list the layers, to draw a challenge and to compute its answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Layer:
    """`kind` is conv, bn or linear; `shape` its weight's; `after` the index of the layer whose output a BN reads."""

    kind: str
    shape: tuple[int, ...]
    after: int | None = None


@dataclass
class Layers:
    """Weights of an architecture, float64, drawn from `generator` at first use and then applied in the same order."""

    generator: torch.Generator
    training: bool = False
    drawn: list[tuple[Layer, dict[str, Tensor]]] = field(default_factory=list)
    position: int = 0

    def restart(self, *, training: bool) -> Layers:
        """The same weights again, from the first layer on, in train or eval mode."""
        self.position, self.training = 0, training
        return self

    def leaves(self) -> Layers:
        """The same weights in train mode, of which gradients can be asked."""
        drawn = [
            (layer, {key: value.clone().requires_grad_(key == "weight") for key, value in weights.items()})
            for layer, weights in self.drawn
        ]
        return Layers(self.generator, training=True, drawn=drawn)

    def _next(self, layer: Layer, draw: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        if self.position == len(self.drawn):
            self.drawn.append((layer, draw()))
        self.position += 1
        return self.drawn[self.position - 1][1]

    def _normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64) * scale

    def _uniform(self, size: int) -> Tensor:
        return torch.rand(size, generator=self.generator, dtype=torch.float64) + 0.5

    def _signs(self, size: int) -> Tensor:
        return torch.randint(0, 2, (size,), generator=self.generator) * 2.0 - 1.0

    def conv(self, x: Tensor, channels: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool) -> Tensor:
        """x (N, C, H, W) -> (N, channels, H', W')."""
        shape = (channels, x.shape[1], kernel, kernel)
        scale = math.sqrt(2 / (x.shape[1] * kernel * kernel))
        weights = self._next(
            Layer("conv", shape),
            lambda: (
                {"weight": self._normal(*shape, scale=scale)}
                | ({"bias": self._normal(channels, scale=0.1)} if bias else {})
            ),
        )
        return F.conv2d(x, weights["weight"], weights.get("bias"), stride=stride, padding=padding)

    def bn(self, x: Tensor) -> Tensor:
        """x (N, C, H, W), normalised by the batch's statistics in train mode and by running ones in eval mode."""
        size = x.shape[1]
        weights = self._next(
            Layer("bn", (size,), self.position - 1),
            lambda: {
                # Of both signs: with positive ones alone, BN and max-pooling could be exchanged unnoticed.
                "weight": self._uniform(size) * self._signs(size),
                "bias": self._normal(size, scale=0.2),
                "running_mean": self._normal(size, scale=0.2),
                "running_var": self._uniform(size),
            },
        )
        mean, var = weights["running_mean"].clone(), weights["running_var"].clone()
        return F.batch_norm(x, mean, var, weights["weight"], weights["bias"], training=self.training)

    def linear(self, x: Tensor, size: int) -> Tensor:
        """x (N, K) -> (N, size)."""
        shape = (size, x.shape[1])
        weights = self._next(
            Layer("linear", shape),
            lambda: {
                "weight": self._normal(*shape, scale=math.sqrt(2 / shape[1])),
                "bias": self._normal(size, scale=0.1),
            },
        )
        return F.linear(x, weights["weight"], weights["bias"])


def swish(x: Tensor) -> Tensor:
    """x * sigmoid(x), arXiv:1710.05941."""
    return x * torch.sigmoid(x)


def simplenn(
    images: Tensor, layers: Layers, activation: Callable[[Tensor], Tensor], *, bn: bool, bn_last: bool = False
) -> Tensor:
    """Table 1 of the assignment, with BN after each convolution if asked: images (N, 3, 32, 32) -> logits (N, 10).

    With `bn_last` the BN stands behind the activation.
    """
    x = images
    for channels, kernel in ((8, 5), (16, 3)):
        x = layers.conv(x, channels, kernel, bias=not bn)  # BN takes a bias out again, so either is right before it
        x = activation(layers.bn(x) if bn and not bn_last else x)
        x = F.max_pool2d(layers.bn(x) if bn_last else x, 2)
    x = x.flatten(1)  # (N, 576)
    for size in (120, 84):
        x = activation(layers.linear(x, size))
    return layers.linear(x, 10)


def resnet20(images: Tensor, layers: Layers, option: str) -> Tensor:
    """Section 4.2 of arXiv:1512.03385 with n = 3: images (N, 3, 32, 32) -> logits (N, 10)."""
    x = F.relu(layers.bn(layers.conv(images, 16, 3, padding=1, bias=False)))
    for channels in (16, 32, 64):
        for _ in range(3):
            stride = 1 if x.shape[1] == channels else 2
            y = F.relu(layers.bn(layers.conv(x, channels, 3, stride=stride, padding=1, bias=False)))
            y = layers.bn(layers.conv(y, channels, 3, padding=1, bias=False))
            x = F.relu(y + _shortcut(x, channels, stride, layers, option))
    return layers.linear(x.mean(dim=(2, 3)), 10)


def _shortcut(x: Tensor, channels: int, stride: int, layers: Layers, option: str) -> Tensor:
    if stride == 1:
        return x
    if option.startswith("B"):
        projected = layers.conv(x, channels, 1, stride=stride, bias=False)
        return projected if option == "B, no BN" else layers.bn(projected)
    # Option A: every second pixel, and zeros for the new channels. The paper leaves open where they stand.
    new = channels - x.shape[1]
    before = new // 2 if option == "A" else 0
    return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, before, new - before))


Architecture = Callable[[Tensor, Layers], Tensor]
ARCHITECTURES: dict[str, Architecture] = {
    "simplenn": lambda x, layers: simplenn(x, layers, F.relu, bn=False),
    "simplenn_swish": lambda x, layers: simplenn(x, layers, swish, bn=False),
    "simplenn_bn": lambda x, layers: simplenn(x, layers, F.relu, bn=True),
    "simplenn_bn_swish": lambda x, layers: simplenn(x, layers, swish, bn=True),
    "resnet20_a": lambda x, layers: resnet20(x, layers, "A"),
    "resnet20_a_behind": lambda x, layers: resnet20(x, layers, "A, zeros behind"),
    "resnet20_b": lambda x, layers: resnet20(x, layers, "B"),
}


# What students often build instead: known so that the deviation can be named with certainty, right for no item.
DEVIATIONS: dict[str, Architecture] = {
    "simplenn_bn_last": lambda x, layers: simplenn(x, layers, F.relu, bn=True, bn_last=True),
    "simplenn_bn_last_swish": lambda x, layers: simplenn(x, layers, swish, bn=True, bn_last=True),
    "resnet20_b_without_bn": lambda x, layers: resnet20(x, layers, "B, no BN"),
}
KNOWN = ARCHITECTURES | DEVIATIONS


def layers_of(name: str) -> tuple[Layer, ...]:
    """The layers with weights of an architecture or a deviation in order of execution."""
    layers = Layers(torch.Generator().manual_seed(0))
    KNOWN[name](torch.zeros(1, 3, 32, 32, dtype=torch.float64), layers)
    return tuple(layer for layer, _ in layers.drawn)


def parameter_count(name: str) -> int:
    """Number of trainable parameters: 82,030 for SimpleNN, 269,722 and 272,474 for ResNet-20 with option A and B.

    Convolutions before a BN are counted without bias.
    """
    layers = Layers(torch.Generator().manual_seed(0))
    ARCHITECTURES[name](torch.zeros(1, 3, 32, 32, dtype=torch.float64), layers)
    return sum(w[key].numel() for _, w in layers.drawn for key in ("weight", "bias") if key in w)
