"""How long `pytest grader` takes on the sample submission, and where the time goes.

This module is also the plugin of pytest's that notes when each stage of the run began and ended. A kernel's stages are
added up along the critical path: the notebooks that ran one after the other until the last of all was done.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bench_numbers import spread

ROOT = Path(__file__).resolve().parents[1]
SPANS = "BENCH_GRADE_SPANS"  # names the file that the plugin writes
# Functions of grader.pipeline, of one notebook's run and of its kernel, by the stage that they are.
PIPELINE = {
    "_data_and_labels": "data",
    "_submission_folder": "find",
    "find_submission": "find",
    "build_world": "world",
    "execute": "execute",
    "collect": "collect",
    "load_evidence": "load",
}
NOTEBOOK = {"run_cell": "cells", "_challenge": "challenges", "_overfit": "overfits"}
KERNEL = {"freeze": "ends", "pull": "ends", "close": "ends"}
SERVER = "fork server"  # how long the first kernels' starts wait for it


@dataclass(frozen=True)
class Span:
    """Seconds since the epoch at which a stage began and ended, and whose notebook it was."""

    stage: str
    begin: float
    end: float
    role: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


# -- the plugin ------------------------------------------------------------------------------------------------------

noted: list[Span] = []
role: ContextVar[str] = ContextVar("role", default="")


@contextlib.contextmanager
def _noting(stage: str) -> Iterator[None]:
    begin = time.time()
    try:
        yield
    finally:
        noted.append(Span(stage, begin, time.time(), role.get()))


def _note(owner: Any, name: str, stage: str) -> None:
    """Have every call of a function noted."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _noting(stage):
            return function(*args, **kwargs)

    @functools.wraps(function)
    async def wait(*args: Any, **kwargs: Any) -> Any:
        with _noting(stage):
            return await function(*args, **kwargs)

    setattr(owner, name, wait if inspect.iscoroutinefunction(function) else call)


def _note_starts(module: Any) -> None:
    """A kernel's start is what comes before the block that uses it."""
    start = module.start_kernel

    @contextlib.asynccontextmanager
    async def start_kernel(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with contextlib.AsyncExitStack() as stack:
            with _noting("starts"):
                kernel = await stack.enter_async_context(start(*args, **kwargs))
            yield kernel

    module.start_kernel = start_kernel


def _note_notebooks(module: Any) -> None:
    run = module.run_notebook

    @functools.wraps(run)
    async def run_notebook(notebook: Any, place: Any, scratch: Path, out: Path, *args: Any, **kwargs: Any) -> None:
        token = role.set(out.name)
        try:
            with _noting("notebook"):
                await run(notebook, place, scratch, out, *args, **kwargs)
        finally:
            role.reset(token)

    module.run_notebook = run_notebook


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    if SPANS in os.environ:
        from grader import pipeline
        from grader.execution import kernel, notebook, run
        from grader.execution.sandbox.server import ForkServer

        for owner, stages in ((pipeline, PIPELINE), (notebook, NOTEBOOK), (kernel.Kernel, KERNEL)):
            for name, stage in stages.items():
                _note(owner, name, stage)
        _note(ForkServer, "_until_ready", SERVER)
        _note_starts(notebook)
        _note_notebooks(run)


def pytest_unconfigure() -> None:
    if SPANS in os.environ:
        Path(os.environ[SPANS]).write_text(json.dumps([asdict(span) for span in noted]))


# -- the benchmark ---------------------------------------------------------------------------------------------------


def bench_grade(n: int) -> dict[str, object]:
    """Seconds in all, by stage, of the critical path's stages, and beyond the student's own cells on that path."""
    runs = []
    for number in range(n):
        runs.append(_run())
        print(f"run {number + 1} of {n}: {runs[-1]['seconds']:.1f} s, {runs[-1]['beyond']:.2f} beyond", flush=True)
    return _merged(runs) | {"n": n}


def _run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        spans = Path(folder) / "spans.json"
        command = [sys.executable, "-m", "pytest", "-p", "tests.bench_grade", "grader", "-q", "--out", folder]
        started = time.time()
        subprocess.run(command, cwd=ROOT, env={**os.environ, SPANS: str(spans)}, check=True, stdout=subprocess.DEVNULL)
        ended = time.time()
        return split([Span(**span) for span in json.loads(spans.read_text())], started, ended)


def split(spans: list[Span], started: float, ended: float) -> dict[str, Any]:
    """What a run took, by stage; `beyond` is all but the student's own cells on the critical path."""
    stages: defaultdict[str, float] = defaultdict(float)
    notebooks: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for span in spans:
        of = notebooks[span.role] if span.role else stages
        of[span.stage] += span.seconds
    outside = [span for span in spans if not span.role]
    before, after = min(span.begin for span in outside), max(span.end for span in outside)
    on_path: defaultdict[str, float] = defaultdict(float)
    for role in critical_path([span for span in spans if span.stage == "notebook"]):
        for stage, seconds in notebooks[role].items():
            if stage not in ("notebook", SERVER):  # both hold other stages, or are held
                on_path[stage] += seconds
    on_path["rest"] = stages["execute"] - sum(on_path.values())
    return {
        "seconds": ended - started,
        "beyond": ended - started - on_path["cells"],
        "stages": {"start of pytest": before - started, **stages, "checks": ended - after},
        "critical_path": dict(on_path),
        "notebooks": {role: dict(of) for role, of in sorted(notebooks.items())},
    }


def critical_path(notebooks: list[Span]) -> list[str]:
    """Roles from the notebook that was done last back to the first: each before it is the last to end by its start."""
    path: list[Span] = []
    left = notebooks
    while left:
        path.append(max(left, key=lambda span: span.end))
        left = [span for span in left if span.end <= path[-1].begin]
    return [span.role for span in path]


def _merged(runs: list[Any]) -> Any:
    """The same structure, with the spread of all runs in place of each number."""
    if isinstance(runs[0], dict):
        names = dict.fromkeys(name for run in runs for name in run)
        return {name: _merged([run[name] for run in runs if name in run]) for name in names}
    return spread(runs, 2)
