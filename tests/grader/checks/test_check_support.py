"""What is kept of a student's prose for a person."""

from __future__ import annotations

import pytest
from evidence_builders import answer, evidence, lab, markdown, raised

from grader.checks.outcome import CouldNotCheck, Failed
from grader.checks.support import for_a_person, missing, words, written
from grader.evidence.evidence import Evidence

STUB = markdown("(g) See the report.")


def answered() -> Evidence:
    """The same question in a notebook, in a report and in answers.yaml."""
    return evidence(
        lab("lab1", [STUB]),
        passages={"lab1.g": "It overfits from epoch 12 on."},
        answers=[answer("lab1.g", None, "The initial loss is 2.31.")],
        read=("report.pdf", "answers.yaml"),
    )


def test_a_stub_in_the_notebook_does_not_hide_the_report() -> None:
    with pytest.raises(CouldNotCheck) as open_:
        for_a_person(answered(), "lab1.g")
    assert open_.value.found == {
        "text": (
            "lab1.ipynb, cell 1:\nSee the report.\n\n"
            "report.pdf, page 2:\nIt overfits from epoch 12 on.\n\n"
            "answers.yaml, line 3:\nThe initial loss is 2.31."
        ),
        "where": "lab1.ipynb, cell 1; report.pdf, page 2; answers.yaml, line 3",
    }


def test_a_long_answer_leaves_room_for_the_others() -> None:
    long = evidence(lab("lab1", [markdown("(g) " + "word " * 700)]), passages={"lab1.g": "In the report."})
    with pytest.raises(CouldNotCheck) as open_:
        for_a_person(long, "lab1.g")
    assert str(open_.value.found["text"]).endswith("In the report.")


def test_the_words_of_an_item_are_all_of_them() -> None:
    assert "See the report." in words(answered(), "lab1.g")
    assert "The initial loss is 2.31." in words(answered(), "lab1.g")
    assert [passage.source for passage in written(answered(), "lab1.b")] == []
    assert words(answered(), "lab1.b") == ""


def test_a_failure_that_the_reason_names_is_not_named_again() -> None:
    failed = lab("lab1", [raised("NameError: name 'net' is not defined", "net.step()")])
    named = "cell 1 raised NameError: name 'net' is not defined"
    for reason in ("nothing was trained", f"nothing was trained; {named}"):
        with pytest.raises(Failed) as lost:
            missing(failed, reason, sign=r"\.step\(")
        assert lost.value.reason == f"nothing was trained; {named}"


@pytest.mark.parametrize("text", ["TODO if there is time", "...", "", "*to do*", "N/A", "tbd: plots"])
def test_a_reminder_is_no_answer(text: str) -> None:
    handed_in = evidence(lab("lab2", [markdown(f"### (c) L1 regularization\n\n{text}")]))
    with pytest.raises(Failed, match="no written answer to Lab 2"):
        for_a_person(handed_in, "lab2.c.l1")


@pytest.mark.parametrize(
    "text", ["None of the weights is 0 with L2; with L1 most of them are.", "TODO: plot. " + "L1 " * 20]
)
def test_an_answer_that_begins_like_one_is_kept(text: str) -> None:
    handed_in = evidence(lab("lab2", [markdown(f"### (c) L1 regularization\n\n{text}")]))
    with pytest.raises(CouldNotCheck, match="for a person to judge"):
        for_a_person(handed_in, "lab2.c.l1")
