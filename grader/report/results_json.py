"""results.json in Gradescope's schema: one test for each rubric item, all else under `extra_data`.

Documentation: Gradescope, "Autograder specifications", output format.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from grader.checks.verdict import Verdict
from grader.grade import Grade, ItemGrade

EXCERPT = 300  # characters of a finding that an item's output shows; `extra_data` has all of it
MARKS = {"passed": "ok", "failed": "--", "could_not_check": "??"}


def write_results(path: Path, grade: Grade, made_with: dict[str, str]) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(results(grade, made_with), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def results(grade: Grade, made_with: dict[str, str]) -> dict[str, Any]:
    """The whole document. `score` is the capped total of what the machine awarded."""
    return {
        "score": grade.total,
        "output": _overview(grade),
        "output_format": "text",
        "test_output_format": "text",
        "visibility": "visible",
        "tests": [_test(item) for item in grade.items],
        "extra_data": {"open": grade.open, "cap": grade.cap, **made_with},
    }


def _overview(grade: Grade) -> str:
    """The total, which students may see only where they see every item: its change would tell what is held back."""
    if any(item.visibility != "visible" for item in grade.items):
        return "Items that are held back are shown when the grades are published."
    total = f"{grade.total:g} of {grade.cap:g} points by machine."
    if grade.open:
        total += f" {grade.open:g} points wait for a person: prose, and what could not be checked."
    return total


def _test(item: ItemGrade) -> dict[str, Any]:
    decided = {} if item.open and not item.lost else {"status": "failed" if item.lost else "passed"}
    return {
        "number": item.item,
        "name": item.title,
        "score": item.awarded,
        "max_score": item.max,
        **decided,
        "output": output_text(item),
        "visibility": item.visibility,
        "extra_data": {
            "text": item.text,
            "bonus": item.bonus,
            "lost": item.lost,
            "open": item.open,
            "needs_review": item.needs_review,
            "checks": [_check(verdict) for verdict in item.verdicts],
        },
    }


def _check(verdict: Verdict) -> dict[str, Any]:
    needs_review = verdict.outcome == "could_not_check" or bool(verdict.flags)
    return {**verdict.model_dump(exclude={"item"}), "needs_review": needs_review}


def output_text(item: ItemGrade) -> str:
    """What a student reads under an item: the assignment's words, then each check with its reason."""
    lines = [item.text, ""]
    for verdict in item.verdicts:
        reason = f": {verdict.reason}" if verdict.reason else ""
        lines.append(f"[{MARKS[verdict.outcome]}] {verdict.sentence}{reason}")
        lines += [f"     {name}: {shown(value)}" for name, value in verdict.found.items()]
        lines += [f"     for a person to judge: {flag}" for flag in verdict.flags]
    return "\n".join(lines)


def shown(value: Any) -> str:
    """A finding in words: numbers to four digits, lists spelled out, long texts cut."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(part) for part in value)
    text = " ".join(str(value).split())
    return text if len(text) <= EXCERPT else text[:EXCERPT] + " ..."
