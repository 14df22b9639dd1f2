"""What was handed in: which file is which lab, decided by content first and by name second."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

MAX_NOTEBOOK_BYTES = 64_000_000
MAX_FILES = 2_000
IGNORED_FOLDERS = {".ipynb_checkpoints", "__MACOSX", ".git", "__pycache__", ".venv", "node_modules"}
ROLES = ("lab1", "lab2", "lab3", "predict")
USUAL_NAMES = {
    "lab1": "simplenn-cifar10.ipynb",
    "lab2": "simplenn-cifar10-dev.ipynb",
    "lab3": "resnet-cifar10.ipynb",
    "predict": "save_test_predictions.ipynb",
}


@dataclass(frozen=True)
class Found:
    """A notebook taken for one role: its path, why it was taken, and what is wrong with it (None if it can run)."""

    role: str
    path: Path
    why: str
    problem: str | None = None


@dataclass(frozen=True)
class Submission:
    """The files of one submission by role, and what was left aside with the reason."""

    root: Path
    notebooks: dict[str, Found]
    predictions: Path | None
    answers: Path | None
    reports: tuple[Path, ...]
    aside: tuple[tuple[str, str], ...] = field(default=())


class SubmissionError(Exception):
    """There is no submission at the path that was named; the message says what is there."""


def find_submission(root: Path) -> Submission:
    """Look through `root`, a folder or a single notebook. Raises SubmissionError."""
    if not root.exists():
        raise SubmissionError(
            f"{root} does not exist; --submission takes the folder with the notebooks, or one notebook"
        )
    if root.is_file() and root.suffix != ".ipynb":
        raise SubmissionError(
            f"{root} is not a notebook; --submission takes the folder with the notebooks (unpack archives)"
        )
    base = root if root.is_dir() else root.parent
    files = list(_files(root)) if root.is_dir() else [root]
    candidates = [_inspect(path) for path in files if path.suffix == ".ipynb"]
    notebooks, aside = _assign(candidates, base)
    return Submission(
        root=base,
        notebooks=notebooks,
        predictions=_pick(files, lambda p: p.name.lower() == "predictions.csv")
        or _pick(
            files, lambda p: p.suffix.lower() == ".csv" and "pred" in p.stem.lower() and "sample" not in p.stem.lower()
        ),
        answers=_pick(files, lambda p: p.name.lower() in ("answers.yaml", "answers.yml")),
        reports=tuple(path for path in files if path.suffix.lower() == ".pdf"),
        aside=tuple(aside),
    )


def _files(root: Path) -> Iterator[Path]:
    """Regular files below `root` in a fixed order; links are not followed, what tools leave behind is passed over."""
    count = 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in IGNORED_FOLDERS)
        for name in sorted(files):
            path = Path(folder, name)
            if name.startswith(("._", ".DS_Store")) or path.is_symlink() or not path.is_file():
                continue
            count += 1
            if count > MAX_FILES:
                raise SubmissionError(f"{root} holds more than {MAX_FILES} files; --submission takes one submission")
            yield path


def _pick(files: list[Path], wanted: Any) -> Path | None:
    """The file nearest to the top among those wanted."""
    matches = [path for path in files if wanted(path)]
    return min(matches, key=lambda path: (len(path.parts), str(path)), default=None)


@dataclass(frozen=True)
class _Candidate:
    path: Path
    source: str
    problem: str | None


def read_notebook(path: Path) -> Any:
    """The notebook in format 4. Raises ValueError with a sentence that names what is wrong."""
    size = path.stat().st_size
    if size > MAX_NOTEBOOK_BYTES:
        raise ValueError(
            f"{path.name} has {size / 1e6:.0f} MB; clear outputs to get below {MAX_NOTEBOOK_BYTES / 1e6:.0f} MB"
        )
    if size == 0:
        raise ValueError(f"{path.name} is empty (0 bytes)")
    try:
        text = path.read_text(encoding="utf-8-sig")
        notebook: Any = nbformat.reads(text, as_version=4)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 text (byte {error.start})") from None
    except nbformat.reader.NotJSONError as error:
        raise ValueError(f"{path.name} is not valid JSON{_json_place(text)}: it begins {text[:40]!r}") from error
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply to be a notebook") from None
    except Exception as error:  # noqa: BLE001  (nbformat raises whatever its converters stumble over)
        raise ValueError(
            f"{path.name} is not a notebook of format 3 or 4: {type(error).__name__}: {error}"[:300]
        ) from None
    cells = notebook.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell.get("source"), str) for cell in cells):
        raise ValueError(f"{path.name} has no list of cells, so it is not a notebook of format 4")
    return notebook


def _json_place(text: str) -> str:
    import json

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f" (line {error.lineno}, column {error.colno}: {error.msg})"
    return ""


def _inspect(path: Path) -> _Candidate:
    try:
        notebook = read_notebook(path)
    except (ValueError, OSError) as error:
        return _Candidate(path, "", str(error))
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return _Candidate(path, re.sub(r"#[^\n]*", "", source), None)


def score_roles(source: str) -> dict[str, int]:
    """How much the code (comments removed) looks like each role; 0 means not at all."""

    def has(pattern: str) -> bool:
        return re.search(pattern, source, re.IGNORECASE) is not None

    course = has(r"\bCIFAR10\b") or has(r"CIFAR")
    trains = has(r"\boptim\b|\.backward\(")
    residual = has(r"class\s+\w*res\w*\s*\(|BasicBlock|shortcut|identity|residual")
    improved = has(r"BatchNorm2d") + has(r"RandomCrop|RandomHorizontalFlip") + has(r"swish|sigmoid|silu") + has(r"\bl1")
    predicts = has(r"predictions\.csv|to_csv|['\"]Id['\"]") and has(r"['\"]test['\"]")
    simple = has(r"class\s+SimpleNN") or has(r"Conv2d\(\s*3\s*,\s*8\s*,")
    if not course and not simple and not residual:
        return dict.fromkeys(ROLES, 0)
    return {
        "lab1": 3 + (improved == 0) if simple and not residual and not predicts else 0,
        "lab2": 3 + improved if improved and trains and not residual else 0,
        "lab3": 6 if residual and trains else 0,
        "predict": 6 if predicts and not trains else 0,
    }


def _score(candidate: _Candidate, role: str) -> int:
    name = candidate.path.name.lower().replace(" ", "")
    hints = {
        "lab1": r"^simplenn-cifar10\.|lab1",
        "lab2": r"dev|enhanced|lab2",
        "lab3": r"res|lab3",
        "predict": r"predict",
    }
    by_name = 1 if re.search(hints[role], name) else 0
    if candidate.problem is not None:
        return 1 if by_name and not (role == "lab1" and re.search(hints["lab2"], name)) else 0
    by_content = score_roles(candidate.source)[role]
    return 2 * by_content + by_name if by_content else 0


def _assign(candidates: list[_Candidate], base: Path) -> tuple[dict[str, Found], list[tuple[str, str]]]:
    """The best assignment of notebooks to roles, greedily from the surest pair on."""
    pairs = sorted(
        (
            (
                -_score(candidate, role),
                ROLES.index(role),
                len(candidate.path.parts),
                str(candidate.path),
                candidate,
                role,
            )
            for candidate in candidates
            for role in ROLES
            if _score(candidate, role)
        ),
        key=lambda pair: pair[:4],
    )
    found: dict[str, Found] = {}
    taken: set[Path] = set()
    for *_, candidate, role in pairs:
        if role in found or candidate.path in taken:
            continue
        taken.add(candidate.path)
        usual = candidate.path.name == USUAL_NAMES[role]
        why = "its usual name and its content" if usual else "its content"
        found[role] = Found(role, candidate.path, why if candidate.problem is None else "its name", candidate.problem)
    aside = [
        (str(c.path.relative_to(base)), c.problem or "its code is none of the labs', or another notebook fits better")
        for c in candidates
        if c.path not in taken
    ]
    return found, aside
