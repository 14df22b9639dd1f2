"""The loss before any training step, as measured by the notebook, printed, or stated in the answer."""

from __future__ import annotations

import re

from grader.checks.outcome import could_not_check, fail
from grader.checks.support import missing, words
from grader.checks.training import LN_10, RESETS
from grader.evidence.evidence import Evidence, Lab
from grader.execution.trace_events import InitialLossEvent

FIRST_LOSS = re.compile(
    r"(?:initial|before|first|start|\b(?:step|batch|iter\w*)\W{0,3}[01]\b|\[\s*[01],\s*[01]\])[^\n]{0,80}?(?<![\d.])(2\.[23]\d+)",
    re.IGNORECASE,
)
NEAR = 0.2
NEAR_WITH_OWN_WEIGHTS = 1.0  # He's initialisation of all layers gives about 2.6


def judge_initial_loss(evidence: Evidence, lab: Lab) -> None:
    """Passes where a loss of about ln 10 was measured; weights that are drawn by hand may give a little more."""
    measured: tuple[InitialLossEvent, ...] = lab.of_type(InitialLossEvent)
    values = {event.value: lab.where(event) for event in measured if event.value is not None}
    near = NEAR_WITH_OWN_WEIGHTS if re.search(RESETS, lab.source) else NEAR
    if any(abs(value - LN_10) < near for value in values) or _prints_first_loss(lab):
        return
    if _states_initial_loss(evidence, lab):
        could_not_check("an initial loss of about ln 10 is stated, but none was measured here: a person must look")
    expected = f"ten classes give about ln 10 = {LN_10:.3f}"
    for value, where in values.items():
        fail(f"{where}: the loss before the first step is {value:.3f}; {expected}", credit="other_initial_loss")
    missing(lab, f"no loss was measured or written down before the first training step; {expected}", sign="loss|crit")


def _prints_first_loss(lab: Lab) -> bool:
    """A line of output says it is the first loss, and it is that of a training from new weights, not of the code."""
    first = [run.first_loss for run in lab.runs if run.earlier_steps == 0 and run.first_loss is not None]
    if not any(abs(loss - LN_10) < 0.2 for loss in first):
        return False
    printed = (number for text in lab.texts() for number in FIRST_LOSS.findall(text))
    return any(number not in lab.source and abs(float(number) - LN_10) > 1e-4 for number in printed)


def _states_initial_loss(evidence: Evidence, lab: Lab) -> bool:
    """A number near 2.303, or ln 10, in the answer, or in a line of output that says it is the first."""
    if re.search(r"(?<![\d.])2\.[23]\d*|\bln\s*\(?10|log\s*\(?10", words(evidence, "lab1.g")):
        return True
    return any(FIRST_LOSS.search(text) for text in lab.texts())
