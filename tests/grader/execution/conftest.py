"""A world of noise images for the kernels of the tests."""

from __future__ import annotations

import numpy as np
import pytest

from grader.execution.world import World, build_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """512 training, 200 validation and 300 test images of noise."""
    data = tmp_path_factory.mktemp("course-data")
    random = np.random.default_rng(5)
    for split, size in (("train", 512), ("val", 220), ("test", 300)):
        np.save(data / f"{split}-images-batch.npy", random.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8))
        if split != "test":
            np.save(data / f"{split}-labels-batch.npy", (np.arange(size) % 10).astype(np.uint8))
    return build_world(data, tmp_path_factory.mktemp("world"))
