"""Which code a cell of a notebook can run."""

from __future__ import annotations

import time

import pytest

from grader.evidence.cells import Cell
from grader.evidence.code import NotebookCode


def code(*sources: str) -> NotebookCode:
    return NotebookCode.of(Cell(index, "code", source, ()) for index, source in enumerate(sources))


@pytest.mark.parametrize(
    ("sources", "reached"),
    [
        (("step()",), True),
        (("def f():\n    step()", "f()"), True),
        (("def f():\n    step()", "g = 1"), False),
        (("def f():\n    step()", "def g():\n    f()", "g()"), True),
        (("def f():\n    f()", "f()"), False),
        (("class T:\n    def fit(self):\n        step()", "trainer = T()", "trainer.fit()"), True),
        (("def step_all():\n    pass", "step_all()"), False),
        (("history = train(step())", "plot(history)"), False),
        (("async def f():\n    step()", "await f()"), True),
        (("# step()",), False),
        (("x = 'a' # step()",), False),
        (("if gpu:\n    !nvidia-smi\nstep()",), True),
        (("%%time\nstep()",), True),
        (("step(",), True),
        (("step((",), True),
        (("# step(\nx = (",), False),
    ],
)
def test_the_last_cell_reaches(sources: tuple[str, ...], reached: bool) -> None:
    assert code(*sources).reaches(len(sources) - 1, r"\bstep\(") == reached


def test_names_that_a_cell_binds() -> None:
    source = """
import numpy as np, torch.nn
from torch import optim as o
net, (loss, _) = build()
for epoch in range(3):
    best: float = 1.0
def train(lr):
    inside = 1
class Net: ...
with open("x") as file:
    pass
"""
    bound = code(source).cells[0].binds
    assert bound == {"np", "torch", "o", "net", "loss", "_", "epoch", "best", "train", "Net", "file"}


def test_an_unknown_cell_reaches_nothing() -> None:
    assert not code("x = 1").reaches(7, "x")


@pytest.mark.parametrize(
    "source", ["(" * 100_000, "1" + "+1" * 100_000, "x = [" * 5_000, "\0", "\ud800", "x\n" * 100_000]
)
def test_hostile_code_is_text(source: str) -> None:
    started = time.process_time()
    assert not code(source, "y = 1").reaches(0, r"\bstep\(")
    assert time.process_time() - started < 10.0
