"""Python files of the submission that a notebook imports: nets and training loops may stand there."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from grader.submission.read import NotebookError, read_text

MAX_MODULES = 50  # read for one notebook
MAX_MODULE_BYTES = 1_000_000


@dataclass(frozen=True)
class Modules:
    """The submission's own Python files below `root`; each is read when it is first imported."""

    root: Path
    files: frozenset[Path]
    _nodes: dict[Path, list[ast.AST]] = field(default_factory=dict)

    def imported_by(self, nodes: Iterable[ast.AST], folder: Path) -> list[ast.AST]:
        """The syntax of all files that `nodes`, code in `folder`, import, directly or through one another."""
        waiting = list(_paths(nodes, (folder, self.root)))
        reached = dict[Path, list[ast.AST]]()
        while waiting and len(reached) < MAX_MODULES:
            path = waiting.pop()
            if path in self.files and path not in reached:
                reached[path] = self._read(path)
                waiting += _paths(reached[path], (path.parent, folder, self.root))
        return list(chain.from_iterable(reached.values()))

    def _read(self, path: Path) -> list[ast.AST]:
        if path not in self._nodes:
            self._nodes[path] = _read(path)
        return self._nodes[path]


def _read(path: Path) -> list[ast.AST]:
    """All syntax of one file; of one that cannot be read or parsed, none."""
    try:
        return list(ast.walk(ast.parse(read_text(path, MAX_MODULE_BYTES))))
    except (NotebookError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _paths(nodes: Iterable[ast.AST], folders: Sequence[Path]) -> Iterator[Path]:
    """Where the imported modules would be: `from a.b import c` may mean a/b.py, a/b/c.py or a package's __init__.py."""
    for parts in _imports(nodes):
        for folder in folders:
            yield folder.joinpath(*parts[:-1], f"{parts[-1]}.py")
            yield folder.joinpath(*parts, "__init__.py")


def _imports(nodes: Iterable[ast.AST]) -> Iterator[list[str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if module:
                yield module
            yield from ([*module, alias.name] for alias in node.names)
