"""The checks as functions: found by their marks, called with what pytest's fixtures would give them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grader.checks
from grader.checks.outcome import CouldNotCheck, Failed
from grader.checks.support import runnable
from grader.evidence.evidence import LABS, Evidence
from grader.rubric import PART_1, load_answer_key, load_rubric

RUBRIC, KEY = load_rubric(), load_answer_key()


@dataclass(frozen=True)
class Check:
    """A check of one rubric item."""

    item: str
    name: str
    kind: str
    function: Callable[..., None]

    @property
    def id(self) -> str:
        """`lab1.a/architecture`."""
        return f"{self.item}/{self.name}"

    @property
    def sentence(self) -> str:
        """What the student reads."""
        return " ".join((self.function.__doc__ or "").split())

    @property
    def lab(self) -> str | None:
        """The lab whose notebook it needs."""
        return next((role for role in LABS if role in inspect.signature(self.function).parameters), None)


def _collect() -> dict[str, Check]:
    found = []
    for module in pkgutil.iter_modules(grader.checks.__path__):
        if not module.name.startswith("check_"):
            continue
        for function in vars(importlib.import_module(f"grader.checks.{module.name}")).values():
            for mark in getattr(function, "pytestmark", ()):
                if mark.name == "check":
                    items = [mark.kwargs["item"]] if mark.kwargs["item"] else PART_1
                    found += [Check(i, mark.kwargs["name"], mark.kwargs["evidence"], function) for i in items]
    return {check.id: check for check in found}


CHECKS = _collect()


def outcome_of(check: Check, evidence: Evidence, recorded: dict[str, object] | None = None) -> tuple[str, float, str]:
    """Outcome, credit and reason of a check, which may put properties in `recorded`; its own errors pass through."""
    properties = {} if recorded is None else recorded
    given: dict[str, Any] = {
        "evidence": evidence,
        "rubric": RUBRIC,
        "key": KEY,
        "item": check.item,
        "record_property": properties.__setitem__,
    }
    wanted = inspect.signature(check.function).parameters
    try:
        given |= {role: runnable(evidence, role) for role in LABS if role in wanted}
        check.function(**{name: given[name] for name in wanted})
    except Failed as failed:
        return "failed", failed.credit, failed.reason
    except CouldNotCheck as unknown:
        return "could_not_check", 0.0, unknown.reason
    return "passed", 1.0, ""


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
