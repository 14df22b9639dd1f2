"""The networks of the three labs: SimpleNN (with or without batch normalization), Swish, ResNet-20.

Every network maps normalised images (N, 3, 32, 32) float32 to logits (N, 10); there is no softmax at the end, because
cross-entropy in PyTorch takes logits.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 10
Shortcut = Callable[[int, int, int], nn.Module]  # (in_channels, out_channels, stride) -> module


class Swish(nn.Module):
    """Swish with beta = 1: f(x) = x * sigmoid(x), elementwise, any shape.

    Source: Ramachandran, Zoph, Le, "Searching for activation functions", arXiv:1710.05941, Section 4.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class SimpleNN(nn.Module):
    """The network of Table 1 of the assignment: two unpadded convolutions, two max-pools, three fully-connected layers.

    82,030 parameters. `batch_norm=True` puts a BN layer after each convolution and before its activation (conv -> BN ->
    activation), which adds 2 * (8 + 16) = 48 parameters; the convolutions keep their biases. `activation` makes the
    activation after every layer but the last; each is its own module.

    Source of the order of BN: Ioffe, Szegedy, "Batch normalization", arXiv:1502.03167, Section 3.2.
    """

    def __init__(self, batch_norm: bool = False, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=5)
        self.bn1 = nn.BatchNorm2d(8) if batch_norm else nn.Identity()
        self.act1 = activation()
        self.conv2 = nn.Conv2d(8, 16, kernel_size=3)
        self.bn2 = nn.BatchNorm2d(16) if batch_norm else nn.Identity()
        self.act2 = activation()
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc1 = nn.Linear(16 * 6 * 6, 120)
        self.act3 = activation()
        self.fc2 = nn.Linear(120, 84)
        self.act4 = activation()
        self.fc3 = nn.Linear(84, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(x)))  # (N, 8, 28, 28)
        x = self.pool(x)  # (N, 8, 14, 14)
        x = self.act2(self.bn2(self.conv2(x)))  # (N, 16, 12, 12)
        x = self.pool(x)  # (N, 16, 6, 6)
        x = torch.flatten(x, start_dim=1)  # (N, 576)
        x = self.act3(self.fc1(x))  # (N, 120)
        x = self.act4(self.fc2(x))  # (N, 84)
        logits: Tensor = self.fc3(x)  # (N, 10)
        return logits


class SubsampleAndPad(nn.Module):
    """Option A shortcut: the input itself, subsampled by `stride`, with zeros as the channels it lacks.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)). It has no parameters.

    Source: He et al., "Deep residual learning for image recognition", arXiv:1512.03385, Section 3.3, option A: identity
    mapping "with extra zero entries padded for increasing dimensions", "performed with a stride of 2". The paper leaves
    the place of the zeros open; here they follow the channels that exist.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.new_channels))  # pads W, H by nothing, then the end of C


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Option B shortcut: identity where the shape stays; where it changes, a 1x1 convolution and BN.

    Source: arXiv:1512.03385, Section 3.3, option (B) and Equation 2; BN follows every convolution (Section 3.4).
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with BN, and a shortcut that is added before the second ReLU: y = ReLU(F(x) + shortcut(x)).

    (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride). Source: arXiv:1512.03385, Figure 2, Equation 1.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        residual = F.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + self.shortcut(x))


def residual_stage(in_channels: int, out_channels: int, stride: int, make_shortcut: Shortcut) -> nn.Sequential:
    """n = 3 residual blocks; the first changes the shape, the others keep it."""
    shapes = [(in_channels, stride), (out_channels, 1), (out_channels, 1)]
    return nn.Sequential(
        *(ResidualBlock(channels, out_channels, s, make_shortcut(channels, out_channels, s)) for channels, s in shapes)
    )


class ResNet20(nn.Module):
    """ResNet-20 for CIFAR-10: 6n + 2 = 20 weighted layers with n = 3, widths 16, 32, 64 at 32x32, 16x16, 8x8.

    `option` chooses the two shortcuts that change shape: "A" (the paper's choice on CIFAR-10, 269,722 parameters) or
    "B" (272,474 parameters). Any other option raises ValueError.

    Source: arXiv:1512.03385, Section 4.2. Convolutions are drawn by He initialization (arXiv:1502.01852, Equation 10),
    which is derived for layers with a ReLU behind them; the fully-connected layer has none and keeps PyTorch's default.
    """

    def __init__(self, option: Literal["A", "B"] = "A") -> None:
        super().__init__()
        if option not in ("A", "B"):
            raise ValueError(f"ResNet20: option must be 'A' or 'B', found {option!r}")
        make_shortcut: Shortcut = SubsampleAndPad if option == "A" else projection
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.stage1 = residual_stage(16, 16, 1, make_shortcut)
        self.stage2 = residual_stage(16, 32, 2, make_shortcut)
        self.stage3 = residual_stage(32, 64, 2, make_shortcut)
        self.fc = nn.Linear(64, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))  # (N, 16, 32, 32)
        x = self.stage1(x)  # (N, 16, 32, 32)
        x = self.stage2(x)  # (N, 32, 16, 16)
        x = self.stage3(x)  # (N, 64, 8, 8)
        x = x.mean(dim=(2, 3))  # global average pooling, (N, 64)
        logits: Tensor = self.fc(x)  # (N, 10)
        return logits


def count_parameters(net: nn.Module) -> int:
    """Number of trainable scalars of `net`."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
