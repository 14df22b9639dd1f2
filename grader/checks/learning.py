"""Does training do what training does? Losses of runs and of one batch, held against the reference's over many seeds.

Thresholds are those of grader/calibration.json. Which images an instructor grades with is not known here, so of the
sources of data that were measured the most lenient counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from grader.calibration import ENDS, Distribution, Measured, fall, load_calibration
from grader.checks.outcome import RecordProperty, could_not_check, fail, flag
from grader.checks.training import LN_10, SHOWS_SOMETHING, same
from grader.evidence.evidence import Lab
from grader.evidence.runs import Run
from grader.execution.overfit import STEPS, Overfit, signature
from grader.execution.trace_events import NetEvent

FLOOR = 0.02  # the least fall of the loss that shows anything
SLOW = {"SGD": 0.025, "Adam": 3e-4, "AdamW": 3e-4, "NAdam": 3e-4, "RAdam": 3e-4}  # effective rates; others, below 1e-3
FEWEST = 8  # images of a step, below which its loss shows nothing
ABSURD = 3.0  # times what the first loss of the reference can be
STIRS = 0.1  # a fall of the loss on one batch that shows that gradients arrive
LEARNT, STUCK = 1.0, 2.0  # last loss on one batch: every right net is far below the one, chance stands above the other


@dataclass(frozen=True)
class Judgement:
    """What the losses of one run show, and why."""

    outcome: Literal["learns", "slow", "stands", "open"]
    reason: str = ""


def _measured(role: str) -> Sequence[Measured]:
    return tuple(load_calibration().labs.get(role, {}).values())


def noise(role: str) -> float:
    """As far as the loss of a net that cannot learn may fall, on the source where that is least."""
    return max(FLOOR, min((measured.noise.threshold for measured in _measured(role)), default=FLOOR))


def expected_fall(role: str, steps: int) -> Distribution | None:
    """Of the reference's run after at most `steps` full batches, on the source where it falls least."""
    found = [m.falls[known] for m in _measured(role) if (known := m.checkpoint(steps)) is not None]
    return min(found, key=lambda distribution: distribution.threshold, default=None)


def judge_learning(
    lab: Lab, runs: Sequence[Run], record_property: RecordProperty, given: Callable[[Run], bool] = lambda _run: False
) -> None:
    """Passes where any of the runs learns; `given` tells runs whose setting is the calibrated one.

    In Labs 1 and 2 only such a run can fail: where another does not learn, its setting is to blame, which other
    questions judge. Lab 3 leaves the setting to the student.
    """
    _flag_first_loss(lab, runs, record_property)
    judged = [_judge(lab, run, given(run)) for run in runs]
    if lab.role != "lab3":
        judged = [_excused(run, judgement, given(run)) for run, judgement in zip(runs, judged, strict=True)]
    if any(judgement.outcome == "learns" for judgement in judged):
        return
    for outcome, credit in (("slow", "learns_slowly"), ("stands", 0.0)):
        for judgement in judged:
            if judgement.outcome == outcome:
                fail(judgement.reason, credit=credit)
    could_not_check(max(zip(runs, judged, strict=True), key=lambda pair: len(pair[0].losses))[1].reason)


def _excused(run: Run, judgement: Judgement, given: bool) -> Judgement:
    if judgement.outcome != "stands" or given or not run.losses:
        return judgement
    return Judgement("open", f"{judgement.reason}, but its setting is not the given one: a person must look")


def _judge(lab: Lab, run: Run, given: bool) -> Judgement:
    losses = run.losses
    if not losses:
        unread = run.steps < SHOWS_SOMETHING or re.search(r"\.backward\(\s*[^)\s]", lab.source)
        what = "no training loss could be read" if unread else "the training loss is not a finite number"
        return Judgement("open" if unread else "stands", f"{what} ({run.describe()})")
    few = f"{len(losses)} training steps are too few to see the loss fall ({run.describe()})"
    if len(losses) < 2 * ENDS:
        return Judgement("open", few)
    if run.images < FEWEST:
        return Judgement(
            "open", f"the loss of {run.images} images a step is too noisy to see it fall ({run.describe()})"
        )
    first, last, fell = fmean(losses[:ENDS]), fmean(losses[-ENDS:]), fall(losses, len(losses))
    ends = f"{first:.3f} in the first {ENDS} steps, {last:.3f} in the last {ENDS} of {len(losses)}"
    beyond = noise(lab.role) * first / LN_10  # the loss may be another one, or a sum over the batch
    expected = expected_fall(lab.role, len(losses))
    shows = expected is not None and expected.threshold > noise(lab.role)  # the reference has learnt by then
    if given and shows and expected is not None and beyond < fell <= expected.threshold:
        low, high = min(expected.values), max(expected.values)
        usual = f"with {len(expected.values)} other seeds this very setting fell by {low:.2f} to {high:.2f}"
        return Judgement("slow", f"the training loss hardly falls: {ends}; {usual} ({run.describe()})")
    # Sixty steps of a ResNet on 32 images are noisy: there the reference's own threshold lies below that of noise.
    as_the_reference = expected is not None and 0 < expected.threshold <= fell
    if fell > beyond or as_the_reference:
        return Judgement("learns")
    if not shows:
        return Judgement("open", few)
    if not given and (is_slow(run) or run.loss_kind not in ("cross_entropy", "nll_loss")):
        return Judgement("open", f"with this setting the loss need not fall yet: {ends} ({run.describe()})")
    return Judgement("stands", f"the training loss does not fall: {ends} ({run.describe()})")


def stands(lab: Lab) -> str | None:
    """Why none of a notebook's trainings on training images learns; None where one does, or nothing can be said."""
    judged = [_judge(lab, run, given=False) for run in lab.runs if "train" in run.splits]
    if not judged or any(judgement.outcome == "learns" for judgement in judged):
        return None
    return next((judgement.reason for judgement in judged if judgement.outcome == "stands"), None)


def is_slow(run: Run) -> bool:
    """The learning rate that the run began with is so small that some hundred steps need not show anything."""
    rate = run.rates[0] / (1 - min(run.momentum, 0.99)) if run.optimizer == "SGD" else run.rates[0]
    return rate < SLOW.get(run.optimizer, 1e-3)


def is_calibrated(run: Run, *, augmented: bool) -> bool:
    """The setting that the notebook of Lab 1 gives, with nothing else that could slow it down."""
    transform, loss = run.transform, run.first_loss
    normalised = transform is not None and transform.normalisation is not None
    if not normalised or transform is None or transform.other or loss is None:
        return False
    if transform.is_random if not augmented else not (transform.augments and transform.max_shift == 4):
        return False
    stepped = run.optimizer == "SGD" and len(run.rates) == 1 and same(run.rates[0], 0.01) and same(run.momentum, 0.9)
    fed = run.loss_kind == "cross_entropy" and run.loss_fed == "logits" and run.penalty is None
    usual = 64 <= run.images <= 256 and run.weight_decay <= 1e-3 and run.covers >= 1
    fresh = run.earlier_steps == 0 and abs(loss - LN_10) < 0.1
    return stepped and fed and usual and fresh and run.is_any("simplenn")


def _flag_first_loss(lab: Lab, runs: Iterable[Run], record_property: RecordProperty) -> None:
    """Only an absurd first loss of a fresh net is worth a look: initialisation and smoothed labels move it a little."""
    most = ABSURD * max([LN_10, *(measured.first_loss.threshold for measured in _measured(lab.role))])
    for run in runs:
        if run.earlier_steps == 0 and run.first_loss is not None and not LN_10 / ABSURD < run.first_loss < most:
            found = f"the first loss of a fresh network is {run.first_loss:.3f}"
            flag(record_property, f"{run.where}: {found}; ten classes give about ln 10 = {LN_10:.3f}")
            return


def judge_one_batch(lab: Lab, net: NetEvent) -> None:
    """Passes where a copy of the net overfits one batch, or where it is proved to be right, gradients included."""
    found = _overfit_of(lab, net)
    last = found.last if found is not None else None
    proved = any(c.net == net.net and c.equal and not c.gradient_problem for c in lab.challenges)
    if proved or (last is not None and last <= LEARNT):
        return
    name = f"{net.cls} ({lab.where(net)})"
    if found is None or last is None:
        problem = found.problem if found is not None and found.problem else "it was not tried"
        could_not_check(f"whether {name} can learn one batch of images could not be seen: {problem}")
    moved = found.losses[0] - last
    if last < STUCK or moved > STIRS:
        could_not_check(f"{name} learns one batch of images slowly: its loss is {last:.3f} after {STEPS} steps of Adam")
    fail(
        f"{name} cannot learn even one batch of images: after {STEPS} steps of Adam the loss is {last:.3f}; a right "
        f"network comes close to 0, guessing gives ln 10 = {LN_10:.3f}: look for detach(), .data or no_grad() in "
        "forward(), or for outputs that do not depend on the image",
        losses=list(found.losses[:: STEPS // 8]),
    )


def _overfit_of(lab: Lab, net: NetEvent) -> Overfit | None:
    """Of this net, or of one that executes the same."""
    kinds = {known.net: signature(known) for known in lab.nets}
    return next((found for found in lab.overfits if kinds.get(found.net) == signature(net)), None)
