"""System calls that Python's standard library has no name for; Linux alone. Each raises OSError."""

from __future__ import annotations

import ctypes
import os
import struct

# <linux/sched.h>
NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
# <sys/mount.h>
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, MOVE, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 8192, 16384, 1 << 18
DETACH = 2
# <sys/prctl.h>
SET_PDEATHSIG, SET_DUMPABLE, SET_SECCOMP, CAPBSET_DROP = 1, 4, 22, 24
SET_CHILD_SUBREAPER, SET_NO_NEW_PRIVS, CAP_AMBIENT = 36, 38, 47
CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    names = [None if name is None else name.encode() for name in (source, target, kind)]
    _checked(_libc.mount(*names, ctypes.c_ulong(flags), data.encode() or None), f"mount {target}")


def unmount(target: str) -> None:
    """umount2(2), also where it is still in use."""
    _checked(_libc.umount2(target.encode(), DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _checked(_libc.pivot_root(new.encode(), old.encode()), "pivot_root")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(flags), "unshare")


def prctl(option: int, *arguments: int) -> None:
    """prctl(2)."""
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(option, *padded), f"prctl {option}")


def load_filter(program: bytes) -> None:
    """Put the calls of this process and of all it starts behind a seccomp filter, for good."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    held = ctypes.create_string_buffer(program, len(program))
    described = Program(len(program) // 8, ctypes.cast(held, ctypes.c_void_p))
    arguments = (ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(described), ctypes.c_ulong(0), ctypes.c_ulong(0))
    _checked(_libc.prctl(SET_SECCOMP, *arguments), "seccomp")


def bound_capabilities() -> None:
    """Let no program that this process starts ever have a capability; for as long as it may still decide that."""
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)  # EINVAL beyond the last one


def drop_capabilities() -> None:
    """Give up every capability of this process."""
    _libc.prctl(CAP_AMBIENT, ctypes.c_ulong(CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    header, none = struct.pack("Ii", CAPABILITY_VERSION_3, 0), bytes(24)
    _checked(_libc.capset(header, none), "capset")


def call(number: int, *arguments: object) -> int:
    """syscall(2)."""
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")
