"""The small course world: a few hundred of the course's images, laid out as the course does, for untrusted kernels."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grader.execution.sandbox.surroundings import Layout

INSIDE = Path(__file__).parent / "inside"
TRACE = "trace.jsonl"  # in the exchange
# 9 batches of 128, so that the 30 epochs of a first run are some hundred steps.
TRAIN_IMAGES, VAL_IMAGES = 1_152, 200


class CourseDataError(Exception):
    """The data folder that the instructor named is not the course's; the message says what was expected and found."""


@dataclass(frozen=True)
class World:
    """Where the small data lie, which device the kernels may see, and how much they may compute (1 is usual).

    With an `effort` of less than 1 no net is trained on one batch.
    """

    data: Path
    cuda: bool = False
    effort: float = 1.0


def build_world(data: Path, folder: Path, *, cuda: bool = False) -> World:
    """Take a stratified few hundred images of `data` into `folder`; the test split keeps all of its rows.

    Raises CourseDataError when a file of the course's layout is missing or has another shape.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in (("train", TRAIN_IMAGES), ("val", VAL_IMAGES)):
        images, labels = _load(data, f"{split}-images-batch.npy", 4), _load(data, f"{split}-labels-batch.npy", 1)
        if len(images) != len(labels):
            raise CourseDataError(f"{data}: {len(images)} {split} images but {len(labels)} labels")
        chosen = _stratified(labels, size)
        np.save(folder / f"{split}-images-batch.npy", images[chosen])
        np.save(folder / f"{split}-labels-batch.npy", labels[chosen])
    _load(data, "test-images-batch.npy", 4)
    shutil.copyfile(data / "test-images-batch.npy", folder / "test-images-batch.npy")
    return World(folder, cuda)


def _load(data: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    path = data / name
    try:
        array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CourseDataError(
            f"{path} is missing; the course's data folder holds train-, val- and test-images-batch.npy with their "
            "labels (python -m reference.data build makes it)"
        ) from None
    except (OSError, ValueError) as error:
        raise CourseDataError(f"{path} is not a NumPy array file: {error}") from None
    if array.dtype != np.uint8 or array.ndim != dimensions or (dimensions == 4 and array.shape[1:] != (32, 32, 3)):
        expected = "(N, 32, 32, 3) uint8" if dimensions == 4 else "(N,) uint8"
        raise CourseDataError(f"{path}: expected {expected}, found {array.shape} {array.dtype}")
    return array


def _stratified(labels: NDArray[np.uint8], size: int) -> NDArray[np.intp]:
    """Indices of the first `size / 10` images of each class, in an order that mixes the classes."""
    per_class = [np.flatnonzero(labels == c)[: -(-size // 10)] for c in range(10)]
    chosen = np.sort(np.concatenate(per_class))[:size]
    return np.random.default_rng(0).permutation(chosen)


def kernel_environment(world: World, layout: Layout, memory_bytes: int) -> dict[str, str]:
    """The environment variables of a student's kernel: only what Python and the world need, nothing of the grader's.

    The layout's home must hold nothing of the student's: Python and IPython run files that they find in a home folder.
    """
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "VIRTUAL_ENV")
    home = layout.home
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        # `!python train.py` means this Python, also where it was called by its full path.
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]),
        **({} if world.cuda else {"CUDA_VISIBLE_DEVICES": ""}),
        "HOME": home,
        "TMPDIR": layout.temporary,
        "IPYTHONDIR": f"{home}/.ipython",
        "JUPYTER_RUNTIME_DIR": f"{home}/.runtime",
        "JUPYTER_CONFIG_DIR": f"{home}/.jupyter",
        "MPLCONFIGDIR": f"{home}/.matplotlib",
        "PYTHONPATH": layout.inside,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_NO_INDEX": "1",
        "OMP_NUM_THREADS": "1",
        "COURSE_WORLD_DATA": layout.data,
        "COURSE_WORLD_TRACE": f"{layout.exchange}/{TRACE}",
        "COURSE_WORLD_MEMORY": str(memory_bytes),
        "COURSE_WORLD_EFFORT": str(world.effort),
    }
