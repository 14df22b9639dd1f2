"""The lettered questions of the labs and the numbered problems of part 1, found by their headings in lines of text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

LETTERS = {"lab1": "abcdefgh", "lab2": "abc", "lab3": "ab"}
PROBLEMS = 10  # part1.1 .. part1.10
MAX_LINES = 20_000  # of a notebook's Markdown, or of a report, that are looked at
HEADING = 200  # a heading is looked for in so many characters at the beginning of a line
BARE_PROBLEMS = 3  # so many "1.k" in order are headings; fewer are numbers

_TITLE_MARKS = re.compile(r"#+\s")
_DECORATION = re.compile(r"[\s#>*_•●▪–-]*")  # of Markdown and of lists
POINTS = r"\(?\s?(?:bonus\s?[,:]?\s?)?\d{1,2}(?:\s?\+\s?\d{1,2})?\s?(?:pts?|points?)\b\.?\s?\)?"
_AFTER = re.compile(rf"[\s*_:.)\]-]*(?:{POINTS}[\s*_:.-]*)?", re.IGNORECASE)
_ASKED = r"(?:question|problem|answer|exercise|task|part|ans|q)"
_LETTER_ENDS = r"\s*$|\s?[).:*]|(?-i:\s+[A-Z])"
_LAB = re.compile(
    r"(?:(?:part|problem|section)\s?)?(?:\d\s?[:.]?\s{0,3})?lab\s?[-#]?\s?\(?\s?([123])\s?\)?(?!\d)", re.IGNORECASE
)
_LAB_TITLE = re.compile(r"\s*$|\s*[:–—-]|\s*\(|\s*[A-Z][^.]{0,60}$")
_LETTER_OF_LAB = re.compile(rf"[\s:.,–—-]*(?:{_ASKED}\s?)?\(?\s?([a-h])(?={_LETTER_ENDS})", re.IGNORECASE)
_LETTER = re.compile(
    rf"(?:{_ASKED}\s?[.:]?\s?)?\(\s?(?P<in_brackets>[a-h])\s?\)|(?P<half>[a-h])\)|{_ASKED}\s(?P<bare>[a-h])(?={_LETTER_ENDS})",
    re.IGNORECASE,
)
_PROBLEM = re.compile(r"(?:problem|question|exercise|prob|ex|p|q)\s?[.#]?\s?1\s?\.\s?(\d{1,2})(?!\d)", re.IGNORECASE)
_BARE_PROBLEM = re.compile(
    r"\(?1\s?\.\s?(\d{1,2})(?![\d%]|\.\d)(?=\s*$|[).:]|\s*\(|\s+(?:[A-Z“\"]|true\b|false\b|t\b|f\b))"
)


@dataclass(frozen=True)
class Line:
    """A line of text and where it stands, as a person would say it ("report.pdf, page 2").

    `given` names the lab with whose template the line was handed out; None: the student wrote it.
    """

    text: str
    source: str
    given: str | None = None


@dataclass(frozen=True)
class Section:
    """A heading's key ("part1.3", "lab1.g"; "lab1" or "" for text under no question) and its lines.

    The first line is what follows the heading on the heading's own line, behind the # of a heading in Markdown.
    """

    key: str
    lines: tuple[Line, ...]


def sections(lines: Sequence[Line], lab: str | None = None) -> Iterator[Section]:
    """Cut `lines` at every heading of a problem, of a lab and of a lettered question.

    Letters of a lab rise: an "(a)" below "(c)" of the same lab is an enumeration inside the answer. `lab` is the lab
    whose letters stand before any heading of a lab; None: such letters are nobody's. The letters of a given line are
    those of its own lab, wherever it stands: a notebook copied for Lab 2 still holds the questions of Lab 1.
    """
    problems = _problems(lines)
    letters: dict[str, str] = {}  # lab -> its last letter
    key, part = lab or "", list[Line]()
    for number, line in enumerate(lines):
        if number in problems:
            new_key, end = problems[number]
            lab = None
        else:
            scope = line.given or lab
            heading = _lab_heading(line.text, scope, letters.get(scope or "", ""))
            if heading is None:
                part.append(line)
                continue
            letters[heading.lab] = heading.letter
            lab = lab if line.given else heading.lab
            if heading.lab == scope and key.startswith(scope) and not heading.letter:
                continue  # a page header: the answer goes on below it
            new_key, end = f"{heading.lab}.{heading.letter}".rstrip("."), heading.end
        yield Section(key, tuple(part))
        key, part = new_key, [replace(line, text=_title_marks(line.text) + line.text[end:])]
    yield Section(key, tuple(part))


@dataclass(frozen=True)
class _LabHeading:
    lab: str
    letter: str  # "" where the heading is that of the lab alone
    end: int


def _lab_heading(text: str, lab: str | None, letter: str) -> _LabHeading | None:
    """The heading of a lab or a lettered question at the beginning of `text`, below lab `lab` and question `letter`."""
    start = _end(_DECORATION, text[:HEADING], 0)
    named = _LAB.match(text[:HEADING], start)
    if named:
        found = f"lab{named[1]}"
        lettered = _LETTER_OF_LAB.match(text[:HEADING], named.end())
        if lettered and lettered[1].lower() in LETTERS[found]:
            return _LabHeading(found, lettered[1].lower(), _end(_AFTER, text, lettered.end()))
        is_title = _LAB_TITLE.match(text, named.end()) is not None
        return _LabHeading(found, "", _end(_AFTER, text, named.end())) if is_title else None
    lettered = _LETTER.match(text[:HEADING], start)
    if lettered is None or lab is None:
        return None
    new = (lettered["in_brackets"] or lettered["half"] or lettered["bare"]).lower()
    return _LabHeading(lab, new, _end(_AFTER, text, lettered.end())) if new in LETTERS[lab] and new > letter else None


def _problems(lines: Sequence[Line]) -> dict[int, tuple[str, int]]:
    """The lines that are headings of problems of part 1: line number -> (item, end of the heading)."""
    named: list[tuple[int, int, int]] = []  # (line number, k of "Problem 1.k", end of the heading)
    bare: list[tuple[int, int, int]] = []
    for number, line in enumerate(lines):
        text = line.text[:HEADING]
        start = _end(_DECORATION, text, 0)
        for pattern, found in ((_PROBLEM, named), (_BARE_PROBLEM, bare)):
            heading = pattern.match(text, start)
            if heading and 1 <= int(heading[1]) <= PROBLEMS:
                found.append((number, int(heading[1]), _end(_AFTER, line.text, heading.end())))
    with_name = {k for _, k, _ in named}
    chain = _longest_rising([heading for heading in bare if heading[1] not in with_name])
    headings = named + (chain if named or len(chain) >= BARE_PROBLEMS else [])
    return {number: (f"part1.{k}", end) for number, k, end in headings}


def _longest_rising(headings: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The longest chain with rising k: "1.5 GB" between the answers to 1.3 and 1.4 is no heading."""
    best: dict[int, list[tuple[int, int, int]]] = {}  # k -> the longest chain that ends with it
    for heading in headings:
        before = max((best[k] for k in best if k < heading[1]), key=len, default=[])
        if len(before) >= len(best.get(heading[1], [])):
            best[heading[1]] = [*before, heading]
    return max(best.values(), key=len, default=[])


def _title_marks(text: str) -> str:
    marks = _TITLE_MARKS.match(text)
    return marks[0] if marks else ""


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start
