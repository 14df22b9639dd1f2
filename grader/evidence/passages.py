"""What a student wrote under each lettered question of a lab, by rubric item."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grader.evidence.bounded import cleaned
from grader.evidence.headings import POINTS, Line, Section, sections

PASSAGE = 4_000  # characters kept of one answer
TITLE = 60  # a heading of Markdown no longer than this says nothing by itself
BULLET_WORDS = 250  # characters of a bullet in which the words that assign it are looked for

# The bulleted questions, in the order in which their words decide: the question on L1 also speaks of L2, and so on.
BULLETS = {
    "lab2.b": (
        ("lab2.b.swish", re.compile(r"\bswish|\bsilu\b", re.IGNORECASE)),
        ("lab2.b.lr", re.compile(r"learning[ -]?rate|\blrs?\b", re.IGNORECASE)),
        ("lab2.b.bn", re.compile(r"batch[ -]?norm|\bbn\b", re.IGNORECASE)),
    ),
    "lab2.c": (
        ("lab2.c.l1", re.compile(r"\bl1\b|\blasso\b", re.IGNORECASE)),
        ("lab2.c.l2", re.compile(r"\bl2\b|\bridge\b|weight[ _]decay", re.IGNORECASE)),
        ("lab2.c.lr", re.compile(r"learning[ -]?rate|\blrs?\b", re.IGNORECASE)),
    ),
}
_BULLET = re.compile(rf"\s*(?:[•●▪◦*–-](?=\s|$)|\(?(?:i{{1,3}}|[1-3])[).]\s|{POINTS}|#+\s|\**\(?[bc]\))", re.IGNORECASE)


@dataclass(frozen=True)
class Passage:
    """What stands under a heading, at most `PASSAGE` characters, and where the heading stands."""

    text: str
    source: str


def lab_passages(lines: Sequence[Line], lab: str | None = None) -> dict[str, Passage]:
    """The text under each lettered question, by rubric item ("lab1.g", "lab2.b.bn"); `lab` as in `sections`.

    The bullets of Lab 2 (b) and (c) are told apart by their words; a bullet that is not found gets all of the question,
    so that nothing is lost to the person who reads it. Given lines help to find the answers and are no part of them; an
    item without an answer, or with a title alone, is left out.
    """
    found: dict[str, list[Line]] = {}
    for section in sections(lines, lab):
        if section.key.startswith("lab") and "." in section.key:
            for item, part in _by_item(section):
                found.setdefault(item, []).extend(part)
    answers = {item: [line for line in part if line.given is None] for item, part in found.items()}
    return {
        item: Passage(joined(answer)[:PASSAGE], found[item][0].source)
        for item, answer in answers.items()
        if any(_says_something(line.text) for line in answer)
    }


def _says_something(line: str) -> bool:
    is_title = line.startswith("#") and len(line) <= TITLE
    return not is_title and any(map(str.isalnum, cleaned(line)))


def joined(lines: Sequence[Line]) -> str:
    """The text of `lines` as one string."""
    return cleaned("\n".join(line.text for line in lines)).strip()


def _by_item(section: Section) -> Iterator[tuple[str, Sequence[Line]]]:
    if section.key not in BULLETS:
        yield section.key, section.lines
        return
    parts: dict[str, list[Line]] = {}
    item = ""
    for bullet in _bullets(section.lines):
        words = joined(bullet)[:BULLET_WORDS]
        item = next((name for name, pattern in BULLETS[section.key] if pattern.search(words)), item)
        parts.setdefault(item, []).extend(bullet)
    for name, _ in BULLETS[section.key]:
        yield name, parts.get(name, section.lines)


def _bullets(lines: Sequence[Line]) -> Iterator[list[Line]]:
    part: list[Line] = []
    for line in lines:
        if _BULLET.match(line.text[:BULLET_WORDS]) and part:
            yield part
            part = []
        part.append(line)
    yield part
