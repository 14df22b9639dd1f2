"""Small notebooks run through real kernels; what they left is read back as the checks do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes
from pydantic import TypeAdapter

from grader.execution.challenge import Challenge
from grader.execution.limits import Limits
from grader.execution.run import execute
from grader.execution.sandbox.tiers import choose
from grader.execution.trace_events import read_events
from grader.execution.world import World
from grader.submission.find import Found, Submission

ROLE = "lab1"


@dataclass(frozen=True)
class Given:
    """A notebook to run: its cells by name, files that lie beside it by path, and its limits."""

    cells: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    path: str = "notebook.ipynb"
    isolation: str = "auto"


@dataclass(frozen=True)
class Ran:
    """What one notebook left: a result for each cell by name, its events, the challenges by net, the executed cells."""

    names: tuple[str, ...]
    folder: Path
    malformed: int
    events: tuple[Any, ...]
    challenges: tuple[Challenge, ...]

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.folder / "cells.json").read_text())
        return summary

    def result(self, name: str) -> dict[str, Any]:
        """How the cell of this name ended."""
        results = {self.names[cell["index"]]: cell for cell in self.summary["cells"]}
        return results[name]

    def status(self, name: str) -> str:
        return str(self.result(name)["status"])

    def of(self, name: str, kind: str | None = None) -> list[Any]:
        """The events of the cell of this name, of one kind if asked."""
        number = self.summary["executed"].index(self.names.index(name))
        return [e for e in self.events if e.cell == number and kind in (None, e.event)]

    def outputs(self, name: str) -> list[dict[str, Any]]:
        notebook = json.loads((self.folder / "executed.ipynb").read_text())
        outputs: list[dict[str, Any]] = notebook["cells"][self.names.index(name)]["outputs"]
        return outputs

    def printed(self, name: str) -> str:
        outputs = (output for output in self.outputs(name) if output["output_type"] == "stream")
        return "".join("".join(output["text"]) for output in outputs)

    def equal(self, net: int) -> set[str]:
        """The architectures that a net equals."""
        return {name for challenge in self.challenges if challenge.net == net for name in challenge.equal}


def write_notebook(path: Path, cells: Mapping[str, str]) -> None:
    """A notebook of code cells; a source that begins with `md:` makes a markdown cell."""
    made = [new_markdown_cell(s[3:]) if s.startswith("md:") else new_code_cell(s) for s in cells.values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(writes(new_notebook(cells=made)))


def run_given(given: Mapping[str, Given], base: Path, world: World) -> dict[str, Ran]:
    """Run the notebooks, two at a time; what each left, by name."""
    slots = asyncio.Semaphore(2)

    async def one(name: str, notebook: Given) -> None:
        async with slots:
            submission = _hand_in(base / name / "handed-in", notebook)
            await execute(
                submission,
                base / name / "out",
                base / name / "work",
                world,
                notebook.limits,
                choose(notebook.isolation),
            )

    async def everything() -> None:
        await asyncio.gather(*(one(name, notebook) for name, notebook in given.items()))

    asyncio.run(everything())
    return {name: read_run(base / name / "out" / ROLE, tuple(notebook.cells)) for name, notebook in given.items()}


def _hand_in(root: Path, given: Given) -> Submission:
    write_notebook(root / given.path, given.cells)
    for path, content in given.files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    files = tuple(path for path in sorted(root.rglob("*")) if path.is_file())
    found = Found(ROLE, root / given.path, "the test says so")
    return Submission(root, {ROLE: found}, None, None, (), files=files)


def read_run(folder: Path, names: Sequence[str]) -> Ran:
    events, malformed, _ = read_events(folder / "trace.jsonl")
    challenges = TypeAdapter(tuple[Challenge, ...]).validate_json((folder / "challenges.json").read_text())
    return Ran(tuple(names), folder, malformed, tuple(events), challenges)
