"""Part 1: ten true/false questions, each with a verdict against the key and an explanation for a person."""

from __future__ import annotations

import pytest

from grader.checks.outcome import check, could_not_check, fail
from grader.checks.support import EXCERPT
from grader.evidence.answers import Answer
from grader.evidence.evidence import Evidence
from grader.evidence.report import part1_answers
from grader.evidence.verdicts import leading_verdict
from grader.rubric import Rubric

ITEMS = [f"part1.{k}" for k in range(1, 11)]
ARGUES = 3  # words from which a text in the place of a verdict may give one; "depends" is none
each_question = pytest.mark.parametrize("item", ITEMS)


def answer_to(evidence: Evidence, item: str, rubric: Rubric) -> Answer:
    """The answer, or the reason why there is none."""
    answer = evidence.answers.answers.get(item)
    if answer is None or (answer.verdict is None and not answer.explanation):
        answer = in_notebooks(evidence, item, rubric) or answer
    if answer is not None:
        return answer
    if evidence.answers.problems:
        could_not_check(f"no answer was found; {evidence.answers.problems[0]}")
    read = " and ".join(evidence.answers.read)
    number = item.removeprefix("part1.")
    if read:
        fail(f"no answer to problem 1.{number} was found in {read}")
    fail("no answer was found: the submission has neither answers.yaml nor a PDF report, and no notebook holds it")


def in_notebooks(evidence: Evidence, item: str, rubric: Rubric) -> Answer | None:
    """An answer in the Markdown of a notebook; a numbered heading with no verdict below it is another one's."""
    statements = {name: rubric.items[name].text for name in ITEMS}
    for lab in evidence.labs.values():
        answer = part1_answers(lab.markdown, statements).get(item)
        if answer is not None and (answer.verdict is not None or leading_verdict(answer.explanation)[0] is not None):
            return answer
    return None


@each_question
@check("", "verdict", evidence="file")
def check_verdict(item: str, evidence: Evidence, rubric: Rubric, key: dict[str, tuple[bool, ...]]) -> None:
    """The verdict, true or false, is right."""
    answer = answer_to(evidence, item, rubric)
    if answer.verdict is None and answer.problem and len(answer.explanation.split()) >= ARGUES:
        could_not_check(answer.problem.rstrip("."), text=answer.explanation[:EXCERPT], where=answer.source)
    if answer.verdict is None:
        fail((answer.problem or "no verdict was found").rstrip("."), where=answer.source)
    if item not in key:
        could_not_check("your instructor has the key: the verdict was read, and counts at grading", where=answer.source)
    if answer.verdict not in key[item]:
        fail(f"the verdict {answer.verdict} is not right", where=answer.source)


@each_question
@check("", "explanation", evidence="person")
def check_explanation(item: str, evidence: Evidence, rubric: Rubric) -> None:
    """A short explanation supports the judgment."""
    answer = answer_to(evidence, item, rubric)
    if not any(map(str.isalnum, answer.explanation)):
        fail("no explanation stands beside the verdict", where=answer.source)
    could_not_check("for a person to judge", text=answer.explanation[:EXCERPT], where=answer.source)
