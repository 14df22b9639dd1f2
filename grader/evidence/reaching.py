"""Code that reaches into the interpreter or into the grader: what was recorded of such a notebook, a person must judge.

The trace is made inside the student's kernel, where whoever looks for the recorder finds it. This is a tripwire for the
simple ways there, read off the source and not a proof; ordinary code of the course has no use for any of them.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from grader.evidence.cells import Cell

MAX_CHARACTERS = 1_000_000  # of one cell or module
MAX_SUM = 2_000  # of text that is put together
GRADER = ("course_world", "COURSE_WORLD_")
FRAMES = ("f_globals", "f_locals", "f_back", "_getframe", "settrace", "setprofile", "currentframe")
FUNCTIONS = ("__globals__", "__closure__", "__code__", "cell_contents", "getclosurevars")
OBJECTS = ("get_objects", "get_referrers", "get_referents", "__subclasses__", "_global_forward_hooks")
SHELL = (
    "ast_transformers",
    "input_transformers_post",
    "input_transformers_cleanup",
    "do_execute",
    "run_cell",
    "run_code",
    "runpy",
)
INSIDES = re.compile(
    rf"\b(?:{'|'.join((*FRAMES, *FUNCTIONS, *OBJECTS, *SHELL))})\b|{'|'.join(GRADER)}|/proc/self/(?:mem|maps)"
)
MACHINE = "ctypes"
MODULES = "sys.modules"
TEXT_METHODS = ("join", "format", "replace", "lower", "upper", "strip", "decode", "encode", "removeprefix")
WIDE = re.compile(r"\*|\d{4}")  # widths that would fill the memory
RUNS_TEXT = ("exec", "eval", "compile")
# Cells of another language that name one of these; `%%writefile` makes a module of the cell's rest.
IN_TEXT = re.compile(rf"{INSIDES.pattern}|\bimport {MACHINE}\b|\bfrom {MACHINE}\b")
PYTHON_MAGIC = re.compile(r"^%%(?:time|timeit|capture|prun|writefile|python3?|script python3?|file)\b.*$", re.MULTILINE)
LINE_MAGIC = re.compile(r"^([ \t]*)(?:\w+ *= *)?[%!?].*$", re.MULTILINE)


def reaching(cells: Iterable[Cell], modules: Mapping[str, str | None]) -> str | None:
    """Which cell, or which of the student's `modules` (source by path) that a cell names, does so, and by what.

    `cell 3 reaches into the interpreter (`__globals__`)`, or None.
    """
    read: dict[str, str | None] = {f"cell {cell.index + 1}": cell.source for cell in cells if cell.kind == "code"}
    read |= {path: modules[path] for path in _named([source or "" for source in read.values()], modules)}
    sources = {name: source for name, source in read.items() if source is not None and len(source) <= MAX_CHARACTERS}
    too_long = next((name for name in read if name not in sources), None)
    if too_long is not None:
        return f"{too_long} is too long to be read"
    parsed = {name: _parse(source) for name, source in sources.items()}
    own = frozenset(name for tree in parsed.values() if isinstance(tree, ast.AST) for name in _bound(tree))
    for name, tree in parsed.items():
        try:
            found = next(_found(tree, own), None)
        except RecursionError:
            return f"{name} is nested too deeply to be read"
        if found is not None:
            return f"{name} reaches into the interpreter (`{found}`)"
    return None


def _named(sources: list[str], modules: Mapping[str, str | None]) -> list[str]:
    """Modules whose name stands in the notebook's code or in another such module, however they are loaded."""
    named: list[str] = []
    waiting = list(sources)
    while waiting:
        words = set(re.findall(r"\w+", waiting.pop()))
        for path, source in modules.items():
            parts = PurePosixPath(path)
            name = parts.parent.name if parts.stem == "__init__" else parts.stem
            if path not in named and name in words:
                named.append(path)
                waiting.append(source or "")
    return named


def _parse(source: str) -> ast.Module | str:
    """The syntax tree, in which IPython's own lines are literals; the source itself where it is no Python."""
    text = PYTHON_MAGIC.sub("", source, count=1)
    for candidate in (text, LINE_MAGIC.sub(lambda line: line[1] + repr(line[0]), text)):
        try:
            with warnings.catch_warnings(action="ignore"):
                return ast.parse(candidate)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return source


def _bound(tree: ast.AST) -> Iterator[str]:
    """Names that the code gives a meaning of its own: a student's `eval` is a function that evaluates a net."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.asname or node.name


def _found(tree: ast.AST | str, own: frozenset[str]) -> Iterator[str]:
    """Each word that reaches too far."""
    if isinstance(tree, str):
        yield from (found[0] for found in IN_TEXT.finditer(tree))
        return
    harmless = set(map(id, _looked_up(tree)))
    for node in ast.walk(tree):
        for word in _words(node):
            yield from (found[0] for found in INSIDES.finditer(word))
        if _is_machine(node):
            yield MACHINE
        if _is_modules(node) and id(node) not in harmless:
            yield MODULES
        if isinstance(node, ast.Call) and _runs_text(node, own):
            yield f"{ast.unparse(node.func)}(...)"


def _words(node: ast.AST) -> Iterator[str]:
    """Names, attributes, imported names and the text of literals, also of such that are put together."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.alias):
        yield node.name
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
    elif isinstance(node, (ast.Constant, ast.BinOp, ast.JoinedStr, ast.Call, ast.Subscript)):
        yield _text(node)


def _text(node: ast.AST) -> str:
    """What a literal says, or what an expression of literals makes of them; "" for all else."""
    made = _made(node)
    if isinstance(made, bytes):
        return made.decode("latin-1")
    return made if isinstance(made, str) else ""


def _made(node: ast.AST) -> object:
    """The value of an expression of literals that puts text together or takes it apart; None for all else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return _text(node.value)
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(map(_made, node.elts))
    try:
        return _short(_applied(node))
    except Exception:  # noqa: BLE001  (literals that do not go together: no text)
        return None


def _applied(node: ast.AST) -> object:
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        left, right = _made(node.left), _made(node.right)
        if isinstance(node.op, ast.Mod):
            return left % right if isinstance(left, str) and WIDE.search(left) is None else None
        return f"{left or ''}{right or ''}" if isinstance(left, str) or isinstance(right, str) else None
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        bounds = (part and ast.literal_eval(part) for part in (node.slice.lower, node.slice.upper, node.slice.step))
        return _made(node.value)[slice(*bounds)]  # type: ignore[index]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "chr":
        return chr(ast.literal_eval(node.args[0]))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TEXT_METHODS:
        own, arguments = _made(node.func.value), [_made(argument) for argument in node.args]
        if node.func.attr == "format" and WIDE.search(str(own)) is not None:
            return None
        if node.func.attr == "join":
            arguments = [[str(part or "") for part in arguments[0]]]  # type: ignore[attr-defined]
        return getattr(own, node.func.attr)(*arguments) if isinstance(own, (str, bytes)) else None
    return None


def _short(value: object) -> object:
    return value[:MAX_SUM] if isinstance(value, (str, bytes)) else value


def _is_modules(node: ast.AST) -> bool:
    """`sys.modules`, in which the grader's own stand under whatever name one computes."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "sys" and any(alias.name == "modules" for alias in node.names)
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return False
    return f"{node.value.id}.{node.attr}" == MODULES


def _looked_up(tree: ast.AST) -> Iterator[ast.AST]:
    """Expressions of which only names are read, or what stands under a name that is in sight."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):  # 'google.colab' in sys.modules
            yield from node.comparators
        elif isinstance(node, (ast.For, ast.comprehension)):
            yield node.iter
        elif isinstance(node, ast.Subscript) and (_in_sight(node.slice) or not isinstance(node.ctx, ast.Load)):
            yield node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):  # list(sys.modules)
            yield from node.args if node.func.id in ("list", "sorted", "len") else ()
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # sys.modules.get("torch")
            known = node.func.attr in ("get", "pop", "keys") and all(map(_in_sight, node.args))
            yield from [node.func.value] if known else ()


def _in_sight(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id == "__name__")


def _is_machine(node: ast.AST) -> bool:
    """The library that reads and writes memory: imported, by its name or in a literal; not an array's attribute."""
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] == MACHINE
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] == MACHINE for alias in node.names)
    return getattr(node, "id" if isinstance(node, ast.Name) else "value", None) == MACHINE


def _runs_text(call: ast.Call, own: frozenset[str]) -> bool:
    """Whether text that is not in sight is run: `eval(expression)`, not `eval("1 + 1")` and not `net.eval()`."""
    function = call.func
    builtin = isinstance(function, ast.Name) and function.id in RUNS_TEXT and function.id not in own
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        builtin = function.attr in RUNS_TEXT and function.value.id in ("builtins", "__builtins__", "__builtin__")
    return builtin and bool(call.args) and not isinstance(call.args[0], ast.Constant)
