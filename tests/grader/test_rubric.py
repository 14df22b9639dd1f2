"""The rubric against the assignment, and what is said of a rubric that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grader.rubric import ANSWER_KEY, PART_1, RUBRIC, RubricError, load_answer_key, load_rubric

ASSIGNMENT = RUBRIC.parents[2] / "shared" / "assignment.txt"
POINTS = dict.fromkeys(PART_1, 3) | {
    **dict.fromkeys(["lab1.a", "lab1.b", "lab1.c", "lab1.d", "lab1.e", "lab1.f"], 2),
    "lab1.g": 3,
    "lab1.h": 4,
    "lab2.a": 6,
    "lab2.b.bn": 5,
    "lab2.b.lr": 5,
    "lab2.b.swish": 5,
    "lab2.c.lr": 7,
    "lab2.c.l2": 7,
    "lab2.c.l1": 6,
    "lab3.a": 8,
    "lab3.b": 12,
}
BONUS = {"lab1.h", "lab2.c.l1"}
SECTIONS = {
    "part1": "1 True/False",
    "lab1": "2 Lab (1)",
    "lab2": "3 Lab (2)",
    "lab3": "4 Lab (3)",
    "end": "[1] A. Krizhevsky",
}


# -- the rubric that is shipped ---------------------------------------------------------------------------------------


def test_items_and_points_are_those_of_the_assignment() -> None:
    items = load_rubric().items
    assert {name: item.points for name, item in items.items()} == POINTS
    assert list(items) == list(POINTS)


def test_a_hundred_points_and_ten_of_bonus() -> None:
    rubric = load_rubric()
    bonus = {name for name, item in rubric.items.items() if item.bonus}
    assert bonus == BONUS
    assert sum(item.points for item in rubric.items.values() if not item.bonus) == rubric.cap == 100
    assert sum(item.points for item in rubric.items.values() if item.bonus) == 10


def test_no_text_is_shortened() -> None:
    for name, item in load_rubric().items.items():
        assert not re.search(r"\.\.\.|…", item.text), name


def plain(text: str) -> str:
    """Letters as they were meant: no line breaks, no hyphenation, straight quotes, x for the sign of multiplication."""
    text = re.sub(r"(?<=[a-z])-\s+(?=[a-z])", "", text)
    return " ".join(text.translate(str.maketrans({"×": "x", "’": "'", "“": '"', "”": '"', "−": "-"})).split())


@pytest.mark.skipif(not ASSIGNMENT.is_file(), reason=f"{ASSIGNMENT} is not on this machine")
@pytest.mark.parametrize("name", POINTS)
def test_texts_are_the_assignments_words_in_its_order(name: str) -> None:
    assignment = plain(ASSIGNMENT.read_text(encoding="utf-8"))
    starts = [assignment.index(title) for title in SECTIONS.values()]
    section = list(SECTIONS).index(name.partition(".")[0])
    place = assignment[starts[section] : starts[section + 1]]
    at = 0
    for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z])", plain(load_rubric().items[name].text)):
        found = place.find(sentence, at)
        assert found >= 0, sentence
        at = found + len(sentence)


def test_the_key_holds_a_verdict_for_each_problem() -> None:
    key = load_answer_key()
    assert set(key) == set(PART_1)
    assert all(key.values())


# -- a rubric that cannot be used -------------------------------------------------------------------------------------


def changed(tmp_path: Path, old: str, new: str, source: Path = RUBRIC) -> Path:
    """A copy of the rubric or the key with one change."""
    text = source.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / source.name
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def problem_of_rubric(path: Path) -> str:
    with pytest.raises(RubricError) as caught:
        load_rubric(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def problem_of_key(path: Path) -> str:
    with pytest.raises(RubricError) as caught:
        load_answer_key(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def test_a_missing_file(tmp_path: Path) -> None:
    assert problem_of_rubric(tmp_path / "no.toml") == " cannot be read: No such file or directory"
    assert problem_of_key(tmp_path) == " cannot be read: Is a directory"


def test_no_toml(tmp_path: Path) -> None:
    path = changed(tmp_path, "cap = 100", "cap = = 100")
    assert re.match(r" is not TOML: .*\(at line \d+, column \d+\)", problem_of_rubric(path))


def test_no_text(tmp_path: Path) -> None:
    path = tmp_path / "rubric.toml"
    path.write_bytes(b"cap = 1\xff")
    assert problem_of_rubric(path) == " is not UTF-8 text (byte 7)"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("cap = 100", "cap = -1", ", cap: input should be greater than 0, found -1"),
        ("cap = 100", "", ", cap: field required"),
        ("points = 3", "points = -3", ", items.part1.1.points: input should be greater than 0, found -3"),
        ("points = 3", 'points = "three"', ", items.part1.1.points: input should be a valid number, unable to parse"),
        ("bonus = true", "bonos = true", ", items.lab1.h.bonos: extra inputs are not permitted, found True"),
        ("verdict = 2", "verdict = 0", ", items.part1.1.checks.verdict: input should be greater than 0, found 0"),
        ("{ verdict = 2, explanation = 1 }", "{}", ", items.part1.1.checks: dictionary should have at least 1 item"),
        ("lab3 = 0.90", "lab3 = 90", ", bars.lab3: input should be less than or equal to 1, found 90"),
        (
            "share = [0.0, 0.4, 0.8]",
            "share = [0.0]",
            ", held_out_scale: expected a share for each accuracy, found 1 for 3",
        ),
        (
            "[0.10, 0.60, 0.80]",
            "[0.10, 0.80, 0.60]",
            ", held_out_scale: expected accuracies that rise, and shares that",
        ),
        ("share = [0.0, 0.4, 0.8]", "share = [0.5, 0.4, 0.8]", ", held_out_scale: expected accuracies that rise"),
    ],
)
def test_the_place_and_the_problem_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert problem_of_rubric(changed(tmp_path, old, new)).startswith(said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"part1.2" = [true]', "", ": expected a verdict for part1.2, found none"),
        ('"part1.2" = [true]', '"part1.2" = []', ", part1.2: tuple should have at least 1 item"),
        (
            '"part1.2" = [true]',
            '"part1.2" = [true]\n"part1.11" = [true]',
            ": expected part1.1 to part1.10, found part1.11",
        ),
        ('"part1.2" = [true]', '"part1.2" = 1', ", part1.2: input should be a valid tuple, found 1"),
        (
            '"part1.2" = [true]',
            '"part1.2" = ["maybe"]',
            ", part1.2.0: input should be a valid boolean, unable to interpret",
        ),
    ],
)
def test_so_are_those_of_the_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert problem_of_key(changed(tmp_path, old, new, ANSWER_KEY)).startswith(said)


def test_lossy_images_lower_each_bar() -> None:
    bars = load_rubric().bars
    assert (bars.on(False, "lab1"), bars.on(False, "lab3")) == (0.65, 0.90)
    assert (bars.on(True, "lab1"), bars.on(True, "lab3")) == (0.62, 0.87)


def test_one_verdict_may_stand_without_brackets(tmp_path: Path) -> None:
    key = tmp_path / "answer_key.toml"
    key.write_text("\n".join(f'"part1.{k}" = true' for k in range(1, 11)))
    assert load_answer_key(key)["part1.8"] == (True,)


def test_without_a_key_nothing_is_accepted_or_refused(tmp_path: Path) -> None:
    assert load_answer_key(tmp_path / "none.toml") == {}
