"""One notebook through one kernel: run every cell, challenge every net, leave the results in a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from grader.execution.challenge import Challenge, candidates, read_reply, write_request
from grader.execution.kernel import CellResult, KernelStartError, Limits, run_cell, run_hidden, runnable, start_kernel
from grader.execution.trace_events import NetEvent, ReadyEvent, read_events
from grader.execution.world import World, kernel_environment

MAX_CHALLENGES = 48
CHALLENGE_SECONDS = 60.0
NOT_RUN = "the kernel was gone by then"


@dataclass
class Progress:
    """What has happened to one notebook so far."""

    results: dict[int, CellResult] = field(default_factory=dict)
    executed: list[int] = field(default_factory=list)
    challenges: list[Challenge] = field(default_factory=list)
    trace_end: int = 0
    problem: str | None = None


async def run_notebook(path: Path, workdir: Path, out: Path, world: World, limits: Limits) -> None:
    """Run the notebook at `path` in `workdir` and write its evidence to `out`.

    `out` then holds executed.ipynb, cells.json, trace.jsonl and challenges.json. Raises KernelStartError.
    """
    out.mkdir(parents=True, exist_ok=True)
    scratch = workdir.parent / f"{workdir.name}-scratch" / out.name
    scratch.mkdir(parents=True, exist_ok=True)
    notebook = runnable(nbformat.read(path, as_version=4).cells)
    trace = scratch / "trace.jsonl"
    environment = kernel_environment(world, workdir, trace)
    progress = Progress()
    async with start_kernel(notebook, workdir, scratch, environment, limits) as client:
        ready, _, progress.trace_end = read_events(trace)
        if not any(isinstance(event, ReadyEvent) for event in ready):
            raise KernelStartError("the kernel started without the small course world")
        await _run_cells(client, trace, scratch, progress, limits, seed=_seed(path))
    _write(out, notebook, trace, progress)


def _seed(path: Path) -> int:
    """A seed that the student cannot know before handing in, and that is the same when graded again."""
    return int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:4], "big")


async def _run_cells(
    client: NotebookClient, trace: Path, scratch: Path, progress: Progress, limits: Limits, seed: int
) -> None:
    started = time.monotonic()
    for index, cell in enumerate(client.nb.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        if progress.problem is not None:
            progress.results[index] = CellResult("not run", progress.problem)
            continue
        progress.executed.append(index)
        result = await run_cell(client, index, limits)
        progress.results[index] = result
        if result.status in ("stuck", "died"):
            progress.problem = f"cell {index}: {result.error}"
        elif time.monotonic() - started > limits.notebook:
            progress.problem = f"the notebook was stopped after {limits.notebook:.0f} s"
        else:
            await _challenge_new_nets(client, trace, scratch, progress, seed)


async def _challenge_new_nets(
    client: NotebookClient, trace: Path, scratch: Path, progress: Progress, seed: int
) -> None:
    """Right after the cell that showed them, while the kernel lives: a later crash must not cost an earlier net."""
    events, _, progress.trace_end = read_events(trace, start=progress.trace_end)
    for net in (event for event in events if isinstance(event, NetEvent)):
        for names in candidates(net):
            if len(progress.challenges) >= MAX_CHALLENGES:
                return
            progress.challenges.append(
                await _challenge(client, net.net, names, scratch, seed + len(progress.challenges))
            )


async def _challenge(client: NotebookClient, net: int, names: list[str], scratch: Path, seed: int) -> Challenge:
    request, reply = scratch / "request.safetensors", scratch / "reply.safetensors"
    reply.unlink(missing_ok=True)
    write_request(scratch, net, names, seed)
    line = f"__import__('course_world.challenge').challenge.answer({str(request)!r}, {str(reply)!r})"
    await run_hidden(client, line, CHALLENGE_SECONDS)
    return read_reply(scratch, net, names, seed)


def _write(out: Path, notebook: Any, trace: Path, progress: Progress) -> None:
    nbformat.write(notebook, out / "executed.ipynb")
    if trace.is_file():
        shutil.copyfile(trace, out / "trace.jsonl")
    cells = [{"index": index, **asdict(result)} for index, result in sorted(progress.results.items())]
    summary = {"cells": cells, "executed": progress.executed, "problem": progress.problem}
    (out / "cells.json").write_text(json.dumps(summary, indent=1))
    (out / "challenges.json").write_text(json.dumps([asdict(c) for c in progress.challenges], indent=1))
