"""What several checks share: a lab that can be checked at all, what is missing, and prose for a person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from grader.checks.blame import hindrance, own_failure
from grader.checks.diagnosis.gradients import gradient_reason
from grader.checks.diagnosis.graph import Departure
from grader.checks.outcome import could_not_check, fail
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.passages import Passage
from grader.execution.trace_events import NetEvent
from grader.rubric import Credit

EXCERPT = 1_500
NO_ANSWER = re.compile(r"\W*(?:(?:todo|to do|tbd|tba|fixme|n/a|none)\b.{0,40})?\W*", re.IGNORECASE | re.DOTALL)
PROSE = 40  # characters of a paragraph that may be an answer
# Nets that the challenge knows although they are right for no item: what they are, and their credit.
DEVIATIONS = {
    "simplenn_bn_last": ("BN stands behind the activation; expected conv -> BN -> activation", "bn_behind_activation"),
    "simplenn_bn_last_swish": (
        "BN stands behind the activation; expected conv -> BN -> activation",
        "bn_behind_activation",
    ),
    "resnet20_b_without_bn": (
        "projection shortcuts without BN; expected option A, or B with BN after it",
        "projection_without_bn",
    ),
}
# Features in another order need other weights for the same outputs, so that the comparison says nothing of them.
REARRANGING = ("permute", "transpose", "swapaxes", "movedim")
# What each question that prose answers is called, and what a paragraph that answers it speaks of.
QUESTIONS = {
    "lab1.b": ("(b)", r"normali|preprocess|transform"),
    "lab1.d": ("(d)", r"nvidia-smi|\bgpu|cuda|device"),
    "lab1.g": ("(g)", r"initial loss|overfit|accurac"),
    "lab1.h": ("(h)", r"(?<!weight.)decay"),
    "lab2.a": ("(a)", r"augment"),
    "lab2.b.bn": ("(b) Batch normalization", r"batch ?norm|\bbn\b"),
    "lab2.b.lr": ("(b) Learning rate", r"learning rate|\blr\b"),
    "lab2.b.swish": ("(b) Swish", r"swish"),
    "lab2.c.lr": ("(c) Learning rate", r"learning rate|\blr\b"),
    "lab2.c.l2": ("(c) L2", r"\bl2\b|weight decay|regulari"),
    "lab2.c.l1": ("(c) L1", r"\bl1\b|sparse|distribution"),
}


def runnable(evidence: Evidence, role: str) -> Lab:
    """The lab, or the reason why none of its checks can be made."""
    lab = evidence.labs[role]
    if lab.tampered is not None:
        could_not_check(f"{lab.tampered}, so what the grader recorded of {lab.title} must be judged by a person")
    if lab.problem is None:
        return lab
    if lab.at_fault == "grader":
        could_not_check(lab.problem)
    fail(lab.problem, file=lab.file)


def missing(lab: Lab, reason: str, *, sign: str, credit: Credit = 0.0, **found: object) -> NoReturn:
    """What the check looked for did not happen; `sign` is a regular expression of code that would have done it.

    Lost, unless such code was hindered by the grader's world (see `grader.checks.blame`).
    """
    hindered = hindrance(lab, sign)
    if hindered is not None:
        could_not_check(f"{reason}; but {hindered.describe()}, which may be the grading machine's fault", **found)
    failed = own_failure(lab, sign)
    named = failed is not None and failed.describe() not in reason
    fail(f"{reason}; {failed.describe()}" if failed is not None and named else reason, credit=credit, **found)


def largest_net(lab: Lab) -> NetEvent:
    """The net with the most layers that have weights, or the reason why there is none."""
    weights = {net.net: sum(layer.weight is not None for layer in net.layers) for net in lab.nets}
    whole = [net for net in lab.nets if weights[net.net] > 1]
    if whole:
        return max(whole, key=lambda net: weights[net.net])
    if lab.broken_nets:
        broken = lab.broken_nets[0]
        fail(f"{broken.cls} ({lab.where(broken)}) raises on a batch of (2, 3, 32, 32) images: {broken.problem}")
    missing(lab, "no network was built when the notebook ran", sign=r"Module\b|Sequential")


def differs(lab: Lab, net: NetEvent, departure: Departure | None, *, own: Sequence[str] = ()) -> NoReturn:
    """How a net with other outputs departs from the wanted function: what the challenge showed, else the record.

    `own` are operations that the record does not explain. Where nothing explains the outputs, a person must look.
    """
    answered = [challenge for challenge in lab.challenges if challenge.net == net.net]
    name = f"{net.cls} ({lab.where(net)})"
    if any(challenge.equal_but_softmax for challenge in answered):
        fail(f"{name} is right but for a softmax at its end: the network returns logits", credit="softmax_at_the_end")
    for challenge in answered:
        if challenge.equal_in_values:
            fail(f"{name}: {gradient_reason(challenge)}", credit="gradient_stopped")
        if challenge.equal_in_eval:
            _other_in_train_mode(name, departure)
        for deviation in challenge.deviations if lab.role != "lab1" else ():
            reason, credit = DEVIATIONS[deviation]
            fail(f"{name}: {reason}", credit=credit)
    if departure is not None:
        fail(f"{name}: {departure.reason}", credit=departure.credit)
    compared = [pair for challenge in answered for pair in challenge.differences.values()]
    if not compared:
        problem = next((c.problem for c in answered if c.problem), "it was not asked")
        could_not_check(f"{name}: nothing is found to differ, but its outputs could not be compared: {problem}")
    evaluating, training = min(compared, key=max)
    what = f"with the same weights on the same images its logits differ by up to {evaluating:.2g} in eval mode"
    outputs = f"{what} and {training:.2g} in train mode"
    if own and not any(name in REARRANGING for name in own):
        fail(f"{name}: {outputs}; all is as expected but what it computes by {', '.join(own)}", credit="other_function")
    could_not_check(f"{name} has the right layers, but {outputs}, and the record does not tell why: a person must look")


def _other_in_train_mode(name: str, departure: Departure | None) -> NoReturn:
    """Right in eval mode: dropout where the record names it."""
    named = departure is not None and departure.credit == "other_in_train_mode"
    found = f"{departure.reason}" if departure is not None and named else "something else acts, such as dropout"
    fail(f"{name} is right in eval mode alone: in train mode {found}", credit="other_in_train_mode")


def written(evidence: Evidence, item: str) -> list[Passage]:
    """What the student wrote under an item's heading, in the notebook, in a report and in answers.yaml."""
    lab = evidence.labs[item.partition(".")[0]]
    answer = evidence.answers.answers.get(item)
    found = [lab.written.get(item), evidence.answers.passages.get(item)]
    if answer is not None and answer.explanation.strip():
        found.append(Passage(answer.explanation, answer.source))
    return [passage for passage in found if passage is not None]


def words(evidence: Evidence, item: str) -> str:
    """All that the student wrote under an item's heading; "" where there is nothing."""
    return "\n\n".join(passage.text for passage in written(evidence, item))


def _answers(text: str) -> bool:
    """Whether anything but a heading and a reminder to write something stands there."""
    return NO_ANSWER.fullmatch(re.sub(r"(?m)^\s*#.*$", "", text)) is None


def for_a_person(evidence: Evidence, item: str) -> NoReturn:
    """Prose under an item's heading in notebook and report: kept for a person, or lost where there is none."""
    lab = evidence.labs[item.partition(".")[0]]
    passages = [passage for passage in written(evidence, item) if _answers(passage.text)]
    if len(passages) == 1:
        could_not_check("for a person to judge", text=passages[0].text[:EXCERPT], where=passages[0].source)
    if passages:
        parts = [f"{passage.source}:\n{passage.text[:EXCERPT]}" for passage in passages]
        could_not_check(
            "for a person to judge",
            text="\n\n".join(parts),
            where="; ".join(passage.source for passage in passages),
        )
    _without_heading(evidence, lab, item)
    question = QUESTIONS[item][0]
    absent = f"no written answer to {lab.title} {question} was found"
    if lab.file is None:
        fail(f"{absent}: there is no notebook of {lab.title} and no report with the answer")
    if lab.problem is not None and lab.at_fault == "grader":
        could_not_check(f"{absent}, but {lab.problem}")
    looked = ", ".join([lab.looked_at, *evidence.answers.read])
    fail(f"{absent} in {looked}; write it under a heading '{question}'")


def _without_heading(evidence: Evidence, lab: Lab, item: str) -> None:
    """Text that may hold an answer although it does not stand under the question's heading: a person must look."""
    question, speaks_of = QUESTIONS[item]
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n|\n(?=#)", lab.added)]
    found = "\n".join(passage.text for passage in lab.written.values())  # answers to other questions
    free = [part for part in paragraphs if len(part) >= PROSE and part[0] != "#" and part not in found]
    answers = [part for part in free if re.search(speaks_of, part, re.IGNORECASE)]
    if answers:
        reason = f"no heading '{question}' was found in {lab.file}, but text that may be the answer: a person must look"
        could_not_check(reason, text="\n\n".join(answers)[:EXCERPT])
    if evidence.answers.problems:
        could_not_check(f"no answer was found, but a report could not be read: {evidence.answers.problems[0]}")
    reports = [name for name in evidence.answers.read if name.lower().endswith(".pdf")]
    if reports and not any(name.startswith(lab.role) for name in evidence.answers.passages):
        could_not_check(f"{reports[0]} has no heading of {lab.title}: a person must find the answer in it")
