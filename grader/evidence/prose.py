"""A student's written answers in a notebook: Markdown cells, else comments in code, less what was handed out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from grader.evidence.bounded import cleaned
from grader.evidence.cells import Cell, read_cells
from grader.evidence.headings import Line
from grader.evidence.passages import Passage, lab_passages

MAX_CHARACTERS = 500_000  # of a notebook that are looked at
MAX_LINES = 500  # long lines of the template that are looked for inside a line of the student's
LONG = 20  # characters that make a line of the template long

_COMMENT = re.compile(r"\s*#+!?\s?(.*)")
_HIDDEN = re.compile(r"\s*<!--.*-->\s*|(?:BEGIN|END) SOLUTION\b.*")  # comments that are not for a reader


@dataclass(frozen=True)
class _Template:
    """What was handed out with `lab`: its lines, and those that are long, longest first."""

    lab: str
    lines: frozenset[str]
    long: tuple[str, ...]


def read_prose(
    notebook: Any, lab: str, template: Any = None, *, template_lab: str = "lab1", name: str = "notebook"
) -> dict[str, Passage]:
    """What the student wrote under each question of `lab` ("lab1", "lab2", "lab3"), by rubric item.

    `template` is the notebook of `template_lab` that was handed out, or that this one was copied from. What stands in
    it is no answer, and its headings are those of `template_lab`; an item with nothing else below its heading is left
    out. Comments in code cells count only for items without an answer in Markdown. Sources count cells from 1.
    """
    known = _template(template, template_lab)
    cells = list(_bounded(notebook))
    markdown = lab_passages([line for cell in cells for line in _lines(cell, ("markdown",), known, name)], lab)
    # Without a template, comments below a heading in Markdown may be the template's; one with its own heading is not.
    kinds = ("markdown", "code") if known.lines else ("code",)
    comments = lab_passages([line for cell in cells for line in _lines(cell, kinds, known, name)], lab)
    return {item: passage for item, passage in (comments | markdown).items() if item.startswith(f"{lab}.")}


def added_text(notebook: Any, template: Any) -> str:
    """The text of the Markdown cells of `notebook` that is not in `template`, line by line."""
    known = _template(template, "")
    lines = (line for cell in _bounded(notebook) for line in _lines(cell, ("markdown",), known, ""))
    return cleaned("\n".join(line.text for line in lines if line.given is None)).strip()


def _bounded(notebook: Any) -> Iterator[Cell]:
    """The cells within the first `MAX_CHARACTERS` of the notebook's sources."""
    left = MAX_CHARACTERS
    for cell in read_cells(notebook):
        left -= len(cell.source)
        if left < 0:
            return
        yield cell


def _template(notebook: Any, lab: str) -> _Template:
    texts = {_plain(text) for cell in _bounded(notebook) for text in _texts(cell)} - {""}
    long = sorted((text for text in texts if len(text) >= LONG), key=len, reverse=True)
    return _Template(lab, frozenset(texts), tuple(long[:MAX_LINES]))


def _texts(cell: Cell) -> Iterator[str]:
    """The lines of a Markdown cell, the comments of a code cell."""
    lines = cell.source.split("\n")
    comments = (_COMMENT.match(line) for line in lines)
    texts = lines if cell.kind == "markdown" else [comment[1] for comment in comments if comment]
    return (text for text in texts if not _HIDDEN.fullmatch(text))


def _lines(cell: Cell, kinds: tuple[str, ...], known: _Template, name: str) -> Iterator[Line]:
    if cell.kind in kinds:
        source = f"{name}, {'comment in ' if cell.kind == 'code' else ''}cell {cell.index + 1}"
        for text in _texts(cell):
            for part, given in _parts(text, known):
                yield Line(part, source, known.lab if given else None)


def _parts(text: str, known: _Template) -> Iterator[tuple[str, bool]]:
    """A line in parts, each with whether it was handed out: an answer may stand behind its question."""
    plain = _plain(text)
    given = plain if plain in known.lines else next((line for line in known.long if line in plain), "")
    if not given:
        yield text, False
        return
    before, _, after = plain.partition(given)
    yield from ((part, part is given) for part in (before, given, after) if part.strip())


def _plain(text: str) -> str:
    return " ".join(text.split())
