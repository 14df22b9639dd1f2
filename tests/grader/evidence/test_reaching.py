"""Code that reaches into the interpreter leaves its lab to a person; what honest notebooks do costs nothing."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from fixtures.submissions import BLIND, NOTEBOOKS, TEMPLATE
from grader.checks.registry import Check, all_checks, judge
from grader.evidence.cells import Cell, read_cells
from grader.evidence.evidence import LABS, Answers, Evidence, Lab, Predictions, assemble_lab
from grader.evidence.reaching import MAX_CHARACTERS, reaching
from grader.rubric import load_answer_key, load_rubric

HAND_INS = sorted(path for folder in (NOTEBOOKS, TEMPLATE, BLIND) for path in folder.rglob("*.ipynb"))


def found(*sources: str, **modules: str | None) -> str | None:
    cells = [Cell(index, "code", source, ()) for index, source in enumerate(sources)]
    return reaching(cells, {f"{name}.py": source for name, source in modules.items()})


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("from course_world.recorder import recorder", "course_world"),
        ("import course_world", "course_world"),
        ("sys.modules['course_world.recorder'].recorder.emit('step')", "course_world"),
        ("open(os.environ['COURSE_WORLD_TRACE'], 'a')", "COURSE_WORLD_"),
        ("os.environb[b'COURSE_WORLD_TRACE']", "COURSE_WORLD_"),
        ("f'{x} course_world'", "course_world"),
        ("importlib.import_module('course_' + 'wor' + 'ld')", "course_world"),
        ("getattr(f, f'__{\"glob\"}als__')", "__globals__"),
        ("getattr(f, ''.join(['__glo', 'bals__']))", "__globals__"),
        ("getattr(f, '__glo%sls__' % 'ba')", "__globals__"),
        ("getattr(f, '__glo{}{}__'.format('ba', 'ls'))", "__globals__"),
        ("getattr(f, '__slabolg__'[::-1])", "__globals__"),
        ("getattr(f, chr(95) + '_code__')", "__code__"),
        ("getattr(f, b'__code__'.decode())", "__code__"),
        ("getattr(f, 'QQcodeQQ'.replace('QQ', '__'))", "__code__"),
        ("sys.modules[name]", "sys.modules"),
        ("for name, module in sys.modules.items(): print(module)", "sys.modules"),
        ("known = sys.modules", "sys.modules"),
        ("from sys import modules", "sys.modules"),
        ("nn.Module.__call__.__globals__['recorder']", "__globals__"),
        ("getattr(f, '__closure__')[0]", "__closure__"),
        ("cell.cell_contents", "cell_contents"),
        ("inspect.getclosurevars(f)", "getclosurevars"),
        ("frame.f_back", "f_back"),
        ("inspect.currentframe().f_globals", "f_globals"),
        ("sys._getframe(1)", "_getframe"),
        ("from sys import settrace", "settrace"),
        ("threading.setprofile(print)", "setprofile"),
        ("[o for o in gc.get_objects()]", "get_objects"),
        ("gc.get_referrers(net)", "get_referrers"),
        ("get_ipython().ast_transformers.append(t)", "ast_transformers"),
        ("get_ipython().input_transformers_post.append(t)", "input_transformers_post"),
        ("get_ipython().kernel.do_execute = other", "do_execute"),
        ("f.__code__ = g.__code__", "__code__"),
        ("import ctypes", "ctypes"),
        ("import ctypes.util as u", "ctypes"),
        ("from ctypes import CDLL", "ctypes"),
        ("library = __import__('ctypes')", "ctypes"),
        ("exec(text)", "exec(...)"),
        ("eval('a' + b)", "eval(...)"),
        ("exec(compile(tree, 'a', 'exec'))", "exec(...)"),
        ("import builtins; builtins.exec(text)", "builtins.exec(...)"),
        ("%%time\nexec(text)", "exec(...)"),
        ("%matplotlib inline\n!ls\nfiles = !ls\nexec(text)", "exec(...)"),
        ("%%writefile helpers.py\nimport ctypes", "ctypes"),
        ("%%bash\necho $COURSE_WORLD_TRACE", "COURSE_WORLD_"),
        ("!echo $COURSE_WORLD_TRACE", "COURSE_WORLD_"),
        ("import ctypes\nthis is no Python", "import ctypes"),
    ],
)
def test_what_reaches_too_far_is_named(source: str, word: str) -> None:
    assert found("x = 1", source) == f"cell 2 reaches into the interpreter (`{word}`)"


@pytest.mark.parametrize(
    "source",
    [
        "import gc; gc.collect()",
        "net.eval()",
        "IN_COLAB = 'google.colab' in sys.modules",
        "for name in list(sys.modules):\n    if name.startswith('tools'): del sys.modules[name]",
        "this = sys.modules[__name__]; sys.modules.pop('tools', None); print('torch' in sys.modules.keys())",
        "net = importlib.import_module(name); title = 'a' + b + f'{c:.2f}' + ', '.join(names)",
        "print(inspect.getsource(Net))",
        "net = getattr(models, name)()",
        "get_ipython().run_line_magic('matplotlib', 'inline')",
        "%matplotlib inline\n%load_ext autoreload\n!nvidia-smi",
        "net = torch.compile(net)",
        "from torch import compile\nnet = compile(net)",
        "@functools.wraps(f)\ndef g(*a): return f(*a)",
        "pattern = re.compile(text)",
        "def eval(net, loader): net.eval()\neval(net, val_loader)",
        "lr = eval('1e-2')",
        "frame = pd.DataFrame(rows); frame.eval('a + b')",
        "print(net.__class__.__name__, net.__dict__, globals().keys(), locals())",
        "os.environ['CUDA_VISIBLE_DEVICES'] = '0'",
        "# __globals__ of course_world",
        "images.ctypes.data",
        "x = = 1",
        "%%bash\npip install torch",
        "%%html\n<b>evaluate</b>",
    ],
)
def test_honest_habits_are_none(source: str) -> None:
    assert found(source) is None


def test_cells_that_are_no_code_do_not_count() -> None:
    assert reaching([Cell(0, "markdown", "`import ctypes`", ())], {}) is None


@pytest.mark.parametrize("path", [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in HAND_INS])
def test_no_hand_in_of_ours_is_hit(path: Path) -> None:
    assert reaching(read_cells(json.loads(path.read_text(encoding="utf-8"))), {}) is None


# -- modules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loads", ["import helpers", "from helpers import *", "%run helpers.py", "importlib.import_module('helpers')"]
)
def test_a_module_that_a_cell_names_counts(loads: str) -> None:
    assert found(loads, helpers="import ctypes") == "helpers.py reaches into the interpreter (`ctypes`)"


def test_a_module_of_a_module_counts_and_another_does_not() -> None:
    inner = "import deep\nimport torch"
    assert found("import helpers", helpers=inner, deep="f.__globals__", unused="import ctypes") == (
        "deep.py reaches into the interpreter (`__globals__`)"
    )
    assert found("import helpers", helpers=inner, deep="x = 1", unused="import ctypes") is None


def test_a_package_counts_by_its_folder() -> None:
    cells = [Cell(0, "code", "import mine", ())]
    reason = "mine/__init__.py reaches into the interpreter (`ctypes`)"
    assert reaching(cells, {"mine/__init__.py": "import ctypes"}) == reason


def test_a_module_that_is_too_long_cannot_be_looked_at() -> None:
    assert found("import helpers", helpers=None) == "helpers.py is too long to be read"
    assert found("x = 1", helpers=None) is None
    assert found("x = 1", "#" * MAX_CHARACTERS + "\nimport ctypes") == "cell 2 is too long to be read"


@pytest.mark.parametrize(
    "source", ["+".join(["'a'"] * 2_500), "-" * 2_500 + "1", "(" * 150 + ")" * 150, "\0", "[" * 5_000]
)
def test_code_that_is_hard_to_parse_is_no_error(source: str) -> None:
    assert found(source) in (None, "cell 1 is nested too deeply to be read")


# -- what comes of it ------------------------------------------------------------------------------------------------


def lab_of(source: str, tampered: str | None = None, role: str = "lab1") -> Lab:
    cell = {"cell_type": "code", "source": source, "outputs": [], "execution_count": None}
    ended = {"cells": [], "executed": [], "problem": None, "tampered": tampered}
    notebook = {"nbformat": 4, "cells": [cell]}
    return assemble_lab(role, "lab.ipynb", submitted=notebook, executed=notebook, ended=ended, events=(), answered=())


def test_what_the_kernel_did_comes_before_what_the_code_says() -> None:
    assert lab_of("x = 1").tampered is None
    assert lab_of("import ctypes").tampered == "cell 1 reaches into the interpreter (`ctypes`)"
    assert lab_of("import ctypes", "cell 1 wrote to the trace").tampered == "cell 1 wrote to the trace"


def role_of(check: Check) -> str | None:
    return next((role for role in LABS if role in inspect.signature(check.function).parameters), None)


@pytest.mark.parametrize("check", [pytest.param(c, id=f"{c.item} {c.name}") for c in all_checks() if role_of(c)])
def test_every_check_of_such_a_lab_is_left_to_a_person(check: Check) -> None:
    labs = {role: lab_of("import ctypes", role=role) for role in LABS}
    nothing = Predictions(None, None, "predictions.csv was not handed in", None)
    evidence = Evidence(labs, nothing, Answers({}, {}, (), ()), lossy=False, source="course", truth=None)
    verdict = judge(check, evidence, load_rubric(), load_answer_key())
    title = LABS[role_of(check) or ""]
    assert (verdict.outcome, verdict.credit) == ("could_not_check", 0.0)
    assert verdict.reason == (
        f"cell 1 reaches into the interpreter (`ctypes`), so what the grader recorded of {title} must be judged by a "
        "person"
    )


@pytest.mark.parametrize(
    "source",
    [
        "x = '%99999999999s' % 'x'",
        "x = '%*s' % (10**9, 'x')",
        "x = '{:>99999999999}'.format('x')",
        "x = 'a' % 1",
        "'a'[::0]",
    ],
)
def test_text_that_would_fill_the_memory_is_not_made(source: str) -> None:
    assert found(source) is None
