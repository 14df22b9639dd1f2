"""The bank of mutants and variants: does the grader say of each what it must?

The complete submission is executed once; of each case only the notebooks whose code differs are executed again.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fixtures.embedded
from fixtures import submissions
from fixtures.cases import Case
from grader.checks.registry import all_checks, judge
from grader.checks.verdict import Verdict
from grader.evidence.collect import collect
from grader.evidence.evidence import load_evidence
from grader.evidence.predictions import read_labels
from grader.execution.limits import Limits
from grader.execution.run import execute
from grader.execution.sandbox.tiers import choose
from grader.execution.world import World, build_world
from grader.grade import Grade, grade
from grader.rubric import load_answer_key, load_rubric
from grader.submission.find import Submission, find_submission
from grader.submission.read import read_notebook


@dataclass(frozen=True)
class Outcome:
    """What the grader said of one case: items that lost points, items flagged for a person, reasons by item."""

    lost: tuple[str, ...] = ()
    flagged: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Result:
    """A case and what the grader said of it."""

    case: Case
    outcome: Outcome

    @property
    def unnamed(self) -> bool:
        """The reason that the case expects is not among those of the lost items."""
        given = "; ".join(self.outcome.reasons.get(item, "") for item in self.case.loses)
        return bool(self.case.says) and re.search(self.case.says, given) is None

    @property
    def right(self) -> bool:
        """Points are lost on exactly the declared items, the mistake is named, and a person is asked where needed."""
        asked = set(self.case.flags) <= set(self.outcome.flagged)
        exact = not self.outcome.problem and set(self.outcome.lost) == set(self.case.loses)
        return exact and asked and not self.unnamed


@dataclass(frozen=True)
class Base:
    """The complete submission's evidence, its notebooks' cells by role, the small world, and the labels."""

    folder: Path
    cells: dict[str, list[tuple[str, str]]]
    world: World
    truth: tuple[int, ...]


def _cells(submission: Submission) -> dict[str, list[tuple[str, str]]]:
    """What decides how a notebook runs: its code cells and where they stand."""
    return {
        role: [(cell["cell_type"], cell["source"] if cell["cell_type"] == "code" else "") for cell in notebook["cells"]]
        for role, found in submission.notebooks.items()
        if found.problem is None
        for notebook in [read_notebook(found.path)]
    }


def make_base(folder: Path) -> Base:
    """Build the embedded data and execute the complete submission's labs, unless an earlier call left them there."""
    heldout = folder / "heldout.csv"
    fixtures.embedded.build(folder / "data", heldout)
    world = build_world(folder / "data", folder / "world")
    submission = find_submission(submissions.make("complete", folder / "submission"))
    base = Base(folder / "evidence", _cells(submission), world, read_labels(heldout))
    done = folder / "executed"
    if not done.exists():
        roles = [role for role in submission.notebooks if role != "predict"]
        _execute(submission, roles, base.folder, folder / "work", world)
        done.touch()
    return base


def _execute(submission: Submission, roles: Iterable[str], evidence: Path, work: Path, world: World) -> None:
    evidence.mkdir(parents=True, exist_ok=True)
    for role in roles:
        only = replace(submission, notebooks={role: submission.notebooks[role]})
        asyncio.run(execute(only, evidence, work / role, world, Limits(), choose()))


def run_case(case: Case, base: Base) -> Outcome:
    """Make, execute and judge one case; what goes wrong on the way is the result's problem."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bank-") as temporary:
        try:
            graded = _grade_case(case, base, Path(temporary))
        except Exception as error:  # noqa: BLE001  (one broken case must not hide the others)
            return Outcome(seconds=time.perf_counter() - started, problem=f"{type(error).__name__}: {error}")
    reasons = {item.item: "; ".join(_reasons(item.verdicts)) for item in graded.items}
    return Outcome(
        lost=tuple(item.item for item in graded.items if item.lost),
        flagged=tuple(item.item for item in graded.items if _is_flagged(item.verdicts)),
        reasons={item: reason for item, reason in reasons.items() if reason},
        seconds=time.perf_counter() - started,
    )


def _is_flagged(verdicts: Sequence[Verdict]) -> bool:
    return any(v.flags or (v.outcome == "could_not_check" and v.evidence != "person") for v in verdicts)


def _reasons(verdicts: Sequence[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        if verdict.reason and verdict.evidence != "person":
            yield f"[{verdict.check}] {verdict.reason}" if verdict.outcome == "failed" else f"[?] {verdict.reason}"
        elif verdict.outcome == "failed":
            yield f"[{verdict.check}] {verdict.reason}"
        yield from (f"[flag] {flag}" for flag in verdict.flags)


def _grade_case(case: Case, base: Base, scratch: Path) -> Grade:
    submission = find_submission(case.make(scratch / "submission"))
    evidence = scratch / "evidence"
    evidence.mkdir()
    cells = _cells(submission)
    modules = {path.name for path in submission.files if path.suffix == ".py"}
    again = [role for role in cells if role != "predict" and (modules or cells[role] != base.cells.get(role))]
    for role in cells.keys() - {*again, "predict"}:
        shutil.copytree(base.folder / role, evidence / role)
        shutil.copyfile(submission.notebooks[role].path, evidence / role / "submitted.ipynb")
    _execute(submission, again, evidence, scratch / "work", replace(base.world, effort=case.effort))
    collect(submission, evidence, None)
    loaded, rubric, key = load_evidence(evidence, base.truth), load_rubric(), load_answer_key()
    return grade(rubric, (judge(check, loaded, rubric, key) for check in all_checks()))


# -- many cases ------------------------------------------------------------------------------------------------------


def run_cases(cases: Sequence[Case], folder: Path, jobs: int, effort: float | None = None) -> Iterator[Result]:
    """Results as they come, from `jobs` processes side by side; `effort` instead of each case's own."""
    base = make_base(folder)
    context = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = {pool.submit(_run_named, case.name, base, effort): case for case in cases}
        for done in as_completed(running):
            yield Result(running[done], done.result())


def _run_named(name: str, base: Base, effort: float | None) -> Outcome:
    """Changes are functions, which cannot be sent to another process; names can."""
    case = all_cases()[name]
    return run_case(case if effort is None else replace(case, effort=effort), base)


def all_cases() -> dict[str, Case]:
    """Mutants, then variants, by name. Raises ValueError where two share one."""
    from fixtures.mutants import MUTANTS
    from fixtures.variants import VARIANTS

    cases = {case.name: case for case in (*MUTANTS, *VARIANTS)}
    if len(cases) < len(MUTANTS) + len(VARIANTS):
        raise ValueError("two cases of the bank have the same name")
    return cases


def matrix(results: Sequence[Result]) -> list[str]:
    """One line a case, one column an item: x lost as declared, ! lost in spite of it, - not lost, ? for a person."""
    items = list(load_rubric().items)
    width = max((len(result.case.name) for result in results), default=0)
    heads = [name.replace("part1.", "1.").replace("lab", "") for name in items]
    height = max(map(len, heads))
    lines = [" " * (width + 2) + " ".join(head.rjust(height)[row] for head in heads) for row in range(height)]
    for result in results:
        marks = " ".join(_mark(result, item) for item in items)
        lines.append(f"{result.case.name:<{width}}  {marks}{'' if result.right else '  <<'}")
    return lines


def _mark(result: Result, item: str) -> str:
    if item in result.outcome.lost:
        return "x" if item in result.case.loses else "!"
    if item in result.case.loses:
        return "-"
    return "?" if item in result.outcome.flagged else "."


def explain(result: Result) -> list[str]:
    """Why a result is not what its case declares."""
    case, outcome = result.case, result.outcome
    lines = [f"{case.name}: {case.what}"]
    if outcome.problem:
        return [*lines, f"  {outcome.problem}"]
    named = {
        "lost in spite of it": [item for item in outcome.lost if item not in case.loses],
        "should be lost": [item for item in case.loses if item not in outcome.lost],
        "should be flagged": [item for item in case.flags if item not in outcome.flagged],
    }
    for what, items in named.items():
        lines += [f"  {what}: {item}: {outcome.reasons.get(item, 'no reason given')}" for item in items]
    if result.unnamed:
        given = "; ".join(outcome.reasons.get(item, "") for item in case.loses)
        lines.append(f"  the reason should match {case.says!r}: {given}")
    return lines


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Counts of mutants and variants and of those that are as declared."""
    mutants = [result for result in results if result.case.loses or result.case.flags]
    variants = [result for result in results if not (result.case.loses or result.case.flags)]
    return {
        "mutants": len(mutants),
        "caught": sum(result.right for result in mutants),
        "variants": len(variants),
        "clean": sum(result.right for result in variants),
    }


ENOUGH = 0.98  # share of the mutants that must lose points on exactly the declared items; of variants, all


def chosen(pattern: str, every: int) -> list[Case]:
    """The cases whose names match; of mutants and of variants each `every`-th, so that all items keep theirs."""
    cases = [case for case in all_cases().values() if re.search(pattern, case.name)]
    wrong = [case for case in cases if case.loses or case.flags]
    right = [case for case in cases if not (case.loses or case.flags)]
    return wrong[::every] + right[::every]


def main(cases: Sequence[Case], jobs: int, verbose: bool, base: Path | None = None, effort: float | None = None) -> int:
    """Run the cases, print the matrix and each miss; 0 where enough are right."""
    results: list[Result] = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bank-base-") as temporary:
        for result in run_cases(cases, base or Path(temporary), jobs, effort):
            results.append(result)
            mark = "ok  " if result.right else "MISS"
            print(f"{mark} {result.case.name} ({result.outcome.seconds:.0f} s)", flush=True)
            if verbose:
                for item, reason in result.outcome.reasons.items():
                    print(f"       {item}: {reason}", flush=True)
    results.sort(key=lambda result: cases.index(result.case))
    print("", *matrix(results), "", sep="\n")
    for result in results:
        if not result.right:
            print(*explain(result), sep="\n")
    print(f"{len(cases)} cases in {time.perf_counter() - started:.0f} s")
    counts = summary(results)
    print(json.dumps(counts))
    enough = counts["caught"] >= ENOUGH * counts["mutants"] and counts["clean"] == counts["variants"]
    return 0 if enough else 1
