"""What several checks share: a lab that can be checked at all, blame for missing evidence, and prose for a person."""

from __future__ import annotations

import re
from typing import NoReturn

from grader.checks.outcome import could_not_check, fail
from grader.evidence.evidence import CellRun, Evidence, Lab

# What a notebook can stumble over here and not at the student's: never a reason to take a point.
WORLD_FAULTS = re.compile(
    r"No module named|cuda|cudnn|nvidia|/content/|drive\.mount|URLError|urlopen|Name or service|[A-Z]:[/\\]",
    re.IGNORECASE,
)
EXCERPT = 1_500


def runnable(evidence: Evidence, role: str) -> Lab:
    """The lab, or the reason why none of its checks can be made."""
    lab = evidence.labs[role]
    if lab.problem is None:
        return lab
    if lab.at_fault == "grader":
        could_not_check(lab.problem)
    fail(lab.problem, file=lab.file)


def missing(lab: Lab, reason: str, *, credit: float = 0.0, **found: object) -> NoReturn:
    """What the check looked for did not happen; where a cell stumbled over the grader's world, that costs nothing."""
    cells = [cell for cell in lab.cells if cell.status != "ok"]
    world = next((cell for cell in cells if cell.status == "error" and WORLD_FAULTS.search(cell.error)), None)
    if world is not None:
        could_not_check(f"{reason}; but {_describe(world)}, which may be the grading machine's fault", **found)
    if cells:
        reason = f"{reason}; {_describe(cells[0])}"
    fail(reason, credit=credit, **found)


def _describe(cell: CellRun) -> str:
    """Cells are counted as a reader does, from 1 over all cells of the notebook."""
    ended = {"error": "raised", "not run": "was not run:"}.get(cell.status, "stopped:")
    return f"cell {cell.index + 1} {ended} {' '.join(cell.error.split())[:200]}"


def for_a_person(evidence: Evidence, item: str) -> NoReturn:
    """Prose under an item's heading in notebook or report: kept for a person, or lost where there is none."""
    lab = evidence.labs[item.partition(".")[0]]
    passage = lab.written.get(item) or evidence.answers.passages.get(item)
    if passage is None and item in evidence.answers.answers:
        answer = evidence.answers.answers[item]
        could_not_check("for a person to judge", text=answer.explanation[:EXCERPT], where=answer.source)
    if passage is not None:
        could_not_check("for a person to judge", text=passage.text[:EXCERPT], where=passage.source)
    if evidence.answers.problems:
        could_not_check(f"no answer was found, but a report could not be read: {evidence.answers.problems[0]}")
    looked = ", ".join([lab.file or f"{lab.title} (no notebook)", *evidence.answers.read])
    letter = item.split(".")[1]
    fail(
        f"no written answer to {lab.title} ({letter}) was found in {looked}; write it under a heading like '({letter})'"
    )
