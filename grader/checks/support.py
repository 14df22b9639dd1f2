"""What several checks share: a lab that can be checked at all, what is missing, and prose for a person."""

from __future__ import annotations

from typing import NoReturn

from grader.checks.blame import hindrance, own_failure
from grader.checks.outcome import could_not_check, fail
from grader.evidence.evidence import Evidence, Lab
from grader.execution.trace_events import NetEvent

EXCERPT = 1_500
PROSE = 80  # characters of Markdown that may be an answer without a heading


def runnable(evidence: Evidence, role: str) -> Lab:
    """The lab, or the reason why none of its checks can be made."""
    lab = evidence.labs[role]
    if lab.problem is None:
        return lab
    if lab.at_fault == "grader":
        could_not_check(lab.problem)
    fail(lab.problem, file=lab.file)


def missing(lab: Lab, reason: str, *, sign: str, credit: float = 0.0, **found: object) -> NoReturn:
    """What the check looked for did not happen; `sign` is a regular expression of code that would have done it.

    Lost, unless such code was hindered by the grader's world (see `grader.checks.blame`).
    """
    hindered = hindrance(lab, sign)
    if hindered is not None:
        could_not_check(f"{reason}; but {hindered.describe()}, which may be the grading machine's fault", **found)
    failed = own_failure(lab, sign)
    fail(f"{reason}; {failed.describe()}" if failed is not None else reason, credit=credit, **found)


def largest_net(lab: Lab) -> NetEvent:
    """The net with the most layers that have weights, or the reason why there is none."""
    weights = {net.net: sum(layer.weight is not None for layer in net.layers) for net in lab.nets}
    whole = [net for net in lab.nets if weights[net.net] > 1]
    if whole:
        return max(whole, key=lambda net: weights[net.net])
    if lab.broken_nets:
        broken = lab.broken_nets[0]
        fail(f"{broken.cls} ({lab.where(broken)}) raises on a batch of (2, 3, 32, 32) images: {broken.problem}")
    missing(lab, "no network was built when the notebook ran", sign=r"Module\b|Sequential")


def differs(lab: Lab, net: NetEvent, reason: str, *, credit: float) -> NoReturn:
    """The net has the right layers and other outputs; where it gave no outputs, a person must compare."""
    if not lab.compared(net.net):
        problem = next((c.problem for c in lab.challenges if c.net == net.net and c.problem), "it could not be copied")
        could_not_check(f"{net.cls} ({lab.where(net)}) has the right layers, but could not be compared: {problem}")
    fail(reason, credit=credit)


def words(evidence: Evidence, item: str) -> str:
    """What the student wrote under an item's heading, in the notebook or in a report; "" where there is nothing."""
    lab = evidence.labs[item.partition(".")[0]]
    passage = lab.written.get(item) or evidence.answers.passages.get(item)
    answer = evidence.answers.answers.get(item)
    return passage.text if passage is not None else answer.explanation if answer is not None else ""


def for_a_person(evidence: Evidence, item: str) -> NoReturn:
    """Prose under an item's heading in notebook or report: kept for a person, or lost where there is none."""
    lab = evidence.labs[item.partition(".")[0]]
    passage = lab.written.get(item) or evidence.answers.passages.get(item)
    answer = evidence.answers.answers.get(item)
    if passage is not None:
        could_not_check("for a person to judge", text=passage.text[:EXCERPT], where=passage.source)
    if answer is not None and answer.explanation.strip():
        could_not_check("for a person to judge", text=answer.explanation[:EXCERPT], where=answer.source)
    _without_heading(evidence, lab)
    looked = ", ".join([lab.file or f"{lab.title} (no notebook)", *evidence.answers.read])
    letter = item.split(".")[1]
    fail(
        f"no written answer to {lab.title} ({letter}) was found in {looked}; write it under a heading like '({letter})'"
    )


def _without_heading(evidence: Evidence, lab: Lab) -> None:
    """Text that may hold an answer although no heading of the lab's questions was found: a person must look."""
    if evidence.answers.problems:
        could_not_check(f"no answer was found, but a report could not be read: {evidence.answers.problems[0]}")
    if not lab.written and len(lab.added) >= PROSE:
        could_not_check(
            f"{lab.file} has text but no heading like '(a)': a person must find the answer in it",
            text=lab.added[:EXCERPT],
        )
    reports = [name for name in evidence.answers.read if name.lower().endswith(".pdf")]
    if reports and not any(item.startswith(lab.role) for item in evidence.answers.passages):
        could_not_check(f"{reports[0]} has no heading of {lab.title}: a person must find the answer in it")
