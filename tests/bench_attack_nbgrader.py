"""A case of the attack table through nbgrader: a course with one assignment, planted secrets, what was let through."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nbformat import NotebookNode, read, write
from nbformat.v4 import new_code_cell, new_notebook

from fixtures.hostile import HELPERS, fill
from fixtures.hostile.plant import Plant, planted
from tests.bench_anchors import CHECK, FIRST_LINEAR, IMPORTS, PLAIN, POINTS, WARNS
from tests.bench_attack_cases import CASES, FLOOD_BYTES, SLOW_SECONDS, Case, Verdict
from tests.bounded_nbgrader import (
    MOST_PROCESSES,
    MOST_SECONDS,
    USER,
    Ran,
    end_all,
    give,
    processes_of,
    run_nbgrader,
    start_nbgrader,
    stop,
)

WRONG = PLAIN.replace(FIRST_LINEAR, "nn.Linear(576, 128), nn.Linear(128, 84)")
SOLUTION = f"### BEGIN SOLUTION\n{PLAIN}\n### END SOLUTION"
TESTS = CHECK.replace("\nassert sum", "\n### BEGIN HIDDEN TESTS\nassert sum") + "\n### END HIDDEN TESTS"
# Honest work whose trouble is in the cell of the net itself: its net warns where it is graded; it takes its time.
SPECIAL = {
    "honest-warnings": PLAIN.replace("\n\n    def forward", WARNS),
    "honest-slow-cell": f"import time; time.sleep({SLOW_SECONDS})\n{PLAIN}",
}
CONTROLS = {"control-right": (PLAIN, POINTS), "control-wrong": (WRONG, 0)}


# -- a course of nbgrader's -------------------------------------------------------------------------------------------


def make_course(course: Path) -> None:
    """One assignment with a solution and a hidden test; released."""
    net = {"grade": False, "grade_id": "net", "locked": False, "solution": True}
    check = {"grade": True, "grade_id": "check", "locked": True, "solution": False, "points": POINTS}
    source = course / "source" / "homework" / "net.ipynb"
    source.parent.mkdir(parents=True)
    (course / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'course'\n")
    marked = [(SOLUTION, net), (TESTS, check)]
    cells = [new_code_cell(text, metadata={"nbgrader": m | {"schema_version": 3, "task": False}}) for text, m in marked]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    write(new_notebook(cells=[new_code_cell(IMPORTS), *cells], metadata={"kernelspec": kernel}), source)
    give(course)
    ran = run_nbgrader(course, "generate_assignment", "homework")
    if not (course / "release" / "homework" / "net.ipynb").is_file():
        raise SystemExit(f"nbgrader made no assignment:\n{ran.log}")


def hand_in(course: Path, student: str, net: str, own: tuple[list[str], list[str]]) -> None:
    """A student's notebook: the released one with `net`, cells before and cells after it; no net, no imports."""
    notebook: NotebookNode = read(course / "release" / "homework" / "net.ipynb", as_version=4)
    imports, solution, check = notebook.cells
    solution.source = net
    before, after = ([new_code_cell(text) for text in texts] for texts in own)
    notebook.cells = [*([imports] if net else []), *before, solution, *after, check]
    folder = course / "submitted" / student / "homework"
    folder.mkdir(parents=True)
    write(notebook, folder / ("net of mine.ipynb" if student == "honest-renamed" else "net.ipynb"))
    give(course / "submitted")


def net_of(case: Case) -> str:
    """A wrong net where points are at stake, a right one of honest students'."""
    if case.honest:
        return SPECIAL.get(case.name, PLAIN)
    return WRONG if case.for_points else ""


# -- one case --------------------------------------------------------------------------------------------------------


def attack_nbgrader(case: Case, course: Path) -> Verdict:
    """Plant, grade, look; the points come later, from the gradebook."""
    if case.needs_user and os.getuid() != 0:
        return Verdict("not run: needs a user of its own", (), 0.0, skipped=True)
    with planted(course) as plant:
        plant.submission.mkdir()
        give(plant.folder, Path(plant.values["tmp"]))
        plant.values["neighbour"] = str(course / "submitted" / "control-right" / "homework" / "net.ipynb")
        texts = [fill(cell, plant.values) for cell in ((HELPERS,) if case.attack.helped else ()) + case.cells]
        texts = [] if case.name in SPECIAL else texts
        hand_in(course, case.name, net_of(case), ([], texts) if case.after else (texts, []))
        plant.watch(course / "source")
        try:
            if case.name == "honest-rerun":
                kill_half_way(course, case.name, plant.mark)
            ran = run_nbgrader(course, "autograde", "homework", "--student", case.name, mark=plant.mark)
            broken = [*breaches(plant, course / "autograded" / case.name, ran)]
        finally:
            end_all(plant.mark)
    worth = "no point gained" if case.for_points else ""
    return Verdict(ran.error or worth, tuple(broken), ran.seconds)


def breaches(plant: Plant, autograded: Path, ran: Ran) -> Iterator[str]:
    """What the attack got at, in words short enough for a table."""
    autograded.mkdir(parents=True, exist_ok=True)
    found = plant.breaches(autograded)
    changed = [reason for reason in found if reason.startswith(("changed", "wrote"))]
    yield from (reason.replace("reached the socket", "reached") for reason in found if reason not in changed)
    if changed:
        yield f"changed {len(changed)} file{'s' * (len(changed) > 1)}"
    # This grader cuts what a cell prints to 100,000 characters, whatever it prints.
    kept = sum(path.stat().st_size for path in autograded.rglob("*.ipynb"))
    if kept > FLOOD_BYTES / 2:
        yield f"kept {kept / 1e6:.0f} MB of output"
    if ran.processes > MOST_PROCESSES / 2:
        yield f"had {ran.processes} processes, stopped by the bench's limit alone"
    if ran.hung:
        yield f"hung until it was killed after {MOST_SECONDS} s"


def kill_half_way(course: Path, student: str, mark: str) -> None:
    """Begin to grade, and be killed while the notebook runs."""
    process = start_nbgrader(course, "autograde", "homework", "--student", student, mark=mark)
    target, end = course / "autograded" / student, time.monotonic() + MOST_SECONDS
    while not list(target.rglob("*.ipynb")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1)
    stop(process)
    end_all(mark)


def with_points(case: Case, verdict: Verdict, points: float) -> Verdict:
    """Points gained by an attack, or lost by honest work, are a breach."""
    full = POINTS if case.honest else 0
    wrong = (f"{points:g} of {POINTS} points",) if points != full else ()
    return replace(verdict, points=points, broken=wrong + verdict.broken)


def points_of_nbgrader(course: Path) -> dict[str, float]:
    """By student, as nbgrader exports them; who is not in its gradebook has none."""
    ran = run_nbgrader(course, "export", "--to", "grades.csv")
    if not (course / "grades.csv").is_file():
        raise SystemExit(f"nbgrader exported nothing:\n{ran.log}")
    with (course / "grades.csv").open() as file:
        return {row["student_id"]: float(row["score"] or 0) for row in csv.DictReader(file)}


# -- all cases --------------------------------------------------------------------------------------------------------


def through_nbgrader(course: Path) -> dict[str, Verdict]:
    """Every case through nbgrader, and what a right and a wrong net are worth there."""
    if os.getuid() == 0 and processes_of(USER):
        raise SystemExit(f"user {USER} has processes already, which this would end")
    make_course(course)
    for name, (net, _) in CONTROLS.items():
        hand_in(course, name, net, ([], []))
        run_nbgrader(course, "autograde", "homework", "--student", name)
    verdicts = {}
    for case in CASES:
        verdicts[case.name] = attack_nbgrader(case, course)
        print(f"nbgrader: {case.label} ({verdicts[case.name].seconds:.0f} s)", flush=True)
    points = points_of_nbgrader(course)
    for name, (_, worth) in CONTROLS.items():
        if points.get(name) != worth:
            raise SystemExit(f"{name} has {points.get(name)} points of nbgrader's, not {worth}")
    return {case.name: with_points(case, verdicts[case.name], points.get(case.name, 0.0)) for case in CASES}
