"""Preprocessing of a batch of images: random crop and flip on uint8, then scaling and normalisation to float.

Images stay in memory as the course's files hold them, uint8 (N, 32, 32, 3), and are prepared batch by batch on the
device that trains; no worker processes are needed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MEAN = (0.4914, 0.4822, 0.4465)  # per channel, of pixels in [0, 1]; given by the course
STD = (0.2023, 0.1994, 0.2010)
PADDING = 4  # pixels of black on each side before the random crop, arXiv:1512.03385, Section 4.2


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 32, 32, 3) -> float32 (N, 3, 32, 32): (pixel / 255 - mean) / std, channel by channel.

    Mean and variance of every input channel come near 0 and 1, so that no channel dominates the first layer's
    gradient. The memory layout of the result is channels_last. Raises ValueError where the images are not uint8
    (N, H, W, 3).
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images: expected uint8 (N, H, W, 3), found {images.dtype} {tuple(images.shape)}")
    mean = torch.tensor(MEAN, device=images.device)
    std = torch.tensor(STD, device=images.device)
    scaled = images.float().mul_(1 / (255 * std)).sub_(mean / std)  # (N, H, W, 3), in place: half the memory traffic
    return scaled.permute(0, 3, 1, 2)


def crop_and_flip(images: Tensor, rows: Tensor, columns: Tensor, flipped: Tensor) -> Tensor:
    """Crop each image at its own offset out of its zero-padded self, and mirror some of them left to right.

    images (N, H, W, 3); rows, columns (N,) int64 offsets in 0..8 of the crop's corner in the padded image; flipped (N,)
    bool. Returns (N, H, W, 3). Equal, pixel by pixel, to torchvision's RandomCrop(32, padding=4), RandomHorizontalFlip.
    """
    count, height, width, _ = images.shape
    padded = F.pad(images, (0, 0, PADDING, PADDING, PADDING, PADDING))  # (N, H + 8, W + 8, 3)
    crops = padded.unfold(1, height, 1).unfold(2, width, 1)  # a view of all of them: (N, 9, 9, 3, H, W)
    cropped = crops[torch.arange(count, device=images.device), rows, columns].permute(0, 2, 3, 1)  # (N, H, W, 3)
    return torch.where(flipped[:, None, None, None], cropped.flip(2), cropped)


@dataclass(frozen=True)
class Augmentation:
    """What random crop and flip drew for N images: rows, columns int64 (N,) in 0..8, flipped bool (N,)."""

    rows: Tensor
    columns: Tensor
    flipped: Tensor

    def of(self, part: slice, images: Tensor) -> Tensor:
        """Crop and flip `images` (M, H, W, 3), which are the ones that `part` of the draws belongs to."""
        return crop_and_flip(images, self.rows[part], self.columns[part], self.flipped[part])


def draw_augmentation(count: int, generator: torch.Generator, device: torch.device) -> Augmentation:
    """Draw for `count` images 81 equally likely offsets of a crop with padding 4, and a flip with probability 1/2.

    The draws come from `generator`, on the CPU, so that a seed means the same draws on any device; they go to `device`
    in one piece, so that a GPU need not wait for them at every batch.
    """
    offsets = torch.randint(0, 2 * PADDING + 1, (2, count), generator=generator)
    flipped = torch.rand(count, generator=generator) < 0.5
    return Augmentation(offsets[0].to(device), offsets[1].to(device), flipped.to(device))


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random crop and flip, drawn for each image by `draw_augmentation`: (N, H, W, 3) -> (N, H, W, 3)."""
    return draw_augmentation(len(images), generator, images.device).of(slice(None), images)
