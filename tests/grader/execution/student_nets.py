"""Nets as students write them: right ones in other styles, and wrong ones with the same layers."""

from __future__ import annotations

import threading
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Table1(nn.Module):
    """SimpleNN with its parts in the open, for variations."""

    def __init__(self) -> None:
        super().__init__()
        # Defined backwards: order of definition is not order of execution.
        self.third, self.second, self.first = nn.Linear(84, 10), nn.Linear(120, 84), nn.Linear(576, 120)
        self.b, self.a = nn.Conv2d(8, 16, 3), nn.Conv2d(3, 8, 5)

    def act(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2)

    def features(self, x: Tensor) -> Tensor:
        return self.pool(self.act(self.b(self.pool(self.act(self.a(x))))))

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.act(self.second(self.act(self.first(self.features(x).flatten(1))))))


class Functional(nn.Module):
    """No layers at all, only parameters and functions."""

    def __init__(self) -> None:
        super().__init__()
        shapes = [(8, 3, 5, 5), (16, 8, 3, 3), (120, 576), (84, 120), (10, 84)]
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(shape) * 0.1) for shape in shapes])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(shape[0])) for shape in shapes])

    def forward(self, x: Tensor) -> Tensor:
        for index in range(2):
            x = torch.conv2d(x, self.weights[index], bias=self.biases[index])
            x = torch.max_pool2d(x.clamp(min=0), 2)
        x = torch.flatten(x, 1)
        for index in range(2, 4):
            x = torch.relu(F.linear(input=x, weight=self.weights[index], bias=self.biases[index]))
        return F.linear(x, self.weights[4], self.biases[4])


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv2d(3, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(True), nn.MaxPool2d(2)]
        self.layers = nn.ModuleList([*convs, nn.Flatten()])
        self.head = nn.Sequential(nn.Linear(576, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
        self.unused_head = nn.Linear(84, 100)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class PoolsFirst(Table1):
    """Max-pooling and ReLU can be exchanged: the same function."""

    def features(self, x: Tensor) -> Tensor:
        return self.act(self.pool(self.b(self.act(self.pool(self.a(x))))))


class OnlyInFloat32(Table1):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float() + torch.zeros(1, dtype=torch.float32).expand_as(x).clone())


class NotCopied(Table1):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()  # cannot be copied

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            return super().forward(x)


class SeveralOutputs(Table1):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(x)
        return x, self.third(self.act(self.second(self.act(self.first(x.flatten(1))))))


class Dropped(Table1):
    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(self.features(x).flatten(1)))
        return self.third(self.act(self.second(F.dropout(x, 0.5, self.training))))


class LogSoftmax(Table1):
    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(super().forward(x), dim=1)


class Softmax(Table1):
    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(super().forward(x), dim=1)


class LeakyReLU(Table1):
    def act(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.01)


class NoReLUBetween(Table1):
    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(self.act(self.first(self.features(x).flatten(1)))))


class ReLUAtTheEnd(Table1):
    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class AveragePools(Table1):
    def pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)


class Padded(Table1):
    """Padding, and a cut that gives FC1 its 576 inputs again."""

    def features(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(F.conv2d(x, self.a.weight, self.a.bias, padding=2)))[:, :, :14, :14]
        return self.pool(self.act(self.b(x)))


class Transposed(Table1):
    """Flattened in another order: other weights would be needed."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).permute(0, 2, 3, 1).flatten(1)
        return self.third(self.act(self.second(self.act(self.first(x)))))


class Normalised(Table1):
    """SimpleNN with BN; its convolutions have no bias, which BN would take out again."""

    bias = False

    def __init__(self) -> None:
        super().__init__()
        self.norm_b, self.norm_a = nn.BatchNorm2d(16), nn.BatchNorm2d(8)
        if not self.bias:
            self.a.bias = self.b.bias = None

    def features(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.norm_a(self.a(x))))
        return self.pool(self.act(self.norm_b(self.b(x))))


class NormalisedWithBias(Normalised):
    bias = True


class NormalisedAfterReLU(Normalised):
    def features(self, x: Tensor) -> Tensor:
        x = self.pool(self.norm_a(self.act(self.a(x))))
        return self.pool(self.norm_b(self.act(self.b(x))))


class NormalisedAfterPool(Normalised):
    def features(self, x: Tensor) -> Tensor:
        x = self.act(self.norm_a(self.pool(self.a(x))))
        return self.act(self.norm_b(self.pool(self.b(x))))


class NormalisedNeverCalled(Normalised):
    bias = True

    def features(self, x: Tensor) -> Tensor:
        return Table1.features(self, x)


class OwnSwish(NormalisedWithBias):
    def act(self, x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))


class SwishButForOne(NormalisedWithBias):
    def act(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).flatten(1)
        return self.third(F.relu(self.second(self.act(self.first(x)))))


class SwishOfDetached(OwnSwish):
    """Swish's values with another gradient."""

    def act(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x.detach())


class BackwardRaises(OwnSwish):
    """Right outputs, but what backward() needs is overwritten."""

    def act(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(x)
        activated = x * gate
        gate.zero_()
        return activated


class WeightsAsData(Table1):
    """The first layer is computed with its weights' .data."""

    def features(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(F.conv2d(x, self.a.weight.data, self.a.bias)))
        return self.pool(self.act(self.b(x)))


class FeaturesWithoutGradient(Table1):
    def features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().features(x)


class Harmless(NormalisedWithBias):
    """Frozen and detached where it does not matter, in place where it may be, another eps."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_a.eps = 1e-3
        self.a.weight.requires_grad_(False)

    def act(self, x: Tensor) -> Tensor:
        return F.relu_(x)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x.data)


class Block(nn.Module):
    """A residual block whose variations are switched by name."""

    def __init__(self, channels: int, width: int, style: str) -> None:
        super().__init__()
        self.style, stride = style, 1 if channels == width else 2
        self.stride, self.width = stride, width
        bias, first = style == "biases", 1 if style == "stride in the second" else stride
        self.conv2 = nn.Conv2d(width, width, 3, stride if first != stride else 1, 1, bias=bias)
        self.bn2, self.bn1 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(channels, width, 3, first, 1, bias=bias)
        if stride > 1 and style.startswith("B"):
            self.projection = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.projection_bn = nn.BatchNorm2d(width)

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return x
        if self.style.startswith("B"):
            x = self.projection(x)
            x = x if self.style == "B without BN" else self.projection_bn(x)
            return F.relu(x) if self.style == "B with a ReLU" else x
        x = F.avg_pool2d(x, 2) if self.style == "averaging shortcut" else x[:, :, ::2, ::2]
        new = self.width // 4
        if self.style == "zeros in the middle":
            return F.pad(x, (0, 0, 0, 0, new, new))
        if self.style == "zeros by cat":
            return torch.cat([x, torch.zeros_like(x)], dim=1)
        return F.pad(x, (0, 0, 0, 0, 0, 2 * new))

    def forward(self, x: Tensor) -> Tensor:
        if self.style == "B, shortcut first":
            shortcut = self.shortcut(x)
            return F.relu(self.main(x) + shortcut)
        if self.style == "B, both convolutions first":
            main = self.conv2(F.relu(self.bn1(self.conv1(x))))
            shortcut = self.projection(x) if self.stride > 1 else x
            main = self.bn2(main)
            return F.relu(main + (self.projection_bn(shortcut) if self.stride > 1 else shortcut))
        if self.style == "no shortcut":
            return F.relu(self.main(x))
        added = self.main(x) + self.shortcut(x)
        return added if self.style == "no ReLU after the addition" else F.relu(added)

    def main(self, x: Tensor) -> Tensor:
        if self.style == "BN after ReLU":
            return self.bn2(self.conv2(self.bn1(F.relu(self.conv1(x)))))
        if self.style == "ReLU before the addition":
            return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        if self.style == "ReLU missing":
            return self.bn2(self.conv2(self.bn1(self.conv1(x))))
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


class ResNet(nn.Module):
    """ResNet-20 in one of the styles of Block."""

    def __init__(self, style: str = "plain") -> None:
        super().__init__()
        self.classifier = nn.Linear(64, 10)
        self.style = style
        widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        self.blocks = nn.Sequential(*(Block(channels, width, style) for channels, width in pairwise(widths)))
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=style == "biases"), nn.BatchNorm2d(16), nn.ReLU())
        self.dropout = nn.Dropout(0.3 if style == "dropout" else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.style == "pooled after the stem":
            x = F.max_pool2d(x, 3, 1, 1)
        x = F.adaptive_avg_pool2d(self.blocks(x), 1).view(len(x), -1)
        return self.classifier(self.dropout(x))
