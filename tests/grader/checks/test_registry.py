"""The rubric's weights name checks that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import grader.checks
from grader.checks.registry import all_checks, verify
from grader.rubric import Rubric, RubricError, load_rubric


def changed(item: str, **fields: object) -> Rubric:
    rubric = load_rubric()
    items = {**rubric.items, item: rubric.items["lab1.c"].model_copy(update=fields)}
    return rubric.model_copy(update={"items": items})


def test_every_check_of_the_rubric_exists_and_the_other_way_round() -> None:
    verify(load_rubric())
    weighed = {(item, check) for item, entry in load_rubric().items.items() for check in entry.checks}
    assert weighed == {(check.item, check.name) for check in all_checks()}


def test_a_misspelt_check_is_refused_by_name() -> None:
    with pytest.raises(RubricError, match=r"items\.lab1\.c\.checks\.verdct: there is no such check; there are course_"):
        verify(changed("lab1.c", checks={"verdct": 1.0}))


def test_an_item_without_checks_is_refused_by_name() -> None:
    with pytest.raises(RubricError, match=r"items\.lab3\.A: there is no check of such an item"):
        verify(changed("lab3.A"))


def test_every_partial_credit_is_named_by_a_check_and_the_other_way_round() -> None:
    code = "".join(path.read_text() for path in Path(grader.checks.__path__[0]).rglob("*.py"))
    named = set(re.findall(r'credit="(\w+)"', code))
    listed = set(load_rubric().partial_credit)
    assert named <= listed
    assert {name for name in listed if f'"{name}"' not in code} == set()


def test_a_shortcoming_that_the_rubric_does_not_name_is_refused() -> None:
    with pytest.raises(RubricError, match=r"partial_credit: there is no one_bgu"):
        load_rubric().share("one_bgu")
