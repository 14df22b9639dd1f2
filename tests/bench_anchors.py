"""Six submissions of one small net through nbgrader's `autograde` and through this grader, in turns.

Each imports torch and torchvision, defines SimpleNN and is checked once: by nbgrader with asserts on its outputs' shape
and its number of parameters, here with a challenge. nbgrader has an environment of its own with the same torch and with
compiled bytecode; of its time only what it spends on a submission counts, from one `autograde` of the whole class.
"""

from __future__ import annotations

import asyncio
import csv
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode, read, write
from nbformat.v4 import new_code_cell, new_notebook

from fixtures import embedded
from grader.execution.challenge import read_challenges
from grader.execution.kernel import Place
from grader.execution.limits import Limits
from grader.execution.notebook import run_notebook
from grader.execution.sandbox.server import fork_server
from grader.execution.sandbox.tiers import Isolation, choose
from grader.execution.world import World, build_world
from grader.submission.read import read_notebook
from tests.bench_numbers import spread

ROOT = Path(__file__).resolve().parents[1]
VERSION = "0.9.6"
HOME = ROOT / ".tox" / "nbgrader"  # kept between runs
POINTS = 10
DONE = "Setting destination file permissions"  # nbgrader's last line on a submission

IMPORTS = "import torch\nimport torchvision\nfrom torch import nn\nfrom torch.nn import functional as F"
STUB = "class SimpleNN(nn.Module):\n    ### BEGIN SOLUTION\n    pass\n    ### END SOLUTION"
CHECK = """net = SimpleNN()
assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
assert sum(p.numel() for p in net.parameters()) == 82_030"""

PLAIN = """class SimpleNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 5), nn.Conv2d(8, 16, 3)
        self.fc1, self.fc2, self.fc3 = nn.Linear(576, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))"""
SEQUENTIAL = """class SimpleNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(576, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))

    def forward(self, images):
        return self.body(images)"""
IN_LOOPS = """class SimpleNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, k) for i, o, k in ((3, 8, 5), (8, 16, 3)))
        self.dense = nn.ModuleList(nn.Linear(i, o) for i, o in ((576, 120), (120, 84), (84, 10)))

    def forward(self, x):
        for layer in self.convolutions:
            x = torch.max_pool2d(layer(x).clamp(min=0), 2)
        x = x.view(x.size(0), -1)
        for layer in self.dense[:-1]:
            x = layer(x).clamp(min=0)
        return self.dense[-1](x)"""
FIRST_LINEAR = "nn.Linear(576, 120), nn.Linear(120, 84)"
WARNS = (
    "\n        nn.init.xavier_uniform(self.conv1.weight)  # torch warns that the name is deprecated\n\n    def forward"
)


@dataclass(frozen=True)
class Handed:
    """A student's cell, and whether its net is right."""

    source: str
    right: bool


SUBMISSIONS = {
    "plain": Handed(PLAIN, True),
    "sequential": Handed(SEQUENTIAL, True),
    "in_loops": Handed(IN_LOOPS, True),
    "wrong_shape": Handed(PLAIN.replace(FIRST_LINEAR, "nn.Linear(576, 128), nn.Linear(128, 84)"), False),
    "exception": Handed(PLAIN.replace("return self.fc3(", "return self.fc4("), False),
    "warning": Handed(PLAIN.replace("\n\n    def forward", WARNS), True),
}


@dataclass
class Side:
    """Seconds of each submission by round, seconds of each whole round, points by submission."""

    seconds: list[float] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)
    points: dict[str, float] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {
            "seconds": spread(self.seconds),
            "round_a_submission": spread([seconds / len(SUBMISSIONS) for seconds in self.rounds]),
            "points": self.points,
            "n": len(self.seconds),
        }


# -- nbgrader --------------------------------------------------------------------------------------------------------


def install_nbgrader() -> None:
    """Its own environment, with the versions of this one and bytecode compiled."""
    if (HOME / "bin" / "nbgrader").is_file():
        return
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        raise SystemExit("nbgrader is installed with uv, which was not found; `tox -e bench` brings it")
    print(f"installing nbgrader {VERSION} in {HOME.relative_to(ROOT)}", flush=True)
    subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, HOME], check=True)
    install = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", HOME / "bin" / "python"]
    pinned = ["--constraint", ROOT / ".ci" / "constraints.txt"]
    subprocess.run([*install, *pinned, f"nbgrader=={VERSION}", "torch", "torchvision", "ipykernel"], check=True)


def nbgrader(course: Path, *arguments: str) -> list[tuple[float, str]]:
    """Run a command of nbgrader's; its lines, each with the second at which it came."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JUPYTER"))}
    environment |= {"HOME": str(course), "OMP_NUM_THREADS": "1", "PATH": f"{HOME / 'bin'}:{os.environ['PATH']}"}
    command = [str(HOME / "bin" / "nbgrader"), *arguments]
    with subprocess.Popen(
        command, cwd=course, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        return [(time.perf_counter(), line) for line in process.stdout]


def make_course(course: Path) -> None:
    """An nbgrader course with one assignment, released, and handed in by one student for each submission."""
    source = course / "source" / "homework" / "net.ipynb"
    source.parent.mkdir(parents=True)
    (course / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'course'\nc.ClearSolutions.code_stub = {'python': 'pass'}\n"
    )
    cells = [
        new_code_cell(IMPORTS),
        _marked(STUB, "net", grade=False),
        _marked(CHECK, "check", grade=True),
    ]
    write(_notebook(cells), source)
    nbgrader(course, "generate_assignment", "homework")
    released = course / "release" / "homework" / "net.ipynb"
    for name, handed in SUBMISSIONS.items():
        notebook = read(released, as_version=4)
        notebook.cells[1].source = handed.source
        target = course / "submitted" / name / "homework" / "net.ipynb"
        target.parent.mkdir(parents=True)
        write(notebook, target)


def _notebook(cells: list[NotebookNode]) -> NotebookNode:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _marked(source: str, name: str, *, grade: bool) -> NotebookNode:
    """A cell of the student's, or one that nbgrader grades."""
    marks = {"grade": grade, "grade_id": name, "locked": grade, "solution": not grade, "task": False}
    marks |= {"schema_version": 3} | ({"points": POINTS} if grade else {})
    return new_code_cell(source, metadata={"nbgrader": marks})


def autograde(course: Path, side: Side) -> None:
    """One `nbgrader autograde` of the class; the first submission's time begins with nbgrader's first line."""
    started = time.perf_counter()
    lines = nbgrader(course, "autograde", "homework", "--force")
    side.rounds.append(time.perf_counter() - started)
    ends = [lines[0][0], *(second for second, line in lines if DONE in line)]
    if len(ends) != 1 + len(SUBMISSIONS):
        raise SystemExit("nbgrader did not grade every submission:\n" + "".join(line for _, line in lines))
    side.seconds += [end - begin for begin, end in itertools.pairwise(ends)]


def points_of_nbgrader(course: Path) -> dict[str, float]:
    nbgrader(course, "export", "--to", "grades.csv")
    with (course / "grades.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {name: next(float(row["score"]) for row in rows if row["student_id"] == name) for name in SUBMISSIONS}


# -- this grader -----------------------------------------------------------------------------------------------------


def hand_in(folder: Path) -> None:
    for name, handed in SUBMISSIONS.items():
        (folder / name).mkdir(parents=True)
        write(_notebook([new_code_cell(IMPORTS), new_code_cell(handed.source)]), folder / name / "net.ipynb")


def start(folder: Path) -> tuple[World, Isolation, dict[str, float]]:
    """What a class needs once: the small world, the fork server and its probe; and the seconds of each."""
    embedded.build(folder / "data", folder / "heldout.csv")
    begin = time.perf_counter()
    world = build_world(folder / "data", folder / "world")
    built = time.perf_counter()
    isolation = choose("fork")
    fork_server.connect().close()
    return world, isolation, {"world": built - begin, "fork_server": time.perf_counter() - built}


def grade(folder: Path, world: World, isolation: Isolation, work: Path, side: Side) -> None:
    """One round of this grader: a kernel for each submission, and one challenge."""
    begin = time.perf_counter()
    for name in SUBMISSIONS:
        started = time.perf_counter()
        side.points[name] = asyncio.run(_grade_one(folder / name, world, isolation, work / name))
        side.seconds.append(time.perf_counter() - started)
    side.rounds.append(time.perf_counter() - begin)


def grade_two_at_once(folder: Path, world: World, isolation: Isolation, work: Path) -> float:
    """Seconds of a round in which two submissions are graded at a time, as the grader does with a submission's labs."""

    async def one(name: str, slots: asyncio.Semaphore) -> None:
        async with slots:
            await _grade_one(folder / name, world, isolation, work / name)

    async def everything() -> None:
        slots = asyncio.Semaphore(2)
        await asyncio.gather(*(one(name, slots) for name in SUBMISSIONS))

    begin = time.perf_counter()
    asyncio.run(everything())
    return time.perf_counter() - begin


async def _grade_one(handed_in: Path, world: World, isolation: Isolation, work: Path) -> float:
    """Points for the net: all where it equals SimpleNN on images and weights drawn for it."""
    (work / "copy").mkdir(parents=True)
    notebook = read_notebook(handed_in / "net.ipynb")
    place = Place(world, work / "copy", isolation=isolation)
    await run_notebook(notebook, place, work / "scratch", work / "lab1", Limits(), one_batch="never")
    challenges = read_challenges(work / "lab1" / "challenges.json")
    return float(POINTS if any("simplenn" in challenge.equal for challenge in challenges) else 0)


# -- both ------------------------------------------------------------------------------------------------------------


def bench_anchors(n: int) -> dict[str, object]:
    """Seconds a submission on both sides, the points that each gives, and the ratios.

    `ratio` is that of the medians of a submission; `ratio_with_starts` that of the six, with all that each side starts.
    """
    install_nbgrader()
    rounds = max(2, -(-n // len(SUBMISSIONS)))
    theirs, ours = Side(), Side()
    pairs: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_course(folder / "course")
        hand_in(folder / "handed-in")
        world, isolation, starts = start(folder)
        for number in range(rounds):  # before nbgrader and after it: a noisy machine disturbs both alike
            grade(folder / "handed-in", world, isolation, folder / f"before-{number}", ours)
            autograde(folder / "course", theirs)
            grade(folder / "handed-in", world, isolation, folder / f"after-{number}", ours)
            pairs.append(grade_two_at_once(folder / "handed-in", world, isolation, folder / f"pairs-{number}"))
            print(f"round {number + 1} of {rounds}: {theirs.rounds[-1]:.1f} s, {ours.rounds[-1]:.1f} s", flush=True)
        theirs.points = points_of_nbgrader(folder / "course")
    each = statistics.median(theirs.seconds)
    submissions = [seconds / len(SUBMISSIONS) for seconds in pairs]
    all_six = sum(starts.values()) + statistics.median(ours.rounds)
    return {
        "nbgrader": theirs.describe(),
        "grader": ours.describe() | {"starts_once": {name: round(seconds, 3) for name, seconds in starts.items()}},
        "grader_two_at_once": {"round_a_submission": spread(submissions), "n": rounds},
        "right_points": {name: float(POINTS * handed.right) for name, handed in SUBMISSIONS.items()},
        "ratio": round(each / statistics.median(ours.seconds), 1),
        "ratio_with_starts": round(statistics.median(theirs.rounds) / all_six, 1),
        "ratio_two_at_once": round(each / statistics.median(submissions), 1),
        "rounds": rounds,
    }
