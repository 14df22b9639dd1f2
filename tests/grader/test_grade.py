"""From verdicts to points: what holds for any verdicts."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from grader.checks.verdict import Verdict
from grader.grade import grade
from grader.rubric import Bars, Item, Rubric, Scale, load_rubric

RUBRIC = load_rubric()
CHECKS = [(name, check) for name, item in RUBRIC.items.items() for check in item.checks]


def verdict(item: str, check: str, outcome: str, credit: float = 0.0) -> Verdict:
    return Verdict(
        item=item,
        check=check,
        sentence="It works.",
        evidence="trace",
        outcome=outcome,  # type: ignore[arg-type]
        credit=1.0 if outcome == "passed" else credit,
        reason="",
    )


def rubric_of(*items: Item, cap: float = 100.0) -> Rubric:
    bars = Bars(lab1=0.65, lab2=0.7, lab3=0.9, lossy_allowance=0.03)
    scale = Scale(accuracy=(0.1,), share=(0.0,))
    return Rubric(cap=cap, bars=bars, held_out_scale=scale, items={f"i{k}": item for k, item in enumerate(items)})


def item(cents: int, **checks: float) -> Item:
    return Item(points=cents / 100, title="", text="", checks=checks)


outcomes = st.tuples(st.sampled_from(["passed", "failed", "could_not_check"]), st.floats(0, 1, exclude_max=True))
weights = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 100), min_size=1, max_size=6)
judged = st.fixed_dictionaries({}, optional=dict.fromkeys("abcdef", outcomes))


@given(st.integers(1, 3_000), weights, judged)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_awarded_lost_and_open_add_up_to_the_cent(
    cents: int, checks: dict[str, float], found: dict[str, tuple[str, float]]
) -> None:
    verdicts = [verdict("i0", name, outcome, credit) for name, (outcome, credit) in found.items()]
    (result,) = grade(rubric_of(item(cents, **checks)), verdicts).items
    parts = [result.awarded, result.lost, result.open]
    assert sum(Decimal(str(part)) for part in parts) == Decimal(cents) / 100
    assert all(part >= 0 and round(part, 2) == part for part in parts)
    assert "-0.0" not in map(str, parts)
    undecided = (set(checks) | set(found)) - {v.check for v in verdicts if v.outcome != "could_not_check"}
    if not undecided:
        assert result.open == 0
    if all(v.outcome != "failed" for v in verdicts):
        assert result.lost == 0
    assert result.needs_review == (result.open > 0)


@given(st.lists(st.tuples(st.sampled_from(CHECKS), outcomes), unique_by=lambda pair: pair[0]), st.randoms())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_total_is_capped_and_the_order_of_verdicts_does_not_matter(found, random) -> None:  # type: ignore[no-untyped-def]
    verdicts = [verdict(*check, *outcome) for check, outcome in found]
    result = grade(RUBRIC, verdicts)
    assert 0 <= result.total <= result.cap == 100
    assert result.total == pytest.approx(min(100, sum(item.awarded for item in result.items)))
    assert result.open == pytest.approx(sum(item.open for item in result.items))
    random.shuffle(verdicts)
    assert grade(RUBRIC, verdicts) == result


def test_everything_passed_is_a_hundred_with_the_bonus_capped() -> None:
    result = grade(RUBRIC, [verdict(*check, "passed") for check in CHECKS])
    assert (result.total, result.open) == (100, 0)
    assert sum(item.awarded for item in result.items) == 110


def test_everything_failed_is_nothing() -> None:
    result = grade(RUBRIC, [verdict(*check, "failed") for check in CHECKS])
    assert (result.total, result.open) == (0, 0)
    assert sum(item.lost for item in result.items) == 110


def test_checks_that_did_not_run_leave_their_points_open() -> None:
    result = grade(RUBRIC, [])
    assert (result.total, result.open) == (0, 110)
    assert all(item.needs_review and not item.verdicts for item in result.items)


def test_one_check_that_did_not_run() -> None:
    (result,) = grade(rubric_of(item(400, a=3, b=1)), [verdict("i0", "a", "passed")]).items
    assert (result.awarded, result.lost, result.open) == (3, 0, 1)


def test_credit_is_a_share_of_the_checks_points() -> None:
    found = [verdict("i0", "a", "failed", 0.5), verdict("i0", "b", "could_not_check")]
    (result,) = grade(rubric_of(item(400, a=3, b=1)), found).items
    assert (result.awarded, result.lost, result.open) == (1.5, 1.5, 1)


def test_a_check_that_the_rubric_does_not_list_weighs_one() -> None:
    found = [verdict("i0", "a", "passed"), verdict("i0", "new", "failed")]
    (result,) = grade(rubric_of(item(400, a=3)), found).items
    assert (result.awarded, result.lost) == (3, 1)


def test_an_item_that_is_not_in_the_rubric_is_not_graded() -> None:
    result = grade(rubric_of(item(400, a=1)), [verdict("i0", "a", "passed"), verdict("lab9.z", "a", "passed")])
    assert (result.total, len(result.items)) == (4, 1)


def test_of_two_verdicts_of_one_check_the_later_counts() -> None:
    found = [verdict("i0", "a", "failed"), verdict("i0", "a", "passed")]
    (result,) = grade(rubric_of(item(400, a=1)), found).items
    assert (result.awarded, len(result.verdicts)) == (4, 1)


def test_the_cap_is_the_rubrics() -> None:
    result = grade(rubric_of(item(400, a=1), item(400, a=1), cap=5), [verdict(f"i{k}", "a", "passed") for k in (0, 1)])
    assert (result.total, result.cap) == (5, 5)


@pytest.mark.parametrize("credit", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_credit_is_a_share(credit: float) -> None:
    with pytest.raises(ValidationError):
        verdict("i0", "a", "failed", credit)
