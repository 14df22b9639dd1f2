"""From the checks' verdicts to points: plain arithmetic, no opinion.

An item's points are awarded, lost or open. Open points await a person: prose that no machine judges, and whatever could
not be checked. So `awarded + lost + open == max` for every item, and the grader's own faults never cost a point.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from grader.rubric import Item, Rubric

Outcome = Literal["passed", "failed", "could_not_check"]
EvidenceKind = Literal["challenge", "trace", "record", "file", "person"]


class Verdict(BaseModel):
    """What one check found. `credit` is the share of its points earned, 1 for passed; `found` is the evidence."""

    model_config = ConfigDict(frozen=True)
    item: str
    check: str
    sentence: str
    evidence: EvidenceKind
    outcome: Outcome
    credit: float
    reason: str
    found: dict[str, Any] = {}


class ItemGrade(BaseModel):
    """One rubric item of one submission."""

    model_config = ConfigDict(frozen=True)
    item: str
    title: str
    text: str
    max: float
    bonus: bool
    visibility: str
    awarded: float
    lost: float
    open: float
    verdicts: tuple[Verdict, ...]

    @property
    def needs_review(self) -> bool:
        """Whether a person must look."""
        return self.open > 0


class Grade(BaseModel):
    """A whole submission; `total` is capped, `open` is what a person may still add before the cap."""

    model_config = ConfigDict(frozen=True)
    total: float
    open: float
    cap: float
    items: tuple[ItemGrade, ...]


def grade(rubric: Rubric, verdicts: Iterable[Verdict]) -> Grade:
    """Every item of the rubric, also those whose checks did not run: their points are open."""
    by_item: dict[str, list[Verdict]] = {name: [] for name in rubric.items}
    for verdict in verdicts:
        by_item[verdict.item].append(verdict)
    items = tuple(_grade_item(name, item, by_item[name]) for name, item in rubric.items.items())
    return Grade(
        total=min(rubric.cap, _cents(sum(item.awarded for item in items))),
        open=_cents(sum(item.open for item in items)),
        cap=rubric.cap,
        items=items,
    )


def _cents(points: float) -> float:
    return round(points + 1e-9, 2)


def _grade_item(name: str, item: Item, verdicts: list[Verdict]) -> ItemGrade:
    weights = dict(item.checks)
    for verdict in verdicts:
        weights.setdefault(verdict.check, 1.0)
    worth = {check: item.points * weight / sum(weights.values()) for check, weight in weights.items()}
    awarded = _cents(sum(worth[v.check] * v.credit for v in verdicts if v.outcome != "could_not_check"))
    judged = sum(worth[v.check] for v in verdicts if v.outcome != "could_not_check")
    everything = judged > item.points - 1e-6
    # What is left after rounding is open only where something is open, so that the three add up to the cent.
    lost = _cents(item.points - awarded if everything else judged - awarded)
    return ItemGrade(
        item=name,
        title=item.title,
        text=item.text,
        max=item.points,
        bonus=item.bonus,
        visibility=item.visibility,
        awarded=awarded,
        lost=lost,
        open=0.0 if everything else _cents(item.points - awarded - lost),
        verdicts=tuple(verdicts),
    )
