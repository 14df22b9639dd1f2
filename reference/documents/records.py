"""The records that the generated documents are made from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
LABS = ("lab1", "lab2", "lab3")


@dataclass(frozen=True)
class Records:
    """What a folder of results holds. `labs` has those of lab1 to lab3 that are there; `plots` names the PNG files."""

    folder: Path
    labs: dict[str, Record]
    part1: Record
    data: Record | None
    heldout: Record | None
    plots: frozenset[str]

    @property
    def missing(self) -> list[str]:
        return [lab for lab in LABS if lab not in self.labs]


def load(folder: Path) -> Records:
    """Raises ValueError, naming the file, where part1.json is missing or any record cannot be read."""
    labs = {lab: record for lab in LABS if (record := optional(folder / f"{lab}.json")) is not None}
    part1 = optional(folder / "part1.json")
    if part1 is None:
        raise ValueError(f"{folder / 'part1.json'}: expected the record of part 1, found no such file")
    plots = frozenset(path.name for path in folder.glob("*.png"))
    return Records(folder, labs, part1, optional(folder / "data.json"), optional(folder / "heldout.json"), plots)


def optional(path: Path) -> Record | None:
    """The JSON object in a file, or None where there is no file. Raises ValueError for anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, found {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(found).__name__}")
    return found


@contextmanager
def told_by(path: Path) -> Iterator[None]:
    """Name the file in the error of a record that lacks something, for instance one of an older version."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path}: expected a record with {error}, found none") from error
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a record of this version, found one in which {error}") from error
