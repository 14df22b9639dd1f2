"""The one place where events leave the kernel: JSON lines, each with the number of the code cell it happened in.

Each line is signed (see `Signed`), so that what a notebook writes to the file itself is told from what was recorded.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import os
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

MAX_EVENTS = 60_000
MAX_FAULTS = 20
KEY_BYTES = MAC_BYTES = 16


def _encoder() -> Callable[[Any], str]:
    """JSON by the functions in C that `json` is made of: a notebook can replace that module's, but not these."""
    make, text = getattr(json.encoder, "c_make_encoder", None), json.encoder.encode_basestring_ascii
    if make is None:  # another Python than CPython
        return json.JSONEncoder(allow_nan=False).encode

    def refuse(value: Any) -> Any:
        raise TypeError(f"{type(value).__name__} is not JSON")

    encoded, join = make(None, refuse, text, None, ": ", ", ", False, False, False), "".join
    return lambda value: join(encoded(value, 0))


encode = _encoder()


def key_file(path: str) -> str:
    """Where the key of the trace at `path` stands until the grader has read it."""
    return f"{path}.key"


def _signer(path: str) -> Callable[[int, str], bytes]:
    """A function that makes the line of a number and a text. Its key is in no attribute and no variable."""
    key = os.urandom(KEY_BYTES)
    if path != os.devnull:
        with open(os.open(key_file(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key)

    def sign(number: int, text: str) -> bytes:
        signed = f"{number} {text}".encode()
        return b"%b %b\n" % (blake2b(signed, key=key, digest_size=MAC_BYTES).hexdigest().encode(), signed)

    return sign


class Signed:
    """Appends `MAC NUMBER TEXT` lines to a file in the order of their numbers, whoever calls and whatever interrupts.

    An event may come from another thread, or from a finaliser in the midst of another event: it waits in a queue. A
    full disk loses events, without a gap in the numbers; what lost them is told once there is room again.
    """

    def __init__(self, path: str) -> None:
        self._sign = _signer(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._number = 0
        self._waiting = deque[str]()
        self._writing, self._writer = threading.Lock(), 0
        self._lost: str | None = None  # the first event for which there was no room

    def put(self, text: str) -> None:
        """Write one event, a JSON object."""
        self._waiting.append(text)
        thread = threading.get_ident()
        if self._writer == thread:  # in the midst of another event, which will take this one along
            return
        with self._writing:
            self._writer = thread
            try:
                while self._waiting:
                    self._write(self._waiting.popleft())
            finally:
                self._writer = 0

    def _write(self, text: str) -> None:
        if self._lost is not None and self._stands(_full_disk(self._lost)):
            self._lost = None
        if self._lost is None and not self._stands(text):
            self._lost = text

    def _stands(self, text: str) -> bool:
        """Whether the line was written whole. An interrupt of the cell arrives after `write`: the number is used up."""
        line, written = self._sign(self._number, text), -1
        stands = True
        try:
            written = os.write(self._descriptor, line)
            stands = written == len(line)
        except OSError:
            stands = False
        finally:
            self._number += stands
        if 0 < written < len(line):
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
        return stands


def _full_disk(lost: str) -> str:
    fault = {
        "event": "fault",
        "cell": json.loads(lost)["cell"],
        "where": "recorder",
        "problem": "no room for the trace",
    }
    return encode(fault)


class Recorder:
    """Writes one JSON object a line to the file named by COURSE_WORLD_TRACE.

    `cell` counts the code cells run so far, from 0; -1 before the first.
    """

    def __init__(self, path: str) -> None:
        self.cell = -1
        self._events = self._faults = 0
        self._paused = 0
        self._process = os.getpid()
        self._path = path
        self._lines = Signed(path)

    def forget_key(self) -> None:
        """The grader has read the key; nothing of the student's has run yet."""
        os.remove(key_file(self._path))

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
            line = encode(record)
        except ValueError:
            line = encode(_finite(record))
        self._lines.put(line)

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


# Set in the kernel once it records: what the processes that it starts do is not the notebook's training.
_recorded = "COURSE_WORLD_RECORDED" in os.environ
recorder = Recorder(os.devnull if _recorded else os.environ.get("COURSE_WORLD_TRACE", os.devnull))


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
