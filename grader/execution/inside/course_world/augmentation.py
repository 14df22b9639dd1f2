"""What really happens to an image on its way to the net, found by looking at pixels.

Names prove nothing (a transform may be imported, built and never passed on). A data set is asked many times for one
known image; a batch that a net was fed is held against the raw images it was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from course_world.images import course_images, source
from course_world.recorder import recorder

TRIES = 32
PADDING = 4
SIMILAR = 0.9
LOOKED_AT = 16  # images of a batch
Array = NDArray[np.float32]


@cache
def _known_image() -> NDArray[np.uint8]:
    """A (32, 32, 3) uint8 image of noise: no shift or mirror image of it resembles another."""
    return np.random.default_rng(661).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def _moves() -> list[tuple[int, int, bool]]:
    """All crops after padding by 4, mirrored or not: (rows down, columns right, mirrored)."""
    offsets = range(-PADDING, PADDING + 1)
    return [(dy, dx, flip) for dy in offsets for dx in offsets for flip in (False, True)]


def _moved(image: NDArray[np.uint8]) -> Array:
    """Interiors of all crops of an image (32, 32, 3), as unit vectors (81, 3 * 24 * 24); none is mirrored.

    Only the central 24x24 pixels are compared: they are the image's own whatever the padding was filled with.
    """
    side = 32 - 2 * PADDING
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(0, 1))  # (9, 9, 3, 24, 24)
    return _unit(windows.reshape(81, 3, side * side))


def _unit(pixels: NDArray[Any]) -> Array:
    """Of (N, 3, P), each channel with zero mean and deviation one, (N, 3 * P): what Normalize cannot change."""
    centred = pixels.astype(np.float32)
    centred -= centred.mean(axis=2, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=2, keepdims=True))
    flat = (centred / np.maximum(deviation, 1e-6)).reshape(len(centred), -1)
    unit: Array = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return unit


def _similarity(crops: Array, output: Array) -> Array:
    """Of an output (32, 32, 3) to each of `_moves()`, 1 where they are the same: (162,)."""
    centre = output[PADDING:-PADDING, PADDING:-PADDING].transpose(2, 0, 1)  # (3, 24, 24)
    both = np.stack([centre, centre[:, :, ::-1]]).reshape(2, 3, -1)  # mirroring the output is as good
    similarity: Array = (crops @ _unit(both).T).reshape(-1)
    return similarity


def _as_array(output: Any) -> Array | None:
    """Whatever a transform returned, as (32, 32, 3) float; None where that is impossible."""
    if isinstance(output, torch.Tensor):
        output = output.detach().cpu().float().numpy()
        if output.ndim == 3 and output.shape[0] == 3:
            output = output.transpose(1, 2, 0)
    array = np.asarray(output, dtype=np.float32)
    return array if array.shape == (32, 32, 3) and np.isfinite(array).all() else None


def _normalisation(
    image: NDArray[np.uint8], move: tuple[int, int, bool], output: Array
) -> dict[str, list[float]] | None:
    """Per channel mean and std with output = (pixel / 255 - mean) / std of the moved image, None where it is not so."""
    dy, dx, flip = move
    rows, columns = (slice(PADDING + shift, 32 - PADDING + shift) for shift in (dy, dx))
    original, changed = image[rows, columns], output[PADDING:-PADDING, PADDING:-PADDING]  # (24, 24, 3) each
    original = original[:, ::-1] if flip else original
    mean, std = [], []
    for channel in range(3):
        x = original[..., channel].astype(np.float64).reshape(-1) / 255
        y = changed[..., channel].astype(np.float64).reshape(-1)
        slope, intercept = np.polyfit(x, y, 1)
        if abs(slope) < 1e-9 or np.abs(slope * x + intercept - y).max() > 0.02 * abs(slope):
            return None
        std.append(round(float(1 / slope), 4))
        mean.append(round(float(-intercept / slope), 4))
    return {"mean": mean, "std": std}


def describe_dataset(dataset: Any) -> dict[str, Any] | None:
    """What happens to a known image in `TRIES` readings of the first item; the error raised; None for other data."""
    if course_images(dataset) is None:
        return None
    try:
        with recorder.aside(), source.showing(_known_image()):
            items = [dataset[0] for _ in range(TRIES)]
    except Exception as error:  # noqa: BLE001  (the student's transform may raise anything; that is the finding)
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    outputs = [item[0] if isinstance(item, (list, tuple)) else item for item in items]
    arrays = [_as_array(output) for output in outputs]
    first = outputs[0]
    described = _describe([_known_image()] * TRIES, arrays)
    varies = len({None if array is None else array.tobytes() for array in arrays}) > 1
    return described | {
        "tensor": isinstance(first, torch.Tensor),
        "shape": list(first.shape) if isinstance(first, torch.Tensor) else None,
        "other": described["other"] and varies,  # a copy in memory never shows the known image, and never varies
    }


def describe_batch(batch: torch.Tensor) -> dict[str, Any] | None:
    """What happened to the images (B, 3, 32, 32) of a batch since they were handed out; None if that cannot be told."""
    raw = source.fetched
    if batch.dim() != 4 or tuple(batch.shape[1:]) != (3, 32, 32) or len(raw) != len(batch) or len(batch) < LOOKED_AT:
        return None
    arrays = [_as_array(image) for image in batch[:LOOKED_AT]]
    return _describe(raw[:LOOKED_AT], arrays) | {"tensor": True, "shape": [3, 32, 32]}


def _describe(raw: Sequence[NDArray[np.uint8]], outputs: Sequence[Array | None]) -> dict[str, Any]:
    """Shifts and mirrorings that occurred, whether anything else did, and the normalisation."""
    moves, seen = _moves(), set[tuple[int, int, bool]]()
    other, table, of = False, None, None
    example: tuple[NDArray[np.uint8], tuple[int, int, bool], Array] | None = None
    for image, output in zip(raw, outputs, strict=True):
        if of is not image:
            table, of = _moved(image), image
        if output is None or table is None:
            other = True
            continue
        similarity = _similarity(table, output)
        best = int(similarity.argmax())
        if similarity[best] < SIMILAR:
            other = True
            continue
        seen.add(moves[best])
        example = example or (image, moves[best], output)
    return {
        "shifts": len({(dy, dx) for dy, dx, _ in seen}),
        "max_shift": max((max(abs(dy), abs(dx)) for dy, dx, _ in seen), default=0),
        "flips": any(flip for _, _, flip in seen),
        "always_flipped": bool(seen) and all(flip for _, _, flip in seen),
        "other": other,
        "normalisation": None if example is None else _normalisation(*example),
    }
