"""The trace of a kernel that is the student's: only lines that the grader's recorder has signed are believed.

A line is `MAC NUMBER JSON`; the MAC is of the rest, keyed, and numbers count from 0. The recorder makes the key when it
is loaded and hands it over in a file that is gone before the student's first cell (see `course_world.recorder`).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from grader.execution.sandbox.space import Space
from grader.execution.trace_events import MAX_BYTES, MAX_EVENTS, parse_events
from grader.execution.untrusted import UntrustedFileError
from grader.execution.world import TRACE

KEY = f"{TRACE}.key"  # in the exchange
KEY_BYTES = MAC_BYTES = 16
MAX_LINE = 4_000_000  # bytes; the description of a net of thousands of layers has fewer
WROTE, REMOVED = "wrote to the grader's own record", "removed a part of the grader's own record"


@dataclass
class SignedTrace:
    """What was read of one kernel's trace so far: what was read cannot be taken back.

    `lines` are the recorder's own, as JSON alone. `tampered` says what else was done to the file, None for nothing. A
    last line that is cut, or lines that never came because the kernel died, are nobody's doing.
    """

    key: bytes
    lines: bytearray = field(default_factory=bytearray)
    tampered: str | None = None
    _position: int = 0  # byte of the file up to which it was read
    _next: int = 0  # number of the next line

    def read(self, exchange: Space) -> list[Any]:
        """The events that were written since the last look."""
        overlap = min(self._position, 1)  # the end of a line that was read: a shorter file has lost it
        room = MAX_BYTES - self._position
        if room <= 0:
            return []
        try:
            data = exchange.read(TRACE, room + overlap, start=self._position - overlap, whole=False)
        except UntrustedFileError:  # missing, or something else stands in its place
            self._note(REMOVED)
            return []
        if data[:overlap] != b"\n"[:overlap]:
            self._note(REMOVED)
        return parse_events(self._take(data[overlap:]))[0]

    def _take(self, data: bytes) -> bytes:
        """The recorder's lines in new bytes of the file."""
        end = data.rfind(b"\n") + 1
        if len(data) - end > MAX_LINE:
            self._note(WROTE)
            end = len(data)
        self._position += end
        lines = data[:end].removesuffix(b"\n").split(b"\n", MAX_EVENTS)[:MAX_EVENTS] if end else []
        taken = b"".join(text + b"\n" for line in lines if (text := self._checked(line)) is not None)
        self.lines += taken
        return taken

    def _checked(self, line: bytes) -> bytes | None:
        """The JSON of a line that the recorder signed and that was not seen before."""
        mac, _, signed = line.partition(b" ")
        expected = blake2b(signed, key=self.key, digest_size=MAC_BYTES).hexdigest().encode()
        if not hmac.compare_digest(mac, expected):
            self._note(WROTE)
            return None
        number, _, text = signed.partition(b" ")
        if int(number) < self._next:
            self._note(WROTE)
            return None
        if int(number) > self._next:
            self._note(REMOVED)
        self._next = int(number) + 1
        return text

    def _note(self, what: str) -> None:
        self.tampered = self.tampered or what
