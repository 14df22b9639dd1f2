"""From images to logits, loss and accuracy; the same for one net and for several that see the same images."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.preprocessing import normalise
from reference.recipe import Recipe
from reference.stacked import stackable, stacked_logits

EVALUATION_BATCH = 1000  # images in one forward pass without gradients; in evaluation mode no result depends on it
Nets = Sequence[nn.Module]


def forward(nets: Nets, images: Tensor, recipe: Recipe) -> Tensor:
    """What K nets make of the same images: uint8 (N, 32, 32, 3) -> float32 logits (K, N, 10)."""
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    x = normalise(images).contiguous(memory_format=layout)  # (N, 3, 32, 32)
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=recipe.bfloat16):
        logits = stacked_logits(nets, x) if stackable(nets) else torch.stack([net(x) for net in nets])
    return logits.float()


def forward_in_parts(nets: Nets, images: Tensor, recipe: Recipe) -> Tensor:
    """`forward` on at most EVALUATION_BATCH images at a time, so that memory does not grow with their number."""
    starts = range(0, len(images), EVALUATION_BATCH)
    return torch.cat([forward(nets, images[start : start + EVALUATION_BATCH], recipe) for start in starts], dim=1)


@torch.no_grad()
def predict_logits(nets: Nets, images: Tensor, recipe: Recipe) -> Tensor:
    """uint8 (N, 32, 32, 3) -> float32 logits (K, N, 10), in evaluation mode; the mode of each net is restored.

    With `recipe.flip_test` they are the means of those of the image and of its mirror image.
    """
    modes = [net.training for net in nets]
    for net in nets:
        net.eval()
    logits = forward_in_parts(nets, images, recipe)
    if recipe.flip_test:
        logits = (logits + forward_in_parts(nets, images.flip(2), recipe)) / 2
    for net, mode in zip(nets, modes, strict=True):
        net.train(mode)
    return logits


def scores(logits: Tensor, labels: Tensor) -> list[tuple[float, float]]:
    """Mean cross-entropy and accuracy (fraction) of each net, from logits (K, N, 10) and labels int64 (N,)."""
    # Counted in whole numbers: a float32 mean of 3,250 of 5,000 is a little less than 0.65.
    correct = (logits.argmax(dim=2) == labels).sum(dim=1).tolist()
    losses = [F.cross_entropy(each, labels).item() for each in logits]
    return [(loss, count / len(labels)) for loss, count in zip(losses, correct, strict=True)]


def evaluate(net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> tuple[float, float]:
    """Mean cross-entropy and accuracy (fraction) of `net` on images uint8 (N, 32, 32, 3), labels int64 (N,)."""
    (score,) = scores(predict_logits([net], images, recipe), labels)
    return score


def predict(net: nn.Module, images: Tensor, recipe: Recipe | None = None) -> Tensor:
    """The most likely class of each image: uint8 (N, 32, 32, 3) -> int64 (N,) on the CPU."""
    device = next(net.parameters()).device
    logits = predict_logits([net], images.to(device), recipe or Recipe())[0]  # (N, 10)
    return logits.argmax(dim=1).cpu()


@torch.no_grad()
def initial_loss(net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> float:
    """Mean cross-entropy before any training step, over all `images`; near ln(10) for a net that has learned nothing.

    BN normalises with the statistics of each EVALUATION_BATCH images, much as in the first training step: its running
    statistics are still the arbitrary mean 0 and variance 1, which would make the figure meaningless. `net` is
    untouched.
    """
    (logits,) = forward_in_parts([copy.deepcopy(net).train()], images, recipe)
    return F.cross_entropy(logits, labels).item()
