"""What one kernel may have, as the grader asks for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Space:
    """A folder that the kernel may write to, bounded in bytes and in files where it is a file system of its own."""

    path: str
    bytes: int
    inodes: int


@dataclass(frozen=True)
class Policy:
    """One kernel's surroundings; sizes in bytes, times in seconds.

    `tier` is `fork`, `bubblewrap` or `landlock`. `binds` are (source, target) of what can be read,
    `links` (path, target) of links that lead there, `devices` nodes
    below /dev, `hidden` folders below a bind that appear empty. `copy` is a folder whose content is copied to
    `work`. `user` is the uid it runs under; with `privileged` the uid is changed to,
    else it is only the kernel's name for the caller's. `root` is an empty folder to build the new root in.
    """

    tier: str
    arguments: list[str]
    connection: dict[str, Any]
    environment: dict[str, str]
    cwd: str
    work: str
    spaces: list[Space]
    binds: list[tuple[str, str]]
    links: list[tuple[str, str]]
    devices: list[str]
    hidden: list[str]
    copy: str
    user: int
    privileged: bool
    root: str
    log: str
    memory: int
    address_space: int  # of one process: private writable memory, resident or not; 0 for no limit
    cpu: float
    wall: float
    processes: int
    file_bytes: int
    open_files: int
    canary: str  # a file of the grader's that must be out of reach
    seed: int | None = None
    command: list[str] = field(default_factory=list)


def read_policy(text: bytes) -> Policy:
    """The policy that the grader wrote as JSON."""
    fields = json.loads(text)
    fields["spaces"] = [Space(**space) for space in fields["spaces"]]
    fields["links"] = [(path, leads_to) for path, leads_to in fields["links"]]
    fields["binds"] = [(source, target) for source, target in fields["binds"]]
    return Policy(**fields)
