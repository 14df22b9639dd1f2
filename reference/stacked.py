"""Several SimpleNNs of one shape in one forward pass, side by side as groups of channels.

A SimpleNN has 8 and 16 channels, too few to fill a processor's vector units; K of them on the same batch have 8 K and
16 K. The nets stay ordinary modules with their own parameters, gradients and running statistics: only the arithmetic is
joined. `torch.func.vmap` over stacked parameters computes the same and was slower by a factor of 2 to 4 on a CPU.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.models import SimpleNN


def stackable(nets: Sequence[nn.Module]) -> bool:
    """Whether `stacked_logits` can run these nets: SimpleNNs with ReLU, all with BN or all without, in one mode."""
    return all(isinstance(net, SimpleNN) and isinstance(net.act1, nn.ReLU) for net in nets) and (
        len({(type(net.get_submodule("bn1")), net.training) for net in nets}) == 1
    )


def stacked_logits(nets: Sequence[nn.Module], x: Tensor) -> Tensor:
    """What each of K nets computes of the same images: (N, 3, 32, 32) -> logits (K, N, 10).

    In training mode the running statistics of BN move as they would in each net alone.
    """
    count = len(nets)
    x = F.conv2d(x, joined(nets, "conv1.weight"), joined(nets, "conv1.bias"))  # (N, 8 K, 28, 28)
    x = pool_and_relu(batch_norm(nets, "bn1", x))  # (N, 8 K, 14, 14)
    x = F.conv2d(x, joined(nets, "conv2.weight"), joined(nets, "conv2.bias"), groups=count)  # (N, 16 K, 12, 12)
    x = pool_and_relu(batch_norm(nets, "bn2", x))  # (N, 16 K, 6, 6)
    x = x.reshape(len(x), count, -1).transpose(0, 1)  # (K, N, 576)
    x = F.relu(linear(nets, "fc1", x))  # (K, N, 120)
    x = F.relu(linear(nets, "fc2", x))  # (K, N, 84)
    return linear(nets, "fc3", x)  # (K, N, 10)


def joined(nets: Sequence[nn.Module], name: str) -> Tensor:
    """The parameter `name` of all nets along its first dimension: (K C, ...)."""
    return torch.cat([net.get_parameter(name) for net in nets])


def pool_and_relu(x: Tensor) -> Tensor:
    """ReLU, then max-pool. They commute, since ReLU never decreases, and a pooled map has a quarter of the values."""
    return F.relu(F.max_pool2d(x, kernel_size=2, stride=2))


def batch_norm(nets: Sequence[nn.Module], name: str, x: Tensor) -> Tensor:
    """(N, K C, H, W) -> the same shape; nothing where the nets have no BN. Statistics are per channel, so per net."""
    layers = [bn for net in nets if isinstance(bn := net.get_submodule(name), nn.BatchNorm2d)]
    if not layers:
        return x
    means = [bn.get_buffer("running_mean") for bn in layers]
    variances = [bn.get_buffer("running_var") for bn in layers]
    mean, variance = torch.cat(means), torch.cat(variances)
    x = F.batch_norm(
        x,
        mean,
        variance,
        torch.cat([bn.weight for bn in layers]),
        torch.cat([bn.bias for bn in layers]),
        training=layers[0].training,
        momentum=layers[0].momentum or 0.0,
        eps=layers[0].eps,
    )
    if layers[0].training:
        for target, value in zip(
            [*means, *variances], [*mean.chunk(len(nets)), *variance.chunk(len(nets))], strict=True
        ):
            target.copy_(value)
        for bn in layers:
            bn.get_buffer("num_batches_tracked").add_(1)
    return x


def linear(nets: Sequence[nn.Module], name: str, x: Tensor) -> Tensor:
    """(K, N, inputs) -> (K, N, outputs), each net with its own weights."""
    weight = torch.stack([net.get_parameter(f"{name}.weight") for net in nets])  # (K, outputs, inputs)
    bias = torch.stack([net.get_parameter(f"{name}.bias") for net in nets])  # (K, outputs)
    return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
