"""Starting a student's kernel where it can do no harm, and ending it with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode

from grader.execution.limits import Limits
from grader.execution.outputs import BoundedClient
from grader.execution.sandbox.provisioner import Ending, SandboxProvisioner
from grader.execution.sandbox.space import Space
from grader.execution.sandbox.surroundings import Layout, lay_out, policy
from grader.execution.sandbox.tiers import NONE, Isolation
from grader.execution.untrusted import UntrustedFileError
from grader.execution.world import INSIDE, World, kernel_environment

KERNEL = "course"
NUDGE = 0.5  # seconds until a kernel that says nothing is asked again
WAITING_MESSAGES = 20  # that have come from the kernel and were not looked at
MAX_PULLED = 64_000_000  # bytes
LOG_TAIL, MAX_LOG = 300, 1_000_000
# -P and ignore_cwd: a student's torch.py or json.py must not stand in for the library; -s: nor a usercustomize.py.
COMMAND = (
    *(sys.executable, "-P", "-s", "-m", "ipykernel_launcher", "-f", "{connection_file}", "--ext=course_world"),
    *("--InteractiveShellApp.ignore_cwd=True", "--HistoryManager.enabled=False"),
)


class KernelStartError(Exception):
    """The kernel did not start, or could not be ended: the machine's fault, never the student's."""


@dataclass(frozen=True)
class Place:
    """Where a notebook runs: in which isolation and world, with a copy of what, and in which folder of it (`cwd`).

    `private` are files and folders of the grader's that must be out of reach wherever they lie. `secret` is mixed into
    the seed of challenges, so that a student cannot know them beforehand.
    """

    world: World
    folder: Path
    cwd: str = "."
    isolation: Isolation = NONE
    private: tuple[Path, ...] = ()
    secret: str = ""


@dataclass
class Kernel:
    """A running kernel: its client, how its world is laid out, and the two folders that files come out of."""

    client: BoundedClient
    manager: AsyncKernelManager
    layout: Layout
    limits: Limits
    environment: dict[str, str]
    scratch: Path
    box: Space | None = None
    exchange: Space | None = None
    ended: bool = False
    made: list[Space] = field(default_factory=list)

    @property
    def provisioner(self) -> SandboxProvisioner | None:
        """What started it, where that was a sandbox."""
        found = self.manager.provisioner
        return found if isinstance(found, SandboxProvisioner) and found.tier != "none" else None

    def folder(self, name: str) -> Space:
        """A new folder in the exchange; closed with the kernel. Raises UntrustedFileError."""
        assert self.exchange is not None
        self.made.append(self.exchange.make(name))
        return self.made[-1]

    def pull(self, folder: Path, suffixes: tuple[str, ...]) -> None:
        """Copy what the notebook left in its working folder to `folder`, where it did not work in that itself."""
        if self.provisioner is not None and self.box is not None:
            try:
                work = self.box.open(self.layout.work)
            except UntrustedFileError:  # the notebook moved it away: nothing is left of it
                return
            work.pull(folder, suffixes, MAX_PULLED)
            work.close()

    async def freeze(self) -> None:
        """End the kernel and everything that it started: from here on nothing of the student's runs."""
        if self.ended:
            return
        self.ended = True
        if self.client.kc is not None:
            self.client.kc.stop_channels()
        if self.provisioner is not None:
            if await self.provisioner.ended() is None:
                raise KernelStartError("the kernel could not be ended, so that nothing it left can be relied on")
        elif self.manager.has_kernel:
            await self.manager.shutdown_kernel(now=True)
            _kill_marked(self.environment)

    async def close(self) -> None:
        """Freeze, and let go of everything."""
        with contextlib.suppress(KernelStartError):  # told by an earlier freeze, or nothing is read any more
            await self.freeze()
        for space in (*self.made, self.box, self.exchange):
            if space is not None:
                space.close()
        if self.provisioner is not None:
            await self.manager.cleanup_resources()
            await self.provisioner.cleanup()


def _kernelspec(folder: Path, tier: str, fields: dict[str, Any]) -> KernelSpecManager:
    """A kernel of this very interpreter, so that a kernel of the same name elsewhere on the machine is never taken."""
    provisioner = {"provisioner_name": "course-sandbox", "config": {"tier": tier, "fields": fields}}
    metadata = {} if tier == "none" else {"kernel_provisioner": provisioner}
    spec = {"argv": list(COMMAND), "display_name": KERNEL, "language": "python", "metadata": metadata}
    (folder / KERNEL).mkdir(parents=True, exist_ok=True)
    (folder / KERNEL / "kernel.json").write_text(json.dumps(spec))
    return KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)


@contextlib.asynccontextmanager
async def start_kernel(notebook: NotebookNode, place: Place, scratch: Path, limits: Limits) -> AsyncIterator[Kernel]:
    """A fresh kernel in `place`; on the way out it and its children are killed. Raises KernelStartError."""
    tier, world = place.isolation.tier, place.world
    layout = _own_layout(place, scratch) if tier == "none" else lay_out(tier, scratch, world.data)
    environment = kernel_environment(world, layout, limits.memory_bytes)
    cwd = os.path.normpath(os.path.join(layout.work, place.cwd))
    fields: dict[str, Any] = {}
    if tier != "none":
        fields = policy(
            tier,
            limits,
            layout,
            scratch,
            environment=environment,
            cwd=cwd,
            data=world.data,
            copy=place.folder,
            private=place.private,
            cuda=world.cuda,
        )
    # Sockets in a folder rather than ports: none can be taken, and the path of a socket must be short.
    sockets = Path(tempfile.mkdtemp(prefix="kernel-"))
    manager = AsyncKernelManager(
        kernel_name=KERNEL,
        kernel_spec_manager=_kernelspec(scratch / "kernels", tier, fields),
        transport="tcp" if os.name == "nt" else "ipc",
        connection_file=str(sockets / "kernel.json"),
    )
    kernel = Kernel(BoundedClient(notebook, manager, limits), manager, layout, limits, environment, scratch)
    context = _bounded_context(limits)
    try:
        await _start(kernel, context, cwd)
        yield kernel
    finally:
        await kernel.close()
        manager.context.destroy(linger=0)
        context.destroy(linger=0)
        shutil.rmtree(sockets, ignore_errors=True)


def _own_layout(place: Place, scratch: Path) -> Layout:
    """Without a sandbox the kernel works on the copy itself."""
    home, exchange = scratch / "home", scratch / "exchange"
    for folder in (home, exchange):
        folder.mkdir()
    of_machine = (place.folder, exchange, place.folder, home, tempfile.gettempdir(), place.world.data, INSIDE)
    return Layout(*map(str, of_machine))


def _bounded_context(limits: Limits) -> zmq.asyncio.Context:
    """Options of a context are those of the sockets made from it, and hold only if they are set before."""
    context = zmq.asyncio.Context()
    context.setsockopt(zmq.MAXMSGSIZE, limits.message_bytes)
    context.setsockopt(zmq.RCVHWM, WAITING_MESSAGES)
    return context


async def _start(kernel: Kernel, context: zmq.asyncio.Context, cwd: str) -> None:
    manager, client, log = kernel.manager, kernel.client, kernel.scratch / "kernel.log"
    try:
        with log.open("wb") as file:
            await manager.start_kernel(cwd=cwd, env=kernel.environment, stdout=file, stderr=file)
        if kernel.provisioner is not None:
            kernel.box, kernel.exchange = kernel.provisioner.spaces[:2]
        else:
            kernel.box, kernel.exchange = Space.at(Path(kernel.layout.box)), Space.at(Path(kernel.layout.exchange))
        channels: AsyncKernelClient = manager.client(context=context)
        channels.start_channels()
        client.listen(channels)
        await _until_ready(kernel, channels)
        channels.allow_stdin = False  # input() raises in the kernel instead of waiting for a person
    except (RuntimeError, OSError) as error:
        last = _last_words(kernel, log)
        raise KernelStartError(f"the kernel did not start: {error}" + (f" ({last})" if last else "")) from None


async def _until_ready(kernel: Kernel, client: AsyncKernelClient) -> None:
    """Wait for an answer on both channels. Raises RuntimeError.

    The client's own `wait_for_ready` then listens a fifth of a second for silence, as long as all else here takes.
    """
    end, asked = time.monotonic() + kernel.limits.start, set()
    while True:
        asked.add(client.kernel_info())
        with contextlib.suppress(queue.Empty):
            while True:
                message = await client.get_iopub_msg(timeout=NUDGE)
                said = message["content"].get("execution_state")
                if said == "idle" and message["parent_header"].get("msg_id") in asked:
                    return
        if not await kernel.manager.is_alive():
            raise RuntimeError("it ended before it answered")
        if time.monotonic() > end:
            raise RuntimeError(f"no answer in {kernel.limits.start:.0f} s")


def _last_words(kernel: Kernel, log: Path) -> str:
    """The end of what the kernel wrote where no client listens."""
    try:
        if kernel.provisioner is not None and kernel.exchange is not None:
            said = kernel.exchange.read("kernel.log", MAX_LOG, whole=False)
        else:
            said = log.read_bytes()
    except (UntrustedFileError, OSError):
        return ""
    return " ".join(said.decode(errors="replace")[-LOG_TAIL:].split())


def how_it_ended(client: BoundedClient, limits: Limits) -> str:
    """What is known of a kernel that is gone, in words."""
    if client.fault:
        return client.fault
    provisioner = client.kernel.provisioner
    ending = getattr(provisioner, "ending", None)
    if ending is not None:
        return _described(ending, limits)
    process = getattr(provisioner, "process", None)
    code = process.poll() if process is not None else None
    return (
        "the kernel died"
        if code is None
        else _of_code(code, " (the usual end of a process that takes too much memory)")
    )


def _described(ending: Ending, limits: Limits) -> str:
    reasons = {
        "memory": f"out of memory: it and what it started took more than {limits.memory_bytes / 1e9:.1f} GB",
        "cpu": f"out of time: it and what it started used more than {limits.cpu:.0f} s of CPU time",
        "wall": "out of time: the whole notebook took too long",
        "asked": "the kernel was ended by the grader",
        "unknown": "the kernel is gone",
    }
    return reasons.get(ending.why) or _of_code(ending.code, "")


def _of_code(code: int, hint: str) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
        return f"the kernel was killed by {name}{hint if name == 'SIGKILL' else ''}"
    return f"the kernel left with exit code {code}"


def _kill_marked(environment: dict[str, str]) -> None:
    """Kill what is left of a kernel: processes that carry its environment, though they may have left its group."""
    mark = f"COURSE_WORLD_TRACE={environment['COURSE_WORLD_TRACE']}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
