"""The outside half of starting kernels: this process's fork server, and processes of their own where there is none."""

from __future__ import annotations

import array
import atexit
import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from grader.execution.sandbox.space import Space

INSIDE = Path(__file__).parents[1] / "inside"
START_SECONDS = 120.0
MAX_ANSWER = 1 << 16


class ServerError(Exception):
    """The fork server did not start; the message holds what it said last."""


def _environment(home: Path) -> dict[str, str]:
    """Nothing of the grader's own: what is in the server's memory, students can read."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(home),
        "MPLCONFIGDIR": str(home),
        "IPYTHONDIR": str(home),
        "PYTHONPATH": str(INSIDE),
        "PYTHONHASHSEED": "0",
        # One thread until the fork; NVML tells of a GPU without touching it.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }


class ForkServer:
    """Starts with the first kernel and ends with this process, however that ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._ready = False
        self._home: tempfile.TemporaryDirectory[str] | None = None

    def connect(self) -> socket.socket:
        """A connection to a fresh copy of the server. Raises ServerError."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            self._until_ready()
            ours, theirs = _pair()
            assert self._socket is not None
            try:
                passed = array.array("i", [theirs.fileno()])
                self._socket.sendmsg([b"k"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
            except OSError as error:
                raise ServerError(f"the fork server is gone ({error})") from None
            finally:
                theirs.close()
            return ours

    def start(self) -> None:
        """Start it without waiting for it, where it does not run: the first kernel is then there sooner."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()

    def _start(self) -> None:
        self.close()
        self._ready = False
        self._home = tempfile.TemporaryDirectory(prefix="fork-server-")
        self._socket, theirs = _pair()
        with self._log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-m", "jail.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd="/",
                env=_environment(Path(self._home.name)),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        theirs.close()

    @property
    def _log(self) -> Path:
        assert self._home is not None
        return Path(self._home.name) / "log"

    def _until_ready(self) -> None:
        if self._ready or self._socket is None:
            return
        answered, _, _ = select.select([self._socket], [], [], START_SECONDS)
        self._ready = bool(answered) and self._socket.recv(16) == b"ready"
        if not self._ready:
            said = " ".join(self._log.read_text(errors="replace")[-300:].split())
            self.close()
            raise ServerError(f"the fork server did not start ({said or 'it said nothing'})")

    @property
    def pid(self) -> int | None:
        """Of the running server."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the server and what it still runs."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._home is not None:
            with contextlib.suppress(OSError):
                self._home.cleanup()
            self._home = None


def _pair() -> tuple[socket.socket, socket.socket]:
    """Each message arrives whole, and the end of one side is seen by the other."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


fork_server = ForkServer()
atexit.register(fork_server.close)


def connect_to_process() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A connection to a process of its own that starts one kernel; it ends with the connection."""
    ours, theirs = _pair()
    process = subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", "jail.supervise", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        cwd="/",
        env={**_environment(Path("/")), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    theirs.close()
    return ours, process


def receive_enforced(
    connection: socket.socket, fields: dict[str, Any], seconds: float
) -> tuple[dict[str, Any], tuple[Space, ...]]:
    """What is true inside, and the policy's spaces. Raises OSError where there is no kernel."""
    connection.settimeout(seconds)
    room = socket.CMSG_SPACE(4 * len(fields["spaces"]))
    message, ancillary, _, _ = connection.recvmsg(MAX_ANSWER, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    spaces = [Space(number, space["path"]) for number, space in zip(descriptors, fields["spaces"], strict=False)]
    answer: dict[str, Any] = json.loads(message) if message else {"failed": "the process beside the kernel is gone"}
    if "enforced" not in answer:
        raise OSError(str(answer.get("failed", "it ended at once")))
    return dict(answer["enforced"]), tuple(spaces)
