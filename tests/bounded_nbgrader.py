"""nbgrader under attack: what bounds it, and how everything that it starts is ended.

nbgrader is as it comes, every setting at its default, in an environment of its own. Set here are a wall clock, a number
of processes, a size of files and, where this is run by root, a user of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fixtures.hostile.plant import VARIABLE, processes
from tests.bench_anchors import HOME

USER = 61_611  # a uid that belongs to nobody
MOST_SECONDS = 150  # for nbgrader and one submission; it gives a cell 30
MOST_PROCESSES, MOST_FILE_BYTES = 200, 1_000_000_000
SAID = r"(?:^\s*(?:\w+\.)*|\] )(\w+(?:Error|Exception): .*|(?:Timeout waiting|Skipping existing) [\w ]+)"  # in its log


@dataclass(frozen=True)
class Ran:
    """A command of nbgrader's: seconds, whether it had to be ended, most processes at once, what it logged."""

    seconds: float
    hung: bool
    processes: int
    log: str

    @property
    def error(self) -> str:
        """The last that it said of what went wrong."""
        said = re.findall(SAID, self.log, re.MULTILINE)
        return str(said[-1]).strip() if said else ""


def as_user() -> list[str]:
    """How root becomes an ordinary user; nothing for anybody else.

    That user may enter any folder, since the interpreter may lie in root's home. What is planted is its own anyway.
    """
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise SystemExit("nbgrader is attacked as an ordinary user, which needs setpriv (util-linux)")
    enters = "-all,+dac_read_search"
    capabilities = (f"--inh-caps={enters}", f"--ambient-caps={enters}", f"--bounding-set={enters}")
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs", *capabilities]


def bounded() -> None:
    """Limits of nbgrader and all that it starts; without a user of its own, others' processes would count too."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE_BYTES, MOST_FILE_BYTES))
    if os.getuid() == 0:
        resource.setrlimit(resource.RLIMIT_NPROC, (MOST_PROCESSES, MOST_PROCESSES))


def start_nbgrader(course: Path, *arguments: str, mark: str = "") -> subprocess.Popen[bytes]:
    """In a process group of its own, the mark in its environment. It logs to a file: what stays would keep a pipe."""
    environment = {"HOME": str(course), "PATH": f"{HOME / 'bin'}:{os.defpath}", "LANG": "C.UTF-8"}
    environment |= {"USER": "nbgrader", "OMP_NUM_THREADS": "1", VARIABLE: os.environ[VARIABLE], "MARK": mark}
    with (course / "log").open("wb") as log:
        return subprocess.Popen(
            [*as_user(), str(HOME / "bin" / "nbgrader"), *arguments],
            cwd=course,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=bounded,
        )


def run_nbgrader(course: Path, *arguments: str, mark: str = "") -> Ran:
    """Run a command to its end, or end it."""
    started, most = time.monotonic(), 0
    process = start_nbgrader(course, *arguments, mark=mark)
    while (running := process.poll() is None) and time.monotonic() - started < MOST_SECONDS:
        most = max(most, len(processes_of(USER)))
        time.sleep(0.1)
    if running:
        stop(process)
    return Ran(time.monotonic() - started, running, most, (course / "log").read_text(errors="replace"))


def stop(process: subprocess.Popen[bytes]) -> None:
    """End nbgrader by SIGKILL; its kernel has a group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_all(mark: str) -> None:
    """End every process of nbgrader's user; for one who is not root, those that bear the mark."""
    find: Callable[[], list[int]] = (lambda: processes_of(USER)) if os.getuid() == 0 else (lambda: processes(mark))
    while found := find():
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def processes_of(user: int) -> list[int]:
    """Living processes of a user."""
    found = []
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                known = dict(line.split(":", 1) for line in Path(entry.path, "status").read_text().splitlines())
                if known["Uid"].split()[0] == str(user) and known["State"].split()[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def give(*paths: Path) -> None:
    """What is below the paths is nbgrader's user's."""
    if os.getuid() == 0:
        for path in paths:
            for each in (path, *path.rglob("*")):
                os.chown(each, USER, USER, follow_symlinks=False)
