"""From a process of the grader's to one that may do only what its policy says, and then to a kernel.

Run as a module it reads its policy from the file descriptor that is named first, as bubblewrap starts it.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
from typing import Any, NoReturn

from jail import landlock, mounts, seccomp
from jail import syscalls as sys_
from jail.policy import Policy, read_policy

FIRST_SOCKET = 600  # above what a fresh process has open
MAX_DESCRIPTOR = 4096
OUT_OF_MEMORY_SCORE = "500"  # where the machine itself runs out, a student's kernel goes before the grader
FAILED = 96
SIGNALLED = 128  # a shell's way, and that of pid 1 and bubblewrap, to say that a signal ended their child


def become_a_kernel(policy: Policy, grader: socket.socket, sockets: list[int], spaces: list[int]) -> NoReturn:
    """Give up all that `policy` does not grant, tell the grader what is enforced, run the kernel and end with it.

    `sockets` are the kernel's five listening sockets, `spaces` the descriptors of the policy's spaces; an empty list
    lets them be opened here. What goes wrong before the kernel runs is told to the grader.
    """
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        spaces = spaces or [os.open(space.path, os.O_RDONLY | os.O_DIRECTORY) for space in policy.spaces]
        with contextlib.suppress(PermissionError):  # it leads a session, and so a group, already
            os.setpgid(0, 0)
        _redirect(policy)
        _limit(policy)
        _give_up(policy)
        message = json.dumps({"enforced": observe(policy)}).encode()
        grader.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", spaces))])
    except BaseException as error:  # noqa: BLE001  (whatever it is, the grader must know)
        grader.send(json.dumps({"failed": f"{type(error).__name__}: {error}"[:500]}).encode())
        os._exit(FAILED)
    if not policy.connection:  # a probe
        os._exit(0)
    _close_all_but(sockets)
    from jail.kernel import run

    run(policy, list(range(FIRST_SOCKET, FIRST_SOCKET + len(sockets))))


def _redirect(policy: Policy) -> None:
    """Nothing to read; what is written past the notebook goes to a file in a space."""
    nothing = os.open("/dev/null", os.O_RDONLY)
    log = os.open(policy.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    for number, opened in enumerate((nothing, log, log)):
        os.dup2(opened, number)


def _limit(policy: Policy) -> None:
    limits = {
        resource.RLIMIT_NPROC: policy.processes,
        resource.RLIMIT_FSIZE: policy.file_bytes,
        resource.RLIMIT_NOFILE: policy.open_files,
        resource.RLIMIT_CORE: 0,
        **({resource.RLIMIT_DATA: policy.address_space} if policy.address_space else {}),
    }
    for which, value in limits.items():
        _, most = resource.getrlimit(which)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(which, (value, value))
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(OUT_OF_MEMORY_SCORE)


def _give_up(policy: Policy) -> None:
    os.umask(0o022)
    sys_.bound_capabilities()
    if policy.privileged:
        os.setgroups([])
        os.setresgid(policy.user, policy.user, policy.user)
        os.setresuid(policy.user, policy.user, policy.user)
    for folder in (policy.work, policy.environment["HOME"]):
        os.makedirs(folder, exist_ok=True)
    if policy.copy:
        shutil.copytree(policy.copy, policy.work, symlinks=True, dirs_exist_ok=True)
    sys_.drop_capabilities()
    sys_.prctl(sys_.SET_DUMPABLE, 1)  # its own /proc entry stays its own after the change of user
    if policy.tier == "landlock":
        landlock.restrict(policy)
    sys_.prctl(sys_.SET_NO_NEW_PRIVS, 1)
    sys_.load_filter(seccomp.program())
    os.chdir(policy.cwd)


def _close_all_but(sockets: list[int]) -> None:
    """Keep the listening sockets, at fixed numbers; no way back to the grader stays open."""
    for number, descriptor in enumerate(sockets):
        os.dup2(descriptor, FIRST_SOCKET + number)
    os.closerange(3, FIRST_SOCKET)
    os.closerange(FIRST_SOCKET + len(sockets), MAX_DESCRIPTOR)


def observe(policy: Policy) -> dict[str, Any]:
    """What is true of this process, looked at from inside rather than taken from the policy."""
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    with open("/proc/self/net/dev", encoding="ascii") as file:
        interfaces = [line.split(":")[0].strip() for line in file if ":" in line]
    sizes = [os.statvfs(space.path) for space in policy.spaces]
    return {
        "user": os.getuid(),
        "capabilities": sum(int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb")),
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "filter": status["Seccomp"] == "2",
        "interfaces": [name for name in interfaces if name != "lo"],
        "sockets": _may_open_sockets(),
        "reads_python": os.access(os.__file__, os.R_OK) and os.access(json.__file__, os.R_OK),
        "sees_grader": os.access(policy.canary, os.R_OK),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
        "spaces": [[size.f_blocks * size.f_frsize, size.f_files] for size in sizes],
        "limits": {
            "processes": resource.getrlimit(resource.RLIMIT_NPROC)[0],
            "file_bytes": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
            "address_space": resource.getrlimit(resource.RLIMIT_DATA)[0],
        },
    }


def _may_open_sockets() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


def main() -> None:
    """`python -m jail.start POLICY GRADER SOCKET...`, each a file descriptor."""
    policy_file, grader, *sockets = map(int, sys.argv[1:])
    with os.fdopen(policy_file, "rb") as file:
        policy = read_policy(file.read())
    connection = socket.socket(fileno=grader)
    try:
        spaces = mounts.own_spaces(policy)
    except OSError as error:
        connection.send(json.dumps({"failed": str(error)}).encode())
        os._exit(FAILED)
    kernel = os.fork()
    if kernel == 0:
        become_a_kernel(policy, connection, sockets, spaces)
    os._exit(stand_by(kernel))


def stand_by(kernel: int) -> int:
    """Be pid 1 of the jail, which it takes along when it ends; the kernel's exit code as a shell would tell it.

    A student's process may have this one's user: it must find nothing here to take over.
    """
    os.closerange(0, MAX_DESCRIPTOR)
    sys_.bound_capabilities()
    sys_.drop_capabilities()
    sys_.prctl(sys_.SET_DUMPABLE, 0)
    sys_.prctl(sys_.SET_NO_NEW_PRIVS, 1)
    sys_.load_filter(seccomp.program())
    while True:
        ended, status = os.wait()
        if ended == kernel:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else SIGNALLED - code


if __name__ == "__main__":
    main()
