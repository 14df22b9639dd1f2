"""Claims of a notebook that the trace, another notebook or the reference's results contradict, each as a sentence.

None of them proves anything by itself, so none costs a point: a person is shown both figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from grader.evidence.cells import stream_text
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.record import EpochClaim
from grader.evidence.runs import Run
from grader.rubric import Rubric

# Training accuracy after the first epoch: at most 0.46 in every fresh run of SimpleNN that was seen, 0.63 and more in
# runs that went on with a trained network (public submissions; the reference's 22 runs: at most 0.39).
FRESH = 0.46
CONTINUED = 0.55
SAME_LINES = 5  # epochs that two logs must share to be one log
RATE = re.compile(
    r"(?:learning[ _]?rate|\blr)\b['\"]?\s{0,2}(?:is|of|to)?[\s:=(]{0,4}(\d*\.?\d+(?:e[-+]?\d+)?)", re.IGNORECASE
)
MAX_RATE = 10.0  # larger numbers are none
NEARLY = 1.1


def contradictions(evidence: Evidence, lab: Lab) -> list[str]:
    """All of a lab's, in the order of its cells."""
    return [*_continued(lab), *_other_rates(lab), *_copied(evidence, lab)]


def logs(lab: Lab) -> list[list[EpochClaim]]:
    """The printed logs of trainings: one ends with its cell, or where the number of the epoch does not rise."""
    found: list[list[EpochClaim]] = []
    before: EpochClaim | None = None
    for claim in lab.record.epochs:
        rises = before is not None and None not in (before.epoch, claim.epoch) and claim.epoch > before.epoch  # type: ignore[operator]
        if before is None or claim.cell != before.cell or not rises:
            found.append([])
        found[-1].append(claim)
        before = claim
    return found


def _continued(lab: Lab) -> Iterator[str]:
    """Logs whose first epoch is too good for a new network; a ResNet may be faster."""
    for log in logs(lab) if lab.role != "lab3" else ():
        first = log[0]
        if first.epoch in (0, 1) and first.train_accuracy is not None and first.train_accuracy >= CONTINUED:
            yield (
                f"cell {first.cell + 1} claims a training accuracy of {first.train_accuracy:.4f} after the first "
                f"epoch; a new SimpleNN had at most {FRESH:.2f}, so the run may go on with a trained network"
            )


def _other_rates(lab: Lab) -> Iterator[str]:
    """Learning rates that a cell's saved output names and with which no step was taken in it or before."""
    for cell in lab.submitted:
        runs = [run for run in lab.runs if cell.index in run.cells]
        # Results of a run may be kept and shown again by a later cell.
        earlier = [run for run in lab.runs if run.cells and run.cells[0] <= cell.index]
        claimed = {float(number) for number in RATE.findall(stream_text(cell, "stdout"))}
        wrong = sorted(r for r in claimed if 0 < r < MAX_RATE and not any(_had_rate(run, r) for run in earlier))
        if runs and wrong:
            real = ", ".join(f"{rate:g}" for rate in sorted({run.rate for run in runs}, reverse=True))
            named = ", ".join(f"{rate:g}" for rate in wrong)
            yield f"cell {cell.index + 1} prints the learning rate {named}, but its steps were taken with {real}"


def _had_rate(run: Run, rate: float) -> bool:
    """A schedule passes through other rates here, where epochs have fewer steps; none is larger than its largest."""
    if len(run.rates) > 1:
        return rate <= run.rate * NEARLY
    return run.rate / NEARLY <= rate <= run.rate * NEARLY


def _copied(evidence: Evidence, lab: Lab) -> Iterator[str]:
    """Logs that stand, to the last digit, in the notebook of an earlier lab too."""
    order = list(evidence.labs)
    for earlier, later in combinations(order, 2):
        if later != lab.role:
            continue
        known = {_figures(log): log[0].cell for log in logs(evidence.labs[earlier]) if len(log) >= SAME_LINES}
        for log in logs(lab):
            if len(log) >= SAME_LINES and _figures(log) in known:
                yield (
                    f"cell {log[0].cell + 1} shows the same {len(log)} epochs, to the last digit, as cell "
                    f"{known[_figures(log)] + 1} of {evidence.labs[earlier].file}"
                )


def _figures(log: list[EpochClaim]) -> tuple[tuple[float | None, ...], ...]:
    return tuple((c.train_loss, c.train_accuracy, c.val_loss, c.val_accuracy) for c in log)


def reach(evidence: Evidence, lab: Lab, rubric: Rubric) -> tuple[float, float]:
    """The best validation accuracy that is known on such images, and what can be believed: 5 deviations more."""
    best = rubric.best.get(lab.role)
    if best is None:
        return 1.0, 1.0
    on_these_images = 0.0
    if best.lossy and not (evidence.lossy and evidence.source == "course"):
        on_these_images = rubric.bars.lossy_allowance  # sharper images, or nothing tells
    elif not best.lossy and evidence.lossy and evidence.source == "course":
        on_these_images = -rubric.bars.lossy_allowance
    known = best.accuracy + on_these_images
    return known, known + 5 * best.deviation
