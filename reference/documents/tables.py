"""Tables and numbers of the generated documents, as Markdown."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from reference.documents.records import Record
from reference.summary import Summary, summary

SPOKEN = {
    "lr": "learning rate",
    "weight_decay": "L2",
    "l1": "L1",
    "batch_size": "batch",
    "decay_epochs": "decay after each (epochs)",
    "decay": "decay by factor",
    "augment": "crops and flips",
    "label_smoothing": "label smoothing",
    "average": "averaged weights",
    "flip_test": "flip at test time",
    "nesterov": "Nesterov",
    "compiled": "torch.compile",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns of equal width, the first `left` of them flush left, the others flush right."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in escaped)) for column in range(len(header))]
    rule = ["-" * width if number < left else "-" * (width - 1) + ":" for number, width in enumerate(widths)]
    lines = [
        [cell.ljust(width) if number < left else cell.rjust(width) for number, (cell, width) in enumerate(pairs)]
        for pairs in (list(zip(row, widths, strict=True)) for row in (escaped[0], rule, *escaped[1:]))
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read(record: Record) -> Summary:
    """A summary as the record has it."""
    return Summary(record["mean"], record["std"], tuple(record["values"]))


def percent(of: Summary, digits: int = 2) -> str:
    """A fraction in percent without the sign: "67.46 ± 1.70", or "67.46" for a single value."""
    return spread(Summary(100 * of.mean, 100 * of.std, of.values), digits)


def share(of: Summary) -> str:
    """A fraction with its sign: "67.46% ± 1.70", or "67.46%" for a single value."""
    return f"{of.mean:.2%}" + (f" ± {100 * of.std:.2f}" if of.n > 1 else "")


def spread(of: Summary, digits: int) -> str:
    return f"{of.mean:.{digits}f}" + (f" ± {of.std:.{digits}f}" if of.n > 1 else "")


def number(value: Any) -> str:
    """Hyperparameters: 0.05, 1e-5, yes, no, -."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return re.sub(r"e-0", "e-", f"{value:g}")
    return "-" if value is None else str(value)


def last(run: Record, name: str) -> Summary | None:
    """Of a figure after the last epoch, over the seeds; None where a seed has no finite one."""
    values = [seed[name][-1] for seed in run["seeds"]]
    return None if None in values else summary(values)


def last_loss(run: Record) -> str:
    """Validation loss after the last epoch, or how many seeds diverged."""
    found = last(run, "val_loss")
    if found is not None:
        return spread(found, 3)
    diverged = sum(seed["val_loss"][-1] is None for seed in run["seeds"])
    count = len(run["seeds"])
    return "diverged" if diverged == count else f"diverged ({diverged} of {count})"


def gap(run: Record) -> Summary:
    """Training minus validation accuracy of the last epoch, over the seeds."""
    return summary([seed["train_accuracy"][-1] - seed["val_accuracy"][-1] for seed in run["seeds"]])


def run_figures(run: Record) -> list[str]:
    """Cells of one run under FIGURES."""
    validation, training = last(run, "val_accuracy"), last(run, "train_accuracy")
    return [
        str(len(run["seeds"])),
        percent(read(run["best_val_accuracy"])),
        "diverged" if validation is None else percent(validation),
        "diverged" if training is None else percent(training),
        percent(gap(run)),
        last_loss(run),
    ]


MANY = 4  # hyperparameters beside the figures; with more the table gets too wide
FIGURES = ("n", "best val., %", "last val., %", "last train., %", "gap, points", "last val. loss")


def run_table(runs: Mapping[str, Record]) -> str:
    """One row for each run, with the hyperparameters in which the runs differ; in a table of their own where many."""
    telling = varying(runs)
    heading = [SPOKEN.get(name, name) for name in telling]
    recipes = {name: [number(run["recipe"][key]) for key in telling] for name, run in runs.items()}
    if len(telling) <= MANY:
        return table(
            ["run", *heading, *FIGURES], [[name, *recipes[name], *run_figures(run)] for name, run in runs.items()]
        )
    recipe_table = table(["run", *heading], [[name, *cells] for name, cells in recipes.items()])
    figure_table = table(["run", *FIGURES], [[name, *run_figures(run)] for name, run in runs.items()])
    return f"{recipe_table}\n\n{figure_table}"


def varying(runs: Mapping[str, Record]) -> list[str]:
    """Hyperparameters that are not the same in all runs."""
    recipes = [run["recipe"] for run in runs.values()]
    return [name for name in recipes[0] if any(recipe[name] != recipes[0][name] for recipe in recipes)]


def common(runs: Mapping[str, Record]) -> str:
    """The hyperparameters that all runs share, in one line."""
    recipe = next(iter(runs.values()))["recipe"]
    shared = [name for name in recipe if name not in varying(runs)]
    return ", ".join(f"{SPOKEN.get(name, name).replace('_', ' ')} {number(recipe[name])}" for name in shared)


def layer_table(layers: Sequence[Record]) -> str:
    """Name, kind, shape, parameters, multiply-adds of each layer and of all; placeholders are left out."""
    rows = [
        [
            layer["name"],
            layer["kind"],
            " × ".join(str(size) for size in layer["output_shape"]),
            f"{layer['parameters']:,}",
            f"{layer['multiply_adds']:,}",
        ]
        for layer in layers
        if layer["kind"] != "Identity"
    ]
    totals = [f"{sum(layer[name] for layer in layers):,}" for name in ("parameters", "multiply_adds")]
    header = ["layer", "kind", "output shape", "parameters", "multiply-adds"]
    return table(header, [*rows, ["all", "", "", *totals]], left=3)


def summary_table(key: str, rows: Sequence[Record], columns: Mapping[str, str], label: Callable[[Any], str]) -> str:
    """Fractions in percent of the summaries in `columns` (heading by name), one row for each value of `key`."""
    return table(
        [SPOKEN.get(key, key), "n", *columns.values()],
        [
            [label(row[key]), str(row[next(iter(columns))]["n"]), *(percent(read(row[name])) for name in columns)]
            for row in rows
        ],
    )


def changes_table(changes: Sequence[Record]) -> str:
    """Validation accuracy after each change of the recipe, and what it gave against the row above."""
    means = [change["val_accuracy"]["mean"] for change in changes]
    gains = ["", *(f"{100 * (mean - before):+.2f}" for before, mean in pairwise(means))]
    return table(
        ["change", "epochs", "n", "last val., %", "against the row above, points"],
        [
            [
                change["change"],
                str(change["epochs"]),
                str(change["val_accuracy"]["n"]),
                percent(read(change["val_accuracy"])),
                gain,
            ]
            for change, gain in zip(changes, gains, strict=True)
        ],
    )


def validated_table(accuracies: Mapping[str, Record]) -> str:
    """Validation accuracy after the last epoch of one run, by what of it is validated."""
    named = {"label smoothing 0.1": "trained weights", "flip at test time": "averaged weights, image and mirror image"}
    rows = [[named.get(name, name), str(row["n"]), percent(read(row))] for name, row in accuracies.items()]
    return table(["validated", "n", "val., %"], rows)
