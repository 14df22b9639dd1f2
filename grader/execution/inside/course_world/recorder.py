"""The one place where events leave the kernel: JSON lines, each with the number of the code cell it happened in."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

MAX_EVENTS = 60_000
MAX_FAULTS = 20


class Recorder:
    """Writes one JSON object a line to the file named by COURSE_WORLD_TRACE.

    `cell` counts the code cells run so far, from 0; -1 before the first.
    """

    def __init__(self, path: str) -> None:
        self.cell = -1
        self._events = self._faults = 0
        self._paused = 0
        self._process = os.getpid()
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  (open as long as the kernel lives)

    @property
    def active(self) -> bool:
        """False while the grader itself runs the student's module."""
        return self._paused == 0

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event unless recording is paused or the kernel has used up its events."""
        if self._paused or self._events >= MAX_EVENTS or os.getpid() != self._process:
            return
        self._events += 1
        record = {"event": event, "cell": self.cell, **fields}
        try:
            line = json.dumps(record, allow_nan=False)
        except ValueError:
            line = json.dumps(_finite(record))
        self._file.write(line + "\n")

    def fault(self, where: str, error: Exception) -> None:
        """A hook of the grader's failed; the student's cell goes on, and a person can read what happened."""
        if self._faults < MAX_FAULTS:
            self._faults += 1
            self.emit("fault", where=where, problem=f"{type(error).__name__}: {error}"[:300])

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What happens inside is not the student's doing: not recorded, not printed, no random number used up."""
        state = random.getstate(), np.random.get_state()
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        self._paused += 1
        try:
            nowhere = _Nowhere()
            with (
                torch.random.fork_rng(devices),
                contextlib.redirect_stdout(nowhere),
                contextlib.redirect_stderr(nowhere),
            ):
                yield
        finally:
            self._paused -= 1
            random.setstate(state[0])
            np.random.set_state(state[1])


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


def _finite(value: Any) -> Any:
    """The same with None for every number that JSON has no name for."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


recorder = Recorder(os.environ.get("COURSE_WORLD_TRACE", os.devnull))


def harmless(hook: Callable[..., Any]) -> Callable[..., None]:
    """The hook, silent while recording is paused; an error in it becomes a `fault` event, never the student's."""

    @functools.wraps(hook)
    def guarded(*args: Any, **kwargs: Any) -> None:
        if recorder.active:
            try:
                hook(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  (whatever goes wrong here is not the student's)
                recorder.fault(hook.__name__, error)

    return guarded
