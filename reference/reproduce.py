"""All results at once, and one row of them again."""

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from grader.evidence.predictions import read_labels, read_predictions, score
from reference import cli, documents, lab1, lab2, lab3
from reference.cli import Lab
from reference.documents.records import optional, told_by
from reference.documents.tables import read
from reference.experiment import Job, Plan, Setting, jobs, meter, total_cost, train_job
from reference.record import write_record
from reference.speed import keep_freed_memory
from reference.summary import Summary, prediction_width
from reference.training import Recipe, Splits, load_splits

LABS: dict[str, Lab] = {"lab1": lab1.LAB, "lab2": lab2.LAB, "lab3": lab3.LAB}
HELDOUT = "heldout.json"
DEVIATIONS = 2.0  # within which a row counts as reproduced
KEPT = ("*.json", "*.png", lab3.PREDICTIONS, lab3.WEIGHTS)  # of a lab's folder, among the results


def everything(options: argparse.Namespace, command: str, console: Console) -> None:
    """Train what every lab plans, going on where a killed run stopped; write records, plots, predictions, text.

    Raises ValueError, DataError or OSError for data, states or labels that cannot be used.
    """
    keep_freed_memory()
    labels = None if options.heldout is None else read_labels(options.heldout)
    results = options.results or options.out / "results"
    results.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        data = options.data or stack.enter_context(cli.embedded_data())
        splits = load_splits(data)
        settings = {name: setting_of(name, options, data) for name in options.labs}
        planned = {name: planned_jobs(LABS[name], setting, options, splits) for name, setting in settings.items()}
        shown = stack.enter_context(meter(sum(map(total_cost, planned.values())), Console(stderr=True)))
        for name, setting in settings.items():
            setting.out.mkdir(parents=True, exist_ok=True)
            cli.run_lab(LABS[name], planned[name], setting, splits, shown, command)
    publish([setting.out for setting in settings.values()], results)
    write_record(documents.part1_record(), results / "part1.json")
    (results / HELDOUT).unlink(missing_ok=True)  # a score of earlier predictions
    if labels is not None and (results / lab3.PREDICTIONS).is_file():
        write_record(heldout_record(labels, results / lab3.PREDICTIONS), results / HELDOUT)
    console.print("\n".join(str(path) for path in documents.write(results)))


def setting_of(lab: str, options: argparse.Namespace, data: Path) -> Setting:
    epochs = options.resnet_epochs if lab == "lab3" else options.epochs
    return Setting(data, epochs, cli.seeds_of(options), options.device, options.out / lab, resume=True)


def planned_jobs(lab: Lab, setting: Setting, options: argparse.Namespace, splits: Splits) -> list[Job]:
    """The lab's jobs, with the defaults of its own command for what `all` has no option for."""
    own = cli.parser(lab).parse_args([])
    for name in ("seed", "seeds", "device", "bfloat16", "compare"):
        setattr(own, name, getattr(options, name))
    own.epochs = setting.epochs
    cli.complete(own, splits)
    return jobs(lab.plans(own), setting.seeds)


def publish(folders: list[Path], results: Path) -> None:
    """Copy what the labs wrote, but for the checkpoints, to `results`."""
    for folder in folders:
        for pattern in KEPT:
            for path in sorted(folder.glob(pattern)):
                shutil.copyfile(path, results / path.name)


def heldout_record(labels: tuple[int, ...], predictions: Path) -> dict[str, Any]:
    """What the grader's score says of `predictions`."""
    result = score(labels, read_predictions(predictions))
    kept = ("accuracy", "correct", "n", "interval", "recall")
    return {name: value for name, value in asdict(result).items() if name in kept}


def repeat(options: argparse.Namespace, console: Console) -> bool:
    """Train the row `options.run` once more with another seed; whether it lies within two standard deviations.

    Where the record has a single seed its deviation is unknown, and only the two figures are shown. Raises ValueError
    for a row that the record does not have.
    """
    path = options.results / f"{options.lab}.json"
    record = optional(path)
    if record is None:
        raise ValueError(f"{path}: expected the record of a lab, found no such file")
    with told_by(path):
        told = record["runs"].get(options.run)
        if told is None:
            raise ValueError(f"{path}: expected one of the runs {', '.join(record['runs'])}, found {options.run!r}")
        recipe, figures = Recipe(**told["recipe"]), read(told["best_val_accuracy"])
    keep_freed_memory()
    with ExitStack() as stack:
        data = options.data or stack.enter_context(cli.embedded_data())
        out = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        splits = load_splits(data)
        plan = planned_row(options, recipe, splits)
        setting = Setting(data, plan.recipe.epochs, (options.seed,), options.device, out)
        shown = stack.enter_context(meter(plan.cost * plan.recipe.epochs, Console(stderr=True)))
        (job,) = jobs({options.run: plan}, setting.seeds)
        accuracy = train_job(job, splits, setting, shown)[options.run].history.best_val_accuracy
    return compare_row(options.run, accuracy, figures, console)


def planned_row(options: argparse.Namespace, recipe: Recipe, splits: Splits) -> Plan:
    """The plan of the row, with the recipe that the record tells and the arithmetic that this machine is good at."""
    own = cli.parser(LABS[options.lab]).parse_args(["--epochs", str(recipe.epochs)])
    own.device, own.compare = options.device, 1
    cli.complete(own, splits)
    plan = LABS[options.lab].plans(own).get(options.run)
    if plan is None:
        raise ValueError(f"{options.run}: expected a run that {options.lab} plans, found one of another version")
    return replace(plan, recipe=replace(recipe, bfloat16=plan.recipe.bfloat16, compiled=plan.recipe.compiled), group="")


def compare_row(name: str, accuracy: float, told: Summary, console: Console) -> bool:
    """Say how many of the record's standard deviations `accuracy` lies away; whether they are at most two.

    A deviation of few values is itself uncertain, so one honest value in twenty lies further away than two: how far is
    said beside it.
    """
    if told.std == 0:
        console.print(f"{name}: {accuracy:.4f}, in the record {told.mean:.4f} (no deviation to compare with)")
        return True
    away = abs(accuracy - told.mean) / told.std
    console.print(
        f"{name}: {accuracy:.4f}, in the record {told.mean:.4f} ± {told.std:.4f} (n = {told.n}): {away:.1f} standard "
        f"deviations away; after {told.n} seeds one more value in twenty lies beyond {prediction_width(told.n):.1f}"
    )
    return away <= DEVIATIONS
