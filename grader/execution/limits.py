"""How much a notebook may use: one typed configuration, from which the options and their help are made."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def _limit(default: float, unit: str, what: str) -> Any:
    return field(default=default, metadata={"unit": unit, "what": what})


@dataclass(frozen=True)
class Limits:
    """Limits of one kernel. Times in seconds, sizes in bytes; all but the times of cells need a sandbox.

    Where there is none (`--isolation none`), `memory_bytes` bounds the kernel's own process alone.
    """

    cell: float = _limit(120.0, "seconds", "that one cell may take")
    notebook: float = _limit(300.0, "seconds", "that one notebook may take")
    start: float = _limit(120.0, "seconds", "in which a kernel must start")
    challenge: float = _limit(30.0, "seconds", "that a net may take to answer the grader's images")
    cpu: float = _limit(1_200.0, "seconds", "of CPU time for a notebook and all that it starts")
    memory_bytes: int = _limit(6_000_000_000, "bytes", "of memory for a notebook and all that it starts")
    disk_bytes: int = _limit(1_000_000_000, "bytes", "that a notebook may keep in its working folder")
    disk_files: int = _limit(20_000, "files", "that a notebook may keep in its working folder")
    file_bytes: int = _limit(1_000_000_000, "bytes", "of one file")
    processes: int = _limit(256, "processes", "and threads at once")
    message_bytes: int = _limit(32_000_000, "bytes", "of one message from the kernel, a picture say")
    output_bytes: int = _limit(256_000_000, "bytes", "of messages from the kernel in all")
    output_messages: int = _limit(200_000, "messages", "from the kernel in all")


def described() -> dict[str, tuple[type, float, str]]:
    """By field: its type, its default, and a sentence for `--help`."""
    return {
        f.name: (
            type(value := getattr(Limits, f.name)),
            value,
            f"{f.metadata['unit']} {f.metadata['what']} ({value:,})",
        )
        for f in fields(Limits)
    }


def option_of(name: str) -> str:
    """The option of a field: `--cell-timeout` for times that the wall clock shows, else the name in full."""
    timed = ("cell", "notebook", "start", "challenge")
    return f"--{name}-timeout" if name in timed else f"--max-{name.replace('_', '-')}"
