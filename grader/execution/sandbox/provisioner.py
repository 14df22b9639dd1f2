"""A kernel in a sandbox for any client of Jupyter's: the provisioner `course-sandbox`.

A kernelspec that names it (`"metadata": {"kernel_provisioner": {"provisioner_name": "course-sandbox"}}`) needs no other
change; stock nbclient runs a notebook with it. Documentation: jupyter_client, "Customizing the kernel's runtime
environment"; ZeroMQ, zmq_setsockopt, ZMQ_USE_FD.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Dict, Unicode

from grader.execution.limits import Limits
from grader.execution.sandbox.server import MAX_ANSWER, ServerError, connect_to_process, fork_server, receive_enforced
from grader.execution.sandbox.space import Space
from grader.execution.sandbox.surroundings import lay_out, policy
from grader.execution.sandbox.tiers import choose, lacking

CHANNELS = ("shell", "iopub", "stdin", "hb", "control")
ENDING_SECONDS, START_SECONDS = 40.0, 120.0
MAX_POLICY = 1 << 17  # as jail.supervise reads it


class SandboxError(RuntimeError):
    """There is no kernel, or not the isolation that was asked for; never the student's fault."""


@dataclass(frozen=True)
class Ending:
    """How a kernel ended: `why` is empty where it ended itself, else `asked`, `memory`, `cpu`, `wall` or `unknown`.

    `code` is as of subprocess.Popen, `peak` resident bytes, `cpu` seconds.
    """

    why: str
    code: int
    peak: int = 0
    cpu: float = 0.0


class SandboxProvisioner(LocalProvisioner):
    """Starts ipykernels in the tier that `tier` names; where that is `none`, as jupyter_client itself does.

    `fields` are those of `jail.policy.Policy`, all but connection and arguments, as `surroundings.policy` makes them;
    without them `limits` (fields of Limits) and `submission` (a folder to copy in) are enough.
    """

    tier = Unicode("auto", help="fork, bubblewrap, landlock, none, or auto for the best that works here").tag(
        config=True
    )
    fields = Dict(help="a whole policy").tag(config=True)
    limits = Dict(help="fields of grader.execution.limits.Limits").tag(config=True)
    submission = Unicode("", help="a folder whose content the kernel's working folder begins with").tag(config=True)

    connection: socket.socket | None = None
    ending: Ending | None = None
    enforced: dict[str, Any] | None = None
    spaces: tuple[Space, ...] = ()
    _helper: subprocess.Popen[bytes] | None = None
    _scratch: str = ""
    _closed = False

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        if self.tier == "auto":
            self.tier = (await asyncio.to_thread(choose, "auto")).tier
        if self.tier != "none" and self.parent is not None:
            self._scratch = tempfile.mkdtemp(prefix="kernel-")
            self.parent.transport = "ipc"  # no port can be taken, and none is open to others
            self.parent.ip = f"{self._scratch}/k"  # short, as the path of a socket must be
            self.parent.kernel_spec.interrupt_mode = "message"
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        if self.tier == "none":
            return await super().launch_kernel(cmd, **kwargs)
        info = {key: v.decode() if isinstance(v, bytes) else v for key, v in self.connection_info.items()}
        fields = self.fields or self._default_fields()
        try:
            asked = {**fields, "arguments": _arguments(cmd), "connection": info}
            await asyncio.to_thread(self._start, asked, info)
        except (OSError, ServerError, ValueError) as error:
            await self.cleanup()
            raise SandboxError(str(error)) from None
        return self.connection_info

    def _default_fields(self) -> dict[str, Any]:
        scratch = Path(self._scratch)
        layout = lay_out(self.tier, scratch, None)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        environment = {**kept, "HOME": layout.home, "TMPDIR": layout.temporary, "IPYTHONDIR": layout.home}
        copy = Path(self.submission) if self.submission else None
        limits = Limits(**self.limits)
        return policy(self.tier, limits, layout, scratch, environment=environment, cwd=layout.work, copy=copy)

    def _start(self, fields: dict[str, Any], info: dict[str, Any]) -> None:
        message = json.dumps(fields).encode()
        if len(message) > MAX_POLICY:
            raise ValueError(f"the sandbox's policy has {len(message):,} bytes, more than {MAX_POLICY:,}")
        if self.tier == "fork":
            self.connection = fork_server.connect()
        else:
            self.connection, self._helper = connect_to_process()
        if self._closed:  # while the server started: nobody waits for a kernel any more
            self._hang_up()
            raise OSError("the kernel is not wanted any more")
        listening = [_listen(f"{info['ip']}-{info[f'{channel}_port']}") for channel in CHANNELS]
        try:
            passed = array.array("i", [s.fileno() for s in listening])
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
            self.connection.sendmsg([message], ancillary)
        finally:
            for bound in listening:
                bound.close()
        try:
            self.enforced, self.spaces = receive_enforced(self.connection, fields, START_SECONDS)
        except OSError as error:
            said = Path(f"{fields['root']}.log")
            words = " ".join(said.read_text(errors="replace").split())[-300:] if said.is_file() else ""
            raise OSError(f"{error} ({words})" if words else str(error)) from None
        missing = lacking(fields, self.enforced)
        if missing:
            raise OSError(f"the sandbox is not tight: {', '.join(missing)}")
        self.connection.setblocking(False)
        self.pid = self.connection.fileno()  # a kernel in a namespace has no pid that is of use here

    # -- its life, as jupyter_client asks for it ----------------------------------------------------------------------

    @property
    def has_process(self) -> bool:
        return self.connection is not None if self.tier != "none" else super().has_process

    async def poll(self) -> int | None:
        if self.tier == "none":
            return await super().poll()
        if self.ending is None and self.connection is not None:
            self.ending = _heard(self.connection)
        return None if self.ending is None and self.connection is not None else getattr(self.ending, "code", 0)

    async def wait(self) -> int | None:
        if self.tier == "none":
            return await super().wait()
        while await self.poll() is None:
            await asyncio.sleep(0.02)
        self._hang_up()
        return getattr(self.ending, "code", 0)

    async def send_signal(self, signum: int) -> None:
        if self.tier == "none":
            await super().send_signal(signum)
        elif signum:  # interrupts are messages; any other signal is meant to end the kernel
            await self.kill()

    async def kill(self, restart: bool = False) -> None:
        if self.tier == "none":
            await super().kill(restart)
        elif self.connection is not None and self.ending is None:
            with contextlib.suppress(OSError):
                self.connection.send(b"k")

    async def terminate(self, restart: bool = False) -> None:
        if self.tier == "none":
            await super().terminate(restart)
        else:
            await self.kill(restart)

    async def ended(self) -> Ending | None:
        """End the kernel with all that it started, and say how it ended; None without a sandbox."""
        if self.tier == "none":
            return None
        await self.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._until_ended(), ENDING_SECONDS)
        return self.ending

    async def _until_ended(self) -> None:
        while await self.poll() is None:
            await asyncio.sleep(0.005)

    async def cleanup(self, restart: bool = False) -> None:
        if self.tier == "none":
            await super().cleanup(restart)
            return
        self._closed = True
        await self.ended()
        self._hang_up()
        for space in self.spaces:
            space.close()
        if self._helper is not None:
            await asyncio.to_thread(_end, self._helper)
            self._helper = None
        if self._scratch and not restart:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _end(helper: subprocess.Popen[bytes]) -> None:
    """Its connection is closed, so it ends by itself; but it watched what a student wrote."""
    try:
        helper.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        helper.kill()
        helper.wait()


def _heard(connection: socket.socket) -> Ending | None:
    message = b""
    for _ in range(2):  # an error that is told once may stand before the answer
        try:
            message = connection.recv(MAX_ANSWER)
            break
        except BlockingIOError:
            return None
        except OSError:
            continue
    ended = json.loads(message).get("ended") if message else None
    return Ending(**ended) if ended else Ending("unknown", -9)


def _listen(path: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(path)
    bound.listen(8)
    bound.setblocking(False)
    return bound


def _arguments(command: list[str]) -> list[str]:
    """What a kernelspec's command passes to ipykernel. Raises ValueError for another kernel."""
    try:
        after = command[command.index("ipykernel_launcher") + 1 :]
    except ValueError:
        raise ValueError(f"the sandbox runs ipykernel_launcher, not {' '.join(command[:4])}") from None
    return [a for i, a in enumerate(after) if a != "-f" and (i == 0 or after[i - 1] != "-f")]
