"""A lab as an experiment: planned training runs, answers to lettered questions, and a record of how they came about."""

import json
import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from reference.training import History, Recipe, Splits, choose_device, seeded, train


@dataclass(frozen=True)
class Plan:
    """A training run to be made: a fresh net, seeded by the recipe's seed, and the recipe."""

    make_net: Callable[[], nn.Module]
    recipe: Recipe


@dataclass(frozen=True)
class Run:
    """A training run that was made. `net` holds the weights of the last epoch, on the CPU."""

    recipe: Recipe
    history: History
    net: nn.Module


Plans = Mapping[str, Plan]
Runs = Mapping[str, Run]
Answers = dict[str, dict[str, Any]]  # lettered question -> {"answer": sentence, figure: number, ...}


@dataclass(frozen=True)
class Setting:
    """What a lab's command was asked for: the data folder, epochs of each run, seed, device, folder of results."""

    data: Path
    epochs: int
    seed: int
    device: str
    out: Path
    resume: bool = False


def checkpoint_path(setting: Setting, name: str) -> Path:
    """The best net of the run `name`."""
    return setting.out / f"{name}.pth"


def train_all(plans: Plans, splits: Splits, setting: Setting, console: Console) -> dict[str, Run]:
    """Train every plan in turn, with one progress bar over all epochs. Errors are those of `training.train`."""
    runs: dict[str, Run] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(plan.recipe.epochs for plan in plans.values()))
        done = 0
        for name, plan in plans.items():
            progress.update(task, description=name, completed=done)

            def show(history: History, name: str = name, done: int = done) -> None:
                accuracy = f"{name}: validation accuracy {history.val_accuracy[-1]:.3f}"
                progress.update(task, description=accuracy, completed=done + history.epochs)

            net = seeded(plan.make_net, plan.recipe.seed)
            history = train(
                net,
                splits,
                plan.recipe,
                on_epoch=show,
                checkpoint=checkpoint_path(setting, name),
                resume=setting.resume,
                device=setting.device,
            )
            runs[name] = Run(plan.recipe, history, net.cpu())
            done += plan.recipe.epochs
            progress.update(task, completed=done)
    return runs


def standard_error(accuracy: float, count: int) -> float:
    """Standard error of a fraction measured on `count` images, by the binomial distribution."""
    return math.sqrt(accuracy * (1 - accuracy) / count)


def compare(accuracy: float, other: float, count: int) -> str:
    """How `accuracy` stands to `other`, both measured on `count` images: "higher", "lower" or "the same within noise".

    Noise is two standard errors of the difference of two independent fractions.
    """
    noise = 2 * math.hypot(standard_error(accuracy, count), standard_error(other, count))
    if abs(accuracy - other) <= noise:
        return "the same within noise"
    return "higher" if accuracy > other else "lower"


def hardware(device: torch.device) -> dict[str, Any]:
    """Processor, cores that this process may use, PyTorch's threads, and the GPU where one trains."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }


def processor_name() -> str:
    """The processor's own name where Linux tells it, else the platform's."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}}


def without_nan(value: Any) -> Any:
    """Replace NaN and infinities (losses of a run that diverged) by None, which JSON can hold."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def describe_run(run: Run) -> dict[str, Any]:
    return {
        "recipe": asdict(run.recipe),
        "best_val_accuracy": run.history.best_val_accuracy,
        "best_epoch": run.history.best_epoch,
        "history": asdict(run.history),
    }


def write_record(
    path: Path, lab: str, command: str, setting: Setting, splits: Splits, runs: Runs, answers: Answers
) -> None:
    """Write everything needed to read, check and repeat the results, as JSON."""
    record = {
        "lab": lab,
        "command": command,
        "seed": setting.seed,
        "epochs": setting.epochs,
        "data": {"train_images": len(splits.train_labels), "val_images": len(splits.val_labels)},
        "hardware": hardware(choose_device(setting.device)),
        "versions": versions(),
        "answers": answers,
        "runs": {name: describe_run(run) for name, run in runs.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(without_nan(record), indent=1, allow_nan=False) + "\n", encoding="utf-8")
