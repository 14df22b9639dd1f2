"""What the operating system lets the kernel have: memory, the size of a file, and no life after the grader's."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

MAX_FILE_BYTES = 1_000_000_000
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def install(cuda: bool) -> None:
    """Set the limits of this process; it cannot raise them again. A GPU's address space knows no such limit."""
    memory = int(os.environ.get("COURSE_WORLD_MEMORY", "0"))
    if memory and not cuda:
        _limit(resource.RLIMIT_DATA, memory)  # beyond it, a MemoryError in the cell
    _limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):  # not Linux: ipykernel itself looks for its parent now and then
        return


def _limit(which: int, value: int) -> None:
    _, most = resource.getrlimit(which)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(which, (value, value))
