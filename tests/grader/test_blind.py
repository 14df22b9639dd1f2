"""Three submissions by students who never saw the grader: what it says, against the list made before they were written.

fixtures/blind/NAME/EXPECTED.md holds the lists: what is wrong and what it should cost, what is unusual and right.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures import embedded, submissions
from fixtures.cases import EFFORT, Case
from grader.bank import Base, Outcome, run_case
from grader.evidence.predictions import read_labels
from grader.execution.world import build_world

pytestmark = pytest.mark.slow

# By item, a part of the reason that a student reads.
MIDDLING = {
    "part1.1": "the verdict True is not right",
    "part1.4": "the verdict True is not right",
    "part1.7": "no explanation",
    "lab1.f": r"call eval\(\) before it; .* under torch.no_grad\(\)",
    "lab1.h": r"the StepLR scheduler is made, but its step\(\) is never called",
    "lab2.a": "validation images are augmented at random",
    "lab2.b.lr": "the network that BN is compared with was never trained: the optimizer steps another network",
    "lab2.b.swish": "Swish was trained without BN layers",
    "lab2.c.lr": "no run was trained with learning rate 0.005",
    "lab2.c.l2": "without re-initialising the model",
    "lab2.c.l1": r"no gradient to the weights: it is computed on \.data",
    "lab3.a": "stage 3 block 1 conv1: kernel 3, stride 2, padding 1 expected; found stride 1",
}
CONFUSED = {
    "part1.4": "the verdict True is not right",
    "part1.5": "no explanation",
    "part1.7": "the verdict False is not right",
    "part1.9": "expected true or false as the verdict",
    "lab1.a": "conv1: kernel 5, stride 1, no padding expected; found padding 2",
    "lab1.c": r"mode='val'; .*does not shuffle",
    "lab1.e": "cross-entropy applies softmax itself",
    "lab1.f": r"call eval\(\) before it; .* under torch.no_grad\(\)",
    "lab1.g": "0.5641, expected 0.6",
    "lab1.h": "the learning rate never fell",
    "lab2.a": "no run was trained on augmented images",
    "lab2.b.swish": "torch's own SiLU",
    "lab2.c.l2": "no run was trained with L2 strength 1e-05, 0",
    "lab2.c.l1": "no run had an L1 penalty",
    "lab3.a": "5 at 16, 4 at 32, 4 at 64, 4 at 128; expected 7 at 16, 6 at 32, 6 at 64",
}


def replaced_by(name: str, folder: Path) -> None:
    """Nothing of the complete submission stays."""
    for path in folder.iterdir():
        path.unlink()
    submissions.make(name, folder)


def graded(name: str, folder: Path) -> Outcome:
    """All notebooks of a submission executed with a small allowance of computation, and judged."""
    embedded.build(folder / "data", folder / "heldout.csv")
    world = build_world(folder / "data", folder / "world")
    base = Base(folder / "none", {}, world, read_labels(folder / "heldout.csv"))
    case = Case(name, "a blind submission", (lambda submission: replaced_by(name, submission),), effort=EFFORT)
    return run_case(case, base)


@pytest.mark.parametrize(("name", "expected"), [("strong", {}), ("middling", MIDDLING), ("confused", CONFUSED)])
def test_points_are_lost_where_the_list_says_so_and_nowhere_else(
    name: str, expected: dict[str, str], tmp_path: Path
) -> None:
    outcome = graded(name, tmp_path)
    assert outcome.problem == ""
    assert {item: outcome.reasons[item] for item in outcome.lost if item not in expected} == {}
    assert {item for item in expected if item not in outcome.lost} == set()
    said = {item: outcome.reasons[item] for item in expected}
    assert {item: reason for item, reason in said.items() if not re.search(expected[item], reason)} == {}
