"""Run a reader of files that were handed in as a process of its own, with limits, so that a hostile file harms only it.

Run as a script, with `python -I limited.py SECONDS BYTES SCRIPT ARGUMENTS`, this is the inside of that process.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

MEMORY = 600_000_000  # bytes of address space
CPU_SECONDS = 3  # whole ones, by which the system counts
SECONDS = 20.0  # on the clock: a busy machine is no fault of the file
# Without these Windows starts no process; nothing else of the grader's environment is passed on.
ENVIRONMENT = ("SYSTEMROOT", "SYSTEMDRIVE")


class LimitedError(Exception):
    """The reader ended without an answer; the message goes on after the file's name: `it took too long to read`."""


def run_limited(
    script: Path,
    arguments: list[str],
    file: BinaryIO,
    most: int,
    *,
    seconds: float = SECONDS,
    cpu_seconds: int = CPU_SECONDS,
    memory: int = MEMORY,
) -> bytes:
    """What `script` writes to its standard output, at most `most` bytes, with `file` as its standard input.

    The process and all that it started are ended before this returns. Raises LimitedError.
    """
    command = [sys.executable, "-I", __file__, str(cpu_seconds), str(memory), str(script), *arguments]
    with subprocess.Popen(
        command,
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(seconds, _end, [process, late])
        timer.start()
        try:
            written = process.stdout.read(most + 1)
            if len(written) <= most:  # else it would wait for a reader
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
        finally:
            timer.cancel()
            _end(process, threading.Event())
    return _checked(written, most, process.returncode, late.is_set())


def _end(process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    """Kill the process and, where the system has such groups, all that it started."""
    ended.set()
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _checked(written: bytes, most: int, ended: int, late: bool) -> bytes:
    if late or ended == -getattr(signal, "SIGXCPU", 0):
        raise LimitedError("it took too long to read")
    if len(written) > most:
        raise LimitedError(f"what was read from it has more than {most:,} bytes")
    if ended:
        raise LimitedError("its reader broke off, as on a damaged file or for want of memory")
    return written


def _limit(cpu_seconds: int, memory: int) -> None:
    """Bound memory and processor time, forbid files and processes, where the system can (POSIX)."""
    try:
        import resource
    except ImportError:
        return
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS has no RLIMIT_AS that holds
            resource.setrlimit(kind, (lower, hard))


if __name__ == "__main__":
    _limit(int(sys.argv[1]), int(sys.argv[2]))
    sys.argv = sys.argv[3:]
    runpy.run_path(sys.argv[0], run_name="__main__")
