"""Reading a notebook file that may be anything: what comes back is a notebook of format 4, or one clear sentence."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import nbformat

MAX_NOTEBOOK_BYTES = 64_000_000
MAX_SIGNS = 5_000_000  # commas and brackets: 64 MB of empty lists would take 1.7 GB of memory
MAX_DEPTH = 200  # of lists and objects in each other; the parser takes more than a writer can, which recurses too
CELL_TYPES = ("code", "markdown", "raw")


class NotebookError(Exception):
    """The file is no notebook that can be run; the message names the file, the place and what was found there."""


def read_notebook(path: Path) -> dict[str, Any]:
    """The notebook in format 4, the source of each cell being one string. Raises NotebookError."""
    notebook = _parse(path)
    version = notebook.get("nbformat")
    if not isinstance(version, int) or isinstance(version, bool):
        raise NotebookError(f"{path.name} is JSON but not a notebook: it has no number under 'nbformat'")
    if version > 4 or version < 1:
        raise NotebookError(f"{path.name} says it is of notebook format {version}; formats 1 to 4 can be read")
    if version < 4:
        notebook = _upgrade(path, notebook)
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise NotebookError(f"{path.name} has no list of cells, so it is not a notebook of format 4")
    return {**notebook, "cells": [_cell(path, number, cell) for number, cell in enumerate(cells, start=1)]}


def _parse(path: Path) -> dict[str, Any]:
    text = read_text(path)
    if sum(map(text.count, ",[{")) > MAX_SIGNS:
        raise NotebookError(f"{path.name} has more than {MAX_SIGNS:,} commas and brackets; clear its outputs")
    try:
        content: Any = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise NotebookError(f"{path.name} is not valid JSON ({place}: {error.msg})") from None
    except RecursionError:
        raise NotebookError(f"{path.name} is nested too deeply to be a notebook") from None
    except ValueError as error:  # a number of more digits than Python converts
        raise NotebookError(f"{path.name} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise NotebookError(f"{path.name} holds a JSON {type(content).__name__}, not a notebook")
    if _deeper_than(content, MAX_DEPTH):
        raise NotebookError(f"{path.name} is nested too deeply to be a notebook: more than {MAX_DEPTH} levels")
    return content


def _deeper_than(content: Any, depth: int) -> bool:
    """Whether lists and objects stand in each other on more than `depth` levels."""
    level = [content]
    for _ in range(depth):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(outer: Any) -> list[Any]:
    """The lists and objects directly in one."""
    values = outer.values() if isinstance(outer, dict) else outer
    return [value for value in values if isinstance(value, (dict, list))]


def read_text(path: Path, limit: int = MAX_NOTEBOOK_BYTES) -> str:
    """A regular file of 1 to `limit` bytes as text. Raises NotebookError."""
    data = _bytes(path, limit)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotebookError(f"{path.name} is not UTF-8 text (line {line}, byte {error.start})") from None


def _bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file of 1 to `limit` bytes; a link or a pipe at `path` is never opened."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise NotebookError(f"{path.name} is not a regular file")
            if status.st_size > limit:
                size, most = status.st_size / 1e6, limit / 1e6
                raise NotebookError(f"{path.name} has {size:.0f} MB; clear its outputs to get below {most:.0f} MB")
            data = file.read(limit)
    except OSError as error:
        raise NotebookError(f"{path.name} cannot be read: {error.strerror or error}") from None
    if not data.strip():
        raise NotebookError(f"{path.name} is empty ({len(data)} bytes)")
    return data


def _upgrade(path: Path, notebook: dict[str, Any]) -> dict[str, Any]:
    """Formats 1 to 3, by nbformat's own converters."""
    try:
        upgraded: dict[str, Any] = nbformat.convert(nbformat.reader.reads(json.dumps(notebook)), 4)
    except Exception as error:  # noqa: BLE001  (the converters raise whatever they stumble over)
        raise NotebookError(
            f"{path.name} is a notebook of format {notebook['nbformat']} that cannot be brought to format 4 "
            f"({type(error).__name__}: {error})"[:300]
        ) from None
    return upgraded


def _cell(path: Path, number: int, cell: Any) -> dict[str, Any]:
    """The cell with its source joined to one string; cells are counted from 1, as readers do."""
    if not isinstance(cell, dict):
        raise NotebookError(f"{path.name}, cell {number}: expected an object, found {type(cell).__name__}")
    kind, source = cell.get("cell_type"), cell.get("source")
    if kind not in CELL_TYPES:
        raise NotebookError(f"{path.name}, cell {number}: cell_type is {kind!r}, expected one of {CELL_TYPES}"[:300])
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise NotebookError(f"{path.name}, cell {number}: source is {type(source).__name__}, expected text")
    return {**cell, "source": source}
