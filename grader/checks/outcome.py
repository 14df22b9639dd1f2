"""How a check says what it found: it returns (passed), fails with a reason, or could not check; it may flag a claim.

A check is a pytest test named `check_...` and decorated with the rubric item, its own name in rubric.toml and the kind
of evidence it rests on; its docstring is the sentence that the student reads. Nothing else needs an edit to add one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import pytest

from grader.checks.verdict import EvidenceKind
from grader.rubric import Credit

RecordProperty = Callable[[str, object], None]  # pytest's fixture: what it is given stands in the evidence of a check
FLAG = "flag"
F = TypeVar("F", bound=Callable[..., None])


class Failed(Exception):
    """The work does not do what the check's sentence says; `credit` is what it earns all the same."""

    def __init__(self, reason: str, credit: Credit = 0.0, found: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.credit, self.found = reason, credit, found or {}


class CouldNotCheck(Exception):
    """Nothing can be said by machine: the points stay open and a person looks."""

    def __init__(self, reason: str, found: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.found = reason, found or {}


def check(item: str, name: str, evidence: EvidenceKind) -> Callable[[F], F]:
    """Mark a function as the check `name` of a rubric item."""
    return pytest.mark.check(item=item, name=name, evidence=evidence)


def fail(reason: str, *, credit: Credit = 0.0, **found: Any) -> NoReturn:
    """Raises Failed; `credit` is a share in [0, 1), or names the shortcoming in rubric.toml's partial_credit."""
    raise Failed(reason, credit, found)


def flag(record_property: RecordProperty, contradiction: str) -> None:
    """Ask a person to look at a claim that something contradicts; no point depends on it."""
    record_property(FLAG, contradiction)


def could_not_check(reason: str, **found: Any) -> NoReturn:
    """Raises CouldNotCheck."""
    raise CouldNotCheck(reason, found)
