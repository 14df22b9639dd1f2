"""Which code a cell of a notebook can run: its own, and the functions and classes of other cells that it names."""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from grader.evidence.cells import Cell

MAX_CHARACTERS = 200_000  # of one cell; a longer one is data, not code
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class CellCode:
    """One cell: its code without comments, the names it uses and those it binds at its top level."""

    text: str
    uses: frozenset[str]
    binds: frozenset[str]


@dataclass(frozen=True)
class NotebookCode:
    """All code cells by index, and each function and class that they define, by name."""

    cells: dict[int, CellCode]
    definitions: dict[str, tuple[CellCode, ...]]

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> NotebookCode:
        """A cell that is no Python (`%%bash`, a mistake in its syntax) keeps its text, less lines of comments."""
        parsed = {cell.index: _parse(cell.source) for cell in cells}
        definitions: dict[str, tuple[CellCode, ...]] = {}
        for tree in parsed.values():
            for name, statement in _definitions(tree) if isinstance(tree, ast.Module) else ():
                definitions[name] = (*definitions.get(name, ()), _code(statement))
        return cls({index: _code(tree) for index, tree in parsed.items()}, definitions)

    def reaches(self, index: int, sign: str) -> bool:
        """Whether the cell's code, or code that it calls by name, matches the regular expression `sign`."""
        return index in self.cells and any(re.search(sign, code.text) for code in self._reached(self.cells[index]))

    def _reached(self, start: CellCode) -> Iterator[CellCode]:
        waiting, seen = [start], set[str]()
        while waiting:
            code = waiting.pop()
            yield code
            for name in sorted(code.uses - seen):
                seen.add(name)
                waiting.extend(self.definitions.get(name, ()))


def _parse(source: str) -> ast.Module | str:
    """The syntax tree of a cell, with IPython's own lines left out; the source itself where it is no Python."""
    text = re.sub(r"(?m)^%%(?:time|timeit|capture)\b.*$", "", source[:MAX_CHARACTERS], count=1)
    text = re.sub(r"(?m)^([ \t]*)(?:%(?!%)|!|\?).*$", r"\1pass", text)
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
            ast.unparse(tree)  # a tree too deep to be written is none
            return tree
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    return re.sub(r"(?m)^\s*#.*$", "", source[:MAX_CHARACTERS])


def _code(tree: ast.AST | str) -> CellCode:
    if isinstance(tree, str):
        return CellCode(tree, frozenset(re.findall(r"\b[A-Za-z_]\w*", tree)), frozenset())
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    body = getattr(tree, "body", [])
    return CellCode(
        text=ast.unparse(tree),
        uses=frozenset(name.id for name in names if isinstance(name.ctx, ast.Load)) - frozenset(dir(builtins)),
        binds=frozenset(name for statement in body for name in _bound(statement)),
    )


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement gives a value, those inside the function or class that it defines left out."""
    if isinstance(statement, Definition):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Functions and classes by name, and names of objects of such a class (`trainer = Trainer(net)`)."""
    for statement in tree.body:
        if isinstance(statement, Definition):
            yield statement.name, statement
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.Assign) and isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            made_by = value.func.id
            if made_by[:1].isupper():
                yield from ((t.id, statement) for t in statement.targets if isinstance(t, ast.Name))
