"""The rubric: what every item is worth, in the assignment's own words, and which verdicts of part 1 are right."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

RUBRIC = Path(__file__).parent / "rubric.toml"
ANSWER_KEY = Path(__file__).parent / "answer_key.toml"

T = TypeVar("T", bound=BaseModel)
Visibility = Literal["hidden", "after_due_date", "after_published", "visible"]


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
    checks: dict[str, Annotated[float, Field(gt=0)]]


class Bars(BaseModel):
    """Accuracies in [0, 1] that the assignment asks for, and how much lossy images lower Lab 3's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lab1: float
    lab2: float
    lab3: float
    lossy_allowance: float


class Scale(BaseModel):
    """Points of a piecewise linear scale: share of the points at each accuracy."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    accuracy: tuple[float, ...]
    share: tuple[float, ...]


class Rubric(BaseModel):
    """All items by id, in the assignment's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cap: float
    bars: Bars
    held_out_scale: Scale
    items: dict[str, Item]


def load_rubric(path: Path = RUBRIC) -> Rubric:
    """Raises RubricError."""
    return _validated(path, Rubric)


class _Key(BaseModel):
    key: dict[str, tuple[bool, ...]]


def load_answer_key(path: Path = ANSWER_KEY) -> dict[str, tuple[bool, ...]]:
    """Accepted verdicts by item id. Raises RubricError."""
    return _validated(path, _Key, wrap="key").key


def _validated(path: Path, model: type[T], wrap: str | None = None) -> T:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return model.model_validate({wrap: content} if wrap else content)
    except OSError as error:
        raise RubricError(f"{path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise RubricError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RubricError(f"{path}, {place}: {first['msg']}") from None
