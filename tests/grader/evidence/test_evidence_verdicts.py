"""The verdict that an answer opens with, and the statement that it stands under."""

import pytest

from grader.evidence.statements import find_statement
from grader.evidence.verdicts import leading_verdict

STATEMENT = (
    "MobileNets use depthwise separable convolution to improve the model efficiency. If we replace all 3×3 layers "
    "you do not lose accuracy with L1, and training is unstable."
)


@pytest.mark.parametrize(
    ("text", "verdict", "rest"),
    [
        ("False. BN has a shift", False, "BN has a shift"),
        ("True, since it is", True, "since it is"),
        ("TRUE", True, ""),
        ("F", False, ""),
        ("T because", True, "because"),
        ("(F) why", False, "why"),
        ("Answer: False", False, ""),
        ("My answer is: true. Yes", True, "Yes"),
        ("A: True", True, ""),
        ("Solution. T", True, ""),
        ("The statement is false because", False, "because"),
        ("This is wrong.", False, ""),
        ("It is true.", True, ""),
        ("**False**: x", False, "x"),
        ("> *True* — x", True, "x"),
        ("Fal-\nse. x", False, "x"),
        ("F\nalse x", False, "x"),
        ("FalseBecause of", False, "Because of"),
        ("False - 1 is odd", False, "1 is odd"),
        ("True (see [1])", True, "(see [1])"),
        ("True or False? False. x", False, "x"),
        ("T/F: T", True, ""),
        ("Yes", True, ""),
        ("No. x", False, "x"),
        ("Incorrect.", False, ""),
        ("Correct, x", True, "x"),
    ],
)
def test_first_word_is_the_verdict(text, verdict, rest):
    assert leading_verdict(text) == (verdict, rest)


NO_VERDICT = (
    *("", " \n ", "True/False", "true / false", "True or false", "T/F", "not true", "This is not true", "No BN layer"),
    *(
        "Falsely",
        "truth",
        "Tree",
        "F-norm",
        "T2",
        "a typical case",
        "Correct use of BN",
        "It is true that BN helps; but",
    ),
    *("BN is False", "." * 300 + "True", "Answer: " + "." * 300 + "True"),
)


@pytest.mark.parametrize("text", NO_VERDICT)
def test_other_first_words_are_no_verdict(text):
    assert leading_verdict(text) == (None, text)


def found(text: str) -> str | None:
    match = find_statement(STATEMENT, text)
    return None if match is None else text[match.start : match.end]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        (" ", "\n"),
        (" ", ""),
        ("separable", "sepa-\nrable"),
        ("efficiency", "eﬃciency"),
        ("efficiency", "eciency"),
        ("×", "x"),
        ("do not", "don't"),
        ("do not", "don’t"),
        ("improve the model", "improve model"),
        ("convolution", "convolutions"),
        ("MobileNets", "mobilenets"),
        (".", ""),
    ],
)
def test_statement_is_found_as_pdfs_and_students_write_it(old, new):
    text = STATEMENT.replace(old, new)
    assert found(f"(3 pts) {text} False. It is not, because of the rest") == text.rstrip(".")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("do not lose", "do lose"),
        ("unstable", "stable"),
        ("L1", "L2"),
        ("3×3", "5×5"),
        ("improve", "reduce"),
        ("you do not lose accuracy with L1, and training is unstable.", ""),
        ("MobileNets use", "MobileNets never use"),
    ],
)
def test_changed_statement_is_another(old, new):
    assert old in STATEMENT
    assert found(STATEMENT.replace(old, new) + " False. It is not") is None


def test_nothing_is_found_in_other_text():
    assert found("") is None
    assert (
        found("False. BN has a learned shift and scale, so its outputs may have any mean and any variance. " * 9)
        is None
    )
    assert find_statement("", "text") is None
    assert find_statement("…", "text") is None


def test_statement_far_below_the_heading_is_not_searched():
    assert found("x " * 400 + STATEMENT) is None
