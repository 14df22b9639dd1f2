"""The system calls that a kernel is refused: a classic BPF program (Linux, Documentation/userspace-api/seccomp_filter).

Everything else is allowed: what an ordinary program may do is bounded by namespaces, limits and the lack of privileges.
Refused are ways to more of the machine (mounts, namespaces, other processes' memory, the system's own settings), memory
that belongs to no process, and sockets of every family but AF_UNIX.
"""

from __future__ import annotations

import errno
import platform
import struct

# <linux/audit.h>, and the numbers of asm/unistd_64.h on x86-64 and of asm-generic/unistd.h on arm64
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
REFUSED = {
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "vhangup": (153, 58),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "open_tree_attr": (467, 467),
    "mq_open": (240, 180),
    "ioprio_set": (251, 30),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
}
SOCKET, SOCKETPAIR, CLONE, CLONE3 = (41, 198), (53, 199), (56, 220), (435, 435)
# Calls that may concern this process alone, by the place of the argument that names another. (libzmq sets the scheduler
# of its own threads by their numbers, so that call stays.)
OF_ITSELF = {"prlimit64": ((302, 261), 0), "setpriority": ((141, 140), 1)}
AF_UNIX = 1
NEW_NAMESPACES = 0x7E020000  # the CLONE_NEW flags that clone knows,  of <linux/sched.h>
X32 = 0x40000000  # the second set of numbers on x86-64
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # <linux/bpf_common.h>
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000  # <linux/seccomp.h>
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; a low half on both architectures


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _refuse(number: int = errno.EPERM) -> bytes:
    return _line(RETURN, ERRNO | number)


def supported() -> bool:
    """Whether the calls' numbers on this machine are known."""
    return platform.machine() in ARCHITECTURES


def program() -> bytes:
    """The filter for this machine. Raises KeyError on another architecture than x86-64 and arm64."""
    machine = platform.machine()
    which = list(ARCHITECTURES).index(machine)
    lines = [
        _line(LOAD, ARCHITECTURE),
        _line(EQUAL, ARCHITECTURES[machine], 1, 0),
        _line(RETURN, KILL),
        _line(LOAD, NUMBER),
    ]
    if machine == "x86_64":
        lines += [_line(AT_LEAST, X32, 0, 1), _refuse(errno.ENOSYS)]
    for numbers in REFUSED.values():
        lines += [_line(EQUAL, numbers[which], 0, 1), _refuse()]
    # glibc asks for clone3 first and takes clone, whose flags a filter can see, where there is none.
    lines += [_line(EQUAL, CLONE3[which], 0, 1), _refuse(errno.ENOSYS)]
    lines += [
        _line(EQUAL, CLONE[which], 0, 4),
        _line(LOAD, FIRST_ARGUMENT),
        _line(ANY_BIT, NEW_NAMESPACES, 0, 1),
        _refuse(),
        _line(RETURN, ALLOW),
    ]
    for numbers, place in OF_ITSELF.values():
        lines += [
            _line(EQUAL, numbers[which], 0, 4),
            _line(LOAD, FIRST_ARGUMENT + 8 * place),
            _line(EQUAL, 0, 1, 0),
            _refuse(),
            _line(RETURN, ALLOW),
        ]
    for call in (SOCKET, SOCKETPAIR):
        lines += [
            _line(EQUAL, call[which], 0, 4),
            _line(LOAD, FIRST_ARGUMENT),
            _line(EQUAL, AF_UNIX, 1, 0),
            _refuse(errno.EAFNOSUPPORT),
            _line(RETURN, ALLOW),
        ]
    return b"".join([*lines, _line(RETURN, ALLOW)])
