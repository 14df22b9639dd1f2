"""What a transform really does to an image, found by feeding it one known image many times.

Names prove nothing (a transform may be imported, built and never passed on), pixels do.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from course_world.recorder import recorder

TRIES = 32
PADDING = 4


def _probe_image() -> NDArray[np.uint8]:
    """A (32, 32, 3) uint8 image of noise: no shift or mirror image of it resembles another."""
    return np.random.default_rng(661).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def _candidates(image: NDArray[np.uint8]) -> tuple[list[tuple[int, int, bool]], NDArray[np.float32]]:
    """All crops after padding by 4, mirrored or not: offsets with flip, and unit vectors (162, 3072) of interiors.

    Only the central 24x24 pixels are compared: they are the image's own whatever the padding was filled with.
    """
    padded = np.pad(image, ((PADDING,) * 2, (PADDING,) * 2, (0, 0))).astype(np.float32)
    keys, rows = [], []
    for dy in range(2 * PADDING + 1):
        for dx in range(2 * PADDING + 1):
            crop = padded[dy : dy + 32, dx : dx + 32]
            for flip in (False, True):
                keys.append((dy - PADDING, dx - PADDING, flip))
                rows.append(_unit(crop[:, ::-1] if flip else crop))
    return keys, np.stack(rows)


def _unit(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Central pixels, each channel with zero mean, scaled to length one: what is left of an image after Normalize."""
    centre = image[PADDING:-PADDING, PADDING:-PADDING]
    centre = centre - centre.mean(axis=(0, 1), keepdims=True)
    centre = centre / np.maximum(centre.std(axis=(0, 1), keepdims=True), 1e-6)
    flat: NDArray[np.float32] = centre.reshape(-1)
    return flat / np.linalg.norm(flat)


def _as_array(output: Any) -> NDArray[np.float32] | None:
    """Whatever the transform returned, as (32, 32, 3) float; None where that is impossible."""
    if isinstance(output, torch.Tensor):
        output = output.detach().cpu().float().numpy()
        if output.ndim == 3 and output.shape[0] == 3:
            output = output.transpose(1, 2, 0)
    array = np.asarray(output, dtype=np.float32)
    return array if array.shape == (32, 32, 3) else None


def _affine(image: NDArray[np.uint8], output: NDArray[np.float32]) -> dict[str, list[float]] | None:
    """Per-channel scale and shift with output = (pixel / 255 - mean) / std, where the output is unmoved."""
    mean, std = [], []
    for channel in range(3):
        x = image[..., channel].astype(np.float64).reshape(-1) / 255
        slope, intercept = np.polyfit(x, output[..., channel].astype(np.float64).reshape(-1), 1)
        if abs(slope) < 1e-9:
            return None
        std.append(round(float(1 / slope), 4))
        mean.append(round(float(-intercept / slope), 4))
    return {"mean": mean, "std": std}


def describe_transform(transform: Callable[..., Any] | None) -> dict[str, Any]:
    """Shifts and mirrorings that occurred in `TRIES` calls, the normalisation, the type; or the error raised."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        with recorder.paused():
            return _describe(transform)
    except Exception as error:  # noqa: BLE001  (the student's transform may raise anything; that is the finding)
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])
        torch.set_rng_state(state[2])


def _describe(transform: Callable[..., Any] | None) -> dict[str, Any]:
    if transform is None:
        return {"tensor": False, "shape": None, "shifts": 1, "max_shift": 0, "flips": False, "other": False}
    image = _probe_image()
    keys, table = _candidates(image)
    random.seed(0)
    torch.manual_seed(0)
    np.random.seed(0)
    seen, unmoved, other, first = set(), None, 0, None
    for _ in range(TRIES):
        first = transform(Image.fromarray(image))
        array = _as_array(first)
        if array is None:
            other += 1
            continue
        similarity = table @ _unit(array)
        best = int(similarity.argmax())
        if similarity[best] < 0.9:
            other += 1
            continue
        seen.add(keys[best])
        if keys[best] == (0, 0, False):
            unmoved = array
    return {
        "tensor": isinstance(first, torch.Tensor),
        "shape": list(first.shape) if isinstance(first, torch.Tensor) else None,
        "shifts": len({(dy, dx) for dy, dx, _ in seen}),
        "max_shift": max((max(abs(dy), abs(dx)) for dy, dx, _ in seen), default=0),
        "flips": any(flip for _, _, flip in seen),
        "always_flipped": bool(seen) and all(flip for _, _, flip in seen),
        "other": other > 0,
        "normalisation": None if unmoved is None else _affine(image, unmoved),
    }
