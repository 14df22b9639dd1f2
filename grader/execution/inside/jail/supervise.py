"""One process beside each kernel: it starts it, watches what it uses, ends it with all that it started, and says why.

It reads one message from the grader, the policy as JSON with the kernel's five listening sockets, and sends two: what
is enforced (from inside the jail) or why there is no kernel, and how the kernel ended.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from jail import cgroups, mounts
from jail import syscalls as sys_
from jail.policy import Policy, read_policy
from jail.start import FAILED, SIGNALLED, become_a_kernel, stand_by

PERIOD = 0.1  # seconds between two looks at what is used
MAX_POLICY = 1 << 17
SOCKETS = 5
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def handle(grader: socket.socket) -> None:
    """Serve one kernel from its policy to its end."""
    message, ancillary, _, _ = grader.recvmsg(MAX_POLICY, socket.CMSG_SPACE(4 * SOCKETS))
    sockets = array.array("i")
    for _, _, data in ancillary:
        sockets.frombytes(data[: len(data) - len(data) % sockets.itemsize])
    if not message:
        return
    policy = read_policy(message)
    sys_.prctl(sys_.SET_CHILD_SUBREAPER, 1)
    groups = cgroups.join(policy)
    try:
        child = {"fork": _in_namespaces, "bubblewrap": _in_bubblewrap, "landlock": _as_is}[policy.tier](
            policy, grader, list(sockets)
        )
    except OSError as error:
        cgroups.leave(groups)
        grader.send(json.dumps({"failed": str(error)}).encode())
        return
    cgroups.step_out(groups)
    for descriptor in sockets:
        os.close(descriptor)
    ending = _watch(grader, policy, child, groups)
    if not ending["why"] and cgroups.out_of_memory(groups):
        ending["why"] = "memory"
    with contextlib.suppress(OSError):  # the grader is gone
        grader.send(json.dumps({"ended": ending}).encode())
    cgroups.leave(groups)  # takes a while, and nobody waits for it


# -- three ways to start -----------------------------------------------------------------------------------------------


def _in_namespaces(policy: Policy, grader: socket.socket, sockets: list[int]) -> int:
    """The pid of pid 1 of namespaces of the kernel's own."""
    if policy.privileged:
        sys_.unshare(sys_.NEWPID)
    else:
        user, group = os.getuid(), os.getgid()
        sys_.unshare(sys_.NEWUSER | sys_.NEWPID)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{policy.user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{policy.user} {group} 1")
    child = os.fork()
    if child:
        return child
    code = FAILED
    try:
        code = _first_process(policy, grader, sockets)
    except BaseException as error:  # noqa: BLE001  (the grader must know)
        grader.send(json.dumps({"failed": f"{type(error).__name__}: {error}"[:500]}).encode())
    finally:
        os._exit(code)


def _first_process(policy: Policy, grader: socket.socket, sockets: list[int]) -> int:
    """Pid 1 of the jail: makes it, starts the kernel, and takes all with it when it ends."""
    sys_.prctl(sys_.SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    sys_.unshare(sys_.NEWNS | sys_.NEWNET | sys_.NEWIPC | sys_.NEWUTS | sys_.NEWCGROUP)
    socket.sethostname("course")
    spaces = mounts.build(policy)
    kernel = os.fork()
    if kernel == 0:
        become_a_kernel(policy, grader, sockets, spaces)
    return stand_by(kernel)


def _in_bubblewrap(policy: Policy, grader: socket.socket, sockets: list[int]) -> int:
    """The pid of bubblewrap, which starts this package's `start` in namespaces."""
    read, write = os.pipe()
    kept = [read, grader.fileno(), *sockets]
    command = [*policy.command, *map(str, kept)]
    with open(f"{policy.root}.log", "wb") as log:
        process = subprocess.Popen(
            command, pass_fds=kept, stdin=subprocess.DEVNULL, stderr=log, env={"PATH": "/usr/bin:/bin"}
        )
    os.close(read)
    with os.fdopen(write, "wb") as file:
        file.write(policy_as_json(policy))
    return process.pid


def policy_as_json(policy: Policy) -> bytes:
    """What `read_policy` reads."""
    return json.dumps(policy, default=lambda value: vars(value)).encode()


def _as_is(policy: Policy, grader: socket.socket, sockets: list[int]) -> int:
    """The pid of a kernel without namespaces."""
    child = os.fork()
    if child == 0:
        sys_.prctl(sys_.SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        become_a_kernel(policy, grader, sockets, [])
    return child


# -- watching ----------------------------------------------------------------------------------------------------------


def _watch(grader: socket.socket, policy: Policy, child: int, groups: list[Path]) -> dict[str, object]:
    """Wait for the kernel's end, or end it: `why` is empty, `asked`, `memory`, `cpu` or `wall`; `code` as of Popen."""
    exited = os.pidfd_open(child)
    began, peak, why, used = time.monotonic(), 0, "", 0.0
    spent: dict[int, float] = {}
    while not why:
        ready, _, _ = select.select([exited, grader.fileno()], [], [], PERIOD)
        if exited in ready:
            break
        if grader.fileno() in ready:
            why = "asked"
            grader.recv(16)  # left unread it would turn the answer into an error
            break
        processes = list(descendants(child))
        memory = _memory(processes, policy.memory)
        spent |= _cpu_seconds(processes)  # of those that are gone, as last seen
        used = max(sum(spent.values()), cgroups.cpu_seconds(groups))
        peak = max(peak, memory)
        if memory > policy.memory:
            why = "memory"
        elif used > policy.cpu:
            why = "cpu"
        elif time.monotonic() - began > policy.wall:
            why = "wall"
    status = _kill_all(child)
    code = os.waitstatus_to_exitcode(status)
    return {"why": why, "code": SIGNALLED - code if code > SIGNALLED else code, "peak": peak, "cpu": round(used, 2)}


def descendants(pid: int) -> Iterator[int]:
    """`pid` and all that it started, those that lost their parents among them: pid 1 or a subreaper has them then."""
    waiting = [pid]
    while waiting:
        pid = waiting.pop()
        yield pid
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    waiting += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())


def _memory(processes: list[int], limit: int) -> int:
    """Resident bytes; only where they exceed `limit`, pages that processes share are counted once, which is slower."""
    resident = sum(map(_resident, processes))
    return resident if resident <= limit else sum(map(_proportional, processes))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):  # it hides its memory, or is gone
        return _resident(pid)


def _cpu_seconds(processes: list[int]) -> dict[int, float]:
    """By process."""
    spent = {}
    for pid in processes:
        with contextlib.suppress(OSError, ValueError):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent[pid] = sum(map(int, after_name[11:13])) / TICKS
    return spent


def _kill_all(child: int) -> int:
    """Kill everything below this process until nothing is left; the wait status of `child`."""
    status = 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    while True:
        for pid in list(descendants(os.getpid()))[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            ended, ended_with = os.waitpid(-1, 0)
        except ChildProcessError:
            return status
        if ended == child:
            status = ended_with


def main() -> None:
    """`python -m jail.supervise GRADER`: one kernel without a fork server."""
    handle(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
