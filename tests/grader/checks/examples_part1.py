"""Part 1: right, wrong and unreadable answers."""

from __future__ import annotations

from functools import partial
from typing import Any

from evidence_builders import answer, evidence, lab, markdown
from running import KEY, Example, fails, passes, stays_open

from grader.evidence.evidence import Evidence
from grader.rubric import PART_1, load_rubric


def right(item: str) -> bool:
    """A verdict that the key accepts."""
    return KEY[item][0]


def noted(item: str, text: str, *, statement: bool = True, **fields: Any) -> Evidence:
    """An answer in a Markdown cell of a notebook."""
    asked = load_rubric().items[item].text if statement else ""
    return evidence(lab("lab1", [markdown(f"### Problem {item.removeprefix('part')}\n\n{asked}\n\n{text}")]), **fields)


def verdicts(item: str) -> list[Example]:
    """Examples of the verdict of one problem."""
    wrong = not right(item)
    either = wrong in KEY[item]
    other = partial(evidence, answers=[answer(item, wrong)])
    unclear = "answers.yaml, line 3: expected true or false as the verdict, found 'it depends'."
    scanned = "report.pdf: expected text, found none in its 3 pages (are they pictures?); a person must read it."
    return [
        passes("right", partial(evidence, answers=[answer(item, right(item))])),
        passes("right, without a reason", partial(evidence, answers=[answer(item, right(item), "")])),
        passes("in a notebook", partial(noted, item, f"{right(item)}. Because of the shift.")),
        passes(
            "in a notebook, beside a file as it was handed out",
            partial(noted, item, f"{right(item)}. Because.", answers=[answer(item, None, "", problem=unclear)]),
        ),
        passes("the other", other) if either else fails("wrong", other, f"the verdict {wrong} is not right"),
        fails("no file", partial(evidence), "neither answers.yaml nor a PDF report"),
        fails("left out", partial(evidence, read=("answers.yaml",)), "was found in answers.yaml"),
        fails("empty", partial(evidence, answers=[answer(item, None, "", problem=unclear)]), "expected true or false"),
        fails(
            "one word", partial(evidence, answers=[answer(item, None, "depends", problem=unclear)]), "expected true or"
        ),
        fails("a numbered heading alone", partial(noted, item, "The data.", statement=False), "no notebook holds it"),
        stays_open(
            "in a notebook, without its statement",
            partial(noted, item, f"{right(item)}. Because of the shift.", statement=False),
            "without the statement",
        ),
        stays_open(
            "unclear", partial(evidence, answers=[answer(item, None, problem=unclear)]), "expected true or false"
        ),
        stays_open(
            "scanned report", partial(evidence, problems=(scanned,), read=("report.pdf",)), "are they pictures?"
        ),
    ]


def explanations(item: str) -> list[Example]:
    """Examples of the explanation of one problem."""
    scanned = "report.pdf: the PDF is damaged or cut short and cannot be opened; export and hand it in again."
    return [
        stays_open("given", partial(evidence, answers=[answer(item, right(item))]), "for a person to judge"),
        stays_open("to a wrong verdict", partial(evidence, answers=[answer(item, not right(item))]), "for a person"),
        stays_open("in a notebook", partial(noted, item, "False. Because of the shift."), "for a person to judge"),
        stays_open("damaged report", partial(evidence, problems=(scanned,), read=("report.pdf",)), "damaged"),
        fails("none", partial(evidence, answers=[answer(item, right(item), "")]), "no explanation"),
        fails("marks only", partial(evidence, answers=[answer(item, right(item), " . - ")]), "no explanation"),
        fails("no file", partial(evidence), "neither answers.yaml nor a PDF report"),
    ]


EXAMPLES = {f"{item}/verdict": verdicts(item) for item in PART_1} | {
    f"{item}/explanation": explanations(item) for item in PART_1
}
