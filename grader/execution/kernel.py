"""Starting a student's kernel and running its cells one by one through nbclient."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

KERNEL = "course"
MAX_MESSAGE = 2_000


@dataclass(frozen=True)
class Limits:
    """Wall-clock seconds for one cell, for a whole notebook and for a kernel to start."""

    cell: float = 120.0
    notebook: float = 300.0
    start: float = 60.0


@dataclass(frozen=True)
class CellResult:
    """How one code cell ended: `ok`, `error`, `timeout`, or with the kernel: `stuck`, `died`; else `not run`."""

    status: str
    error: str = ""
    seconds: float = 0.0


class KernelStartError(Exception):
    """The kernel did not start: the machine's fault, never the student's."""


def _write_kernelspec(folder: Path) -> None:
    """A kernel of this very interpreter, so that a kernel of the same name elsewhere on the machine is never taken."""
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--ext=course_world"]
    spec = {"argv": command, "display_name": KERNEL, "language": "python"}
    (folder / KERNEL).mkdir(parents=True, exist_ok=True)
    (folder / KERNEL / "kernel.json").write_text(json.dumps(spec))


@contextlib.asynccontextmanager
async def start_kernel(
    notebook: NotebookNode, workdir: Path, scratch: Path, environment: dict[str, str], limits: Limits
) -> AsyncIterator[NotebookClient]:
    """A client of nbclient's on a fresh kernel in `workdir`; the kernel is killed on the way out.

    Raises KernelStartError.
    """
    _write_kernelspec(scratch / "kernels")
    specs = KernelSpecManager(kernel_dirs=[str(scratch / "kernels")], ensure_native_kernel=False)
    manager = AsyncKernelManager(kernel_name=KERNEL, kernel_spec_manager=specs)
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=limits.cell,
        startup_timeout=limits.start,
        allow_errors=True,
        interrupt_on_timeout=True,
        kernel_name=KERNEL,
        resources={"metadata": {"path": str(workdir)}},
    )
    try:
        with (scratch / "kernel.log").open("wb") as log:
            await manager.start_kernel(cwd=str(workdir), env=environment, stdout=log, stderr=log)
        client.km = manager
        client.kc = manager.client()
        client.kc.start_channels()
        await client.kc.wait_for_ready(timeout=limits.start)
    except (RuntimeError, OSError) as error:
        await manager.shutdown_kernel(now=True)
        raise KernelStartError(f"the kernel did not start: {error}") from None
    try:
        yield client
    finally:
        client.kc.stop_channels()
        await manager.shutdown_kernel(now=True)


async def run_cell(client: NotebookClient, index: int, limits: Limits) -> CellResult:
    """Run cell `index` of the client's notebook; whatever it does becomes a result, and the next cell can run."""
    started = time.monotonic()
    cell = client.nb.cells[index]

    def result(status: str, error: str = "") -> CellResult:
        return CellResult(status, error[:MAX_MESSAGE], round(time.monotonic() - started, 3))

    try:
        # nbclient interrupts the cell after `limits.cell`; one that swallows the interrupt is left by the outer limit.
        await asyncio.wait_for(client.async_execute_cell(cell, index), limits.cell + 10)
    except TimeoutError:
        return result("stuck", f"still running after {limits.cell:.0f} s, and it ignored the interrupt")
    except CellTimeoutError:
        return result("timeout", f"still running after {limits.cell:.0f} s")
    except DeadKernelError:
        return result("died", "the kernel died while this cell ran")
    except CellExecutionError as error:
        return result("error", f"{error.ename}: {error.evalue}")
    if result("").seconds >= limits.cell:
        return result("timeout", f"still running after {limits.cell:.0f} s")
    for output in cell.outputs:
        if output.output_type == "error":
            return result("error", f"{output.ename}: {output.evalue}")
    return result("ok")


async def run_hidden(client: NotebookClient, source: str, seconds: float) -> bool:
    """Run a line of the grader's own, outside the notebook and its history; False when the kernel gave no answer."""
    cells = client.nb.cells
    cell = new_code_cell(source)
    client.nb.cells = [*cells, cell]
    try:
        await asyncio.wait_for(client.async_execute_cell(cell, len(cells), store_history=False), seconds)
    except (TimeoutError, CellTimeoutError, DeadKernelError):
        return False
    finally:
        client.nb.cells = cells
    return not any(output.output_type == "error" for output in cell.outputs)


def runnable(cells: list[Any]) -> NotebookNode:
    """A notebook of format 4 with these cells' sources alone.

    The student's metadata stay behind: they may name a kernel of their machine, or tags that skip a cell.
    """
    copies = [new_code_cell(c.source) if c.cell_type == "code" else new_markdown_cell(c.source) for c in cells]
    notebook: NotebookNode = new_notebook(cells=copies)
    return notebook
