"""The rubric's weights name checks that exist."""

from __future__ import annotations

import pytest

from grader.checks.registry import known_checks, verify
from grader.rubric import Rubric, RubricError, load_rubric


def changed(item: str, **fields: object) -> Rubric:
    rubric = load_rubric()
    items = {**rubric.items, item: rubric.items["lab1.c"].model_copy(update=fields)}
    return rubric.model_copy(update={"items": items})


def test_every_check_of_the_rubric_exists_and_the_other_way_round() -> None:
    verify(load_rubric())
    assert {item: set(entry.checks) for item, entry in load_rubric().items.items()} == known_checks()


def test_a_misspelt_check_is_refused_by_name() -> None:
    with pytest.raises(RubricError, match=r"items\.lab1\.c\.checks\.verdct: there is no such check; there are course_"):
        verify(changed("lab1.c", checks={"verdct": 1.0}))


def test_an_item_without_checks_is_refused_by_name() -> None:
    with pytest.raises(RubricError, match=r"items\.lab3\.A: there is no check of such an item"):
        verify(changed("lab3.A"))
