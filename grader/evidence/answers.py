"""answers.yaml: the true/false verdicts of part 1 with their explanations, read as hostile input."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from grader.evidence.bounded import UnreadableFileError, preview, read_bounded
from grader.evidence.headings import LETTERS, PROBLEMS
from grader.evidence.passages import BULLETS, PASSAGE
from grader.evidence.verdicts import leading_verdict
from grader.evidence.yaml_nodes import ADVICE, YamlError, compose, kind, scalar_text

MAX_KEYS = 200

PART1 = tuple(f"part1.{k}" for k in range(1, PROBLEMS + 1))
LABS = {f"{lab}.{letter}" for lab, letters in LETTERS.items() for letter in letters} | {
    item for bullets in BULLETS.values() for item, _ in bullets
}
VERDICT_KEYS = {"verdict", "answer", "judgement", "judgment", "value", "true_false", "tf"}
EXPLANATION_KEYS = {"explanation", "reason", "reasoning", "why", "because", "justification", "text", "comment"}

_PROBLEM_KEY = re.compile(r"(?:(?:part|problem|question|p|q)?[\s._-]?1[\s._-])?(?:problem|question|p|q)?\s?(\d{1,2})")
_PART_KEY = re.compile(r"(?:part|problem|question)[\s._-]?1(?:[\s._-]?true[\s._/-]?false)?|true[\s._/-]?false")
_TOP_LEVEL_KEY = re.compile(r"^(?![\s#-])([^:\n]{1,40}):(?=\s|$)", re.MULTILINE)


class AnswersError(Exception):
    """answers.yaml cannot be read at all: one sentence for the student, and the line (from 1) where that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message, line)
        self.message = message
        self.line = line

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Answer:
    """A student's answer to one rubric item.

    `source` says where it stands ("answers.yaml, line 12"; "report.pdf, page 2"). `statement` is the statement that
    stands with the answer, where the student's file repeats it. `problem`, one sentence, says why there is no verdict;
    an item of a lab has none and needs none.
    """

    item: str
    verdict: bool | None
    explanation: str
    source: str
    statement: str | None = None
    problem: str | None = None


def read_answers(path: Path, *, max_bytes: int = 200_000) -> dict[str, Answer]:
    """The answers by rubric item; a key that is no item stands under its own spelling, with a problem.

    Accepted for `part1.3`: keys `part1.3`, `1.3`, `Q3`, `problem 1.3`, or `3` below `part1:`; a verdict true, false, T,
    F, yes, no, quoted or not, alone or with `explanation:`, or as the first word of a text. Where the file as a whole
    is not YAML (a colon in an explanation), its answers are read one by one, and only the broken ones are lost.

    Raises:
        AnswersError: missing, too large, not text, or no answer in it.
    """
    name = preview(path.name, 80)
    try:
        text = read_bounded(path, max_bytes).decode("utf-8-sig")
    except UnreadableFileError as error:
        raise AnswersError(str(error)) from None
    except UnicodeDecodeError:
        raise AnswersError(f"{name}: expected a text file in UTF-8, found other bytes.") from None
    try:
        entries = list(_entries(compose(text), name, 0))
    except YamlError as error:
        entries = list(_entries_one_by_one(text, name))
        if all(entry.item not in PART1 and entry.item not in LABS for entry in entries):
            raise AnswersError(_not_yaml(name, error), error.line) from None
    if not entries:
        raise AnswersError(f"{name}: there is no answer in the file; expected keys part1.1 to part1.{PROBLEMS}.")
    return merge(entries)


def merge(entries: Iterable[Answer]) -> dict[str, Answer]:
    """The answers by item; an item answered more than once has a verdict only where its answers agree."""
    by_item: dict[str, list[Answer]] = {}
    for entry in entries:
        by_item.setdefault(entry.item, []).append(entry)
    return {item: _agreed(answers) for item, answers in by_item.items()}


def _agreed(answers: list[Answer]) -> Answer:
    first: dict[bool, Answer] = {}  # verdict -> the first answer that gives it
    for answer in answers:
        if answer.verdict is not None:
            first.setdefault(answer.verdict, answer)
    if len(first) < 2:
        return next(iter(first.values()), answers[0])
    both = " and ".join(f"{verdict} ({answer.source})" for verdict, answer in first.items())
    one = next(iter(first.values()))
    return replace(one, verdict=None, problem=f"{one.source}: {one.item} is answered both {both}.")


def _not_yaml(name: str, error: YamlError) -> str:
    place = name if error.line is None else f"{name}, line {error.line}"
    return f"{place}: this is not YAML that can be read ({preview(error.reason, 100)}); {ADVICE}."


def _entries_one_by_one(text: str, name: str) -> Iterator[Answer]:
    """The answers of a file that is not YAML as a whole: each top-level key with the lines below it on its own."""
    keys = list(_TOP_LEVEL_KEY.finditer(text))[:MAX_KEYS]
    ends = [key.start() for key in keys[1:]] + [len(text)]
    for key, end in zip(keys, ends, strict=False):
        skipped = text.count("\n", 0, key.start())
        part = text[key.start() : end]
        try:
            yield from _entries(compose(part, skipped), name, skipped)
        except YamlError as error:
            spelling = key[1].strip("\"' ")
            source = f"{name}, line {skipped + 1}"
            written = preview(text[key.end() : end], 300)
            yield Answer(_item(spelling) or preview(spelling), None, written, source, problem=_not_yaml(name, error))


def _entries(root: yaml.Node | None, name: str, skipped: int) -> Iterator[Answer]:
    """Every answer below `root`; `skipped` lines of the file stand before the text that `root` was composed from."""
    if root is None or scalar_text(root) == "":
        return
    if not isinstance(root, yaml.MappingNode):
        line = root.start_mark.line + 1 + skipped
        raise AnswersError(f"{name}, line {line}: expected answers as 'part1.1: ...', found {kind(root)}.", line)
    for key, value in root.value[:MAX_KEYS]:
        spelling = scalar_text(key) or kind(key)
        source = f"{name}, line {key.start_mark.line + 1 + skipped}"
        item = _item(spelling)
        if item is not None:
            yield _answer(item, value, source)
        elif _PART_KEY.fullmatch(spelling.lower()) and not isinstance(value, yaml.ScalarNode):
            yield from _nested(value, name, skipped)
        else:
            shown = preview(spelling)
            problem = f"{source}: {shown!r} is no item of the assignment; expected part1.1 to part1.{PROBLEMS}."
            yield Answer(shown, None, "", source, problem=problem)


def _nested(value: yaml.Node, name: str, skipped: int) -> Iterator[Answer]:
    """The answers below `part1:`, as a mapping or as a list in the order of the problems."""
    if isinstance(value, yaml.MappingNode):
        yield from _entries(value, name, skipped)
    else:
        for item, node in zip(PART1, value.value, strict=False):
            yield _answer(item, node, f"{name}, line {node.start_mark.line + 1 + skipped}")


def _item(key: str) -> str | None:
    """The rubric item that a key means: "1.3", "Problem 1.3", "q3" and "3" are part1.3."""
    plain = key.lower()
    if plain in LABS:
        return plain
    problem = _PROBLEM_KEY.fullmatch(plain)
    item = f"part1.{int(problem[1])}" if problem else None
    return item if item in PART1 else None


def _answer(item: str, value: yaml.Node, source: str) -> Answer:
    verdict_text, explanation, statement = _fields(value)
    if item in LABS:
        return Answer(item, None, (explanation or verdict_text)[:PASSAGE], source)
    verdict, rest = leading_verdict(verdict_text)
    explanation = (explanation or (rest if verdict is not None else verdict_text))[:PASSAGE].strip()
    if verdict is not None:
        return Answer(item, verdict, explanation, source, statement)
    found = f"found {preview(verdict_text)!r}" if verdict_text else "found none"
    problem = f"{source}: expected true or false as the verdict of {item}, {found}."
    return Answer(item, None, explanation, source, statement, problem)


def _fields(value: yaml.Node) -> tuple[str, str, str | None]:
    """The texts of verdict and explanation, "" where there is none, and that of the statement."""
    if isinstance(value, yaml.SequenceNode):
        texts = [scalar_text(node) or "" for node in value.value] or [""]
        return texts[0], "\n".join(texts[1:]), None
    if not isinstance(value, yaml.MappingNode):
        return scalar_text(value) or "", "", None
    fields = {(scalar_text(key) or "").lower(): scalar_text(node) or "" for key, node in value.value}
    return (
        next((text for key, text in fields.items() if key in VERDICT_KEYS), ""),
        next((text for key, text in fields.items() if key in EXPLANATION_KEYS), ""),
        fields.get("statement") or None,
    )
