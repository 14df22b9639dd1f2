"""Mean, spread and comparison of what several seeds gave."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom; beyond, the normal distribution's is near.
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
NORMAL_QUANTILE = 1.960


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (with n - 1; 0 for a single value) of n values, and the values in order of seeds."""

    mean: float
    std: float
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    def __str__(self) -> str:
        """A fraction in percent: "70.1% ± 0.3", or "70.1%" for a single value."""
        return f"{self.mean:.1%}" + (f" ± {100 * self.std:.1f}" if self.n > 1 else "")


def summary(values: Sequence[float]) -> Summary:
    """Raises ValueError where there are no values."""
    if not values:
        raise ValueError("summary: expected at least one value")
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    return Summary(statistics.fmean(values), std, tuple(values))


def as_record(of: Summary) -> dict[str, Any]:
    return {"mean": of.mean, "std": of.std, "n": of.n, "values": list(of.values)}


def standard_error(accuracy: float, count: int) -> float:
    """Standard error of a fraction measured on `count` images, by the binomial distribution."""
    return math.sqrt(accuracy * (1 - accuracy) / count)


def compare(accuracy: Summary, other: Summary, count: int) -> str:
    """How `accuracy` stands to `other`, both measured on `count` images: "higher", "lower" or "not told apart".

    With several seeds noise is the 95 % interval of the mean difference of pairs (Student, Biometrika 6(1), 1908): two
    runs of one seed start from the same weights and, augmented alike, see the same batches, so a lucky seed lifts both.
    With a single seed it is the interval of the difference of two independent fractions of `count` images.
    """
    pairs = [mine - theirs for mine, theirs in zip(accuracy.values, other.values, strict=False)]
    difference = statistics.fmean(pairs)
    if len(pairs) > 1:
        noise = t_quantile(len(pairs) - 1) * statistics.stdev(pairs) / math.sqrt(len(pairs))
    else:
        noise = NORMAL_QUANTILE * math.hypot(standard_error(accuracy.mean, count), standard_error(other.mean, count))
    if abs(difference) <= noise:
        return "not told apart"
    return "higher" if difference > 0 else "lower"


def t_quantile(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t."""
    return T_QUANTILES[freedom - 1] if freedom <= len(T_QUANTILES) else NORMAL_QUANTILE


def prediction_width(n: int) -> float:
    """Half the width, in standard deviations of n > 1 values, of the 95 % interval of one value more.

    t * sqrt(1 + 1 / n): the deviation of few values is itself uncertain.
    """
    return t_quantile(n - 1) * math.sqrt(1 + 1 / n)
