"""What the saved outputs of a notebook claim: losses and accuracies by epoch, best validation accuracies, plots.

These are the student's claims in the student's words: they show what was printed, not what happened.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grader.evidence.bounded import cleaned
from grader.evidence.cells import Cell, has_image, read_cells, result_text, stream_text

MAX_CLAIMS = 5_000  # nine sweeps of 540 epochs
LINE = 4_000  # characters of a line that are looked at
SPEAKING = 1_500_000  # characters of lines that speak of training that are looked at in each stream of a notebook
CLAIM_TEXT = 200  # characters kept of a line that claims a best accuracy
REACH = 60  # characters between a name ("Validation accuracy") and its number
TITLE = 30  # a line so short that names a split and has no number is a title of the lines below it

_STREAMS: dict[str, Callable[[Cell], str]] = {
    "stdout": lambda cell: stream_text(cell, "stdout"),
    "stderr": lambda cell: stream_text(cell, "stderr"),
    "results": result_text,
}
_SPEAKING_WORDS = ("loss", "acc", "epoch", "train", "valid", "test")
_HAS_NUMBER = re.compile(r"\d|nan|inf", re.IGNORECASE)
_ANSI = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_TOKEN = re.compile(
    r"""
      (?P<epoch>\bepochs?\W{0,4}(?P<number_of_epoch>\d{1,5})(?:\s?(?:/|of)\s?\d{1,5})?)
    | (?P<setting>\b(?:\d{1,5}\s?epochs?\b
        | (?:lr|learning[ _]rate|weight[ _]decay|decay|reg|lambda|momentum|batch(?:[ _]size)?|step|iter(?:ation)?|time)
          \b\W{0,4}\d[\d.e-]{0,12}))
    | (?P<best>(?<![a-z])(?:best|highest|max(?:imum)?)(?![a-z]))
    | (?P<goal>(?<!as\ )\b(?:goal|target|expected|at\ least|should)\b(?!\s(?:is\s)?(?:reached|met|achieved)))
    | (?P<metric>(?<![a-z])(?:top[-_ ]?(?P<top>\d{1,2})[-_ ]?)?(?P<glued>train|val|test)?
        (?P<name>loss(?:es)?|acc(?:uracy|uracies)?)(?:@(?P<at>\d{1,2}))?(?![a-z]))
    | (?P<split>(?<![a-z])(?:train(?:ing)?|valid(?:ation)?|val|test(?:ing)?|dev)(?![a-z]))
    | (?P<value>(?<![\w.])(?P<number>[-+]?(?:\d{1,9}(?:\.\d{0,18})?|\.\d{1,18})(?:e[-+]?\d{1,3})?|(?:nan|inf)\b)
        (?:\s?/\s?(?P<out_of>\d{1,7}))?(?P<percent>\s?%)?)
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Between a split and the accuracy in percent that follows it without another name; a progress bar's is none.
_DIRECTLY = re.compile(r"[\s:=(|-]{0,4}")
_PROGRESS = re.compile(r"[|▏▎▍▌▋▊▉█━#]|\s?\d+/\d|\s?of\b")
_IS_GOAL = re.compile(r"\s?\(?(?:(?:is|was)\s)?")  # between a number and the word that makes it a goal


@dataclass(frozen=True)
class EpochClaim:
    """What cell `cell` (from 0, among all cells) printed about one epoch; accuracies are fractions 0-1.

    A field is None where it was not printed or was not a finite number.
    """

    cell: int
    epoch: int | None = None
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None


@dataclass(frozen=True)
class Claim:
    """A best validation accuracy, as a fraction 0-1, and the line that claims it."""

    cell: int
    value: float
    text: str


@dataclass(frozen=True)
class Record:
    """The claims of a notebook in the order of its cells, and the cells whose outputs show a picture."""

    epochs: tuple[EpochClaim, ...]
    best: tuple[Claim, ...]
    images: tuple[int, ...]


def read_record(notebook: Any) -> Record:
    """The claims in the saved outputs of a parsed notebook, at most `MAX_CLAIMS` of each kind, in linear time.

    A number belongs to the last name before it ("loss", "accuracy", "acc") and to the last split named in its line
    (training where none is; "test" counts as validation, since the test split has no labels). A percentage right behind
    a split is an accuracy. A goal ("target", "expected", "at least") is no claim, and no top-5 accuracy is read. An
    accuracy above 1 or with a percent sign is a percentage; one below 1 with a percent sign is a fraction all the same,
    since below 1 % is no accuracy on ten classes.
    """
    epochs: list[EpochClaim] = []
    best: list[Claim] = []
    images: list[int] = []
    left = dict.fromkeys(_STREAMS, SPEAKING)
    for cell in read_cells(notebook):
        if has_image(cell):
            images.append(cell.index)
        for stream, text_of in _STREAMS.items():
            lines = _speaking(text_of(cell), left[stream])
            left[stream] -= len(lines)
            new_epochs, new_best = _claims(cell, lines)
            epochs += new_epochs
            best += new_best
    return Record(tuple(epochs[:MAX_CLAIMS]), tuple(best[:MAX_CLAIMS]), tuple(images))


def max_validation_accuracy(record: Record) -> float | None:
    """The highest validation accuracy that is claimed, by epoch or as the best; None where there is none."""
    by_epoch = [claim.val_accuracy for claim in record.epochs if claim.val_accuracy is not None]
    return max([*by_epoch, *(claim.value for claim in record.best)], default=None)


def _claims(cell: Cell, lines: str) -> tuple[list[EpochClaim], list[Claim]]:
    epochs: list[EpochClaim] = []
    best: list[Claim] = []
    current: dict[str, Any] = {}  # fields of the epoch that is being printed
    title = "train"
    for line in lines.split("\n"):
        if not _HAS_NUMBER.search(line):
            title = _title(line) or title
            continue
        epoch, printed = _read_line(line, title)
        best += [
            Claim(cell.index, value, cleaned(line).strip()[:CLAIM_TEXT])
            for field, value in printed
            if field == "best_val_accuracy" and value is not None
        ]
        by_epoch = {field: value for field, value in printed if not field.startswith("best")}
        if epoch is not None and (by_epoch or not printed) and epoch != current.get("epoch"):
            epochs += _finished(cell, current)
            current = {"epoch": epoch}
        elif epoch is None and any(field in current for field in by_epoch):
            epochs += _finished(cell, current)
            current = {}
        current |= by_epoch
        if len(epochs) > MAX_CLAIMS or len(best) > MAX_CLAIMS:
            break
    return epochs + _finished(cell, current), best


def _finished(cell: Cell, fields: dict[str, Any]) -> list[EpochClaim]:
    claims_something = any(value is not None for field, value in fields.items() if field != "epoch")
    return [EpochClaim(cell.index, **fields)] if claims_something else []


def _speaking(text: str, limit: int) -> str:
    """The lines that may speak of training, as they look once progress bars have redrawn themselves, up to `limit`."""
    spoken: list[str] = []
    for line in text.split("\n"):
        lower = line.lower()
        if any(word in lower for word in _SPEAKING_WORDS):
            shown = line.rstrip("\r")
            spoken.append(shown[shown.rfind("\r") + 1 :][:LINE])
            limit -= len(spoken[-1]) + 1
            if limit <= 0:
                break
    return _ANSI.sub("", "\n".join(spoken))


def _title(line: str) -> str | None:
    """The split that a line without a number, such as "Validation:", announces for the lines below it."""
    named = None if len(line) > TITLE else re.search(r"train|val|test", line.lower())
    return None if named is None else "train" if named[0] == "train" else "val"


def _read_line(line: str, title: str) -> tuple[int | None, list[tuple[str, float | None]]]:
    """The epoch that a line names, and its numbers as (field of `EpochClaim`, after "best_" where it is one, value)."""
    epoch: int | None = None
    printed: list[tuple[str, float | None]] = []
    split = metric = last_metric = ""
    end = split_end = value_end = 0
    best = goal = stated = False  # `goal`: the next number is none of a result; `stated`: or it stood before the word
    for token in _TOKEN.finditer(line):
        kind = token.lastgroup
        if kind == "epoch":
            epoch = int(token["number_of_epoch"])
        elif kind == "split":
            split, split_end = _split(token["split"]), token.end()
        elif kind == "goal":
            goal, stated = True, bool(printed and _IS_GOAL.fullmatch(line, value_end, token.start()))
        elif kind == "best":
            best, metric, end = True, metric or last_metric, token.end()  # "val acc 0.70, best 0.72"
        elif kind == "metric":
            split = _split(token["glued"]) if token["glued"] else split
            metric, end = ("loss" if token["name"].lower().startswith("loss") else "accuracy"), token.end()
            if (token["at"] or token["top"] or "1") != "1":
                metric = ""  # the right label is among the first five
        elif kind == "value" and goal:
            goal, stated, best, metric = False, False, False, ""
        elif kind == "value" and not metric and split and _follows(line, split_end, token):
            field = f"{split}_accuracy"
            printed.append((f"best_{field}" if best else field, _accuracy(token)))
            best, last_metric, value_end = False, "accuracy", token.end()
        elif kind == "value" and metric and token.start() - end <= REACH and not _counts_images(metric, token):
            value = _accuracy(token) if metric == "accuracy" else _finite(token["number"])
            field = f"{split or ('val' if best else title)}_{metric}"
            printed.append((f"best_{field}" if best else field, value))
            best, last_metric, metric, value_end = best and metric == "loss", metric, "", token.end()
    return epoch, printed[:-1] if stated else printed  # "65 % is expected"


def _follows(line: str, split_end: int, token: re.Match[str]) -> bool:
    """Whether a number is the accuracy of the split right before it: "train 55.1% | val 61.0%"."""
    if not token["percent"] or token["out_of"] or float(token["number"]) >= 100 or "split" in line.lower():
        return False
    return _DIRECTLY.fullmatch(line, split_end, token.start()) is not None and not _PROGRESS.match(line, token.end())


def _split(word: str) -> str:
    return "train" if word.lower().startswith("train") else "val"


def _counts_images(metric: str, token: re.Match[str]) -> bool:
    """Whether a number after "accuracy" is that of images: "accuracy on the 5000 validation images: 71 %"."""
    return metric == "accuracy" and token["number"].isdigit() and int(token["number"]) > 100 and not token["out_of"]


def _accuracy(token: re.Match[str]) -> float | None:
    value = _finite(token["number"])
    if value is None:
        return None
    if token["out_of"]:
        value = value / int(token["out_of"]) if int(token["out_of"]) else -1.0
    elif value > 1:
        value = round(value / 100, 12)
    return value if 0 <= value <= 1 else None


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None
