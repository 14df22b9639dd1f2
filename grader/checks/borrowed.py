"""Nets that a library of models constructs: whether the student's code calls it, and whether a net may be its."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from grader.evidence.evidence import Lab
from grader.execution.trace_events import NetEvent

# Full names of what constructs a net: torchvision's models, timm, and the hub of PyTorch.
CONSTRUCTORS = re.compile(
    r"torchvision\.models\.|timm\.(?:\w+\.)*create_model$|(?:torch\.)?hub\.load$|models\.resnet\w*$"
)
STEM = (64, 3, 7, 7)  # the first convolution of torchvision's ResNets, whose class is named like most students'


def borrowed_call(lab: Lab, net: NetEvent) -> str | None:
    """The call that constructed the net, such as `torchvision.models.resnet18`, or None where it may be the student's.

    A class of the notebook's own is the student's, unless its code calls the library; an import alone says nothing.
    """
    trees = [parsed(code.text) for code in lab.code.cells.values()]
    names = {name: full for tree in trees for name, full in _imported(tree)}
    calls = [call for tree in trees for call in _constructions(tree, names)]
    own = [code.text for code in lab.code.definitions.get(net.cls, ()) if re.search(r"(?m)^class ", code.text)]
    inside = [call for text in own for call in _constructions(parsed(text), names)]
    like_torchvision = any(layer.weight == STEM for layer in net.layers)
    return next(iter(inside if own and not like_torchvision else calls), None)


def parsed(text: str) -> ast.Module:
    """The syntax tree of a cell's code; an empty one where it is no Python."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names that imports bind, each with its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)


def _constructions(tree: ast.Module, names: dict[str, str]) -> Iterator[str]:
    """Full names of the calls, and of the base classes, that come from a library of models."""
    for node in ast.walk(tree):
        used = [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else []
        for expression in used:
            head, dot, rest = ast.unparse(expression).partition(".")
            full = names.get(head, head) + dot + rest
            if CONSTRUCTORS.match(full):
                yield full
