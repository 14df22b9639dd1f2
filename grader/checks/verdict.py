"""What one check found, as data: the only thing that leaves the checks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["passed", "failed", "could_not_check"]
EvidenceKind = Literal["challenge", "trace", "record", "file", "person"]


class Verdict(BaseModel):
    """What one check found. `credit` is the share of its points earned, 1 for passed; `found` is the evidence.

    `flags` are contradictions that a person must judge; they change no points.
    """

    model_config = ConfigDict(frozen=True)
    item: str
    check: str
    sentence: str
    evidence: EvidenceKind
    outcome: Outcome
    credit: Annotated[float, Field(ge=0, le=1)]
    reason: str
    found: dict[str, Any] = {}
    flags: tuple[str, ...] = ()
