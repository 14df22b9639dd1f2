"""Reports as PDF, Markdown or plain text: verdicts of part 1 and answers to the lettered questions.

They are read as hostile input.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from grader.evidence.answers import Answer, merge
from grader.evidence.bounded import UnreadableFileError, cleaned, preview, read_bounded
from grader.evidence.headings import MAX_LINES, Line, sections
from grader.evidence.passages import PASSAGE, Passage, joined, lab_passages
from grader.evidence.statements import find_statement
from grader.evidence.verdicts import leading_verdict

PDF_TEXT = Path(__file__).with_name("pdf_text.py")
TEXTS = (".md", ".markdown", ".txt")
MAX_BYTES = 50_000_000
MAX_TEXT_BYTES = 2_000_000
MAX_PAGES = 100
KILLED = 9  # the signal with which a system short of memory ends a process
SECONDS = 30.0
MAX_REPEATS = 4  # headings of one problem that are read: the statements may be listed before the answers
STATEMENT = 1_000  # characters in which an unknown statement must end

# In fonts without a Unicode map, old TeX fonts have ligatures and the standard fonts a bullet at control characters.
_UNMAPPED = str.maketrans({"\x0b": "ff", "\x0c": "fi", "\x0e": "ffi", "\x0f": "ffl", "\x7f": "•"})
_PAGE_NUMBER = re.compile(r"\s*(?:page\s*)?\d{1,3}(?:\s*(?:/|of)\s*\d{1,3})?\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.?!:)]\s+|\n")

FAILURES = {
    "encrypted": "the PDF is protected by a password; hand in one that opens without.",
    "damaged": "the PDF is damaged or cut short and cannot be opened; export and hand it in again.",
    "time": "the PDF took too long to read; export it again, without embedded files.",
    "memory": "the PDF needs too much memory to read; export it again, without embedded files.",
    "grader": "the grader's reader of PDFs failed, which is no fault of the report; a person must read it.",
}
STOPPED = {
    "time": "reading took too long here",
    "memory": "reading needed too much memory here",
    "grader": "the grader's reader of PDFs failed here",
}


class ReportError(Exception):
    """No text could be had from the report: one sentence for the student.

    `kind` is "missing" (or not a file that can be read), "not-pdf", "encrypted", "damaged", "time", "memory", "no-text"
    (pictures of pages, which a person can still read) or "grader" (no fault of the report).
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message, kind)
        self.message = message
        self.kind = kind

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Report:
    """What a report holds.

    `answers` by item of part 1, `passages` by item of the labs, `pages` the text of each page ("" where there is none);
    `problems`, one sentence each, say which pages could not be read.
    """

    answers: dict[str, Answer]
    passages: dict[str, Passage]
    pages: tuple[str, ...]
    problems: tuple[str, ...]


def read_report(path: Path, statements: Mapping[str, str] | None = None, *, seconds: float = SECONDS) -> Report:
    """Read a report within about `seconds` of wall-clock time, at most 50 MB and 100 pages of a PDF, 2 MB of text.

    `statements` maps items of part 1 to the statements of this edition. A verdict counts only under the statement it
    belongs to: where another statement, or none, stands under the heading, the answer has a problem and no verdict.
    Without `statements` any statement will do.

    Raises:
        ReportError: the file is missing, of another kind, protected, damaged, or holds no text.
    """
    name = preview(path.name, 80)
    is_text = path.suffix.lower() in TEXTS
    try:
        content = read_bounded(path, MAX_TEXT_BYTES if is_text else MAX_BYTES)
    except UnreadableFileError as error:
        raise ReportError(str(error), "missing") from None
    if is_text:
        text = content.decode("utf-8-sig", errors="replace")
        return _report((Line(line, name) for line in text.splitlines()), (text,), (), statements)
    if b"%PDF-" not in content[:1024]:
        raise ReportError(f"{name}: expected a PDF, found a file of another kind.", "not-pdf")
    total, pages, failure = _extract(content, seconds)
    if not any(pages):
        if failure:
            raise ReportError(f"{name}: {FAILURES[failure]}", failure)
        found = f"none in its {total} pages" if total != 1 else "none on its page"
        raise ReportError(
            f"{name}: expected text, found {found} (are they pictures?); a person must read it.", "no-text"
        )
    lines = (
        line for number, page in enumerate(pages, start=1) for line in _lines(page or "", f"{name}, page {number}")
    )
    problems = tuple(_problems(name, total, pages, failure))
    return _report(lines, tuple(page or "" for page in pages), problems, statements)


def _report(
    all_lines: Iterator[Line], pages: tuple[str, ...], problems: tuple[str, ...], statements: Mapping[str, str] | None
) -> Report:
    lines = list(islice(all_lines, MAX_LINES))
    if more := next(all_lines, None):
        unread = f"expected at most {MAX_LINES:,} lines, found more; those beyond were not read."
        problems = (*problems, f"{more.source}: {unread}")
    return Report(part1_answers(lines, statements), lab_passages(lines), pages, problems)


def part1_answers(lines: Sequence[Line], statements: Mapping[str, str] | None) -> dict[str, Answer]:
    """The answers to part 1 in lines of a report or of a notebook's Markdown; `statements` as in `read_report`."""
    return merge(_answers(lines, statements))


def _extract(content: bytes, seconds: float) -> tuple[int, list[str | None], str]:
    """The number of pages, the text of each page that was reached, and "" or why the reading ended early."""
    command = [sys.executable, "-I", str(PDF_TEXT), str(MAX_PAGES), str(int(seconds) + 1)]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=seconds, check=False)
        written, ended = done.stdout, "memory" if done.returncode == -KILLED else "grader"
    except subprocess.TimeoutExpired as error:
        written, ended = error.stdout or b"", "time"
    records = [json.loads(line) for line in written.split(b"\n")[:-1]]
    total = next((record["total"] for record in records if "total" in record), 0)
    pages = [_clean(record["text"]) for record in records if "text" in record]
    failure = next((record["failure"] for record in records if "failure" in record), "")
    complete = any("total" in record for record in records) and len(pages) == min(total, MAX_PAGES)
    return total, pages, failure or ("" if complete else ended)


def _clean(text: str | None) -> str | None:
    return None if text is None else cleaned(text.translate(_UNMAPPED)).strip()


def _problems(name: str, total: int, pages: Sequence[str | None], failure: str) -> Iterator[str]:
    for number, page in enumerate(pages, start=1):
        if page is None:
            yield f"{name}, page {number}: the text of this page cannot be read."
        elif not page:
            yield f"{name}, page {number}: there is no text on this page (a picture?); a person must read it."
    if failure:
        yield f"{name}, page {len(pages) + 1}: {STOPPED[failure]}; this page and those after it were not read."
    elif total > len(pages):
        yield f"{name}: expected at most {MAX_PAGES} pages, found {total}; those beyond were not read."


def _lines(page: str, source: str) -> list[Line]:
    """The lines of a page without the page number at its top or bottom."""
    lines = page.split("\n")
    if len(lines) > 1 and _PAGE_NUMBER.fullmatch(lines[-1]):
        lines.pop()
    if len(lines) > 1 and _PAGE_NUMBER.fullmatch(lines[0]):
        lines.pop(0)
    return [Line(line, source) for line in lines]


def _answers(lines: Sequence[Line], statements: Mapping[str, str] | None) -> Iterator[Answer]:
    repeats: Counter[str] = Counter()
    for section in sections(lines):
        repeats[section.key] += 1
        if section.key.startswith("part1.") and repeats[section.key] <= MAX_REPEATS:
            yield _answer(section.key, section.lines, statements)


def _answer(item: str, lines: Sequence[Line], statements: Mapping[str, str] | None) -> Answer:
    text, source = joined(lines)[:PASSAGE], lines[0].source
    known = None if statements is None else statements.get(item)
    start, end = (_unknown_statement(text) if known is None else _known_statement(known, text)) or (0, 0)
    before, _ = leading_verdict(text)
    verdict, explanation = leading_verdict(text[end:].lstrip(" .)\n"))
    heading = f"{source}, problem {item.removeprefix('part')}"
    if end == 0:
        problem = f"{heading}: {_other_statement(item, text, before, statements or {})}"
        return Answer(item, None, text, source, None, problem)
    statement = " ".join(text[start:end].split())
    if before is not None and start > 0:  # "False. <statement> <explanation>"
        if verdict is not None and verdict != before:
            problem = f"{heading}: the verdict is {before} before the statement and {verdict} after it."
            return Answer(item, None, explanation, source, statement, problem)
        verdict = before
    if verdict is None:
        found = f"found {preview(explanation)!r}" if explanation.strip() else "found nothing"
        problem = f"{heading}: expected true or false as the first word after the statement, {found}."
        return Answer(item, None, explanation.strip(), source, statement, problem)
    return Answer(item, verdict, explanation.strip(), source, statement)


def _known_statement(known: str, text: str) -> tuple[int, int] | None:
    match = find_statement(known, text)
    return None if match is None else (match.start, match.end)


def _unknown_statement(text: str) -> tuple[int, int] | None:
    """The text before the first verdict that begins a sentence or a line, unless the text itself begins with one."""
    if leading_verdict(text)[0] is not None:
        return None
    for boundary in _SENTENCE_END.finditer(text[:STATEMENT]):
        if leading_verdict(text[boundary.end() :])[0] is not None:
            return 0, boundary.end()
    return None


def _other_statement(item: str, text: str, verdict: bool | None, statements: Mapping[str, str]) -> str:
    """Why the text under a heading does not hold the statement it should."""
    if not text:
        return "there is no text under the heading."
    other = next((name for name, known in statements.items() if name != item and find_statement(known, text)), None)
    if other is not None:
        return f"the statement under this heading is that of problem {other.removeprefix('part')}; a person must judge."
    if verdict is not None:
        return f"the verdict {verdict} stands without the statement it is about; a person must judge."
    return f"expected the statement of this edition, found {preview(text, 80)!r}; a person must judge."
