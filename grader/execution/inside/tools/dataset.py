"""`CIFAR10` with the course's interface over the few images of the small world.

It stands first on the kernel's path, before any copy of `tools` that was handed in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from course_world.images import SPLITS, CourseImages, note_dataset


class CIFAR10(CourseImages):
    """Items are `(transform(PIL image 32x32 RGB), int label)`, in the test split the image alone.

    `root` and `download` are accepted and not needed: the images come from the folder that the grader names.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "./data",
        mode: str = "train",
        download: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
    ) -> None:
        if mode not in SPLITS:
            raise ValueError(f"mode must be 'train', 'val' or 'test', not {mode!r}")
        super().__init__(mode, transform, target_transform)
        self.root = root
        note_dataset(mode, transform, len(self))
