"""Landlock: a process gives up the files and ports that it does not need, without any privilege.

Documentation: Linux, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import struct

from jail.mounts import SYSTEM
from jail.policy import Policy
from jail.syscalls import SET_NO_NEW_PRIVS, call, prctl

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
GET_VERSION = 1
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
# Rights over files by version of the interface: links across folders (2), truncation (3), ioctl on devices (5).
HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
TCP = 3  # bind and connect, from version 4 on
SCOPED = 3  # abstract unix sockets and signals, from version 6 on
# Users' names and time zones, how many cores there are, and processes, those of others too.
OF_ETC = ("passwd", "group", "nsswitch.conf", "hosts", "localtime", "timezone", "fonts", "ssl/certs", "mime.types")
READABLE = (*SYSTEM, *(f"/etc/{name}" for name in OF_ETC), "/proc", "/sys/devices/system/cpu")
WRITABLE = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm", "/dev/pts", "/dev/ptmx")


def version() -> int:
    """The kernel's version of the interface; 0 where there is none."""
    try:
        return call(CREATE_RULESET, None, ctypes.c_size_t(0), GET_VERSION)
    except OSError:
        return 0


def restrict(policy: Policy) -> None:
    """Keep this process and all that it starts to what `policy` lists. Raises OSError where there is no Landlock."""
    known = version()
    handled = HANDLED[max(1, min(known, max(HANDLED)))]
    size = 8 if known < 4 else 16 if known < 6 else 24
    attributes = struct.pack("QQQ", handled, TCP, SCOPED)[:size]
    rules = call(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    readable = [*READABLE, *(source for source, _ in policy.binds)]
    for path in filter(os.path.exists, readable):
        _allow(rules, path, EXECUTE | READ_FILE | READ_DIR)
    for path in filter(os.path.exists, [*WRITABLE, *policy.devices, *(space.path for space in policy.spaces)]):
        _allow(rules, path, handled)
    prctl(SET_NO_NEW_PRIVS, 1)
    call(RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
        rights &= OF_A_FILE
    rights &= HANDLED[max(1, min(version(), max(HANDLED)))]
    call(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    os.close(descriptor)
