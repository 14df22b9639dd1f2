"""A student's written answers in a notebook: Markdown cells, else comments in code, less what was handed out."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from grader.evidence.bounded import cleaned
from grader.evidence.cells import Cell, read_cells
from grader.evidence.headings import MAX_LINES, Line
from grader.evidence.passages import Passage, lab_passages

MAX_CHARACTERS = 500_000  # of a notebook's Markdown, and of its code, that are looked at
MAX_LONG = 500  # long lines of the template that are looked for inside a line of the student's
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
    cells = list(_bounded(read_cells(notebook)))
    markdown = lab_passages([line for cell in cells for line in _lines(*cell, ("markdown",), known, name)], lab)
    # Without a template, comments below a heading in Markdown may be the template's; one with its own heading is not.
    kinds = ("markdown", "code") if known.lines else ("code",)
    comments = lab_passages([line for cell in cells for line in _lines(*cell, kinds, known, name)], lab)
    return {item: passage for item, passage in (comments | markdown).items() if item.startswith(f"{lab}.")}


def added_text(notebook: Any, template: Any) -> str:
    """The text of the Markdown cells of `notebook` that is not in `template`, line by line."""
    known = _template(template, "")
    lines = (line for cell in _bounded(read_cells(notebook)) for line in _lines(*cell, ("markdown",), known, ""))
    return cleaned("\n".join(line.text for line in lines if line.given is None)).strip()


def markdown_lines(cells: Iterable[Cell], name: str) -> tuple[Line, ...]:
    """The lines of the Markdown cells of the notebook `name` that are looked at, each with the cell it stands in."""
    bounded = ((cell, lines) for cell, lines in _bounded(cells) if cell.kind == "markdown")
    return tuple(Line(text, f"{name}, cell {cell.index + 1}") for cell, lines in bounded for text in lines)


def is_cut(cells: Iterable[Cell]) -> bool:
    """Whether there is more Markdown than is looked at."""
    sources = [cell.source for cell in cells if cell.kind == "markdown"]
    lines = sum(source.count("\n") + 1 for source in sources)
    return lines > MAX_LINES or sum(map(len, sources)) > MAX_CHARACTERS


def _bounded(cells: Iterable[Cell]) -> Iterator[tuple[Cell, list[str]]]:
    """Cells with those of their lines that are looked at: of each kind the first lines, in the first characters."""
    left: dict[str, tuple[int, int]] = {}
    for cell in cells:
        most_lines, most_characters = left.get(cell.kind, (MAX_LINES, MAX_CHARACTERS))
        source = cell.source[:most_characters]
        lines = source.split("\n", most_lines)[:most_lines] if most_characters else []
        left[cell.kind] = most_lines - len(lines), most_characters - len(source)
        yield cell, lines


def _template(notebook: Any, lab: str) -> _Template:
    bounded = _bounded(read_cells(notebook))
    texts = {_plain(text) for cell, lines in bounded for text in _texts(cell.kind, lines)} - {""}
    long = sorted((text for text in texts if len(text) >= LONG), key=len, reverse=True)
    return _Template(lab, frozenset(texts), tuple(long[:MAX_LONG]))


def _texts(kind: str, lines: list[str]) -> Iterator[str]:
    """The lines of a Markdown cell, the comments of a code cell."""
    comments = (_COMMENT.match(line) for line in lines)
    texts = lines if kind == "markdown" else [comment[1] for comment in comments if comment]
    return (text for text in texts if not _HIDDEN.fullmatch(text))


def _lines(cell: Cell, lines: list[str], kinds: tuple[str, ...], known: _Template, name: str) -> Iterator[Line]:
    if cell.kind in kinds:
        source = f"{name}, {'comment in ' if cell.kind == 'code' else ''}cell {cell.index + 1}"
        for text in _texts(cell.kind, lines):
            for part, given in _parts(text, known):
                yield Line(part, source, known.lab if given else None)


def _parts(text: str, known: _Template) -> Iterator[tuple[str, bool]]:
    """A line in parts, each with whether it was handed out: an answer may stand behind its question."""
    plain = _plain(text)
    if not plain:
        yield text, False
        return
    given = plain if plain in known.lines else next((line for line in known.long if line in plain), "")
    if not given:
        yield text, False
        return
    before, _, after = plain.partition(given)
    yield from ((part, part is given) for part in (before, given, after) if part.strip())


def _plain(text: str) -> str:
    return " ".join(text.split())
