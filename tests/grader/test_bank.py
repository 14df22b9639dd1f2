"""What the bank says of a case: right, missed or lost in spite of it, as a matrix, in words and as counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.cases import Case
from grader.__main__ import main
from grader.bank import Outcome, Result, all_cases, chosen, explain, matrix, summary

MUTANT = Case("lab1-x", "a mistake", (), loses=("lab1.f",), says="zero_grad")
VARIANT = Case("lab1-y", "written differently", ())
FLAGGED = Case("lab1-z", "a claim", (), flags=("lab1.g",))
REASON = {"lab1.f": "[training_loop] call zero_grad()"}


@pytest.mark.parametrize(
    ("case", "outcome", "right"),
    [
        (MUTANT, Outcome(lost=("lab1.f",), reasons=REASON), True),
        (MUTANT, Outcome(), False),
        (MUTANT, Outcome(lost=("lab1.f", "lab1.g"), reasons=REASON), False),
        (MUTANT, Outcome(lost=("lab1.f",), reasons={"lab1.f": "something else"}), False),
        (MUTANT, Outcome(lost=("lab1.f",), reasons=REASON, problem="ValueError: broken"), False),
        (VARIANT, Outcome(flagged=("lab1.g",)), True),
        (VARIANT, Outcome(lost=("lab1.f",), reasons=REASON), False),
        (FLAGGED, Outcome(flagged=("lab1.g",)), True),
        (FLAGGED, Outcome(), False),
        (FLAGGED, Outcome(lost=("lab1.g",), flagged=("lab1.g",)), False),
    ],
)
def test_a_result_is_right_where_exactly_the_declared_items_lose_points(
    case: Case, outcome: Outcome, right: bool
) -> None:
    assert Result(case, outcome).right is right


def test_the_matrix_marks_each_item() -> None:
    lines = matrix(
        [
            Result(MUTANT, Outcome(lost=("lab1.f",), reasons=REASON)),
            Result(MUTANT, Outcome(lost=("lab1.h",), flagged=("lab2.a",))),
        ]
    )
    good, bad = (line.split()[1:] for line in lines[-2:])
    assert good.count("x") == 1
    assert (bad.count("-"), bad.count("!"), bad.count("?"), bad[-1]) == (1, 1, 1, "<<")
    assert len(good) == 27


def test_a_miss_is_explained_with_the_graders_reasons() -> None:
    result = Result(MUTANT, Outcome(lost=("lab1.h",), reasons={"lab1.h": "[decayed] the rate never fell"}))
    assert explain(result) == [
        "lab1-x: a mistake",
        "  lost in spite of it: lab1.h: [decayed] the rate never fell",
        "  should be lost: lab1.f: no reason given",
        "  the reason should match 'zero_grad': ",
    ]
    assert explain(Result(MUTANT, Outcome(problem="CaseError: gone"))) == ["lab1-x: a mistake", "  CaseError: gone"]


def test_mutants_and_variants_are_counted_apart() -> None:
    right, wrong = Outcome(lost=("lab1.f",), reasons=REASON), Outcome()
    results = [Result(MUTANT, right), Result(MUTANT, wrong), Result(VARIANT, wrong), Result(FLAGGED, wrong)]
    assert summary(results) == {"mutants": 3, "caught": 1, "variants": 1, "clean": 1}


def test_each_second_case_still_covers_every_item() -> None:
    half = chosen("", 2)
    mutants = [case for case in half if case.loses or case.flags]
    assert len(mutants) >= 120
    assert len(half) - len(mutants) >= 50
    assert {item for case in half for item in case.loses} == {i for case in all_cases().values() for i in case.loses}
    assert [case.name for case in chosen("^lab2-bn-never-called$", 1)] == ["lab2-bn-never-called"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["("], "is no regular expression"), (["--every", "0"], "expected a number above 0"), (["nosuch"], "no case")],
)
def test_a_wrong_call_is_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["bank", *arguments])
    assert left.value.code == 2
    assert problem in capsys.readouterr().err


def test_where_the_bank_is_not_handed_out_the_command_says_so(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['fixtures.cases'] = None; from grader.__main__ import main; main(['bank'])"
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("the bank of mutants and variants is not part of this copy")
