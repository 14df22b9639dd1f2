"""All notebooks of one submission: the labs side by side, the predictions notebook after the lab it reads from."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from grader.execution.kernel import KernelStartError, Place
from grader.execution.limits import Limits
from grader.execution.notebook import OneBatch, run_notebook
from grader.execution.sandbox.surroundings import COURSE
from grader.execution.sandbox.tiers import NONE, Isolation
from grader.execution.world import World
from grader.submission.find import Found, Submission
from grader.submission.read import read_notebook

AT_ONCE = 2
COURSE_DATA = Path(COURSE) / "data"
MAX_COPIED_BYTES, MAX_COPIED_FILES = 64_000_000, 2_000
COPIED = (".py", ".csv", ".json", ".txt", ".yaml", ".yml", ".png", ".jpg", ".pth", ".pt", ".npy", ".npz")


async def execute(
    submission: Submission,
    evidence: Path,
    work: Path,
    world: World,
    limits: Limits,
    isolation: Isolation = NONE,
    *,
    private: tuple[Path, ...] = (),
    secret: str = "",
) -> None:
    """Run every notebook that was found; each leaves a folder of its role's name below `evidence`.

    `private` and `secret` are as in Place: what must be out of reach, and what challenges are drawn from.

    No kernel outlives this call, also when it is cancelled, interrupted (Ctrl-C) or terminated (SIGTERM).
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def run_in_turn(roles: tuple[str, ...], folder: Path) -> None:
        found = [submission.notebooks[role] for role in roles if role in submission.notebooks]
        found = [notebook for notebook in found if notebook.problem is None]
        if not found:
            return
        async with slots:  # for all of them: the longest turn decides when the submission is done
            _copy(submission, folder)
            for notebook in found:
                _furnish(submission, folder, world, COURSE_DATA if isolation.jails else None)
                place = Place(
                    world,
                    folder,
                    str(notebook.path.parent.relative_to(submission.root)),
                    isolation,
                    (*private, submission.root, evidence, work),
                    secret,
                )
                await _run(notebook, place, evidence / notebook.role, limits)

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


async def _run(found: Found, place: Place, out: Path, limits: Limits) -> None:
    """Run one notebook where it lies in the copy of the submission, so that its relative paths lead where they did."""
    out.mkdir(parents=True, exist_ok=True)
    notebook = read_notebook(found.path)
    (out / "submitted.ipynb").write_text(json.dumps(notebook, indent=1))
    try:
        scratch = place.folder.parent / f"{place.folder.name}-scratch"
        one_batch: OneBatch = "unproved" if found.role != "predict" and place.world.effort >= 1 else "never"
        await run_notebook(notebook, place, scratch, out, limits, one_batch=one_batch, pulled=COPIED)
    except KernelStartError as error:
        _note_fault(out, str(error))
    except Exception as error:  # noqa: BLE001  (one notebook must not cost the others)
        _note_fault(out, f"the grader met an error of its own ({type(error).__name__}: {error})"[:500])


def _note_fault(out: Path, reason: str) -> None:
    """What the checks take for the grader's fault: the notebook's points stay open."""
    (out / "grader-fault.json").write_text(json.dumps({"reason": reason}))


def _copy(submission: Submission, folder: Path) -> None:
    """A copy of the student's modules and small files."""
    room, places = MAX_COPIED_BYTES, MAX_COPIED_FILES
    for path in submission.files:
        size = path.stat().st_size
        if path.suffix.lower() in COPIED and size <= room and places:
            room, places = room - size, places - 1
            target = folder / path.relative_to(submission.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _furnish(submission: Submission, folder: Path, world: World, data: Path | None) -> None:
    """Add the folders and data that the notebooks look for; `data` is where the kernels find the world's files."""
    for found in submission.notebooks.values():
        workdir = folder / found.path.parent.relative_to(submission.root)
        for name in ("saved_model", "data"):
            (workdir / name).mkdir(parents=True, exist_ok=True)
        _link_data(workdir / "data", world, data)


def _link_data(folder: Path, world: World, data: Path | None) -> None:
    """The small world's files under the names and in the folder where notebooks read them without `tools`."""
    for path in world.data.iterdir():
        target = folder / path.name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
        target.symlink_to(data / path.name if data is not None else path.resolve())
