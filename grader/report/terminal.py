"""The table at the end of `pytest grader`."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grader.grade import Grade, ItemGrade

REASON_COLUMNS_FROM = 70  # below this width reasons go on lines of their own


def summary_lines(grade: Grade, out: Path, width: int, colour: bool) -> list[str]:
    """Lines for a terminal of `width` columns; with colours only where `colour` is set."""
    console = Console(
        file=io.StringIO(), width=max(width, 40), force_terminal=colour, no_color=not colour, highlight=False
    )
    console.print(_table(grade, wide=width >= REASON_COLUMNS_FROM))
    console.print(f"Total: {grade.total:g} of {grade.cap:g} points by machine", style="bold")
    for verdict in (verdict for item in grade.items for verdict in item.verdicts if "accuracy" in verdict.found):
        low, high = verdict.found["interval"]
        accuracy = verdict.found["accuracy"]
        console.print(f"Held-out accuracy: {accuracy:.4f} (95 % interval {low:.4f} to {high:.4f})")
    if grade.open:
        console.print(f"Waiting for a person: {grade.open:g} points (marked open)")
    console.print(f"Results: {out / 'results.json'}", soft_wrap=True)
    console.print(f"Evidence: {out / 'evidence'}", soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def _table(grade: Grade, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("item", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("open", justify="right", no_wrap=True)
    table.add_column("what" if wide else "", overflow="fold")
    for item in grade.items:
        style = "red" if item.lost else ("yellow" if item.open else "green")
        points = Text(f"{item.awarded:g} / {item.max:g}" + ("+" if item.bonus else ""), style=style)
        table.add_row(item.item, points, f"{item.open:g}" if item.open else "", _what(item))
    return table


def _what(item: ItemGrade) -> str:
    """Why points were lost, why they could not be checked, and flags; the title where nothing but prose is open."""
    lost = [v.reason for v in item.verdicts if v.outcome == "failed"]
    unsure = [v.reason for v in item.verdicts if v.outcome == "could_not_check" and v.evidence != "person"]
    flags = [f"for a person to judge: {flag}" for verdict in item.verdicts for flag in verdict.flags]
    return "; ".join(dict.fromkeys(lost + unsure + flags)) or item.title
