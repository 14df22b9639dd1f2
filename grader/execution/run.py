"""All notebooks of one submission: the labs side by side, the predictions notebook after the lab it reads from."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from grader.execution.kernel import KernelStartError, Limits
from grader.execution.notebook import run_notebook
from grader.execution.world import World
from grader.submission.find import Found, Submission

AT_ONCE = 2
MAX_COPIED_BYTES = 20_000_000


async def execute(submission: Submission, evidence: Path, work: Path, world: World, limits: Limits) -> None:
    """Run every notebook that was found; each leaves a folder of its role's name below `evidence`."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def run_in_turn(roles: tuple[str, ...], workdir: Path) -> None:
        _prepare(submission.root, workdir)
        for role in roles:
            found = submission.notebooks.get(role)
            if found is not None and found.problem is None:
                async with slots:
                    await _run(found, workdir, evidence / role, world, limits)

    # Lab 3 takes longest, so it starts first.
    await asyncio.gather(
        run_in_turn(("lab3", "predict"), work / "lab3"),
        run_in_turn(("lab1",), work / "lab1"),
        run_in_turn(("lab2",), work / "lab2"),
    )


async def _run(found: Found, workdir: Path, out: Path, world: World, limits: Limits) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found.path, out / "submitted.ipynb")
    try:
        await run_notebook(found.path, workdir, out, world, limits)
    except KernelStartError as error:
        (out / "grader-fault.json").write_text(json.dumps({"reason": str(error)}))


def _prepare(root: Path, workdir: Path) -> None:
    """A working folder with the student's own modules and small files, and the folders that notebooks save into."""
    workdir.mkdir(parents=True)
    for name in ("saved_model", "data"):
        (workdir / name).mkdir()
    room = MAX_COPIED_BYTES
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_symlink() or not path.is_file() or relative.parts[0] in ("tools", "data", ".git"):
            continue
        if path.suffix not in (".py", ".csv", ".json", ".txt", ".yaml", ".png") or path.stat().st_size > room:
            continue
        room -= path.stat().st_size
        target = workdir / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
