"""What was handed in: which file is which lab, decided by content first and by name second."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from grader.submission.content import Content, read_content
from grader.submission.modules import Modules
from grader.submission.read import NotebookError, read_notebook

MAX_FILES = 5_000
IGNORED_FOLDERS = frozenset(
    {".ipynb_checkpoints", "__MACOSX", ".git", "__pycache__", ".venv", "venv", "site-packages", "node_modules"}
)
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
ROLES = ("lab1", "lab2", "lab3", "predict")
USUAL_NAMES = {
    "lab1": "simplenn-cifar10.ipynb",
    "lab2": "simplenn-cifar10-dev.ipynb",
    "lab3": "resnet-cifar10.ipynb",
    "predict": "save_test_predictions.ipynb",
}
NAME_HINTS = {
    "lab1": r"^simple-?nn(-?cifar-?10)?$|lab-?1",
    "lab2": r"dev|enhanc|improv|lab-?2",
    "lab3": r"res-?net|lab-?3",
    "predict": r"predict",
}
# Content decides between levels, a name within one: the usual name counts more than a similar one.
LEVEL, USUAL_NAME, COPY_OF_USUAL_NAME, SIMILAR_NAME = 10, 6, 5, 3
MAX_LOOKED_AT = 100_000  # bytes of a text file
QUESTION = re.compile(r"(?im)^\W*(?:(?:problem|question)\s*1\.\d+\b|lab\s*\(?[123]\b|\([a-h]\)\s)")
MOST_LIKELY = 6  # notebooks considered for one role


@dataclass(frozen=True)
class Found:
    """A notebook taken for one role: its path, why it was taken, and what is wrong with it (None if it can run)."""

    role: str
    path: Path
    why: str
    problem: str | None = None


@dataclass(frozen=True)
class Submission:
    """The files of one submission by role, and what was left aside with the reason.

    `files` are all its regular files in order of depth; what tools leave behind is not among them.
    """

    root: Path
    notebooks: dict[str, Found]
    predictions: Path | None
    answers: Path | None
    reports: tuple[Path, ...]
    aside: tuple[tuple[str, str], ...] = field(default=())
    files: tuple[Path, ...] = field(default=())


class SubmissionError(Exception):
    """There is no submission at the path that was named; the message says what is there."""


def find_submission(root: Path) -> Submission:
    """Look through `root`, a folder or a single notebook. Raises SubmissionError."""
    if not root.exists():
        raise SubmissionError(
            f"{root} does not exist; --submission takes the folder with the notebooks, or one notebook"
        )
    if not root.is_dir() and not _is_notebook(root):
        unpack = " (unpack the archive first)" if root.suffix.lower() in ARCHIVES else ""
        raise SubmissionError(
            f"{root} is not a notebook; --submission takes the folder with the notebooks, or one notebook{unpack}"
        )
    base = root if root.is_dir() else root.parent
    files, aside = _files(root) if root.is_dir() else ([root, *_modules_beside(root)], [])
    modules = Modules(base, frozenset(path for path in files if path.suffix == ".py"))
    notebooks, other = _assign([_inspect(path, modules) for path in files if _is_notebook(path)], base)
    return Submission(
        root=base,
        notebooks=notebooks,
        predictions=_pick(files, lambda p: p.name.lower() == "predictions.csv") or _pick(files, _named_predictions),
        answers=_pick(files, lambda p: p.name.lower() in ("answers.yaml", "answers.yml")),
        reports=tuple(path for path in files if path.suffix.lower() == ".pdf" or _is_written_report(path)),
        aside=tuple(aside + other),
        files=tuple(files),
    )


def _is_notebook(path: Path) -> bool:
    return path.suffix.lower() == ".ipynb"


def _named_predictions(path: Path) -> bool:
    name = path.stem.lower()
    return path.suffix.lower() == ".csv" and "pred" in name and "sample" not in name


def _is_written_report(path: Path) -> bool:
    """A text or Markdown file that answers questions; a README of code and a list of packages do not."""
    if path.suffix.lower() not in (".md", ".markdown", ".txt"):
        return False
    try:
        with path.open("rb") as file:
            start = file.read(MAX_LOOKED_AT).decode("utf-8", errors="replace")
    except OSError:
        return False
    return QUESTION.search(start) is not None


def _modules_beside(notebook: Path) -> list[Path]:
    """Python files in the folder of a notebook that was named alone: it may import them."""
    paths = (Path(entry.path) for entry in _entries(notebook.parent) if entry.is_file(follow_symlinks=False))
    return [path for path in paths if path.suffix == ".py"]


def _files(root: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Regular files below `root`, nearest first and by name; and what was passed over and why."""
    files: list[Path] = []
    aside: list[tuple[str, str]] = []
    folders = deque([root])
    while folders:
        for entry in _entries(folders.popleft()):
            path = Path(entry.path)
            if entry.is_symlink():
                aside.append((_shown(path, root), "a link; hand in the file itself"))
            elif entry.is_dir():
                if entry.name not in IGNORED_FOLDERS:
                    folders.append(path)
            elif entry.is_file() and not entry.name.startswith(("._", ".DS_Store")):
                if len(files) == MAX_FILES:
                    aside.append(
                        (_shown(path, root), f"the first {MAX_FILES} files were looked at, not this and later")
                    )
                    return files, aside
                files.append(path)
                if path.suffix.lower() in ARCHIVES:
                    aside.append((_shown(path, root), "an archive; hand in the files themselves"))
    return files, aside


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # a folder that may not be read holds nothing that can be graded
        return []


def _shown(path: Path, base: Path) -> str:
    """The path below `base` as text that can be printed and written, whatever bytes the name is made of."""
    return str(path.relative_to(base)).encode("utf-8", "replace").decode()


def _pick(files: list[Path], wanted: Callable[[Path], bool]) -> Path | None:
    """The file nearest to the top among those wanted."""
    matches = [path for path in files if wanted(path)]
    return min(matches, key=lambda path: (len(path.parts), str(path)), default=None)


# -- roles -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Candidate:
    path: Path
    content: Content | None
    problem: str | None


def _inspect(path: Path, modules: Modules) -> _Candidate:
    try:
        content = read_content(read_notebook(path), lambda nodes: modules.imported_by(nodes, path.parent))
        return _Candidate(path, content, None)
    except NotebookError as error:
        return _Candidate(path, None, str(error))


def role_levels(content: Content) -> dict[str, int]:
    """How well the code fits each role: 3 clearly, 2 well, 1 only if the name says so too, 0 not at all."""
    simple = content.simple and content.course
    # Nets may be built in loops, by other names or in modules: whatever trains on CIFAR10 may be a lab.
    lab1 = lab2 = by_name = int(content.course and content.optimizes)
    if content.table1:
        lab1 = 1 if content.residual else max(1, 3 - content.improved)
        lab2 = 1 if content.residual or not content.improved else min(3, 1 + content.improved)
    elif simple:  # a SimpleNN of other layers: Lab 1 done wrong, or another homework
        lab1 = lab2 = 1
    if content.predicts and not content.trains:
        return {"lab1": 0, "lab2": 0, "lab3": int(content.residual), "predict": 3}
    lab3 = 3 if content.residual else max(by_name, int(content.table1 or simple))
    return {"lab1": lab1, "lab2": lab2, "lab3": lab3, "predict": int(content.predicts)}


def _name_score(path: Path, role: str) -> int:
    """Points for the name: the usual one, a similar one, or one that says nothing about this role."""
    name = re.sub(r"[\s_]+", "-", path.stem.lower().strip())
    stem = re.sub(r"\(\d+\)|-?copy\d*$", "", name).strip("-")
    usual = USUAL_NAMES[role].removesuffix(".ipynb").replace("_", "-")
    if stem == usual:
        return USUAL_NAME if stem == name else COPY_OF_USUAL_NAME
    return SIMILAR_NAME if re.search(NAME_HINTS[role], stem) else 0


def _score(candidate: _Candidate, role: str) -> int:
    """What speaks for this pair; a notebook that cannot be read goes by its name alone, after all others."""
    name = _name_score(candidate.path, role)
    if candidate.content is None:
        return name
    level = role_levels(candidate.content)[role]
    return LEVEL * level + name if level > 1 or (level and name) else 0


def _assign(candidates: list[_Candidate], base: Path) -> tuple[dict[str, Found], list[tuple[str, str]]]:
    """The notebooks by role, so that the scores add up to the most."""
    best = _best(candidates)
    found = {role: _found(role, candidate) for role, candidate in best.items()}
    taken = {candidate.path for candidate in best.values()}
    aside = [(_shown(c.path, base), c.problem or _why_aside(c)) for c in candidates if c.path not in taken]
    return found, aside


def _why_aside(candidate: _Candidate) -> str:
    if any(_score(candidate, role) for role in ROLES):
        return "another notebook fits better"
    if candidate.content is not None and any(role_levels(candidate.content).values()):
        return "neither its code nor its name says which lab it is"
    return "its code does not train on the course's CIFAR10"


def _best(candidates: list[_Candidate]) -> dict[str, _Candidate]:
    """Of all ways to give each role one notebook or none, the one of the largest score; files nearer the top first."""
    ordered = sorted(candidates, key=lambda c: (len(c.path.parts), str(c.path)))
    likely: list[list[tuple[int, _Candidate | None]]] = []
    for role in ROLES:
        scored = sorted(((_score(c, role), c) for c in ordered), key=lambda pair: -pair[0])
        likely.append([*(pair for pair in scored[:MOST_LIKELY] if pair[0]), (0, None)])
    ways = (way for way in product(*likely) if _all_different([candidate for _, candidate in way]))
    best = max(ways, key=lambda way: sum(score for score, _ in way))
    return {role: candidate for role, (_, candidate) in zip(ROLES, best, strict=True) if candidate is not None}


def _all_different(candidates: list[_Candidate | None]) -> bool:
    paths = [candidate.path for candidate in candidates if candidate is not None]
    return len(paths) == len(set(paths))


def _found(role: str, candidate: _Candidate) -> Found:
    if candidate.content is None:
        return Found(role, candidate.path, "its name", candidate.problem)
    if role_levels(candidate.content)[role] == 1:
        why = "its name; its code alone would not say so"
    else:
        why = "its usual name and its content" if candidate.path.name == USUAL_NAMES[role] else "its content"
    return Found(role, candidate.path, why)
