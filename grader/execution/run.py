"""All notebooks of one submission: the labs side by side, the predictions notebook after the lab it reads from."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from grader.execution.kernel import KernelStartError, Limits
from grader.execution.notebook import run_notebook
from grader.execution.world import World
from grader.submission.find import Found, Submission
from grader.submission.read import read_notebook

AT_ONCE = 2
MAX_COPIED_BYTES = 64_000_000
COPIED = (".py", ".csv", ".json", ".txt", ".yaml", ".yml", ".png", ".jpg", ".pth", ".pt", ".npy", ".npz")


async def execute(submission: Submission, evidence: Path, work: Path, world: World, limits: Limits) -> None:
    """Run every notebook that was found; each leaves a folder of its role's name below `evidence`.

    No kernel outlives this call, also when it is cancelled, interrupted (Ctrl-C) or terminated (SIGTERM).
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def run_in_turn(roles: tuple[str, ...], folder: Path) -> None:
        found = [submission.notebooks[role] for role in roles if role in submission.notebooks]
        found = [notebook for notebook in found if notebook.problem is None]
        if not found:
            return
        async with slots:  # for all of them: the longest turn decides when the submission is done
            _prepare(submission, folder, world)
            for notebook in found:
                await _run(notebook, submission.root, folder, evidence / notebook.role, world, limits)

    with _ended_by_sigterm():
        # Lab 3 and the predictions take longest, so they start first.
        await asyncio.gather(
            run_in_turn(("lab3", "predict"), work / "lab3"),
            run_in_turn(("lab2",), work / "lab2"),
            run_in_turn(("lab1",), work / "lab1"),
        )


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the running notebooks first, then the program, as Ctrl-C does."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    terminated = False

    def end() -> None:
        nonlocal terminated
        terminated = True
        if task is not None:
            task.cancel()

    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread
        loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield
    except asyncio.CancelledError:
        if terminated:
            raise KeyboardInterrupt from None
        raise
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(signal.SIGTERM)


async def _run(found: Found, root: Path, folder: Path, out: Path, world: World, limits: Limits) -> None:
    """Run one notebook where it lies in the copy of the submission, so that its relative paths lead where they did."""
    out.mkdir(parents=True, exist_ok=True)
    notebook = read_notebook(found.path)
    (out / "submitted.ipynb").write_text(json.dumps(notebook, indent=1))
    workdir = folder / found.path.parent.relative_to(root)
    try:
        scratch = folder.parent / f"{folder.name}-scratch"
        one_batch = found.role != "predict" and world.effort >= 1
        await run_notebook(notebook, workdir, scratch, out, world, limits, one_batch=one_batch)
    except KernelStartError as error:
        (out / "grader-fault.json").write_text(json.dumps({"reason": str(error)}))


def _prepare(submission: Submission, folder: Path, world: World) -> None:
    """A copy of the student's modules and small files, with the folders and data that the notebooks look for."""
    room = MAX_COPIED_BYTES
    for path in submission.files:
        size = path.stat().st_size
        if path.suffix.lower() in COPIED and size <= room:
            room -= size
            target = folder / path.relative_to(submission.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for found in submission.notebooks.values():
        workdir = folder / found.path.parent.relative_to(submission.root)
        (workdir / "saved_model").mkdir(parents=True, exist_ok=True)
        _link_data(workdir / "data", world)


def _link_data(folder: Path, world: World) -> None:
    """The small world's files under the names and in the folder where notebooks read them without `tools`."""
    folder.mkdir(exist_ok=True)
    for path in world.data.iterdir():
        target = folder / path.name
        target.unlink(missing_ok=True)
        target.symlink_to(path.resolve())
