"""Results that the student reports: accuracies in saved outputs, in tables and in prose, held against the trace."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from grader.checks.blame import hindrance
from grader.checks.contradictions import contradictions, reach
from grader.checks.learning import stands
from grader.checks.outcome import RecordProperty, could_not_check, fail, flag
from grader.checks.support import written
from grader.checks.training import TRAINS
from grader.evidence.cells import result_text, stream_text
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.predictions import score
from grader.evidence.record import EpochClaim, max_validation_accuracy
from grader.evidence.runs import Run
from grader.rubric import Rubric

# From 0.08 on, a little below chance: smaller numbers are learning rates and regularization strengths.
ACCURACY = re.compile(r"(?<![\d.])(?:0?\.(?:0[89]|[1-9]\d)\d*|(?:[89]|\d{2})(?:\.\d+)?\s?\\?%)")
NUMBER = re.compile(r"(?<![\w.])\d*\.?\d+(?:e[-+]?\d+)?", re.IGNORECASE)
MORE_THAN_HELD_OUT = 0.05  # a validation accuracy that is so much above the held-out one was not of the same net
OTHER_NET = 0.02  # validation accuracy; averaging over mirror images moved the reference's by 0.011
SAME_NET = 0.85  # even the predictions of two students with good networks agreed on 0.89 of the images
CLEARED = "show no validation accuracy (were they cleared before handing in?)"


def judge_accuracy(evidence: Evidence, lab: Lab, rubric: Rubric, record_property: RecordProperty) -> None:
    """The best validation accuracy in the saved outputs against the lab's bar; a little below it, a part counts."""
    bar = rubric.bars.on(evidence.lossy, lab.role)  # type: ignore[arg-type]
    record_property("bar", bar)
    for contradiction in contradictions(evidence, lab):
        flag(record_property, contradiction)
    best = max_validation_accuracy(lab.record)
    measured = _measured(evidence, lab, best, record_property)
    if best is None and measured is not None and measured >= bar:
        return
    if best is None:
        _accuracy_in_prose(evidence, lab)
        fail(f"the saved outputs of {lab.file} {CLEARED}")
    if best < bar:
        reason = f"the best validation accuracy in the saved outputs is {best:.4f}, expected {bar:.2f}"
        fail(reason, credit="nearly_at_the_bar" if best >= bar - 0.05 else 0.0, best=best)
    if not lab.runs and hindrance(lab, TRAINS) is None:
        could_not_check(
            f"the saved outputs claim a validation accuracy of {best:.4f}, but nothing was trained when the notebook "
            "ran: a person must look",
            best=best,
        )
    standing = stands(lab)
    if standing is not None:
        claim = f"the saved outputs claim a validation accuracy of {best:.4f}"
        could_not_check(f"{claim}, but when the notebook ran here {standing}: a person must look", best=best)
    _compare_with_what_is_known(evidence, lab, best, reach(evidence, lab, rubric))


def _measured(evidence: Evidence, lab: Lab, claimed: float | None, record_property: RecordProperty) -> float | None:
    """The validation accuracy of a checkpoint that was handed in; what it contradicts is flagged."""
    score = evidence.checkpoint
    if lab.role != "lab3" or score is None:
        return None
    if score.validation_accuracy is None:
        record_property("checkpoint", f"{score.file}: {score.problem}")
        return None
    measured = f"{score.file} reaches {score.validation_accuracy:.4f} on the validation images"
    record_property("checkpoint", measured)
    if claimed is not None and abs(claimed - score.validation_accuracy) > OTHER_NET:
        flag(record_property, f"the saved outputs claim a validation accuracy of {claimed:.4f}, but {measured}")
    if score.agreement is not None and score.agreement < SAME_NET:
        flag(record_property, f"predictions.csv has the labels of {score.file} on {score.agreement:.1%} of test images")
    return score.validation_accuracy


def _compare_with_what_is_known(evidence: Evidence, lab: Lab, best: float, known: tuple[float, float]) -> None:
    """A claim is the student's word: one that cannot well be true is for a person, never a deduction."""
    claim = f"the saved outputs claim a validation accuracy of {best:.4f}"
    if best > known[1]:
        beyond = f"the best known of {lab.title} is {known[0]:.3f}, with 5 standard deviations {known[1]:.3f}"
        could_not_check(f"{claim}, but {beyond}: a person must look", best=best)
    predicted = evidence.predictions.labels
    if lab.role != "lab3" or evidence.truth is None or predicted is None:
        return
    held_out = score(evidence.truth, predicted).accuracy
    if best - held_out > MORE_THAN_HELD_OUT:
        other = f"the predictions of the held-out images reach {held_out:.4f}"
        could_not_check(f"{claim}, but {other}: a person must look", best=best, held_out=held_out)


def _accuracy_in_prose(evidence: Evidence, lab: Lab) -> None:
    for item, passage in (*lab.written.items(), *evidence.answers.passages.items()):
        if item.startswith(lab.role) and "accura" in passage.text.lower() and ACCURACY.search(passage.text):
            where = f"{passage.source} names an accuracy, which a person must judge"
            could_not_check(f"the saved outputs of {lab.file} {CLEARED}; {where}", text=passage.text)


def judge_reported(evidence: Evidence, lab: Lab, item: str, runs: Sequence[Run], wanted: int) -> None:
    """A result for each of `wanted` values, in the outputs of the runs with them or in the written answer."""
    in_words = Counter[str]()
    for passage in written(evidence, item):
        in_words |= Counter(ACCURACY.findall(passage.text))  # the same figure in notebook and report is one result
    found = max(results_shown(lab, runs), in_words.total())
    if found >= wanted:
        return
    reason = f"results for {found} of {wanted} values were found in saved outputs and text"
    ends = {run.cells[-1]: _next_training(lab, run.cells[-1]) for run in runs if run.cells}
    plotted = any(start <= image < end for start, end in ends.items() for image in lab.record.images)
    pasted = any(cell.kind == "markdown" and re.search(r"!\[|<img", cell.source) for cell in lab.submitted)
    if plotted or pasted or evidence.answers.problems:
        could_not_check(f"{reason}; others may stand in a picture, or in a report that could not be read")
    fail(reason, credit=found / wanted)


def results_shown(lab: Lab, runs: Sequence[Run]) -> int:
    """How many of the runs have a result in the saved outputs of their cell, or of those before the next training."""
    cells = Counter(run.cells[-1] for run in runs if run.cells)
    return sum(min(here, _results_between(lab, cell, _next_training(lab, cell))) for cell, here in cells.items())


def _next_training(lab: Lab, cell: int) -> int:
    """The first cell after this one in which something is trained, or the end of the notebook."""
    return min((other for run in lab.runs for other in run.cells if other > cell), default=len(lab.submitted))


def _results_between(lab: Lab, start: int, end: int) -> int:
    """Results printed by the cells from `start` to before `end`: best accuracies, epoch logs, else any accuracies."""
    best = sum(start <= claim.cell < end for claim in lab.record.best)
    logs = _logs(claim for claim in lab.record.epochs if start <= claim.cell < end and claim.val_accuracy is not None)
    if best or logs:
        return max(best, logs)
    cells = [cell for cell in lab.submitted if start <= cell.index < end]
    return sum(len(ACCURACY.findall(stream_text(cell, "stdout") + "\n" + result_text(cell))) for cell in cells)


def _logs(claims: Iterable[EpochClaim]) -> int:
    """How many logs of a training the claims are: a new one begins where the number of the epoch does not rise."""
    logs, before = 0, None
    for claim in claims:
        if before is None or claim.epoch is None or claim.epoch <= before:
            logs += 1
        before = claim.epoch
    return logs


def mentions(text: str, value: float) -> bool:
    """Whether a number of the text is this value: 0.01, .01, 1e-2, 10^-2."""
    text = re.sub(r"10\s?\^\s?\{?\s?[-−]\s?(\d+)", r"1e-\1", text)
    return any(abs(float(number) - value) <= 1e-3 * value for number in NUMBER.findall(text))
