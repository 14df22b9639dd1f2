"""The table `Id,Label` of predictions.csv, read as hostile input: each refusal is one sentence that names the line."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from grader.evidence.bounded import UnreadableFileError, preview, read_bounded

CLASSES = 10
HEADER = ["Id", "Label"]
CLASS_NAMES = {"airplane", "automobile", "bird", "car", "cat", "deer", "dog", "frog", "horse", "plane", "ship", "truck"}
NOT_A_NUMBER = {"nan", "none", "null", "na", "n/a", "<na>"}
HUGE = 10**9  # stands for every larger number

BINARY_KINDS = {
    b"PK\x03\x04": "an Excel workbook or a zip",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a picture",
}
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
DECIMAL = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{0,40}(?:[eE][+-]?[0-9]{1,3})?|[eE][+-]?[0-9]{1,3})")
SPACE_AFTER_QUOTE = re.compile(r'"[ \t]+(?=[,\r\n]|$)')


class TableError(Exception):
    """The table cannot be used: one sentence that names the file, and the offending line (from 1) where it is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message, line)
        self.message = message
        self.line = line

    def __str__(self) -> str:
        return self.message


class _RefusedError(Exception):
    """A problem without the name of the file."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem, line)
        self.problem = problem
        self.line = line


def read_label_table(path: Path, *, rows: int, max_bytes: int) -> tuple[int, ...]:
    """The labels (0-9) of images 0 .. rows-1, in that order.

    Accepted beyond the plain format: rows in any order, a byte order mark, UTF-16 with one, CRLF or CR, quoted cells,
    spaces around cells, blank lines.

    Raises:
        TableError: anything else; the first offending line is named.
    """
    try:
        content = read_bounded(path, max_bytes)
    except UnreadableFileError as error:
        raise TableError(str(error)) from None
    try:
        return _labels_by_id(_rows(_decode(content)), rows)
    except _RefusedError as refused:
        place = preview(path.name, 80) + ("" if refused.line is None else f", line {refused.line}")
        raise TableError(f"{place}: {refused.problem}", refused.line) from None


def _decode(content: bytes) -> str:
    for magic, kind in BINARY_KINDS.items():
        if content.startswith(magic):
            raise _RefusedError(f"expected a text file with commas, found {kind}; save the predictions as CSV.")
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = None if utf16 else content.count(b"\n", 0, error.start) + 1
        raise _RefusedError("expected text, found bytes that are no text (a binary file?).", line) from None
    if "\0" in text:
        raise _RefusedError(
            "expected text, found a zero byte (a binary file?).", text.count("\n", 0, text.index("\0")) + 1
        )
    return text


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank as (line it begins on, cells without the spaces around them)."""
    lines = io.StringIO(SPACE_AFTER_QUOTE.sub('"', text), newline="")
    reader = csv.reader(lines, strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip(" \t") for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error:
            raise _RefusedError(
                "a quoted cell that begins on this line is not closed, or text follows its closing quote.", line
            ) from None
        if any(cells):
            yield line, cells


def _labels_by_id(table: Iterator[tuple[int, list[str]]], rows: int) -> tuple[int, ...]:
    header_line, header = next(table, (None, []))
    if header_line is None:
        raise _RefusedError(f"the file holds only blank lines; expected the header Id,Label and {rows:,} rows.")
    if header != HEADER:
        raise _RefusedError(_header_problem(header), header_line)
    labels: dict[int, int] = {}
    lines: dict[int, int] = {}
    for line, cells in table:
        image, label = _row(line, cells)
        if image >= rows:
            start = " (Ids start at 0, not at 1)" if image == rows and 0 not in labels else ""
            known = f"the Ids of the {rows:,} test images are 0 to {rows - 1}"
            raise _RefusedError(f"Id {_shown(image)} is too many; {known}{start}.", line)
        if image in labels:
            first = f"it stands on line {lines[image]} already"
            raise _RefusedError(f"Id {image} appears a second time; {first}, and each Id is expected once.", line)
        labels[image], lines[image] = label, line
    if not labels:
        raise _RefusedError(f"there is no prediction below the header; expected {rows:,} rows.")
    if len(labels) < rows:
        raise _RefusedError(_missing_problem([image for image in range(rows) if image not in labels], rows))
    return tuple(labels[image] for image in range(rows))


def _missing_problem(missing: Sequence[int], rows: int) -> str:
    first = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
    return f"too few rows: {len(missing):,} of the {rows:,} Ids are missing ({first})."


def _header_problem(header: Sequence[str]) -> str:
    start = f"expected the header Id,Label, found {preview(','.join(header))!r}"
    for separator, words in SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            return f"{start}: the cells are separated by {words}; separate them by commas."
    if header == HEADER[::-1]:
        return f"{start}: the columns are in the wrong order."
    if [cell.lower() for cell in header] == ["id", "label"]:
        return f"{start}: capital and small letters must be as in the example."
    if len(header) == 3 and header[1:] == HEADER:
        return f"{start}: there is an extra first column; write the table without its index (index=False)."
    if len(header) == 2 and all(_natural(cell) is not None for cell in header):
        return f"{start}: the header line is missing."
    return f"{start}; write exactly these two column names."


def _row(line: int, cells: Sequence[str]) -> tuple[int, int]:
    """One row as (Id, label), Id not negative, label in 0-9."""
    if len(cells) != 2:
        raise _RefusedError(
            f"expected two cells, Id and Label, found {len(cells)}: {preview(','.join(cells))!r}.", line
        )
    image, label = _natural(cells[0]), _natural(cells[1])
    if image is None:
        raise _RefusedError(_not_natural("Id", cells[0], "a whole number from 0"), line)
    if label is None:
        raise _RefusedError(_not_natural("Label", cells[1], "a whole number from 0 to 9"), line)
    if label >= CLASSES:
        raise _RefusedError(f"the Label {_shown(label)} is above 9; expected a whole number from 0 to 9.", line)
    return image, label


def _natural(cell: str) -> int | None:
    """A cell of ASCII digits as a number, at most `HUGE`; None for any other cell."""
    if not (cell.isascii() and cell.isdigit()):
        return None
    return int(cell) if len(cell) <= 9 else HUGE


def _shown(value: int) -> str:
    return str(value) if value < HUGE else "of ten digits or more"


def _not_natural(column: str, cell: str, wanted: str) -> str:
    if not cell:
        return f"the {column} is empty; expected {wanted}."
    if cell.lower() in NOT_A_NUMBER:
        return f"the {column} is {cell!r}, not a number; expected {wanted}."
    if DECIMAL.fullmatch(cell):
        return f"the {column} {preview(cell)} is a decimal number; expected {wanted} (convert with astype(int))."
    if cell.startswith("-") and _natural(cell[1:]) is not None:
        return f"the {column} {preview(cell)} is negative; expected {wanted}."
    if column == "Label" and cell.lower() in CLASS_NAMES:
        return f"the Label {cell!r} is the name of a class; expected its number, {wanted}."
    return f"the {column} {preview(cell)!r} is text; expected {wanted}."
