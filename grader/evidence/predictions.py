"""predictions.csv and its score against the held-out labels."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from grader.evidence.label_table import CLASSES, TableError, read_label_table

Z_95 = 1.959964  # two-sided 95 % quantile of the standard normal distribution


class PredictionsError(TableError):
    """predictions.csv cannot be scored: one sentence for the student."""


class LabelsError(TableError):
    """The instructor's file of held-out labels cannot be used: one sentence for the instructor."""


@dataclass(frozen=True)
class Score:
    """Agreement of predicted with true labels.

    `interval` is the 95 % Wilson score interval of the accuracy; `recall` per class is None where no image has that
    label; `confusion[label][predicted]` counts images.
    """

    accuracy: float
    correct: int
    n: int
    interval: tuple[float, float]
    recall: tuple[float | None, ...]  # (10,)
    confusion: tuple[tuple[int, ...], ...]  # (10, 10)


def read_predictions(path: Path, *, rows: int = 10_000, max_bytes: int = 2_000_000) -> tuple[int, ...]:
    """The predicted labels (0-9) of images 0 .. rows-1, in that order; what is accepted: `read_label_table`.

    Raises:
        PredictionsError: the file is missing or in another format; the first offending line is named.
    """
    try:
        return read_label_table(path, rows=rows, max_bytes=max_bytes)
    except TableError as error:
        raise PredictionsError(error.message, error.line) from None


def read_labels(path: Path, *, rows: int = 10_000, max_bytes: int = 2_000_000) -> tuple[int, ...]:
    """The true labels of the held-out images, from the instructor's heldout.csv: same format, but a link is followed.

    Raises:
        LabelsError: the file is missing or in another format; the first offending line is named.
    """
    try:
        return read_label_table(Path(os.path.realpath(path)), rows=rows, max_bytes=max_bytes)
    except TableError as error:
        raise LabelsError(f"held-out labels: {error.message}", error.line) from None


def score(labels: Sequence[int], predicted: Sequence[int]) -> Score:
    """Compare `predicted` with true `labels`, both of the same length n > 0 and with values 0-9.

    Raises:
        ValueError: lengths differ, nothing to compare, or a value outside 0-9.
    """
    n = len(labels)
    if len(predicted) != n or n == 0:
        raise ValueError(f"expected as many predictions as labels and at least one; found {len(predicted)} and {n}")
    if any(not 0 <= value < CLASSES for values in (labels, predicted) for value in values):
        raise ValueError("expected labels and predictions from 0 to 9")
    confusion = [[0] * CLASSES for _ in range(CLASSES)]
    for label, prediction in zip(labels, predicted, strict=True):
        confusion[label][prediction] += 1
    correct = sum(confusion[label][label] for label in range(CLASSES))
    recall = tuple(row[label] / sum(row) if any(row) else None for label, row in enumerate(confusion))
    return Score(correct / n, correct, n, wilson_interval(correct, n), recall, tuple(tuple(row) for row in confusion))


def wilson_interval(correct: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of the proportion correct / n, for 0 <= correct <= n and n > 0.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927)
    209-212; advised by Brown, Cai, DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16
    (2001) 101-133, Section 3.1.
    """
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
