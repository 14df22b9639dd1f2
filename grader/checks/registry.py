"""Every check that exists, by rubric item: what the rubric's weights are held against."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import grader.checks
from grader.rubric import PART_1, Rubric, RubricError


def known_checks() -> dict[str, set[str]]:
    """The names of the checks of each rubric item, read off the decorators."""
    found: dict[str, set[str]] = {}
    for module in pkgutil.iter_modules(grader.checks.__path__):
        if not module.name.startswith("check_"):
            continue
        functions = inspect.getmembers(importlib.import_module(f"grader.checks.{module.name}"), inspect.isfunction)
        marks = [mark for _, function in functions for mark in getattr(function, "pytestmark", [])]
        for mark in (mark for mark in marks if mark.name == "check"):
            for item in [mark.kwargs["item"]] if mark.kwargs["item"] else PART_1:
                found.setdefault(item, set()).add(mark.kwargs["name"])
    return found


def verify(rubric: Rubric) -> None:
    """Raises RubricError where an item or a check of the rubric does not exist: its points could never be earned."""
    known = known_checks()
    for item, entry in rubric.items.items():
        if item not in known:
            raise RubricError(
                f"rubric.toml, items.{item}: there is no check of such an item; there are {', '.join(known)}"
            )
        for name in entry.checks.keys() - known[item]:
            there_are = ", ".join(sorted(known[item]))
            raise RubricError(f"rubric.toml, items.{item}.checks.{name}: there is no such check; there are {there_are}")
