"""How well this machine can keep a student's kernel apart, found out by trying."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.execution.limits import Limits
from grader.execution.sandbox.server import connect_to_process, receive_enforced
from grader.execution.sandbox.surroundings import lay_out, policy

# Best first. Held-out labels are graded with the first two, unless the instructor says otherwise.
TIERS = {
    "fork": "A (fork server in namespaces)",
    "bubblewrap": "A' (bubblewrap)",
    "landlock": "B (Landlock)",
    "none": "none",
}
FOR_HELD_OUT = ("fork", "bubblewrap")
PROBE_SECONDS = 30.0
FEW_PROCESSES = 8  # in a namespace of its own a kernel sees the processes that started it, not the machine's


@dataclass(frozen=True)
class Isolation:
    """The tier that kernels run in; for each better one why it is not used here."""

    tier: str
    missing: dict[str, str]
    asked: bool = False

    @property
    def keeps_labels(self) -> bool:
        """Whether held-out labels may be graded beside notebooks that nobody has looked at."""
        return self.tier in FOR_HELD_OUT or self.asked

    @property
    def jails(self) -> bool:
        """Whether kernels have a file system of their own."""
        return self.tier in FOR_HELD_OUT

    @property
    def enforced(self) -> str:
        """What is true of every kernel: each is looked at from inside first, and does not start where it is not so."""
        return ENFORCED[self.tier]

    def describe(self) -> str:
        """One line for the terminal."""
        because = "; ".join(f"{TIERS[tier].split()[0]}: {problem}" for tier, problem in self.missing.items())
        note = f" ({because})" if because else ""
        return f"{TIERS[self.tier]}{note}: {self.enforced}"


ENFORCED = {
    "fork": "no network, reads only the system, Python and the submission, sized space, memory, CPU and processes",
    "landlock": "no network, reads only the system, Python and the submission, but unix sockets, shared memory, "
    "terminals and the list of processes stay in reach: protects from accidents",
    "none": "nothing is enforced, grade only notebooks that you trust",
}
ENFORCED["bubblewrap"] = ENFORCED["fork"]
NONE = Isolation("none", {})


@functools.cache
def choose(name: str = "auto") -> Isolation:
    """The tier of that name, or the best that works here. Raises LookupError where the one that was named does not."""
    if name != "auto":
        problem = probe(name)
        if problem:
            raise LookupError(f"{TIERS[name]} cannot be had on this machine: {problem}")
        return Isolation(name, {}, asked=True)
    if not sys.platform.startswith("linux"):
        return Isolation("none", {"fork": f"{platform.system()} has no sandbox that this grader knows"})
    missing: dict[str, str] = {}
    for tier in TIERS:
        problem = probe(tier)
        if not problem:
            break
        missing[tier] = problem
    return Isolation(tier, missing)


@functools.cache
def probe(tier: str) -> str:
    """Why kernels cannot run in `tier` here; empty where they can. A sandbox is made and looked at from inside."""
    if tier == "none":
        return ""
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    if tier == "bubblewrap" and shutil.which("bwrap") is None:
        return "bwrap is not installed"
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        scratch = Path(folder)
        layout = lay_out(tier, scratch, None)
        fields = policy(tier, Limits(), layout, scratch, environment={"HOME": layout.home}, cwd=layout.work)
        connection, helper = connect_to_process()
        try:
            connection.sendmsg([json.dumps(fields).encode()])
            enforced, spaces = receive_enforced(connection, fields, PROBE_SECONDS)
            for space in spaces:
                space.close()
            return "; ".join(lacking(fields, enforced))
        except (OSError, ValueError) as error:
            return str(error) or type(error).__name__
        finally:
            with contextlib.suppress(OSError):
                connection.close()
            helper.wait()


def lacking(fields: dict[str, Any], enforced: dict[str, Any]) -> list[str]:
    """What the policy asks for and is not true inside, in words."""
    jailed = fields["tier"] in FOR_HELD_OUT
    limits = enforced["limits"]
    spaces = list(zip(fields["spaces"], enforced["spaces"], strict=True))
    demands = {
        "it has privileges": enforced["capabilities"] != 0 or not enforced["no_new_privileges"],
        "it runs as root": jailed and enforced["user"] == 0,
        "system calls are not filtered": not enforced["filter"],
        "it may open sockets": enforced["sockets"],
        "it sees network interfaces": jailed and bool(enforced["interfaces"]),
        "it cannot read Python's own files": not enforced["reads_python"],
        "it can read the grader": jailed and enforced["sees_grader"],
        "it sees other processes": jailed and enforced["processes"] > FEW_PROCESSES,
        "its space has no limit": jailed and any(b > s["bytes"] + 4096 or n > s["inodes"] for s, (b, n) in spaces),
        "its processes have no limit": not 0 < limits["processes"] <= fields["processes"],
        "its files have no limit": not 0 < limits["file_bytes"] <= fields["file_bytes"],
        "its memory has no limit": bool(fields["address_space"])
        and not 0 < limits["address_space"] <= fields["address_space"],
    }
    return [words for words, wrong in demands.items() if wrong]
