"""Starting a student's kernel and ending it with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import zmq
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode

from grader.execution.outputs import BoundedClient

KERNEL = "course"
MAX_MESSAGE_BYTES = 32_000_000
LOG_TAIL = 300
# -P and ignore_cwd: a student's torch.py or json.py must not stand in for the library; -s: nor a usercustomize.py.
COMMAND = (
    *(sys.executable, "-P", "-s", "-m", "ipykernel_launcher", "-f", "{connection_file}", "--ext=course_world"),
    *("--InteractiveShellApp.ignore_cwd=True", "--HistoryManager.enabled=False"),
)


@dataclass(frozen=True)
class Limits:
    """Wall-clock seconds for one cell, for a whole notebook, for a challenge and for a kernel to start; its memory."""

    cell: float = 120.0
    notebook: float = 300.0
    start: float = 120.0
    challenge: float = 30.0
    memory_bytes: int = 8_000_000_000


class KernelStartError(Exception):
    """The kernel did not start: the machine's fault, never the student's."""


def _write_kernelspec(folder: Path) -> None:
    """A kernel of this very interpreter, so that a kernel of the same name elsewhere on the machine is never taken."""
    spec = {"argv": list(COMMAND), "display_name": KERNEL, "language": "python"}
    (folder / KERNEL).mkdir(parents=True, exist_ok=True)
    (folder / KERNEL / "kernel.json").write_text(json.dumps(spec))


@contextlib.asynccontextmanager
async def start_kernel(
    notebook: NotebookNode, workdir: Path, scratch: Path, environment: dict[str, str], limits: Limits
) -> AsyncIterator[BoundedClient]:
    """A client on a fresh kernel in `workdir`; on the way out the kernel and its children are killed.

    `environment` must hold a value that no other process on the machine has: its processes are found by it. Raises
    KernelStartError.
    """
    _write_kernelspec(scratch / "kernels")
    # Sockets in a folder rather than ports: none can be taken, and the path of a socket must be short.
    sockets = Path(tempfile.mkdtemp(prefix="kernel-"))
    manager = AsyncKernelManager(
        kernel_name=KERNEL,
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(scratch / "kernels")], ensure_native_kernel=False),
        transport="ipc",
        connection_file=str(sockets / "kernel.json"),
    )
    manager.context.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    client = BoundedClient(notebook, manager)
    try:
        await _start(client, manager, workdir, scratch / "kernel.log", environment, limits)
        yield client
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
        if manager.has_kernel:
            await manager.shutdown_kernel(now=True)
        _kill_marked(environment)
        manager.context.destroy(linger=0)
        shutil.rmtree(sockets, ignore_errors=True)


async def _start(
    client: BoundedClient,
    manager: AsyncKernelManager,
    workdir: Path,
    log: Path,
    environment: dict[str, str],
    limits: Limits,
) -> None:
    try:
        with log.open("wb") as file:
            await manager.start_kernel(cwd=str(workdir), env=environment, stdout=file, stderr=file)
        client.kc = manager.client()
        client.kc.start_channels()
        await client.kc.wait_for_ready(timeout=limits.start)
        client.kc.allow_stdin = False  # input() raises in the kernel instead of waiting for a person
    except (RuntimeError, OSError) as error:
        last = " ".join(log.read_text(errors="replace")[-LOG_TAIL:].split()) if log.is_file() else ""
        raise KernelStartError(f"the kernel did not start: {error}" + (f" ({last})" if last else "")) from None


def how_it_ended(client: BoundedClient) -> str:
    """What the operating system says of a kernel that is gone."""
    process = getattr(client.kernel.provisioner, "process", None)
    code = process.poll() if process is not None else None
    if code is None:
        return "the kernel died"
    if code < 0:
        name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
        hint = " (the usual end of a process that takes too much memory)" if name == "SIGKILL" else ""
        return f"the kernel was killed by {name}{hint}"
    return f"the kernel left with exit code {code}"


def _kill_marked(environment: dict[str, str]) -> None:
    """Kill what is left of a kernel: processes that carry its environment, though they may have left its group."""
    mark = f"COURSE_WORLD_TRACE={environment['COURSE_WORLD_TRACE']}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
