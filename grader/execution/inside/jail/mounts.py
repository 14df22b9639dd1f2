"""A root of the kernel's own: the system, the Python environment and the submission to read, sized spaces to write."""

from __future__ import annotations

import os
import stat

from jail import syscalls as sys_
from jail.policy import Policy, Space

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
NODES = ("null", "zero", "full", "random", "urandom")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
STAGE = "/stage"  # an empty folder of bubblewrap's
# Flags of a mount that a user namespace may not take away from it, as statvfs and as mount name them.
LOCKED = ((os.ST_NOSUID, sys_.NOSUID), (os.ST_NODEV, sys_.NODEV), (os.ST_NOEXEC, sys_.NOEXEC))


def build(policy: Policy) -> list[int]:
    """Make the new root of this process and enter it; file descriptors of the policy's spaces, in their order."""
    sys_.mount(None, "/", None, sys_.REC | sys_.PRIVATE)
    root = policy.root
    sys_.mount("tmpfs", root, "tmpfs", sys_.NOSUID | sys_.NODEV, "size=4m,nr_inodes=4k,mode=755")
    for path in SYSTEM:
        _like_the_machine(path, root)
    with open(f"{root}/etc/passwd", "w", encoding="ascii") as file:
        file.write(f"student:x:{policy.user}:{policy.user}::{policy.environment['HOME']}:/bin/sh\n")
    with open(f"{root}/etc/group", "w", encoding="ascii") as file:
        file.write(f"student:x:{policy.user}:\n")
    _devices(root, policy.devices)
    os.mkdir(f"{root}/proc")
    sys_.mount("proc", f"{root}/proc", "proc", sys_.NOSUID | sys_.NODEV | sys_.NOEXEC)
    descriptors = [_space(root + s.path, s) for s in policy.spaces]
    within_system = [path for path in policy.hidden if path.startswith(tuple(f"{system}/" for system in SYSTEM))]
    _cover(within_system, root)  # before what lies deeper is bound again, an environment in a checkout below /usr say
    for source, target in policy.binds:
        _bind(source, root + target)
    for path, leads_to in policy.links:
        os.makedirs(os.path.dirname(root + path), 0o755, exist_ok=True)
        os.symlink(leads_to, root + path)
    _cover([path for path in policy.hidden if path not in within_system], root)
    for path in filter(os.path.isdir, policy.hidden):
        sys_.mount(None, root + path, None, sys_.REMOUNT | sys_.RDONLY | sys_.NOSUID | sys_.NODEV)
    _enter(root)
    return descriptors


def _like_the_machine(path: str, root: str) -> None:
    """A link stays a link (`/bin` to `usr/bin`), all else is bound."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), root + path)
    elif os.path.exists(path):
        _bind(path, root + path)


def _bind(source: str, target: str, *, device: bool = False) -> None:
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))
    sys_.mount(source, target, None, sys_.BIND)
    held = os.statvfs(target).f_flag
    flags = sys_.NOSUID | sum(of_mount for of_stat, of_mount in LOCKED if held & of_stat and of_mount != sys_.NOSUID)
    flags = flags & ~sys_.NODEV if device else flags | sys_.NODEV | sys_.RDONLY
    sys_.mount(None, target, None, sys_.REMOUNT | sys_.BIND | flags)


def _cover(paths: list[str], root: str) -> None:
    """Let folders appear empty, and files too."""
    for path in paths:
        if os.path.isdir(path):
            sys_.mount("tmpfs", root + path, "tmpfs", sys_.NOSUID | sys_.NODEV, "size=1m,mode=755")
        else:
            sys_.mount("/dev/null", root + path, None, sys_.BIND)


def _devices(root: str, asked: list[str]) -> None:
    os.mkdir(f"{root}/dev")
    for path in [*(f"/dev/{name}" for name in NODES), *asked]:
        if os.path.exists(path) and not stat.S_ISDIR(os.stat(path).st_mode):
            _bind(path, root + path, device=True)
    for name, target in LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
    os.mkdir(f"{root}/dev/pts")  # lines for the shell are run on a terminal
    options = "newinstance,ptmxmode=0666,mode=0620,max=64"
    sys_.mount("devpts", f"{root}/dev/pts", "devpts", sys_.NOSUID | sys_.NOEXEC, options)
    os.symlink("pts/ptmx", f"{root}/dev/ptmx")


def _space(path: str, space: Space) -> int:
    os.makedirs(path, 0o755, exist_ok=True)
    options = f"size={space.bytes},nr_inodes={space.inodes},mode=1777"
    sys_.mount("tmpfs", path, "tmpfs", sys_.NOSUID | sys_.NODEV, options)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def own_spaces(policy: Policy) -> list[int]:
    """Spaces bounded in files too, in place of bubblewrap's; what was bound below one of them is bound there again."""
    if not policy.privileged:
        sys_.unshare(sys_.NEWNS)
    descriptors = []
    for space in policy.spaces:
        descriptors.append(_space(STAGE, space))
        for _, target in policy.binds:
            if target.startswith(f"{space.path}/"):
                again = STAGE + target.removeprefix(space.path)
                os.makedirs(again, 0o755, exist_ok=True)
                sys_.mount(target, again, None, sys_.BIND | sys_.REC)
        sys_.mount(STAGE, space.path, None, sys_.MOVE)
    return descriptors


def _enter(root: str) -> None:
    os.mkdir(f"{root}/old")
    os.chdir(root)
    sys_.pivot_root(".", "old")
    os.chdir("/")
    sys_.unmount("/old")
    os.rmdir("/old")
    sys_.mount(None, "/", None, sys_.REMOUNT | sys_.RDONLY | sys_.NOSUID | sys_.NODEV)
