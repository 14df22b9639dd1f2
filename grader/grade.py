"""From the checks' verdicts to points: plain arithmetic, no opinion.

An item's points are awarded, lost or open. Open points await a person: prose that no machine judges, and whatever could
not be checked. So `awarded + lost + open == max` for every item, and the grader's own faults never cost a point.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from grader.checks.verdict import Verdict
from grader.rubric import Item, Rubric


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
        """Whether a person must look: at open points, or at a claim that something contradicts."""
        return self.open > 0 or any(verdict.flags for verdict in self.verdicts)


class Grade(BaseModel):
    """A whole submission; `total` is capped, `open` is what a person may still add before the cap."""

    model_config = ConfigDict(frozen=True)
    total: float
    open: float
    cap: float
    items: tuple[ItemGrade, ...]


def grade(rubric: Rubric, verdicts: Iterable[Verdict]) -> Grade:
    """Every item of the rubric, also those whose checks did not run: their points are open.

    An item that an instructor took out of the rubric is not graded; of two verdicts of one check the later counts.
    """
    by_item: dict[str, dict[str, Verdict]] = {name: {} for name in rubric.items}
    for verdict in verdicts:
        if verdict.item in by_item:
            by_item[verdict.item][verdict.check] = verdict
    items = tuple(_grade_item(name, item, by_item[name]) for name, item in rubric.items.items())
    return Grade(
        total=min(rubric.cap, _cents(sum(item.awarded for item in items))),
        open=_cents(sum(item.open for item in items)),
        cap=rubric.cap,
        items=items,
    )


def _cents(points: float) -> float:
    return max(0.0, round(points + 1e-9, 2))


def _grade_item(name: str, item: Item, verdicts: dict[str, Verdict]) -> ItemGrade:
    weights = item.checks | {check: 1.0 for check in sorted(verdicts) if check not in item.checks}
    worth = {check: item.points * weight / sum(weights.values()) for check, weight in weights.items()}
    judged = {check: verdict for check, verdict in verdicts.items() if verdict.outcome != "could_not_check"}
    awarded = _cents(sum(worth[check] * verdict.credit for check, verdict in judged.items()))
    rest = _cents(item.points - awarded)
    # What rounding leaves over is open only where a check is open, and lost only where a check failed.
    if len(judged) == len(weights):
        still_open = 0.0
    elif all(verdict.credit == 1 for verdict in judged.values()):
        still_open = rest
    else:
        still_open = min(rest, _cents(sum(worth[check] for check in weights if check not in judged)))
    return ItemGrade(
        item=name,
        title=item.title,
        text=item.text,
        max=item.points,
        bonus=item.bonus,
        visibility=item.visibility,
        awarded=awarded,
        lost=_cents(rest - still_open),
        open=still_open,
        verdicts=tuple(verdicts[check] for check in worth if check in verdicts),
    )
