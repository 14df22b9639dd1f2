"""Every check that exists, read off the decorators, and the verdict that one check's outcome makes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import grader.checks
from grader.checks.outcome import FLAG, CouldNotCheck, Failed
from grader.checks.support import runnable
from grader.checks.verdict import EvidenceKind, Verdict
from grader.evidence.evidence import LABS, Evidence
from grader.rubric import PART_1, Rubric, RubricError


@dataclass(frozen=True)
class Check:
    """One check of one rubric item: its name in rubric.toml, its kind of evidence, and the function."""

    item: str
    name: str
    evidence: EvidenceKind
    function: Callable[..., None]

    @property
    def sentence(self) -> str:
        """What the student reads: the docstring."""
        return " ".join((self.function.__doc__ or "").split())


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check, those of part 1 once for each question."""
    return tuple(check for module in pkgutil.iter_modules(grader.checks.__path__) for check in _of_module(module.name))


def _of_module(name: str) -> Iterator[Check]:
    if not name.startswith("check_"):
        return
    for _, function in inspect.getmembers(importlib.import_module(f"grader.checks.{name}"), inspect.isfunction):
        for mark in (mark for mark in getattr(function, "pytestmark", []) if mark.name == "check"):
            for item in [mark.kwargs["item"]] if mark.kwargs["item"] else PART_1:
                yield Check(item, mark.kwargs["name"], mark.kwargs["evidence"], function)


def verify(rubric: Rubric) -> None:
    """Raises RubricError where an item or a check of the rubric does not exist: its points could never be earned."""
    known: dict[str, set[str]] = {}
    for check in all_checks():
        known.setdefault(check.item, set()).add(check.name)
    for item, entry in rubric.items.items():
        if item not in known:
            raise RubricError(
                f"rubric.toml, items.{item}: there is no check of such an item; there are {', '.join(known)}"
            )
        for name in entry.checks.keys() - known[item]:
            there_are = ", ".join(sorted(known[item]))
            raise RubricError(f"rubric.toml, items.{item}.checks.{name}: there is no such check; there are {there_are}")


def verdict_of(
    check: Check, error: BaseException | None, recorded: Iterable[tuple[str, Any]], rubric: Rubric
) -> Verdict:
    """The verdict of a check that returned (`error` is None) or raised; `recorded` is what it put beside,
    flags among it.

    An error of the grader's own costs nothing: the check could not be made.
    """
    recorded = list(recorded)
    found = {name: value for name, value in recorded if name != FLAG}
    outcome, credit, reason = "passed", 1.0, ""
    if isinstance(error, Failed):
        found |= error.found
        outcome, credit, reason = "failed", rubric.share(error.credit), error.reason
    elif isinstance(error, CouldNotCheck):
        found |= error.found
        outcome, credit, reason = "could_not_check", 0.0, error.reason
    elif error is not None:
        reason = f"the grader met an error of its own ({type(error).__name__}); a person will look"
        outcome, credit = "could_not_check", 0.0
    return Verdict(
        item=check.item,
        check=check.name,
        sentence=check.sentence,
        evidence=check.evidence,
        outcome=outcome,  # type: ignore[arg-type]
        credit=credit,
        reason=reason,
        found=found,
        flags=tuple(str(value) for name, value in recorded if name == FLAG),
    )


def judge(check: Check, evidence: Evidence, rubric: Rubric, key: Mapping[str, tuple[bool, ...]]) -> Verdict:
    """Call a check with what pytest's fixtures of these names would give it."""
    recorded: list[tuple[str, object]] = []
    given: dict[str, Any] = {
        "evidence": evidence,
        "rubric": rubric,
        "key": key,
        "item": check.item,
        "record_property": lambda name, value: recorded.append((name, value)),
    }
    wanted = inspect.signature(check.function).parameters
    try:
        given |= {role: runnable(evidence, role) for role in LABS if role in wanted}
        check.function(**{name: given[name] for name in wanted})
    except (Failed, CouldNotCheck) as outcome:
        return verdict_of(check, outcome, recorded, rubric)
    return verdict_of(check, None, recorded, rubric)
