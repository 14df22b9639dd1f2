"""Lab 2 (c): which values of a sweep were really trained, and which penalty a run really had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grader.checks.claims import mentions
from grader.checks.outcome import could_not_check, fail
from grader.checks.support import words
from grader.checks.training import SHORTCOMINGS, no_run, same, shortcomings, training_runs
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.runs import Run
from grader.execution.trace_events import PenaltyEvent
from grader.rubric import Rubric

A_SWEEP = 3  # values; fewer come from other questions alone


@dataclass(frozen=True)
class Trial:
    """A run with a value of a sweep, and the share of the value's points that it earns."""

    run: Run
    worth: float


def judge_sweep(evidence: Evidence, lab: Lab, item: str, what: str, wanted: dict[float, Trial | None]) -> None:
    """The share of a sweep's values (of `what`) that were really trained, each by its best trial."""
    trials = {value: trial for value, trial in wanted.items() if trial is not None}
    worth = sum(trial.worth for trial in trials.values()) / len(wanted)
    if worth == 1:
        return
    credit = worth if len(trials) >= A_SWEEP else 0.0
    absent = [value for value in wanted if value not in trials]
    if absent:
        reason = f"no run was trained with {what} {', '.join(f'{value:g}' for value in absent)}"
        if not went_wrong(lab) and all(mentions(words(evidence, item), value) for value in absent):
            could_not_check(f"{reason}, but the answer reports it: a person must look")
        found = ", ".join(f"{value:g} ({trial.run.where})" for value, trial in trials.items()) or "none of its values"
        no_run(lab, f"{reason}; found {found}", credit=credit)
    short = [f"{value:g} was trained {_how(lab, trial)}" for value, trial in trials.items() if trial.worth < 1]
    fail(f"{what} {'; '.join(short)}", credit=credit)


def went_wrong(lab: Lab) -> bool:
    """A sweep stands in the notebook and was none: its optimizer steps another net, or all of its runs are alike.

    Where it does not stand there (a cell that was overwritten for each value), the answer may report what was run.
    """
    settings = Counter(
        (run.cells[0], run.optimizer, run.rate, run.weight_decay, run.architectures, run.augments)
        for run in lab.runs
        if run.cells and run.has_bn
    )
    return any(not run.updates_called_net for run in lab.runs) or max(settings.values(), default=0) >= A_SWEEP


def _how(lab: Lab, trial: Trial) -> str:
    short = " and ".join(SHORTCOMINGS[name] for name in shortcomings(lab, trial.run))
    return f"{short or 'with another learning rate'} ({trial.run.where})"


def best_trials(
    lab: Lab,
    runs: Sequence[tuple[Run, float]],
    values: Sequence[float],
    has: Callable[[Run, float], bool],
    rubric: Rubric,
) -> dict[float, Trial | None]:
    """For each value the run that earns most, each run given with its share before its shortcomings count.

    Of equal ones it is that of the cell with most of the values, which is the sweep's own and not another question's.
    """
    trials = [Trial(run, share * rubric.share(shortcomings(lab, run))) for run, share in runs]
    with_value = {value: [trial for trial in trials if has(trial.run, value)] for value in values}
    cells = Counter(cell for found in with_value.values() for cell in {trial.run.where for trial in found})

    def merit(trial: Trial) -> tuple[float, int]:
        return trial.worth, cells[trial.run.where]

    return {value: max(found, key=merit, default=None) for value, found in with_value.items()}


def learning_rates(lab: Lab, rates: Sequence[float], rubric: Rubric) -> dict[float, Trial | None]:
    """The best trial with each learning rate."""
    runs = [(run, 1.0) for run in training_runs(lab)]
    return best_trials(lab, runs, rates, lambda run, rate: same(run.rate, rate), rubric)


def strengths(lab: Lab, values: Sequence[float], rubric: Rubric) -> dict[float, Trial | None]:
    """The best trial with each L2 strength and no L1 penalty; at another learning rate than 0.01 it is worth less."""
    less = rubric.share("another_learning_rate")
    runs = [(run, 1.0 if same(run.rate, 0.01) else less) for run in training_runs(lab) if not has_l1(run)]
    return best_trials(lab, runs, values, has_l2, rubric)


def runs_of(wanted: dict[float, Trial | None]) -> list[Run]:
    """The runs of a sweep."""
    return [trial.run for trial in wanted.values() if trial is not None]


def has_l1(run: Run) -> bool:
    """The penalty's gradient is lambda * sign(w), on all weights or on nearly all of them."""
    penalty = run.penalty
    return penalty is not None and penalty.l1.coefficient > 0 and penalty.l1.unexplained < 0.3


def l2_penalty(penalty: PenaltyEvent | None) -> float:
    """Coefficient of w in the gradient of a penalty in the loss, 0 where there is none like that."""
    return penalty.l2.coefficient if penalty is not None and penalty.l2.unexplained < 0.05 else 0.0


def has_l2(run: Run, strength: float) -> bool:
    """By weight_decay, or as a term of the loss: lambda / 2 * |w|^2 has its gradient, lambda * |w|^2 twice that."""
    in_loss = l2_penalty(run.penalty)
    if in_loss and run.weight_decay == 0:
        return same(in_loss, strength) or same(in_loss, 2 * strength)
    return same(run.weight_decay, strength)
