"""The checks as functions: found by their marks, called with what pytest's fixtures would give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from grader.checks.registry import Check, all_checks, judge
from grader.evidence.evidence import LABS, Evidence
from grader.rubric import load_answer_key, load_rubric

RUBRIC, KEY = load_rubric(), load_answer_key()


def name_of(check: Check) -> str:
    """`lab1.a/architecture`."""
    return f"{check.item}/{check.name}"


CHECKS = {name_of(check): check for check in all_checks()}


def lab_of(check: Check) -> str | None:
    """The lab whose notebook a check needs."""
    return next((role for role in LABS if role in inspect.signature(check.function).parameters), None)


def outcome_of(check: Check, evidence: Evidence, recorded: dict[str, object] | None = None) -> tuple[str, float, str]:
    """Outcome, credit and reason of a check; what it found goes to `recorded`. Its own errors pass through."""
    verdict = judge(check, evidence, RUBRIC, KEY)
    if recorded is not None:
        recorded |= verdict.found
    return verdict.outcome, verdict.credit, verdict.reason


@dataclass(frozen=True)
class Example:
    """Evidence, and what the check must say of it: `reason` is a part of what the student reads."""

    name: str
    make: Callable[[], Evidence]
    outcome: str
    credit: float = 0.0
    reason: str = ""


def passes(name: str, make: Callable[[], Evidence]) -> Example:
    """Right work."""
    return Example(name, make, "passed", 1.0)


def fails(name: str, make: Callable[[], Evidence], reason: str, credit: float = 0.0) -> Example:
    """Wrong work."""
    return Example(name, make, "failed", credit, reason)


def stays_open(name: str, make: Callable[[], Evidence], reason: str) -> Example:
    """Work of which the machine can say nothing."""
    return Example(name, make, "could_not_check", 0.0, reason)
