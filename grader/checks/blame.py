"""Whose fault it is that something was not seen when a notebook ran in the small course world.

The rule. A check that misses something names the code that would have done it, by a `sign`. The points are lost, unless
that code stands in a cell that was hindered here: then nothing can be said by machine, and a person looks. A cell is
hindered where it

- was stopped, or not run any more, because a limit of time was reached or the kernel was gone;
- stumbled over what only the grader's machine lacks: a GPU, the network, a drive, a folder, a package;
- raised here, although its saved outputs show that it ran to its end at the student's;
- lacks a name that a hindered cell would have given a value, or found None in its place;
- ran, but a hook of the grader's failed in it, so that not all of it was seen.

A cell whose saved outputs hold an error failed at the student's as well, and is never hindered. A hindered cell whose
code has nothing to do with what is missed changes nothing: an import that fails at the end of a notebook saves no point
and costs none.
"""

from __future__ import annotations

import re
from dataclasses import replace

from grader.evidence.evidence import CellRun, Lab
from grader.execution.trace_events import FaultEvent

# What a notebook can stumble over here and not at the student's.
WORLD_FAULTS = re.compile(
    r"No module named|cannot import name .* from 'tools|cuda|cudnn|nvidia|/content/|drive\.mount"
    r"|URLError|HTTPError|ConnectionError|urlopen|Name or service|name resolution|Max retries|timed out"
    r"|FileNotFoundError|No such file or directory|non-existent directory|Parent directory|[A-Z]:[/\\]"
    r"|MemoryError|out of memory|No space left|'numpy' has no attribute '(?:int|float|bool|object|str)'",
    re.IGNORECASE,
)
_UNDEFINED = re.compile(r"NameError: name '(\w+)' is not defined")


def hindered_cells(lab: Lab) -> tuple[CellRun, ...]:
    """The cells that the grader's world kept from their end, in order."""
    unseen = {lab.where(event): event.problem for event in lab.of_type(FaultEvent)}
    hindered: list[CellRun] = []
    for cell in lab.cells:
        problem = unseen.get(f"cell {cell.index + 1}")
        if problem is not None:
            hindered.append(replace(cell, status="error", error=f"an error in the grader's trace ({problem})"))
        elif cell.status != "ok" and (_is_hindered(cell) or _needs_one_of(lab, cell, hindered)):
            hindered.append(cell)
    return tuple(hindered)


def _is_hindered(cell: CellRun) -> bool:
    if cell.earlier == "raised":
        return False
    return cell.status != "error" or cell.earlier == "ran" or WORLD_FAULTS.search(cell.error) is not None


def _needs_one_of(lab: Lab, cell: CellRun, hindered: list[CellRun]) -> bool:
    undefined, codes = _UNDEFINED.match(cell.error), lab.code.cells
    lacking = {undefined[1]} if undefined else codes[cell.index].uses if "NoneType" in cell.error else frozenset()
    return cell.earlier != "raised" and any(not lacking.isdisjoint(codes[other.index].binds) for other in hindered)


def hindrance(lab: Lab, sign: str) -> CellRun | None:
    """The first hindered cell that would have run code with this sign."""
    return next((cell for cell in hindered_cells(lab) if lab.code.reaches(cell.index, sign)), None)


def own_failure(lab: Lab, sign: str) -> CellRun | None:
    """The cell to name beside what is missed: the first that failed on the way to such code, if any did.

    One that was to give a name its value which such code uses is on the way too; others would only confuse.
    """
    hindered = {cell.index for cell in hindered_cells(lab)}
    failed = [cell for cell in lab.cells if cell.status != "ok" and cell.index not in hindered]
    reaching = [cell for cell in lab.code.cells if lab.code.reaches(cell, sign)]
    used = frozenset().union(*(lab.code.cells[cell].uses for cell in reaching))
    on_the_way = (c for c in failed if c.index in reaching or not used.isdisjoint(lab.code.cells[c.index].binds))
    return next(on_the_way, None)
