"""What a kernel can see: the policy that `jail` carries out, made from the limits and from where things lie here."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grader
from grader.execution.limits import Limits
from grader.execution.sandbox.server import INSIDE

# Names of the kernel's own world. With Landlock there is none: paths are the machine's.
BOX, EXCHANGE, SUBMISSION, COURSE = "/box", "/exchange", "/submission", "/course"
EXCHANGE_BYTES, TEMPORARY_BYTES, SHARED_BYTES = 128_000_000, 256_000_000, 512_000_000
INODES = 20_000
# Uids that belong to nobody, beyond those of people and of containers: each kernel that root starts has one for itself.
SLOT_USERS, SLOTS = 0x78000000, 1 << 24
OWN_USER = 1000  # the kernel's name for the user that started it, where that is not root
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
GPU_NODES = ("/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri/render*")
# Installed beside the libraries they would be readable as the environment is.
WITHHELD = ("grader", "reference", "fixtures", "tests", "student_template")
OPEN_FILES = 1_024


@dataclass(frozen=True)
class Layout:
    """Where things lie, by the names that the kernel knows them by.

    `box` and `exchange` are the two spaces that files come out of: the student's, and what kernel and grader pass to
    each other. `work` (where the notebooks lie) and `home` are folders of `box`.
    """

    box: str
    exchange: str
    work: str
    home: str
    temporary: str
    data: str
    inside: str


def lay_out(tier: str, scratch: Path, data: Path | None) -> Layout:
    """The kernel's folders; where it has no world of its own they are made in `scratch`."""
    if tier in ("fork", "bubblewrap"):
        inside = f"{COURSE}/inside"
        return Layout(BOX, EXCHANGE, f"{BOX}/work", f"{BOX}/home", "/tmp", f"{COURSE}/data", inside)
    for name in ("box", "box/work", "box/home", "exchange", "tmp"):
        (scratch / name).mkdir()
    box, exchange = scratch / "box", scratch / "exchange"
    of_machine = (box, exchange, box / "work", box / "home", scratch / "tmp", data or "", INSIDE)
    return Layout(*map(str, of_machine))


def prefixes() -> list[str]:
    """The folders that this Python and its packages lie in."""
    found = [sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix), *map(_prefix, _steps())]
    return [path for path in dict.fromkeys(found) if _is_python(path) and not _is_below(path, SYSTEM)]


def links(visible: Sequence[str]) -> list[tuple[str, str]]:
    """Links on the way from this interpreter's name to its file that lie in none of the visible folders."""
    steps = [step for step in _steps() if os.path.islink(step) and not _is_below(step, [*SYSTEM, *visible])]
    return [(step, os.readlink(step)) for step in steps]


def _steps() -> list[str]:
    """The files that the interpreter's name leads to, link by link."""
    steps = [sys.executable]
    while os.path.islink(steps[-1]):
        steps.append(os.path.normpath(os.path.join(os.path.dirname(steps[-1]), os.readlink(steps[-1]))))
    return steps[1:]


def _prefix(interpreter: str) -> str:
    return os.path.dirname(os.path.dirname(interpreter))


def _is_python(path: str) -> bool:
    """An environment or an installation, and not a folder in which somebody lives."""
    home = str(Path.home())
    if _is_below(home, [path]) or path == f"{home}/.local":
        return False
    return os.path.isfile(f"{path}/pyvenv.cfg") or bool(glob.glob(f"{path}/lib*/python3*"))


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def hidden(visible: Sequence[str], private: Sequence[Path]) -> list[str]:
    """What lies in visible folders and is none of a student's business: the grader, the reference, `private`."""
    packages = [os.path.join(path, name) for path in sys.path if path for name in WITHHELD]
    own = str(Path(grader.__file__).parents[1])
    repository = [own] if not own.endswith(("site-packages", "dist-packages")) else []
    candidates = [*packages, *repository, *(str(path.resolve()) for path in private)]
    # What holds an interpreter's own files cannot be hidden without them.
    held = [path for path in candidates if os.path.exists(path) and not any(_is_below(p, [path]) for p in prefixes())]
    return [path for path in dict.fromkeys(held) if _is_below(path, [*SYSTEM, *visible])]


def devices(cuda: bool) -> list[str]:
    """Device nodes of the machine's GPUs, where one was asked for."""
    return [node for pattern in GPU_NODES for node in sorted(glob.glob(pattern))] if cuda else []


def policy(
    tier: str,
    limits: Limits,
    layout: Layout,
    scratch: Path,
    *,
    environment: dict[str, str],
    cwd: str,
    arguments: Sequence[str] = (),
    connection: dict[str, Any] | None = None,
    data: Path | None = None,
    copy: Path | None = None,
    private: Sequence[Path] = (),
    cuda: bool = False,
    seed: int | None = None,
) -> dict[str, Any]:
    """The fields of `jail.policy.Policy` for one kernel; `scratch` is a folder that belongs to it alone."""
    root = os.getuid() == 0
    jailed = tier != "landlock"
    (scratch / "root").mkdir()
    if root and jailed:
        for folder in filter(None, (data, copy)):
            _let_others_read(folder)
    binds = [(path, path) for path in prefixes()]
    binds += [(str(INSIDE), layout.inside)]
    binds += [(str(data), layout.data)] if data is not None else []
    binds += [(str(copy), SUBMISSION)] if copy is not None else []
    spaces = [
        (layout.box, limits.disk_bytes, limits.disk_files),
        (layout.exchange, EXCHANGE_BYTES, INODES),
        (layout.temporary, TEMPORARY_BYTES, INODES),
        *([("/dev/shm", SHARED_BYTES, INODES)] if jailed else []),
    ]
    fields: dict[str, Any] = {
        "tier": tier,
        "arguments": list(arguments),
        "connection": connection or {},
        "environment": environment,
        "cwd": cwd,
        "work": layout.work,
        "spaces": [{"path": path, "bytes": size, "inodes": count} for path, size, count in spaces],
        "binds": binds,
        "links": links([target for _, target in binds]) if jailed else [],
        "devices": devices(cuda),
        "hidden": hidden(prefixes(), private) if jailed else [],
        "copy": (SUBMISSION if jailed else str(copy)) if copy is not None else "",
        "user": (SLOT_USERS + secrets.randbelow(SLOTS) if root else OWN_USER) if jailed else os.getuid(),
        "privileged": root and jailed,
        "root": str(scratch / "root"),
        "log": f"{layout.exchange}/kernel.log",
        "memory": limits.memory_bytes,
        # One process that asks for more gets a MemoryError, and its notebook goes on.
        "address_space": 0 if cuda else limits.memory_bytes,
        "cpu": limits.cpu,
        "wall": limits.start + limits.notebook + limits.challenge,
        "processes": limits.processes + (0 if jailed else _threads_of_this_user()),
        "file_bytes": limits.file_bytes,
        "open_files": OPEN_FILES,
        "canary": str(Path(grader.__file__).resolve()),
        "seed": seed,
    }
    if tier == "bubblewrap":
        user = fields["user"]
        (scratch / "root.passwd").write_text(f"student:x:{user}:{user}::{layout.home}:/bin/sh\n")
        (scratch / "root.group").write_text(f"student:x:{user}:\n")
        fields["command"] = bubblewrap(fields)
    return fields


def _let_others_read(folder: Path) -> None:
    """Kernels that root starts run under a uid of their own; the grader's copies may have been made for root alone."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _threads_of_this_user() -> int:
    """The operating system counts them all, without a namespace of users."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == os.getuid():
                count += len(os.listdir(entry / "task"))
        except OSError:
            continue
    return count


def bubblewrap(fields: dict[str, Any]) -> list[str]:
    """bubblewrap's command line for the same surroundings; file descriptors are appended as arguments.

    Documentation: bwrap(1).
    """
    line = [shutil.which("bwrap") or "bwrap", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    line += ["--hostname", "course", "--perms", "0755", "--dir", "/etc"]
    line += [word for name in ("passwd", "group") for word in ("--ro-bind", f"{fields['root']}.{name}", f"/etc/{name}")]
    line += [f"--unshare-{name}" for name in ("pid", "net", "ipc", "uts", "cgroup-try")]
    if not fields["privileged"]:
        user = str(fields["user"])
        line += ["--unshare-user", "--uid", user, "--gid", user, "--cap-add", "CAP_SYS_ADMIN"]
    for path in (*SYSTEM, "/etc/ld.so.cache", "/etc/alternatives"):
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            line += ["--ro-bind", path, path]
    line += ["--proc", "/proc", "--dev", "/dev"]
    for node in fields["devices"]:
        line += ["--dev-bind", node, node]
    for space in fields["spaces"]:
        line += ["--perms", "1777", "--size", str(space["bytes"]), "--tmpfs", space["path"]]
    line += ["--perms", "0755", "--dir", "/stage"]  # see jail.mounts.own_spaces
    made = {"/", "/etc", "/tmp"}
    covered = [path for path in fields["hidden"] if _is_below(path, SYSTEM)]
    line += _covered(covered)
    for source, target in fields["binds"]:
        for parent in reversed(Path(target).parents):  # which bubblewrap would make for their owner alone
            if str(parent) not in made and not _is_below(str(parent), SYSTEM):
                made.add(str(parent))
                line += ["--perms", "0755", "--dir", str(parent)]
        line += ["--ro-bind", source, target]
    for path, leads_to in fields["links"]:
        line += ["--symlink", leads_to, path]
    line += _covered([path for path in fields["hidden"] if path not in covered])
    for path in (*fields["hidden"], "/dev", "/"):
        line += ["--remount-ro", path] if os.path.isdir(path) else []
    environment = {"PYTHONPATH": f"{COURSE}/inside", "PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}
    for name, value in {**fields["environment"], **environment}.items():
        line += ["--setenv", name, value]
    return [*line, "--", sys.executable, "-P", "-s", "-m", "jail.start"]


def _covered(paths: Sequence[str]) -> list[str]:
    line: list[str] = []
    for path in paths:
        folder = ["--perms", "0755", "--size", "1048576", "--tmpfs", path]
        line += folder if os.path.isdir(path) else ["--ro-bind", "/dev/null", path]
    return line
