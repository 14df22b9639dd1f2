"""The rubric: what every item is worth, in the assignment's own words, and which verdicts of part 1 are right."""

from __future__ import annotations

import math
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

RUBRIC = Path(__file__).parent / "rubric.toml"
ANSWER_KEY = Path(__file__).parent / "answer_key.toml"
PART_1 = tuple(f"part1.{k}" for k in range(1, 11))

T = TypeVar("T", bound=BaseModel)
Visibility = Literal["hidden", "after_due_date", "after_published", "visible"]
Share = Annotated[float, Field(ge=0, le=1)]
# What is left of a check's points: a share, or the names of shortcomings in rubric.toml's [partial_credit].
Credit = float | str | tuple[str, ...]


class RubricError(Exception):
    """rubric.toml or answer_key.toml is not what the grader needs; the message names file, place and problem."""


class Item(BaseModel):
    """One rubric item: `points` is its maximum, `checks` the relative weights of its checks."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    points: Annotated[float, Field(gt=0)]
    title: str
    text: str
    bonus: bool = False
    visibility: Visibility = "visible"
    checks: Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]


class Bars(BaseModel):
    """Accuracies in [0, 1] that the assignment asks for, and how much lower they are on lossy images."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lab1: Share
    lab2: Share
    lab3: Share
    lossy_allowance: Share

    def on(self, lossy: bool, lab: Literal["lab1", "lab2", "lab3"]) -> float:
        """A lab's bar on this course's images."""
        return round({"lab1": self.lab1, "lab2": self.lab2, "lab3": self.lab3}[lab] - lossy * self.lossy_allowance, 4)


class Best(BaseModel):
    """The best validation accuracy known of a lab, on lossy images or others, and its deviation from seed to seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    accuracy: Share
    deviation: Share
    lossy: bool


class Scale(BaseModel):
    """Points of a piecewise linear scale: share of the points at each accuracy, both rising."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    accuracy: Annotated[tuple[Share, ...], Field(min_length=1)]
    share: Annotated[tuple[Share, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if len(self.accuracy) != len(self.share):
            raise ValueError(f"expected a share for each accuracy, found {len(self.share)} for {len(self.accuracy)}")
        if any(b <= a for a, b in pairwise(self.accuracy)) or any(b < a for a, b in pairwise(self.share)):
            raise ValueError("expected accuracies that rise, and shares that do not fall")
        return self


class Rubric(BaseModel):
    """All items by id, in the assignment's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cap: Annotated[float, Field(gt=0)]
    bars: Bars
    best: dict[str, Best] = {}
    held_out_scale: Scale
    partial_credit: dict[str, Annotated[float, Field(ge=0, lt=1)]] = {}
    items: dict[str, Item]

    def share(self, credit: Credit) -> float:
        """The share in [0, 1] that a credit stands for; several shortcomings multiply. Raises RubricError."""
        if isinstance(credit, float | int):
            return float(credit)
        names = (credit,) if isinstance(credit, str) else credit
        unknown = [name for name in names if name not in self.partial_credit]
        if unknown:
            raise RubricError(f"rubric.toml, partial_credit: there is no {unknown[0]}, which a check names")
        return math.prod(self.partial_credit[name] for name in names)


def load_rubric(path: Path = RUBRIC) -> Rubric:
    """Raises RubricError."""
    return _validated(path, Rubric)


def _several(verdicts: Any) -> Any:
    """A single verdict stands for itself."""
    return (verdicts,) if isinstance(verdicts, bool) else verdicts


class _Key(BaseModel):
    key: dict[str, Annotated[tuple[bool, ...], Field(min_length=1), BeforeValidator(_several)]]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for item in (*PART_1, *self.key):
            if item not in self.key:
                raise ValueError(f"expected a verdict for {item}, found none")
            if item not in PART_1:
                raise ValueError(f"expected {PART_1[0]} to {PART_1[-1]}, found {item}")
        return self


def load_answer_key(path: Path = ANSWER_KEY) -> dict[str, tuple[bool, ...]]:
    """Accepted verdicts by item id; none where there is no key, as at a student's. Raises RubricError."""
    if not path.exists():
        return {}
    return _validated(path, _Key, wrap="key").key


def _validated(path: Path, model: type[T], wrap: str | None = None) -> T:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return model.model_validate({wrap: content} if wrap else content)
    except OSError as error:
        raise RubricError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RubricError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise RubricError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        raise RubricError(f"{path}{_first_problem(error, wrap)}") from None


def _first_problem(error: ValidationError, wrap: str | None) -> str:
    """`, items.lab1.a.points: input should be greater than 0, found -2`."""
    first: Any = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != wrap)
    problem = first["msg"].removeprefix("Value error, ")
    found = "" if first["type"] in ("value_error", "missing") else f", found {str(first['input'])[:80]}"
    return f"{f', {place}' if place else ''}: {problem[:1].lower()}{problem[1:]}{found}"
