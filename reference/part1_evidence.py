"""Numbers behind the true/false problems of part 1 that can be computed. Each function is deterministic and quick."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reference.layers import layers
from reference.models import ResNet20

Vector = NDArray[np.float64]
NEAR_ZERO = 1e-3  # absolute value below which a weight counts as zero


# Problem 1.1: mean of the outputs of batch normalization


def bn_output_means(channels: int = 16) -> dict[str, float]:
    """Means over the batch of a BN layer's outputs, against its learnt shift beta.

    arXiv:1502.03167, Algorithm 1: y = gamma * x_hat + beta, and x_hat has mean 0 over the batch in training; in
    evaluation the running statistics take the place of the batch's.
    """
    generator = torch.Generator().manual_seed(0)
    bn = nn.BatchNorm2d(channels)
    with torch.no_grad():
        bn.weight.copy_(0.5 + torch.rand(channels, generator=generator))  # gamma
        bn.bias.copy_(torch.randn(channels, generator=generator))  # beta
    x = 3 + 2 * torch.randn(64, channels, 8, 8, generator=generator)
    beta = bn.bias.detach().clone()
    training = channel_means(bn.train()(x))
    nn.init.zeros_(bn.bias)
    evaluation = channel_means(bn.eval()(x))  # one step has moved the running mean a tenth of the way
    return {
        "mean_absolute_beta": beta.abs().mean().item(),
        "mean_absolute_output_mean": training.abs().mean().item(),
        "largest_difference_to_beta": (training - beta).abs().max().item(),
        "mean_absolute_output_mean_in_evaluation_with_beta_0": evaluation.abs().mean().item(),
    }


def channel_means(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (C,)."""
    return x.detach().mean(dim=(0, 2, 3))


# Problem 1.2: Adam by hand and PyTorch's own


def adam_difference(steps: int = 20) -> float:
    """Largest difference between torch.optim.Adam and Algorithm 1 of arXiv:1412.6980 written out, on a quadratic."""
    lr, beta1, beta2, epsilon = 0.1, 0.9, 0.999, 1e-8
    scale = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    theirs = torch.ones(3, dtype=torch.float64, requires_grad=True)
    ours, m, v = torch.ones(3, dtype=torch.float64), torch.zeros(3), torch.zeros(3)
    optimizer = torch.optim.Adam([theirs], lr=lr, betas=(beta1, beta2), eps=epsilon)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        (0.5 * scale * theirs.square()).sum().backward()
        optimizer.step()
        gradient = scale * ours
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient.square()
        ours = ours - lr * (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + epsilon)
    return (theirs.detach() - ours).abs().max().item()


# Problem 1.6: sparsity of L1 and L2


def sparsity(strength: float = 0.1, samples: int = 400, features: int = 100, relevant: int = 10) -> dict[str, float]:
    """Share of weights below NEAR_ZERO after least squares with an L1 or an L2 penalty of the same strength.

    Loss: |Xw - y|^2 / (2 * samples) + strength * |w|_1, or + strength / 2 * |w|^2. Of the true weights `relevant` are
    not zero. L1 is solved twice: by proximal gradient steps (soft threshold), which reach zero exactly, and by plain
    subgradient steps, which is what an L1 term in the loss of a net does.
    """
    rng = np.random.default_rng(0)
    X = rng.standard_normal((samples, features))
    truth = np.zeros(features)
    truth[:relevant] = rng.choice([-1.0, 1.0], relevant) * rng.uniform(0.5, 1.5, relevant)
    y = X @ truth + 0.5 * rng.standard_normal(samples)
    gram, moment = X.T @ X / samples, X.T @ y / samples
    ridge = np.linalg.solve(gram + strength * np.eye(features), moment)
    return {
        "l1_proximal": share_near_zero(lasso_proximal(gram, moment, strength)),
        "l1_subgradient": share_near_zero(lasso_subgradient(gram, moment, strength)),
        "l2": share_near_zero(ridge),
        "no_penalty": share_near_zero(np.linalg.solve(gram, moment)),
        "truth": share_near_zero(truth),
    }


def share_near_zero(weights: NDArray[np.floating[Any]]) -> float:
    return float(np.mean(np.abs(weights) < NEAR_ZERO))


def lasso_proximal(gram: Vector, moment: Vector, strength: float, steps: int = 500) -> Vector:
    """Beck, Teboulle, SIAM J. Imaging Sciences 2(1), 2009: gradient step, then soft threshold."""
    step = 1 / np.linalg.eigvalsh(gram)[-1]
    w = np.zeros(len(moment))
    for _ in range(steps):
        w = w - step * (gram @ w - moment)
        w = np.sign(w) * np.maximum(np.abs(w) - step * strength, 0)
    return w


def lasso_subgradient(gram: Vector, moment: Vector, strength: float, steps: int = 5000, lr: float = 0.005) -> Vector:
    """Gradient descent on the penalised loss with sign(w) as the penalty's gradient, as autograd takes it."""
    w = np.zeros(len(moment))
    for _ in range(steps):
        w = w - lr * (gram @ w - moment + strength * np.sign(w))
    return w


# Problem 1.8: standard and depthwise separable 3x3 convolutions


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution: channels, and height (= width) in pixels of its output."""

    name: str
    in_channels: int
    out_channels: int
    size: int

    @property
    def standard(self) -> int:
        """Multiply-adds per image."""
        return self.size**2 * self.in_channels * self.out_channels * 9

    @property
    def separable(self) -> int:
        """Multiply-adds of a 3x3 depthwise and a 1x1 convolution in its place; arXiv:1704.04861, Section 3.1."""
        return self.size**2 * self.in_channels * (9 + self.out_channels)

    @property
    def ratio(self) -> float:
        """1 / (1 / C_out + 1 / 9): it depends on the output channels alone, and stays below 9."""
        return self.standard / self.separable


def resnet20_convolutions() -> list[Convolution]:
    """Every 3x3 convolution of the reference's own ResNet-20, as it runs on a 32x32 image."""
    net = ResNet20()
    modules = dict(net.named_modules())
    found = []
    for layer in layers(net):
        module = modules[layer.name]
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            found.append(Convolution(layer.name, module.in_channels, module.out_channels, layer.output_shape[1]))
    return found


def resnet18_convolutions() -> list[Convolution]:
    """Every 3x3 convolution of ResNet-18 at 224x224: two blocks of two for each stage. arXiv:1512.03385, Table 1."""
    found = []
    before = 64
    for stage, (width, size) in enumerate(((64, 56), (128, 28), (256, 14), (512, 7)), start=2):
        inputs = [before, width, width, width]
        found += [Convolution(f"conv{stage}_{i + 1}", channels, width, size) for i, channels in enumerate(inputs)]
        before = width
    return found


def total_ratio(convolutions: list[Convolution]) -> float:
    return sum(c.standard for c in convolutions) / sum(c.separable for c in convolutions)


def measured_speedup(channels: int, size: int, batch: int = 32, repeats: int = 20) -> dict[str, float]:
    """Median time in ms, forward on the CPU, of a 3x3 convolution and of a depthwise separable one in its place."""
    x = torch.randn(batch, channels, size, size)
    standard = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    separable = nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
    )
    times = {"standard_ms": median_ms(standard, x, repeats), "separable_ms": median_ms(separable, x, repeats)}
    return {**times, "speedup": times["standard_ms"] / times["separable_ms"]}


@torch.inference_mode()
def median_ms(module: nn.Module, x: Tensor, repeats: int) -> float:
    times = []
    for _ in range(repeats + 3):
        started = time.perf_counter()
        module(x)
        times.append(1000 * (time.perf_counter() - started))
    return sorted(times[3:])[repeats // 2]  # the first three warm the caches


# Problem 1.9: where SqueezeNet computes


@dataclass(frozen=True)
class Stage:
    """One row of SqueezeNet v1.0: output height (= width) in pixels, multiply-adds per image, weights."""

    name: str
    size: int
    multiply_adds: int
    weights: int


def fire(name: str, size: int, in_channels: int, squeeze: int, expand: int) -> Stage:
    """A fire module: 1x1 squeeze, then 1x1 and 3x3 expand side by side with `expand` channels each."""
    weights = in_channels * squeeze + squeeze * expand * (1 + 9)
    return Stage(name, size, size**2 * weights, weights)


def squeezenet() -> list[Stage]:
    """SqueezeNet v1.0 on one 224x224 image, sizes and widths as in arXiv:1602.07360, Table 1 (biases not counted)."""
    conv1, conv10 = 7 * 7 * 3 * 96, 512 * 1000
    return [
        Stage("conv1", 111, 111**2 * conv1, conv1),
        fire("fire2", 55, 96, 16, 64),
        fire("fire3", 55, 128, 16, 64),
        fire("fire4", 55, 128, 32, 128),
        fire("fire5", 27, 256, 32, 128),
        fire("fire6", 27, 256, 48, 192),
        fire("fire7", 27, 384, 48, 192),
        fire("fire8", 27, 384, 64, 256),
        fire("fire9", 13, 512, 64, 256),
        Stage("conv10", 13, 13**2 * conv10, conv10),
    ]


def squeezenet_shares() -> dict[str, Any]:
    """Shares of multiply-adds and of weights: by size of the maps, and in the second half of the ten stages."""
    stages = squeezenet()
    total, weights = sum(stage.multiply_adds for stage in stages), sum(stage.weights for stage in stages)
    sizes = sorted({stage.size for stage in stages}, reverse=True)
    later = stages[len(stages) // 2 :]
    return {
        "multiply_adds": total,
        "weights": weights,
        "share_by_stage": {stage.name: stage.multiply_adds / total for stage in stages},
        "share_by_map_size": {
            size: sum(stage.multiply_adds for stage in stages if stage.size == size) / total for size in sizes
        },
        "share_of_second_half": sum(stage.multiply_adds for stage in later) / total,
        "share_of_weights_in_second_half": sum(stage.weights for stage in later) / weights,
    }
