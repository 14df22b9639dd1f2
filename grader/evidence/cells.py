"""The cells of a parsed notebook (nbformat 4); fields may be missing or of any type: nothing here raises on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One cell: `index` from 0 among all cells of the notebook, `kind` "markdown", "code", "raw" or ""."""

    index: int
    kind: str
    source: str
    outputs: tuple[dict[str, Any], ...]


def read_cells(notebook: Any) -> Iterator[Cell]:
    """The cells that are dictionaries, in order; a field of a wrong type counts as empty."""
    for index, cell in enumerate(_list(_field(notebook, "cells"))):
        if isinstance(cell, dict):
            kind = cell.get("cell_type")
            outputs = tuple(output for output in _list(cell.get("outputs")) if isinstance(output, dict))
            yield Cell(index, kind if isinstance(kind, str) else "", joined(cell.get("source")), outputs)


def joined(text: Any) -> str:
    """A multi-line string of nbformat, a string or a list of strings, as one string; anything else is left out."""
    if isinstance(text, str):
        return text
    return "".join(part for part in _list(text) if isinstance(part, str))


def stream_text(cell: Cell, name: str) -> str:
    """All that the cell wrote to the stream `name` ("stdout" or "stderr"), however many outputs it was cut into."""
    streams = (output for output in cell.outputs if output.get("output_type") == "stream")
    return "".join(joined(output.get("text")) for output in streams if output.get("name", "stdout") == name)


def result_text(cell: Cell) -> str:
    """The plain text of displayed and returned values, one after the other."""
    return "\n".join(joined(_field(output.get("data"), "text/plain")) for output in cell.outputs)


def has_image(cell: Cell) -> bool:
    """Whether an output shows a picture (a plot)."""
    data = (output.get("data") for output in cell.outputs)
    return any(isinstance(kind, str) and kind.startswith("image/") for kinds in data for kind in _keys(kinds))


def _field(mapping: Any, name: str) -> Any:
    return mapping.get(name) if isinstance(mapping, dict) else None


def _keys(mapping: Any) -> list[Any]:
    return list(mapping) if isinstance(mapping, dict) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
