"""Running cells one by one: whatever a cell does becomes a result, and the next one can run."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grader.execution.kernel import how_it_ended
from grader.execution.outputs import BoundedClient, writable

MAX_MESSAGE = 2_000
INTERRUPTS, GRACE = 3, 3.0  # a cell that runs too long is interrupted so often, with so many seconds between
GONE = ("stuck", "died")


@dataclass(frozen=True)
class CellResult:
    """How one code cell ended: `ok`, `error`, `timeout`, or with the kernel: `stuck`, `died`; else `not run`."""

    status: str
    error: str = ""
    seconds: float = 0.0

    @property
    def ends_the_kernel(self) -> bool:
        """Whether no later cell can run."""
        return self.status in GONE


async def run_cell(client: BoundedClient, index: int, seconds: float) -> CellResult:
    """Run cell `index` of the client's notebook for at most `seconds`, then interrupt it."""
    cell = client.nb.cells[index]
    started = time.monotonic()
    ended, error = await _execute(client, cell, index, seconds)
    duration = time.monotonic() - started
    status, message = _verdict(client, cell, ended=ended, error=error, late=duration >= seconds, seconds=seconds)
    return CellResult(status, message[:MAX_MESSAGE], round(duration, 3))


async def _execute(
    client: BoundedClient, cell: NotebookNode, index: int, seconds: float, *, history: bool = True
) -> tuple[bool, BaseException | None]:
    """Whether the cell came to an end, by itself or by an interrupt, and what nbclient raised."""
    task = asyncio.ensure_future(client.async_execute_cell(cell, index, store_history=history))
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # looked at, though nobody may ask
    try:
        await asyncio.wait({task}, timeout=seconds)
        for _ in range(INTERRUPTS):
            if task.done():
                break
            await client.kernel.interrupt_kernel()
            await asyncio.wait({task}, timeout=GRACE)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled() or (isinstance(task.exception(), DeadKernelError) and await client.kernel.is_alive()):
        return False, None
    return True, task.exception()


def _verdict(
    client: BoundedClient, cell: NotebookNode, *, ended: bool, error: BaseException | None, late: bool, seconds: float
) -> tuple[str, str]:
    if not ended:
        return "stuck", f"still running after {seconds:.0f} s, and it ignored the interrupt"
    if isinstance(error, DeadKernelError):
        return "died", f"{how_it_ended(client, client.limits)} while this cell ran"
    if late:
        return "timeout", f"still running after {seconds:.0f} s"
    if isinstance(error, CellExecutionError):
        return "error", f"{error.ename}: {error.evalue}"
    if error is not None:  # the kernel is the student's and may answer anything
        return "error", f"the kernel's answer could not be read ({type(error).__name__})"
    failed = next((output for output in cell.outputs if output.output_type == "error"), None)
    return ("ok", "") if failed is None else ("error", _described(failed))


def _described(output: NotebookNode) -> str:
    """`ename: evalue`; an error without words, as a bare assert raises, is told by its line."""
    traceback = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(output.traceback))
    lines = re.findall(r"Cell In\[\d+\], line \d+[^\n]*\n +(\S[^\n]*)", traceback)
    said = output.evalue or (f"at `{lines[-1]}`" if lines else "")
    return f"{output.ename}: {said}"


async def run_hidden(client: BoundedClient, source: str, seconds: float) -> bool:
    """Run a line of the grader's own, outside the notebook and its history; False when the kernel no longer answers."""
    cell = new_code_cell(source)
    hidden = BoundedClient(new_notebook(cells=[cell]), client.kernel, client.limits)
    hidden.kc = client.kc
    ended, error = await _execute(hidden, cell, 0, seconds, history=False)
    return ended and not isinstance(error, DeadKernelError)


def runnable(cells: list[dict[str, Any]]) -> NotebookNode:
    """A notebook of format 4 with these cells' sources alone.

    The student's metadata stay behind: they may name a kernel of their machine, or tags that skip a cell.
    """
    copies = [
        new_code_cell(writable(cell["source"]), id=f"cell-{index}")
        if cell["cell_type"] == "code"
        else new_markdown_cell(writable(cell["source"]), id=f"cell-{index}")
        for index, cell in enumerate(cells)
    ]
    notebook: NotebookNode = new_notebook(cells=copies)
    return notebook
