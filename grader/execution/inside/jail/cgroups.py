"""Control groups, where this process may make them: a fair share of the processors, and memory and processes counted
by the operating system itself.

Documentation: Linux, Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst. Where there are none, the limits of each
process and the watch over all of them remain.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from jail.policy import Policy

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "cpuacct", "memory", "pids")
NAME = "course-"
MEMBERS = "cgroup.procs"
SPARED = "-900"  # where the group runs out of memory, the process that watches goes last


def join(policy: Policy) -> list[Path]:
    """Put this process, and all that it starts from here on, into groups of their own; their folders.

    Files in the spaces are memory too, so the group may have the spaces' bytes beside the memory of its processes.
    """
    total = policy.memory + sum(space.bytes for space in policy.spaces)
    limits = {
        "memory.limit_in_bytes": total,
        "memory.max": total,
        "pids.max": policy.processes + 8,  # those that start and watch the kernel are in the group
    }
    joined: list[Path] = []
    for parent in _own():
        group = parent / f"{NAME}{os.getpid()}"
        try:
            group.mkdir()
            for name, value in limits.items():
                if (group / name).exists():
                    (group / name).write_text(str(value))
            (group / MEMBERS).write_text(str(os.getpid()))
        except OSError:  # not ours to make
            with contextlib.suppress(OSError):
                group.rmdir()
        else:
            joined.append(group)
    if joined:
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(SPARED)
    return joined


def _own() -> list[Path]:
    """The folders of the groups that this process is in: one for each controller, or with version 2 one for all."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            names = controllers.split(",") if controllers else []
            folder = ROOT / controllers if names else ROOT
            known = not names and (ROOT / "cgroup.controllers").exists()
            if (known or set(names) & set(CONTROLLERS)) and folder.is_dir():
                found.append(folder / path.lstrip("/"))
    return found


def out_of_memory(groups: list[Path]) -> bool:
    """Whether the operating system ended a process of the group for want of memory."""
    for group in groups:
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(OSError):
                lines = (group / name).read_text().splitlines()
                if any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in lines):
                    return True
    return False


def cpu_seconds(groups: list[Path]) -> float:
    """That all in the group have used, also those that came and went unseen; 0 where nobody counts."""
    for group in groups:
        with contextlib.suppress(OSError, ValueError):
            return int((group / "cpuacct.usage").read_text()) / 1e9
        with contextlib.suppress(OSError, ValueError, StopIteration):
            lines = (group / "cpu.stat").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("usage_usec ")) / 1e6
    return 0.0


def step_out(groups: list[Path]) -> None:
    """Go back to where this process came from; what it started stays. It must not wait for a share of theirs."""
    for group in groups:
        with contextlib.suppress(OSError):
            (group.parent / MEMBERS).write_text(str(os.getpid()))


def leave(groups: list[Path]) -> None:
    """Take away this process's groups and those that others left."""
    step_out(groups)
    for group in groups:
        for left in group.parent.glob(f"{NAME}*"):
            with contextlib.suppress(OSError):  # in use
                left.rmdir()
