"""From the start of a kernel to `import torch, torchvision; torch.zeros(1)` done, and what one more kernel takes.

Stock nbclient on this environment's own python3 kernel, with compiled bytecode, takes turns with the sandbox's tiers,
each as the grader starts its kernels; `fork, stock nbclient` is the fork server behind nbclient's own handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from fixtures import embedded
from grader.execution.kernel import Place, start_kernel
from grader.execution.limits import Limits
from grader.execution.sandbox.server import fork_server
from grader.execution.sandbox.tiers import choose
from grader.execution.world import World, build_world
from tests.bench_numbers import spread

CELL = "import torch, torchvision; torch.zeros(1)"
LIBRARIES = ("torch", "torchvision", "ipykernel", "numpy")
ALIVE = {"stock": 2, "fork": 8}  # kernels at once while memory is measured
SETTLE = 1.0  # seconds until what a kernel gives back after the cell counts as available
ROUNDS_OF_MEMORY = 3

Kernel = Callable[[Path], AbstractAsyncContextManager[float]]


@contextlib.asynccontextmanager
async def _with_nbclient(folder: Path, **kwargs: Any) -> AsyncIterator[float]:
    """A kernel as nbclient starts it, with the cell done; the seconds since its start."""
    notebook = new_notebook(cells=[new_code_cell(CELL)])
    started = time.perf_counter()
    client = NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, **kwargs)
    async with client.async_setup_kernel(stderr=subprocess.DEVNULL):
        await client.async_execute_cell(notebook.cells[0], 0)
        yield time.perf_counter() - started


def stock(folder: Path) -> AbstractAsyncContextManager[float]:
    return _with_nbclient(folder, kernel_name="python3")


def behind_nbclient(folder: Path) -> AbstractAsyncContextManager[float]:
    """The fork server's provisioner, named by a kernelspec."""
    provisioner = {"provisioner_name": "course-sandbox", "config": {"tier": "fork"}}
    argv = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "fork", "language": "python", "metadata": {"kernel_provisioner": provisioner}}
    (folder / "kernels" / "fork").mkdir(parents=True)
    (folder / "kernels" / "fork" / "kernel.json").write_text(json.dumps(spec))
    specs = KernelSpecManager(kernel_dirs=[str(folder / "kernels")], ensure_native_kernel=False)
    return _with_nbclient(folder, km=AsyncKernelManager(kernel_name="fork", kernel_spec_manager=specs))


@contextlib.asynccontextmanager
async def of_grader(tier: str, world: World, folder: Path) -> AsyncIterator[float]:
    """A kernel as the grader starts it, its small course world included, with the cell done."""
    notebook = new_notebook(cells=[new_code_cell(CELL)])
    (folder / "handed-in").mkdir()
    (folder / "scratch").mkdir()
    started = time.perf_counter()
    place = Place(world, folder / "handed-in", isolation=choose(tier))
    async with start_kernel(notebook, place, folder / "scratch", Limits()) as kernel:
        await kernel.client.async_execute_cell(notebook.cells[0], 0)
        yield time.perf_counter() - started


def _demand_bytecode() -> None:
    """Without it the stock kernel takes three times as long, and the comparison would flatter the sandbox."""
    for name in LIBRARIES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        if not Path(importlib.util.cache_from_source(spec.origin)).is_file():
            raise SystemExit(f"{name} has no compiled bytecode: run `python -m compileall` on the environment first")


def bench_kernel(n: int) -> dict[str, object]:
    """Seconds to the end of the first cell, megabytes of an extra kernel, and how much faster each tier starts."""
    _demand_bytecode()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        embedded.build(folder / "data", folder / "heldout.csv")
        world = build_world(folder / "data", folder / "world")
        started = time.perf_counter()
        fork_server.connect().close()
        server = time.perf_counter() - started
        kernels: dict[str, Kernel] = {
            "stock": stock,
            "bubblewrap": partial(of_grader, "bubblewrap", world),
            "fork": partial(of_grader, "fork", world),
            "fork, stock nbclient": behind_nbclient,
        }
        seconds = asyncio.run(_seconds(kernels, folder, max(n, 10)))
        memory = asyncio.run(_memory({name: kernels[name] for name in ALIVE}, folder))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "times_faster": {name: round(medians["stock"] / median, 1) for name, median in medians.items()},
        "megabytes_a_kernel": {
            name: {way: spread(values, 1) for way, values in ways.items()} for name, ways in memory.items()
        },
        "kernels_alive": ALIVE,
        "fork_server_start_seconds": round(server, 2),
        "n": max(n, 10),
        "n_memory": ROUNDS_OF_MEMORY,
    }


async def _seconds(kernels: dict[str, Kernel], folder: Path, rounds: int) -> dict[str, list[float]]:
    """Each kernel once a round, in another order each time."""
    seconds: dict[str, list[float]] = {name: [] for name in kernels}
    for number, order in zip(range(-1, rounds), itertools.cycle(itertools.permutations(kernels))):
        for name in order:
            async with kernels[name](_fresh(folder)) as taken:
                if number >= 0:  # the first round brings files and imports to where they are found at once
                    seconds[name].append(taken)
    return seconds


async def _memory(kernels: dict[str, Kernel], folder: Path) -> dict[str, dict[str, list[float]]]:
    """Megabytes of each kernel of those that live at once, in two ways.

    `available`: by how much MemAvailable drops, whoever else is at work on the machine. `proportional`: what all
    processes together hold, pages that several share counted once.
    """
    drops: dict[str, dict[str, list[float]]] = {name: {"available": [], "proportional": []} for name in kernels}
    for _ in range(ROUNDS_OF_MEMORY):
        for name, kernel in kernels.items():
            async with AsyncExitStack() as alive:
                before = await _used()
                for _ in range(ALIVE[name]):
                    await alive.enter_async_context(kernel(_fresh(folder)))
                for way, (used, used_before) in zip(drops[name], zip(await _used(), before, strict=True), strict=True):
                    drops[name][way].append((used - used_before) / ALIVE[name])
    return drops


async def _used() -> tuple[float, float]:
    """Megabytes that are not available, and those held by the processes that this one started, after a pause."""
    await asyncio.sleep(SETTLE)
    started = psutil.Process().children(recursive=True)
    held = sum(process.memory_full_info().pss for process in started if process.is_running())
    return -psutil.virtual_memory().available / 1e6, held / 1e6


def _fresh(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))
