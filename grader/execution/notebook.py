"""One notebook through one kernel: run every cell, challenge every net, leave the results in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import nbformat

from grader.execution.cells import CellResult, run_cell, run_hidden, runnable
from grader.execution.challenge import Challenge, candidates, draw, read_reply, write_request
from grader.execution.kernel import Kernel, KernelStartError, Place, start_kernel
from grader.execution.limits import Limits
from grader.execution.outputs import BoundedClient
from grader.execution.overfit import MAX_ASKED, Overfit, can_learn, signature
from grader.execution.overfit import read_reply as read_losses
from grader.execution.overfit import write_request as ask_to_overfit
from grader.execution.signed_trace import KEY, KEY_BYTES, SignedTrace
from grader.execution.trace_events import NetEvent, ReadyEvent
from grader.execution.untrusted import UntrustedFileError, read_untrusted

MAX_CHALLENGES = 48
MAX_MODULE_BYTES, MAX_MODULES_BYTES = 1_000_000, 8_000_000
WITHOUT_WORLD = "the kernel started without the small course world"

OneBatch = Literal["never", "unproved", "always"]


@dataclass
class Execution:
    """One notebook while it runs: its kernel, and what has happened so far.

    `tampered` says which cell did something to the trace that only the grader may do, if any did.
    """

    kernel: Kernel
    trace: SignedTrace
    seed: int
    one_batch: OneBatch
    started: float = field(default_factory=time.monotonic)
    results: dict[int, CellResult] = field(default_factory=dict)
    executed: list[int] = field(default_factory=list)
    challenges: list[Challenge] = field(default_factory=list)
    overfits: list[Overfit] = field(default_factory=list)
    overfitted: set[tuple[object, ...]] = field(default_factory=set)
    problem: str | None = None
    tampered: str | None = None

    @property
    def client(self) -> BoundedClient:
        """The kernel's."""
        return self.kernel.client

    @property
    def limits(self) -> Limits:
        """The kernel's."""
        return self.kernel.limits

    @property
    def seconds_left(self) -> float:
        """Of the whole notebook's limit."""
        return self.limits.notebook - (time.monotonic() - self.started)

    @property
    def seconds_for_a_challenge(self) -> float:
        """Of the notebook's time as well."""
        return min(self.limits.challenge, max(self.seconds_left, 0.1))

    def new_events(self) -> list[Any]:
        """What the kernel has written since the last look."""
        assert self.kernel.exchange is not None
        events = self.trace.read(self.kernel.exchange)
        if self.tampered is None and self.trace.tampered is not None:
            cell = f"cell {self.executed[-1] + 1}" if self.executed else "the notebook"
            self.tampered = f"{cell} {self.trace.tampered}"
        return events


async def run_notebook(
    notebook: dict[str, Any],
    place: Place,
    scratch: Path,
    out: Path,
    limits: Limits,
    *,
    one_batch: OneBatch = "unproved",
    pulled: tuple[str, ...] = (),
) -> None:
    """Run a notebook of format 4 in `place` and write its evidence to `out`.

    `scratch` takes what kernel and grader pass to each other. `out` then holds executed.ipynb, modules.json,
    cells.json, trace.jsonl, challenges.json and overfits.json; `one_batch` says which nets are trained for the latter.
    Files with one of the suffixes `pulled` that the notebook leaves are then in the place's folder. Raises
    KernelStartError.
    """
    out.mkdir(parents=True, exist_ok=True)
    scratch = scratch / out.name
    scratch.mkdir(parents=True)
    (out / "modules.json").write_text(json.dumps(_modules(place.folder), indent=1))
    copy = runnable(notebook["cells"])
    async with start_kernel(copy, place, scratch, limits) as kernel:
        trace = SignedTrace(await _take_key(kernel))
        execution = Execution(kernel, trace, _seed(notebook, place.secret), one_batch)
        if not any(isinstance(event, ReadyEvent) for event in execution.new_events()):
            raise KernelStartError(WITHOUT_WORLD)
        for index, cell in enumerate(copy.cells):
            if cell.cell_type == "code" and cell.source.strip():
                execution.results[index] = await _run_next(execution, index)
        await kernel.freeze()
        execution.new_events()
        if pulled:
            await asyncio.to_thread(kernel.pull, place.folder, pulled)
    _write(out, copy, execution)


def _modules(folder: Path) -> dict[str, str | None]:
    """The student's own Python files, which the notebook may import, by path; None for one that is too long."""
    found: dict[str, str | None] = {}
    room = MAX_MODULES_BYTES
    for path in sorted(folder.rglob("*.py")):
        try:
            source = read_untrusted(path, min(room, MAX_MODULE_BYTES)).decode(errors="replace")
        except UntrustedFileError:
            source = None
        room -= len(source or "")
        found[str(path.relative_to(folder))] = source
    return found


def command(what: str, folder: str = "") -> str:
    """A line that asks the kernel's side of the grader for something; it does nothing by itself."""
    return f"None  # course: {what} {folder}".rstrip()


async def _take_key(kernel: Kernel) -> bytes:
    """The key of the kernel's trace, which nothing in the kernel can read any more. Raises KernelStartError."""
    assert kernel.exchange is not None
    try:
        key = kernel.exchange.read(KEY, KEY_BYTES)
    except UntrustedFileError:
        raise KernelStartError(WITHOUT_WORLD) from None
    await run_hidden(kernel.client, command("forget_key"), kernel.limits.challenge)
    with contextlib.suppress(UntrustedFileError):
        kernel.exchange.read(KEY, KEY_BYTES)
        raise KernelStartError("the kernel did not forget the key of its trace")
    return key


def _seed(notebook: dict[str, Any], secret: str) -> int:
    """A seed that the student cannot know before handing in, and that is the same when graded again."""
    sources = [(cell["cell_type"], cell["source"]) for cell in notebook["cells"]]
    return int.from_bytes(hashlib.sha256(json.dumps([secret, sources]).encode()).digest()[:4], "big")


async def _run_next(execution: Execution, index: int) -> CellResult:
    if execution.problem is None and execution.seconds_left <= 0:
        execution.problem = f"the notebook was stopped after {execution.limits.notebook:.0f} s"
    if execution.problem is not None:
        return CellResult("not run", execution.problem)
    execution.executed.append(index)
    result = await run_cell(execution.client, index, min(execution.limits.cell, execution.seconds_left))
    if result.ends_the_kernel:
        execution.problem = f"cell {index + 1}: {result.error}"
    else:
        await _challenge_new_nets(execution)
    return result


async def _challenge_new_nets(execution: Execution) -> None:
    """Right after the cell that showed them, while the kernel lives: a later crash must not cost an earlier net."""
    for net in (event for event in execution.new_events() if isinstance(event, NetEvent)):
        for names in candidates(net):
            if len(execution.challenges) == MAX_CHALLENGES or execution.problem is not None:
                return
            if execution.seconds_left <= 0:  # told with the next cell
                return
            execution.challenges.append(await _challenge(execution, net, names))
        await _overfit_new_kind(execution, net)


async def _challenge(execution: Execution, net: NetEvent, names: list[str]) -> Challenge:
    number = len(execution.challenges)
    question = await asyncio.to_thread(draw, names, execution.seed + number)
    try:
        folder = execution.kernel.folder(f"challenge-{number}")
        write_request(folder, net.net, question)
    except UntrustedFileError as error:
        return Challenge(net.net, (), {}, f"the notebook left no room for the grader's question ({error})")
    if not await run_hidden(execution.client, command("challenge", folder.path), execution.seconds_for_a_challenge):
        execution.problem = f"{net.cls} gave no answer on images of the grader's and blocked the kernel"
    return await asyncio.to_thread(read_reply, folder, net.net, question)


async def _overfit_new_kind(execution: Execution, net: NetEvent) -> None:
    kind = signature(net)
    if kind in execution.overfitted or not can_learn(net) or not _is_worth_it(execution, net):
        return
    if len(execution.overfits) < MAX_ASKED and execution.problem is None:
        execution.overfitted.add(kind)
        execution.overfits.append(await _overfit(execution, net))


def _is_worth_it(execution: Execution, net: NetEvent) -> bool:
    """A net that is proved to be right, gradients included, learns; its twins may be wrong and are asked."""
    proved = any(c.net == net.net and c.equal and not c.gradient_problem for c in execution.challenges)
    return execution.one_batch == "always" or (execution.one_batch == "unproved" and not proved)


async def _overfit(execution: Execution, net: NetEvent) -> Overfit:
    try:
        folder = execution.kernel.folder(f"overfit-{len(execution.overfits)}")
        ask_to_overfit(folder, net.net)
    except UntrustedFileError as error:
        return Overfit(net.net, (), f"the notebook left no room for the grader's question ({error})")
    if not await run_hidden(execution.client, command("overfit", folder.path), execution.seconds_for_a_challenge):
        execution.problem = f"{net.cls} was trained on one batch of images and blocked the kernel"
    return read_losses(folder, net.net)


def _write(out: Path, notebook: Any, execution: Execution) -> None:
    nbformat.write(notebook, out / "executed.ipynb")
    (out / "trace.jsonl").write_bytes(execution.trace.lines)
    cells = [{"index": index, **asdict(result)} for index, result in sorted(execution.results.items())]
    summary = {
        "cells": cells,
        "executed": execution.executed,
        "problem": execution.problem,
        "tampered": execution.tampered,
    }
    (out / "cells.json").write_text(json.dumps(summary, indent=1))
    (out / "challenges.json").write_text(json.dumps([asdict(c) for c in execution.challenges], indent=1))
    (out / "overfits.json").write_text(json.dumps([asdict(o) for o in execution.overfits], indent=1))
