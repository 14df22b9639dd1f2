"""A lab as an experiment: planned training runs, each with several seeds, and what came of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from torch import nn

from reference.summary import Summary, summary
from reference.training import History, Recipe, Splits, seeded, train_together


@dataclass(frozen=True)
class Plan:
    """A training run to be made: a fresh net, seeded by the recipe's seed, and the recipe.

    Plans of one `group` train together on the same batches. `cost` is how long an epoch takes, in epochs of a SimpleNN;
    it serves the estimate of the time left. `seeds` bounds the number of seeds, for what takes long.
    """

    make_net: Callable[[], nn.Module]
    recipe: Recipe
    group: str = ""
    cost: float = 1.0
    seeds: int | None = None


@dataclass(frozen=True)
class Run:
    """A training run that was made. `net` holds the weights of the last epoch, on the CPU."""

    recipe: Recipe
    history: History
    net: nn.Module


Plans = Mapping[str, Plan]
Runs = Mapping[str, Sequence[Run]]  # name of the plan -> one run for each seed
Answers = dict[str, dict[str, Any]]  # lettered question -> {"answer": sentence, figure: number, ...}


@dataclass(frozen=True)
class Setting:
    """What a lab's command was asked for: the data folder, epochs of each run, seeds, device, folder of results."""

    data: Path
    epochs: int
    seeds: tuple[int, ...]
    device: str
    out: Path
    resume: bool = False


def checkpoint_path(setting: Setting, name: str, seed: int) -> Path:
    """The best net of the run `name` with `seed`."""
    return setting.out / f"{file_name(name)}-seed{seed}.pth"


def state_path(setting: Setting, name: str, seed: int) -> Path:
    """What a run, or a group of runs, needs to go on after a kill."""
    return setting.out / f"{file_name(name)}-seed{seed}.state"


def file_name(name: str) -> str:
    """Without spaces and commas: "label smoothing 0.1" -> "label-smoothing-0.1"."""
    return "-".join(name.replace(",", " ").split())


@dataclass(frozen=True)
class Job:
    """Plans that train together, with one seed; `name` is their group's, or the only plan's."""

    name: str
    seed: int
    plans: Plans

    @property
    def epochs(self) -> int:
        return next(iter(self.plans.values())).recipe.epochs

    @property
    def cost(self) -> float:
        """Of one epoch."""
        return sum(plan.cost for plan in self.plans.values())


def jobs(plans: Plans, seeds: Sequence[int]) -> list[Job]:
    """One job for each seed and group, seed by seed, so that a run cut short has every item at least once."""
    result = []
    for number, seed in enumerate(seeds):
        groups: dict[str, dict[str, Plan]] = {}
        for name, plan in plans.items():
            if plan.seeds is None or number < plan.seeds:
                groups.setdefault(plan.group or name, {})[name] = replace(plan, recipe=replace(plan.recipe, seed=seed))
        result += [Job(name, seed, members) for name, members in groups.items()]
    return result


class Meter:
    """One progress bar over all epochs, weighted by what they cost, with an estimate of the time left."""

    def __init__(self, progress: Progress, total: float) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=total, left="")
        self.total = total
        self.completed = 0.0
        self.trained = 0.0  # since the start; the rest of `completed` was found done
        self.started = perf_counter()

    def epoch(self, description: str, cost: float) -> None:
        """One epoch more is trained."""
        self.completed += cost
        self.trained += cost
        seconds = (perf_counter() - self.started) * (self.total - self.completed) / self.trained
        left = f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"
        self.progress.update(self.task, description=description, completed=self.completed, left=left)

    def found(self, cost: float) -> None:
        """So much was trained in an earlier run."""
        self.completed += cost
        self.progress.update(self.task, completed=self.completed)


@contextmanager
def meter(total: float, console: Console) -> Iterator[Meter]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Meter(progress, total)


def total_cost(planned: Sequence[Job]) -> float:
    return sum(job.cost * job.epochs for job in planned)


def train_all(planned: Sequence[Job], splits: Splits, setting: Setting, shown: Meter) -> Runs:
    """Train every job in turn. Errors are those of `training.train_together`."""
    runs: dict[str, list[Run]] = {}
    for job in planned:
        for name, run in train_job(job, splits, setting, shown).items():
            runs.setdefault(name, []).append(run)
    return runs


def train_job(job: Job, splits: Splits, setting: Setting, shown: Meter) -> dict[str, Run]:
    names = list(job.plans)
    recipes = [plan.recipe for plan in job.plans.values()]
    nets = [seeded(plan.make_net, job.seed) for plan in job.plans.values()]
    trained = 0

    def on_epoch(histories: list[History]) -> None:
        nonlocal trained
        if trained == 0:  # the epochs before the first one trained now are those of an earlier run
            shown.found((histories[0].epochs - 1) * job.cost)
        trained += 1
        best = max(history.val_accuracy[-1] for history in histories)
        shown.epoch(f"{job.name}, seed {job.seed}: validation accuracy {best:.3f}", job.cost)

    histories = train_together(
        nets,
        splits,
        recipes,
        on_epoch=on_epoch,
        checkpoints_at=[checkpoint_path(setting, name, job.seed) for name in names],
        state_at=state_path(setting, job.name, job.seed),
        resume=setting.resume,
        device=setting.device,
    )
    if trained == 0:
        shown.found(job.epochs * job.cost)
    return {
        name: Run(recipe, history, net.cpu())
        for name, recipe, history, net in zip(names, recipes, histories, nets, strict=True)
    }


def best(runs: Sequence[Run]) -> Summary:
    """Best validation accuracy of each seed."""
    return summary([run.history.best_val_accuracy for run in runs])


def last(runs: Sequence[Run]) -> Summary:
    """Validation accuracy of each seed after the last epoch."""
    return summary([run.history.val_accuracy[-1] for run in runs])


def last_training(runs: Sequence[Run]) -> Summary:
    """Training accuracy of each seed in the last epoch."""
    return summary([run.history.train_accuracy[-1] for run in runs])


def gap(runs: Sequence[Run]) -> Summary:
    """Training minus validation accuracy of the last epoch, of each seed."""
    return summary([run.history.train_accuracy[-1] - run.history.val_accuracy[-1] for run in runs])
