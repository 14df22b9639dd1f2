"""What a notebook's code does, read from its syntax trees: comments, strings and markdown are not code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

CODE_MAGICS = ("time", "timeit", "capture", "prun")  # cell magics whose cell is Python all the same
AUGMENTATIONS = ("RandomCrop", "RandomHorizontalFlip", "RandomResizedCrop", "RandomRotation", "RandomAffine")
SWISH = ("sigmoid", "Sigmoid", "silu", "SiLU")
OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")


@dataclass(frozen=True)
class Content:
    """Findings on which a role is decided.

    `course`: uses CIFAR10, in its own code or in a module that it imports. `simple`: defines or uses a class SimpleNN.
    `table1`: builds the convolution that Table 1 begins with. `residual`: adds in the forward pass of a class, or has a
    class named after residual nets. `improved`: how many of BN, augmentation, Swish and L1 there are. `trains`: goes
    backward, or calls a function of an imported module that does. `optimizes`: an optimizer is built or stepped, in its
    own code or in an imported module. `predicts`: writes a table of test predictions.
    """

    course: bool
    simple: bool
    table1: bool
    residual: bool
    improved: int
    trains: bool
    optimizes: bool
    predicts: bool


def read_content(notebook: dict[str, Any], imported: Callable[[list[ast.AST]], list[ast.AST]]) -> Content:
    """The findings over all code cells; what cannot be parsed counts for nothing.

    `imported` gives the syntax of the student's own modules that code imports.
    """
    trees = [_parse(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    nodes = list(chain.from_iterable(ast.walk(tree) for tree in trees))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    called = _called(nodes)
    beyond = imported(nodes)
    everywhere = called | _called(beyond)
    modules = [node for node in nodes if isinstance(node, ast.ClassDef) and node.bases]
    strings = set(_used_strings(nodes))
    return Content(
        course=_uses_cifar10([*nodes, *beyond]),
        simple="SimpleNN" in called or any(cls.name == "SimpleNN" for cls in modules),
        table1=any(_is_first_convolution(call) for call in calls),
        residual=any(_is_residual(cls) for cls in modules) or any(_named_residual(name) for name in called),
        improved=sum(
            (
                "BatchNorm2d" in called,
                not called.isdisjoint(AUGMENTATIONS),
                not called.isdisjoint(SWISH) or any("swish" in cls.name.lower() for cls in modules),
                any(_is_l1_norm(call) for call in calls),
            )
        ),
        trains="backward" in called or not called.isdisjoint(_training_functions(beyond)),
        optimizes=not everywhere.isdisjoint(("backward", "step", *OPTIMIZERS)),
        predicts="test" in strings
        and (bool(called & {"to_csv", "writerow", "writerows"}) or any(text.endswith(".csv") for text in strings)),
    )


def _parse(source: str) -> ast.Module:
    """The cell's tree; of a cell that does not parse, the part before its first error."""
    lines = source.splitlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    magic = re.match(r"\s*%%(\w+)", lines[first]) if lines else None
    if magic is not None:
        if magic[1] not in CODE_MAGICS:
            return ast.Module([], [])
        lines[first] = ""
    # A line magic or a shell line may be all that stands under an `if`.
    lines = [re.sub(r"^(\s*)[%!?].*", r"\1pass", line) for line in lines]
    while lines:
        try:
            return ast.parse("\n".join(lines))
        except SyntaxError as error:
            lines = lines[: min(len(lines), error.lineno or 1) - 1]
        except (ValueError, RecursionError, MemoryError):  # NUL bytes; nesting beyond the parser's depth
            break
    return ast.Module([], [])


def _name(function: ast.expr) -> str:
    """The last name of what is called: `nn.Conv2d` -> `Conv2d`."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _called(nodes: list[ast.AST]) -> set[str]:
    return {_name(node.func) for node in nodes if isinstance(node, ast.Call)}


def _uses_cifar10(nodes: list[ast.AST]) -> bool:
    """A class or function so named is called or imported, the course's module is imported, or its files are named."""
    names = _called(nodes)
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names}
            names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
    if "tools.dataset" in names or any(re.search(r"cifar_?10(?!0)", name, re.IGNORECASE) for name in names):
        return True
    return any("-images-batch" in text for text in _used_strings(nodes))


def _training_functions(nodes: list[ast.AST]) -> set[str]:
    """Names of functions that go backward, or that call one which does."""
    calls = {node.name: _called(list(ast.walk(node))) for node in nodes if isinstance(node, ast.FunctionDef)}
    training = set[str]()
    while True:
        more = {name for name, called in calls.items() if called & {"backward", *training}} - training
        if not more:
            return training
        training |= more


def _used_strings(nodes: list[ast.AST]) -> Iterator[str]:
    """String constants that are used for something, which docstrings and strings standing alone are not."""
    alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def _is_first_convolution(call: ast.Call) -> bool:
    """`Conv2d(3, 8, 5)`, whichever of its arguments are given by name."""
    if _name(call.func) != "Conv2d":
        return False
    names = ("in_channels", "out_channels", "kernel_size")
    given: dict[str | None, ast.expr] = dict(zip(names, call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords}
    return [_value(given.get(name)) for name in names] in ([3, 8, 5], [3, 8, (5, 5)])


def _value(node: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _is_l1_norm(call: ast.Call) -> bool:
    """`w.abs().sum()`, `torch.sum(torch.abs(w))`, `norm(w, 1)`, `w.norm(p=1)`, `L1Loss()`."""
    name = _name(call.func)
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    if name == "norm":
        return any(_value(argument) == 1 for argument in arguments)
    if name in ("sum", "mean"):
        summed = [*arguments, call.func.value] if isinstance(call.func, ast.Attribute) else arguments
        return any(isinstance(part, ast.Call) and _name(part.func) == "abs" for part in summed)
    return name in ("L1Loss", "l1_loss")


def _is_residual(cls: ast.ClassDef) -> bool:
    return _named_residual(cls.name) or any(_adds(method) for method in _forward_methods(cls))


def _named_residual(name: str) -> bool:
    return re.search(r"res(idual)?_?(net|block|unit)|(basic|residual)_?block", name, re.IGNORECASE) is not None


def _forward_methods(cls: ast.ClassDef) -> list[ast.FunctionDef]:
    """`forward` and the methods that it calls on self, however deep."""
    methods = {node.name: node for node in cls.body if isinstance(node, ast.FunctionDef)}
    wanted, reached = ["forward"], dict[str, ast.FunctionDef]()
    while wanted:
        name = wanted.pop()
        if name in methods and name not in reached:
            reached[name] = methods[name]
            wanted += [_name(node.func) for node in ast.walk(methods[name]) if isinstance(node, ast.Call)]
    return list(reached.values())


def _adds(method: ast.FunctionDef) -> bool:
    """Whether two computed values are added: a number or text as one side is arithmetic of another kind."""
    for node in ast.walk(method):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = (node.left, node.right)
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
            sides = (node.target, node.value)
        else:
            if isinstance(node, ast.Call) and _name(node.func) in ("add", "add_"):
                return True
            continue
        if not any(isinstance(side, ast.Constant | ast.JoinedStr | ast.List) for side in sides):
            return True
    return False
