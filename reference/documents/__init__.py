"""The generated documents of the reference: results/README.md and ANSWERS.md, from the records of the results alone.

python -m reference documents [--check]
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reference.documents.answers import answers_text
from reference.documents.records import load
from reference.documents.results import results_text
from reference.part1 import answers
from reference.record import plain


def documents(results: Path) -> dict[str, str]:
    """Text of README.md and ANSWERS.md by name.

    The records of the labs, data.json and heldout.json may be absent. Raises ValueError, naming the file, where
    part1.json is missing or a record cannot be used.
    """
    records = load(results)
    return {"README.md": results_text(records), "ANSWERS.md": answers_text(records)}


def part1_record() -> dict[str, Any]:
    """The answers of part 1 as part1.json holds them."""
    record: dict[str, Any] = plain({item: asdict(answer) for item, answer in answers().items()})
    return record


def places(results: Path) -> dict[str, Path]:
    """Where each document lies: ANSWERS.md beside the folder of results, README.md in it."""
    return {"README.md": results / "README.md", "ANSWERS.md": results.parent / "ANSWERS.md"}


def write(results: Path) -> list[Path]:
    """Write both documents and return where they lie. Errors are those of `documents`, and OSError."""
    at = places(results)
    for name, text in documents(results).items():
        part = at[name].with_name(name + ".part")
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, at[name])
    return list(at.values())


def differences(results: Path) -> list[str]:
    """One sentence for each document that is missing or differs from what the records give."""
    at = places(results)
    return [
        f"{at[name]}: differs from what the records give" if at[name].is_file() else f"{at[name]}: missing"
        for name, text in documents(results).items()
        if not at[name].is_file() or at[name].read_bytes() != text.encode()
    ]
