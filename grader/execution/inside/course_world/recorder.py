"""The one place where events leave the kernel: JSON lines, each with the number of the code cell it happened in."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

MAX_EVENTS = 60_000


class Recorder:
    """Writes one JSON object a line to the file named by COURSE_WORLD_TRACE.

    `cell` counts the code cells run so far, from 0; -1 before the first.
    """

    def __init__(self, path: str) -> None:
        self.cell = -1
        self._events = 0
        self._paused = 0
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  (open as long as the kernel lives)

    @property
    def active(self) -> bool:
        """False while the grader itself runs the student's module."""
        return self._paused == 0

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event unless recording is paused or the kernel has used up its events."""
        if self._paused or self._events >= MAX_EVENTS:
            return
        self._events += 1
        self._file.write(json.dumps({"event": event, "cell": self.cell, **fields}) + "\n")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing that happens inside is the student's doing, and nothing of it is recorded."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1


recorder = Recorder(os.environ.get("COURSE_WORLD_TRACE", os.devnull))
