"""Runs as the checks of all labs read them: those on training images, their mistakes, and what they fall short of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from grader.checks.outcome import could_not_check, fail
from grader.checks.support import missing
from grader.evidence.evidence import Lab
from grader.evidence.runs import Run
from grader.execution.trace_events import StepEvent
from grader.rubric import Credit, Rubric

TRAINS = r"\.step\("
LN_10 = math.log(10)
RESETS = r"reset_parameters|\.apply\(|init\.\w+_\("
SHOWS_SOMETHING = 16  # steps
MANY_EPOCHS = 5
KEPT_GRAPHS = 3  # losses of earlier steps; a variable may hold the last one or two


def same(a: float, b: float) -> bool:
    """Equal hyperparameters, whatever arithmetic they came from."""
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-9)


def training_runs(lab: Lab) -> tuple[Run, ...]:
    """Runs on the training split that update the net they call, or the reason why there are none."""
    runs = tuple(run for run in lab.runs if "train" in run.splits and run.updates_called_net)
    if runs:
        return runs
    elsewhere = [run for run in lab.runs if run.splits == {None} and run.steps >= SHOWS_SOMETHING]
    if elsewhere:
        could_not_check(f"the images of the training did not come from a DataLoader ({elsewhere[0].describe()})")
    no_run(lab, "no optimizer step on training images was seen when the notebook ran")


def no_run(
    lab: Lab, reason: str, *, credit: Credit = 0.0, wanted: Callable[[Run], bool] = lambda _run: True
) -> NoReturn:
    """A training that was `wanted` was not seen; one whose optimizer was left behind with an old net is named."""
    astray = next((run for run in lab.runs if not run.updates_called_net and wanted(run)), None)
    if astray is not None:
        reason += (
            f"; in {astray.where} the optimizer steps another network than the one that is called: make the optimizer "
            "after the network"
        )
    missing(lab, reason, sign=TRAINS, credit=credit)


def main_run(lab: Lab) -> Run:
    """The longest run on training images."""
    return max(training_runs(lab), key=lambda run: run.steps)


def found_rates(runs: Iterable[Run]) -> str:
    """The learning rates that runs really had and in which cells, for a reason."""
    cells: dict[float, list[str]] = {}
    for run in runs:
        cells.setdefault(run.rate, []).append(run.where)
    found = (f"{rate:g} ({', '.join(dict.fromkeys(cells[rate]))})" for rate in sorted(cells, reverse=True))
    return ", ".join(found) or "none"


@dataclass(frozen=True)
class Bug:
    """A mistake in a training: its name in rubric.toml's partial_credit, and a sentence that says what to do."""

    name: str
    sentence: str


def loop_bugs(run: Run) -> list[Bug]:
    """What is wrong with the steps of a run."""
    bugs = []
    if run.in_train_mode < 0.9:
        sentence = f"only {run.in_train_mode:.0%} of the steps were taken in train mode: call train() every epoch"
        bugs.append(Bug("no_train_mode", sentence))
    # Gradients of parameters that the optimizer does not step are nobody's to zero.
    if run.zeroed < 0.9 and run.covers >= 1:
        sentence = "gradients add up from step to step: call zero_grad() before each backward pass"
        bugs.append(Bug("gradients_add_up", sentence))
    if run.kept_graphs >= KEPT_GRAPHS:
        sentence = "losses are added up with their graphs, which fills the memory: add loss.item() instead of loss"
        bugs.append(Bug("loss_with_graph", sentence))
    return [Bug(bug.name, f"{run.where}: {bug.sentence}") for bug in bugs]


def validation_bugs(run: Run) -> list[Bug]:
    """What is wrong with the passes over validation images that belong to a run."""
    bugs = []
    if sum(passed.training is True for passed in run.validations) > 0.1 * len(run.validations):
        bugs.append(Bug("no_eval_mode", f"{run.where}: validation ran in train mode: call eval() before it"))
    if sum(passed.grad is True for passed in run.validations) > 0.1 * len(run.validations):
        sentence = "validation computed gradients: put it under torch.no_grad()"
        bugs.append(Bug("gradients_in_validation", f"{run.where}: {sentence}"))
    if len(run.validations) == 1 and run.epochs >= MANY_EPOCHS:
        sentence = f"validation images were measured once in {run.epochs} epochs: measure them after each epoch"
        bugs.append(Bug("validated_once", f"{run.where}: {sentence}"))
    return bugs


def fail_for(bugs: list[Bug], **found: object) -> None:
    """Fail with all that is wrong, if anything is."""
    if bugs:
        fail("; ".join(bug.sentence for bug in bugs), credit=tuple(bug.name for bug in bugs), **found)


def idle_schedulers(runs: Iterable[Run]) -> list[str]:
    """What is wrong with the schedulers of runs whose learning rate never changed."""
    found = []
    for run in runs:
        steps = max((schedule.steps for schedule in run.schedulers), default=0)
        if run.schedulers and len(run.rates) == 1:
            kind = run.schedulers[-1].kind
            was = f"was stepped {steps} times without effect" if steps else "is made, but its step() is never called"
            found.append(f"{run.where}: the {kind} scheduler {was}; the learning rate stayed at {run.rate:g}")
    return found


def steps_without_gradients(lab: Lab) -> str:
    """Why no step of the notebook had a gradient to use; "" where one had."""
    steps: tuple[StepEvent, ...] = lab.of_type(StepEvent)
    if not steps or any(step.has_gradients for step in steps):
        return ""
    if any(step.backwards for step in steps):
        return "the gradients are zero at every step: call zero_grad() before backward(), not between it and step()"
    return "the optimizer steps without gradients: call loss.backward() before step()"


def splits_mixed_in(lab: Lab) -> set[str]:
    """`val` where a loader that is trained on holds as many images as both splits together."""
    sizes = {dataset.split: dataset.size for dataset in lab.datasets}
    stepped = {step.loader for step in lab.of_type(StepEvent)}
    both = sizes.get("train", 0) + sizes.get("val", 0)
    mixed = "val" in sizes and any(loader.loader in stepped and loader.size == both for loader in lab.loaders)
    return {"val"} if mixed else set()


def saved_untrained(lab: Lab) -> list[Bug]:
    """The bug of saving another network than the one that was trained."""
    astray = any(not run.updates_called_net for run in lab.runs)  # then it is the optimizer's fault, judged elsewhere
    if astray or not lab.saves or any(save.steps > 0 or save.changed for save in lab.saves):
        return []
    return [Bug("wrong_net_saved", f"{lab.where(lab.saves[0])}: the network that is saved was never trained")]


def is_fresh(lab: Lab, run: Run) -> bool:
    """Whether the run began with new weights: a new net, or one whose weights were drawn again in place."""
    redrawn = run.first_loss is not None and abs(run.first_loss - LN_10) < 0.3 and re.search(RESETS, lab.source)
    return run.earlier_steps == 0 or bool(redrawn)


def decays_afterwards(lab: Lab, run: Run) -> bool:
    """Whether a run ended at a constant rate in one cell and only went on in a later one, at that rate, with a decay.

    A later cell that begins with a lower rate is a decay by hand, and weights that are drawn again are fresh.
    """
    rates: dict[int, list[float]] = {}
    for step in lab.of_type(StepEvent):
        if step.net == run.net:
            rates.setdefault(step.cell, []).append(step.lr)
    cells = [taken for taken in rates.values() if len(taken) >= SHOWS_SOMETHING]  # fewer are a trial
    goes_on = all(same(later[0], earlier[-1]) for earlier, later in pairwise(cells))
    constant = bool(cells) and min(cells[0]) == max(cells[0])
    return len(cells) > 1 and goes_on and constant and re.search(RESETS, lab.source) is None


SHORTCOMINGS = {
    "without_augmentation": "without augmentation",
    "without_bn": "without BN layers",
    "not_reinitialised": "without re-initialising the model",
}


def shortcomings(lab: Lab, run: Run) -> tuple[str, ...]:
    """In what a run of Lab 2 (b) and (c) falls short of the question, by the names in rubric.toml's partial_credit."""
    present = {
        # Augmentation that is incomplete, or that no run has, costs points in Lab 2 (a), and only there.
        "without_augmentation": not _is_random(run) and any(map(_is_random, lab.runs)),
        # So does BN that no run has, in (b).
        "without_bn": not run.has_bn and any(other.has_bn for other in lab.runs),
        "not_reinitialised": not is_fresh(lab, run),
    }
    return tuple(name for name, is_so in present.items() if is_so)


def _is_random(run: Run) -> bool:
    return run.transform is not None and run.transform.is_random


def judge_runs(lab: Lab, runs: list[Run], rubric: Rubric) -> None:
    """The best of the runs that a question asks for; with a shortcoming it earns less."""
    best = max(runs, key=lambda run: rubric.share(shortcomings(lab, run)))
    short = shortcomings(lab, best)
    if short:
        fail(f"trained {' and '.join(SHORTCOMINGS[name] for name in short)} ({best.describe()})", credit=short)
