"""Whose fault it is that something was not seen: the rule, cell by cell."""

from __future__ import annotations

import pytest
from evidence_builders import Cell, fault, lab, markdown, raised

from grader.checks.blame import hindered_cells, hindrance, own_failure

WORLD = [
    "ModuleNotFoundError: No module named 'albumentations'",
    "RuntimeError: Found no NVIDIA driver on your system",
    "AssertionError: Torch not compiled with CUDA enabled",
    "FileNotFoundError: [Errno 2] No such file or directory: '/content/drive/x.pth'",
    "OSError: Cannot save file into a non-existent directory: 'figures'",
    "RuntimeError: Parent directory ./checkpoints does not exist.",
    "OSError: [Errno 22] Invalid argument: 'C:\\data\\cifar'",
    "URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
    "AttributeError: module 'numpy' has no attribute 'int'",
    "ImportError: cannot import name 'load' from 'tools.utils'",
    "MemoryError: ",
]
OWN = [
    "NameError: name 'net' is not defined",
    "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x400 and 576x120)",
    "TypeError: 'NoneType' object is not callable",
    "SyntaxError: invalid syntax",
    "AttributeError: module 'torch' has no attribute 'Linear'",
]


def indices(*cells: Cell) -> list[int]:
    return [cell.index for cell in hindered_cells(lab("lab1", cells))]


@pytest.mark.parametrize("error", WORLD)
def test_what_only_the_graders_machine_lacks_hinders(error: str) -> None:
    assert indices(Cell("x = 1"), raised(error)) == [1]


@pytest.mark.parametrize("error", OWN)
def test_a_mistake_of_the_students_does_not(error: str) -> None:
    assert indices(Cell("x = 1"), raised(error)) == []


@pytest.mark.parametrize("error", OWN)
def test_a_cell_that_ran_at_the_students_is_hindered_whatever_it_raises(error: str) -> None:
    assert indices(raised(error, count=4)) == [0]
    assert indices(raised(error, printed="Epoch 1")) == [0]


@pytest.mark.parametrize("error", [*WORLD, *OWN])
def test_a_cell_that_failed_at_the_students_too_is_never_hindered(error: str) -> None:
    assert indices(raised(error, saved_error=True, count=4)) == []


@pytest.mark.parametrize("status", ["timeout", "stuck", "died", "not run"])
def test_a_cell_that_was_not_run_to_its_end_is_hindered(status: str) -> None:
    assert indices(Cell("x = 1", status=status, error="the kernel was gone by then")) == [0]


def test_so_is_a_cell_in_which_the_trace_failed() -> None:
    blind = lab("lab1", [markdown("# Title"), Cell("train()", (fault(),))])
    (cell,) = hindered_cells(blind)
    assert cell.describe() == "cell 2 raised an error in the grader's trace (ValueError: too many values)"


def test_names_that_a_hindered_cell_would_have_bound_hinder_further() -> None:
    cells = (
        raised(WORLD[0], "import albumentations\nloader = make()\nfrom torch import optim as o"),
        raised("NameError: name 'loader' is not defined", "history = train(loader)"),
        raised("NameError: name 'history' is not defined", "plot(history)"),
        raised("NameError: name 'o' is not defined", "o.SGD"),
        raised("NameError: name 'other' is not defined", "other()"),
    )
    assert indices(*cells) == [0, 1, 2, 3]


def test_so_does_none_in_their_place() -> None:
    nothing = "TypeError: 'NoneType' object is not iterable"
    cells = (Cell("loader = None"), raised(WORLD[0], "import x\nloader = make()"), raised(nothing, "train(loader)"))
    assert indices(*cells) == [1, 2]
    assert indices(*cells[:2], raised(nothing, "train(other)")) == [1]


def test_a_name_of_the_students_own_failure_does_not() -> None:
    cells = (raised(OWN[1], "net = build()"), raised("NameError: name 'net' is not defined", "train(net)"))
    assert indices(*cells) == []


DEFINITION = Cell("def train(net):\n    optimizer.step()  # one epoch")
SIGN = r"\.step\("


@pytest.mark.parametrize(
    ("source", "related"),
    [
        ("optimizer.step()", True),
        ("train(SimpleNN())", True),
        ("class Trainer:\n    def fit(self):\n        train(self.net)\nTrainer().fit()", True),
        ("import albumentations", False),
        ("# optimizer.step()", False),
        ("print('train')", False),
        ("%matplotlib inline\n!pip install x\ntrain(net)", True),
        ("%%time\ntrain(net)", True),
        ("%%bash\nls", False),
        ("train(net", True),
    ],
)
def test_a_hindered_cell_counts_only_where_its_code_has_to_do_with_it(source: str, related: bool) -> None:
    found = hindrance(lab("lab1", [DEFINITION, raised(WORLD[0], source)]), SIGN)
    assert (found is not None) == related


def test_the_failure_that_is_named_is_the_one_on_the_way() -> None:
    failed = lab("lab1", [DEFINITION, raised(OWN[2], "show()"), raised(OWN[0], "train(net)")])
    found = own_failure(failed, SIGN)
    assert found is not None
    assert found.describe() == "cell 3 raised NameError: name 'net' is not defined"


def test_or_one_that_was_to_give_a_name_its_value_or_none() -> None:
    failed = lab("lab1", [raised(OWN[2], "show()"), raised(OWN[2], "net = build()"), Cell("train(net)"), DEFINITION])
    found = own_failure(failed, SIGN)
    assert found is not None
    assert found.index == 1
    assert own_failure(lab("lab1", [DEFINITION, raised(OWN[2], "show()")]), SIGN) is None
    assert own_failure(lab("lab1", [DEFINITION]), SIGN) is None
    assert own_failure(lab("lab1", [DEFINITION, raised(WORLD[0], "import albumentations")]), SIGN) is None
