"""What the reference's training looks like in the small world, over many seeds: grader/calibration.json, typed.

`python -m grader calibrate` measures it (grader.calibrate); the checks of learning read their thresholds from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FILE = Path(__file__).parent / "calibration.json"
SIGMAS = 4.0
ENDS = 8  # steps at either end of a run whose mean losses are compared
CHECKPOINTS = (32, 64, 128, 256)  # numbers of steps after which the fall of the loss is looked at

Source = Literal["embedded", "course"]
Side = Literal["below", "above"]


def fall(losses: Sequence[float], steps: int) -> float:
    """How far the loss fell in the first `steps` full batches: mean of the first ENDS minus mean of the last."""
    return fmean(losses[:ENDS]) - fmean(losses[:steps][-ENDS:])


class Distribution(BaseModel):
    """One value for each seed; `threshold` lies SIGMAS standard deviations `below` or `above` their mean."""

    model_config = ConfigDict(frozen=True)
    values: Annotated[tuple[float, ...], Field(min_length=2)]
    side: Side
    mean: float
    deviation: float
    threshold: float

    @classmethod
    def of(cls, values: Sequence[float], side: Side) -> Distribution:
        """Values are kept to five digits, and the rest is computed from what is kept."""
        kept = tuple(round(value, 5) for value in values)
        mean, deviation = fmean(kept), stdev(kept)
        threshold = mean + (SIGMAS if side == "above" else -SIGMAS) * deviation
        return cls(values=kept, side=side, mean=mean, deviation=deviation, threshold=threshold)


class Measured(BaseModel):
    """One lab on one source of data.

    `falls` by number of steps, of the reference's run; `noise` is the fall of the same run with learning rate 0;
    `first_loss` of fresh nets; `overfit` the last loss on one batch. `command`, `versions` and `hardware` say how and
    on what it was measured.
    """

    model_config = ConfigDict(frozen=True)
    command: str
    versions: dict[str, str]
    hardware: str
    setting: str
    seeds: int
    falls: dict[int, Distribution]
    noise: Distribution
    first_loss: Distribution
    overfit: Distribution

    def checkpoint(self, steps: int) -> int | None:
        """The largest number of steps, at most `steps`, at which the fall was measured."""
        return max((known for known in self.falls if known <= steps), default=None)


class Calibration(BaseModel):
    """All that was measured, by lab and source of data."""

    model_config = ConfigDict(frozen=True)
    labs: dict[str, dict[Source, Measured]] = {}

    def with_(self, lab: str, source: Source, measured: Measured) -> Calibration:
        """The same with one entry more, or replaced."""
        return Calibration(labs={**self.labs, lab: {**self.labs.get(lab, {}), source: measured}})


def read(path: Path) -> Calibration:
    """An empty calibration where there is no such file. Raises pydantic.ValidationError."""
    return Calibration.model_validate_json(path.read_bytes()) if path.is_file() else Calibration()


@cache
def load_calibration() -> Calibration:
    """The calibration that comes with the grader."""
    return read(FILE)
