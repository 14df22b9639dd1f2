"""The evidence folder read back: typed, validated, and all that a check may know of a submission."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import nbformat
from pydantic import TypeAdapter

from grader.evidence.answers import Answer
from grader.evidence.bounded import preview
from grader.evidence.cells import Cell, has_image, read_cells, result_text, stream_text
from grader.evidence.checkpoint import CheckpointScore
from grader.evidence.code import NotebookCode
from grader.evidence.headings import MAX_LINES, Line
from grader.evidence.passages import Passage
from grader.evidence.prose import MAX_CHARACTERS, added_text, is_cut, markdown_lines, read_prose
from grader.evidence.reaching import reaching
from grader.evidence.record import Record, read_record
from grader.evidence.runs import Run, build_runs, validation_loaders
from grader.execution.challenge import Challenge, read_challenges
from grader.execution.overfit import Overfit
from grader.execution.trace_events import (
    BrokenNetEvent,
    DatasetEvent,
    Event,
    InputEvent,
    LoaderEvent,
    MovedEvent,
    NetEvent,
    SaveEvent,
    read_events,
)

TEMPLATE = Path(__file__).parents[2] / "student_template" / "simplenn-cifar10.ipynb"
LABS = {"lab1": "Lab 1", "lab2": "Lab 2", "lab3": "Lab 3"}
NAMED_ASIDE = 3  # files that the reason for a missing notebook names


@dataclass(frozen=True)
class CellRun:
    """How one code cell ended in the small world; `index` counts all cells of the notebook from 0.

    `earlier` is how it ended when the student ran it, as its saved outputs show: `ran`, `raised`, or None where they
    were cleared.
    """

    index: int
    status: str
    error: str
    seconds: float
    earlier: Literal["ran", "raised"] | None = None

    def describe(self) -> str:
        """`cell 5 raised NameError: ...`, as a reader counts cells."""
        ended = {"error": "raised", "not run": "was not run:"}.get(self.status, "stopped:")
        return f"cell {self.index + 1} {ended} {' '.join(self.error.split())[:200]}"


@dataclass(frozen=True)
class Lab:
    """One lab's notebook: the file, how its cells ended, what the trace and the challenges showed, what it claims.

    `problem` says why there is nothing to check and whose fault that is: `at_fault` is `student` or `grader`.
    `tampered` says what the notebook did to the trace, or may have done, so that a person must judge it.
    `order` holds the indices of the executed code cells, by which events count; `added` is the Markdown text that was
    not handed out.
    """

    role: str
    file: str | None
    problem: str | None = None
    at_fault: str | None = None
    tampered: str | None = None
    cells: tuple[CellRun, ...] = ()
    stopped: str | None = None
    nets: tuple[NetEvent, ...] = ()
    challenges: tuple[Challenge, ...] = ()
    overfits: tuple[Overfit, ...] = ()
    events: tuple[Any, ...] = ()
    runs: tuple[Run, ...] = ()
    record: Record = field(default_factory=lambda: read_record({}))
    written: dict[str, Passage] = field(default_factory=dict)
    submitted: tuple[Cell, ...] = ()
    executed: tuple[Cell, ...] = ()
    order: tuple[int, ...] = ()
    added: str = ""

    @property
    def title(self) -> str:
        """`Lab 1`."""
        return LABS[self.role]

    def architectures(self, net: int | None) -> frozenset[str]:
        """The known functions that a net equals in eval and in train mode."""
        return frozenset(name for c in self.challenges if c.net == net for name in c.equal)

    def nets_equal_to(self, *names: str) -> tuple[NetEvent, ...]:
        """Nets that equal one of these architectures."""
        return tuple(net for net in self.nets if not self.architectures(net.net).isdisjoint(names))

    def of_type(self, kind: type[Any]) -> tuple[Any, ...]:
        """Events of one type in order."""
        return tuple(event for event in self.events if isinstance(event, kind))

    def where(self, event: Event) -> str:
        """The cell of an event as a reader counts: `cell 5`."""
        return f"cell {self.order[event.cell] + 1}" if 0 <= event.cell < len(self.order) else "a cell"

    @property
    def loaders(self) -> tuple[LoaderEvent, ...]:
        """Loaders that were iterated."""
        return self.of_type(LoaderEvent)

    @property
    def datasets(self) -> tuple[DatasetEvent, ...]:
        """Course data sets that were constructed."""
        return self.of_type(DatasetEvent)

    @property
    def inputs(self) -> tuple[InputEvent, ...]:
        """First images of each split that each net was called on."""
        return self.of_type(InputEvent)

    @property
    def moved(self) -> tuple[MovedEvent, ...]:
        """Nets sent to a device."""
        return self.of_type(MovedEvent)

    @property
    def saves(self) -> tuple[SaveEvent, ...]:
        """Nets saved."""
        return self.of_type(SaveEvent)

    @property
    def broken_nets(self) -> tuple[BrokenNetEvent, ...]:
        """Nets that raised when called on images."""
        return self.of_type(BrokenNetEvent)

    def validation_loaders(self) -> tuple[LoaderEvent, ...]:
        """Loaders over the validation split, or over a part of the training split held out of training."""
        numbers = validation_loaders(self.events)
        return tuple(loader for loader in self.loaders if loader.loader in numbers)

    @cached_property
    def code(self) -> NotebookCode:
        """Which code each cell can reach."""
        return NotebookCode.of(cell for cell in self.submitted if cell.kind == "code")

    @cached_property
    def markdown(self) -> tuple[Line, ...]:
        """The lines of its Markdown that are looked at, and where each stands."""
        return markdown_lines(self.submitted, self.file or "")

    @cached_property
    def looked_at(self) -> str:
        """The file, and how much of its text is looked at where that is not all: `lab1.ipynb`."""
        some = f"the first {MAX_LINES:,} lines or {MAX_CHARACTERS:,} characters of the text in {self.file}"
        return some if is_cut(self.submitted) else str(self.file)

    @cached_property
    def source(self) -> str:
        """All code of the notebook without comments."""
        lines = (line for cell in self.submitted if cell.kind == "code" for line in cell.source.splitlines())
        return "\n".join(line.partition("#")[0] for line in lines)

    def texts(self) -> Iterable[str]:
        """Printed and displayed text of each cell, as executed here and as saved by the student."""
        for cell in (*self.executed, *self.submitted):
            yield stream_text(cell, "stdout") + "\n" + result_text(cell)

    @cached_property
    def plots(self) -> tuple[Cell, ...]:
        """Code cells with a picture among their outputs, as executed here or as saved by the student."""
        return tuple(cell for cell in (*self.executed, *self.submitted) if has_image(cell))


@dataclass(frozen=True)
class Predictions:
    """predictions.csv: the labels by image, or what is wrong with it and in which line."""

    file: str | None
    labels: tuple[int, ...] | None
    problem: str | None
    line: int | None


@dataclass(frozen=True)
class Answers:
    """Written answers outside the notebooks: part 1 by item, passages of a report by item, files that were read."""

    answers: dict[str, Answer]
    passages: dict[str, Passage]
    problems: tuple[str, ...]
    read: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """Everything the checks may use.

    `source` is `course` where the course's data were given, else `embedded`; `lossy` whether their images were
    compressed, or nothing tells; `truth` are the held-out labels, which only an instructor has.
    """

    labs: dict[str, Lab]
    predictions: Predictions
    answers: Answers
    lossy: bool
    source: str
    truth: tuple[int, ...] | None
    checkpoint: CheckpointScore | None = None


def load_evidence(folder: Path, truth: tuple[int, ...] | None) -> Evidence:
    """Read what execution and `collect` left in `folder`."""
    submission = _json(folder / "submission.json")
    found, aside = submission["notebooks"], submission["aside"]
    data = _json(folder / "data.json")
    return Evidence(
        labs={role: _load_lab(folder / role, role, found.get(role), aside) for role in LABS},
        predictions=TypeAdapter(Predictions).validate_python(_json(folder / "predictions.json")),
        answers=TypeAdapter(Answers).validate_python(_json(folder / "answers.json")),
        lossy=data["lossy"],
        source=data["source"],
        truth=truth,
        checkpoint=_checkpoint(folder / "checkpoint.json"),
    )


def _checkpoint(path: Path) -> CheckpointScore | None:
    return TypeAdapter(CheckpointScore | None).validate_python(_json(path)) if path.is_file() else None


@cache
def _template() -> Any:
    """The notebook that students receive and copy for each lab; what stands in it is no answer of theirs."""
    return _json(TEMPLATE) if TEMPLATE.is_file() else None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def _notebook(path: Path) -> Any:
    """The student's notebook as it was handed in, in format 4."""
    content = _json(path)
    return content if content.get("nbformat") == 4 else nbformat.convert(nbformat.from_dict(content), 4)


def _earlier(cell: Any) -> Literal["ran", "raised"] | None:
    outputs = cell.get("outputs") if isinstance(cell, dict) else None
    if not isinstance(outputs, list):
        return None
    if any(isinstance(output, dict) and output.get("output_type") == "error" for output in outputs):
        return "raised"
    return "ran" if outputs or isinstance(cell.get("execution_count"), int) else None


def _not_found(role: str, aside: list[list[str]]) -> str:
    """Why a lab has no notebook, with the first files set aside: notebooks before others."""
    reason = f"no notebook of {LABS[role]} was found in the submission"
    ordered = sorted(aside, key=lambda pair: not pair[0].lower().endswith(".ipynb"))
    shown = [f"{preview(name, 60)} ({preview(why, 100)})" for name, why in ordered[:NAMED_ASIDE]]
    more = [f"and {len(aside) - NAMED_ASIDE} more"] if len(aside) > NAMED_ASIDE else []
    return f"{reason}; set aside: {', '.join(shown + more)}" if aside else reason


def _load_lab(folder: Path, role: str, found: dict[str, Any] | None, aside: list[list[str]]) -> Lab:
    if found is None:
        return Lab(role, None, _not_found(role, aside), "student")
    if found["problem"] is not None:
        return Lab(role, found["file"], found["problem"], "student")
    fault = folder / "grader-fault.json"
    if fault.is_file():
        return Lab(role, found["file"], _json(fault)["reason"], "grader")
    answered = read_challenges(folder / "challenges.json")
    losses, modules = folder / "overfits.json", folder / "modules.json"
    return assemble_lab(
        role,
        found["file"],
        submitted=_notebook(folder / "submitted.ipynb"),
        executed=_json(folder / "executed.ipynb"),
        ended=_json(folder / "cells.json"),
        events=read_events(folder / "trace.jsonl")[0],
        answered=answered,
        overfits=TypeAdapter(tuple[Overfit, ...]).validate_python(_json(losses)) if losses.is_file() else (),
        modules=_json(modules) if modules.is_file() else {},
    )


def assemble_lab(
    role: str,
    file: str,
    *,
    submitted: Any,
    executed: Any,
    ended: dict[str, Any],
    events: Sequence[Any],
    answered: Sequence[Challenge],
    overfits: Sequence[Overfit] = (),
    modules: Mapping[str, str | None] | None = None,
) -> Lab:
    """One lab from its parsed notebooks, how the cells ended (cells.json), the trace, and what its nets answered.

    `modules` are the student's own Python files by path; None for one that is too long to be read.
    """
    cells = tuple(read_cells(submitted))
    equal = {c.net: frozenset(n for o in answered if o.net == c.net for n in o.equal) for c in answered}
    return Lab(
        role=role,
        file=file,
        tampered=ended.get("tampered") or reaching(cells, modules or {}),
        cells=tuple(CellRun(**cell, earlier=_earlier(submitted["cells"][cell["index"]])) for cell in ended["cells"]),
        stopped=ended["problem"],
        nets=tuple(event for event in events if isinstance(event, NetEvent)),
        challenges=tuple(answered),
        overfits=tuple(overfits),
        events=tuple(events),
        runs=build_runs(events, equal, ended["executed"]),
        record=read_record(submitted),
        written=read_prose(submitted, role, _template(), name=file),
        submitted=cells,
        executed=tuple(read_cells(executed)),
        order=tuple(ended["executed"]),
        added=added_text(submitted, _template()),
    )
