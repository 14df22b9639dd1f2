"""answers.yaml: forms that are accepted, and what each mistake costs."""

import contextlib
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grader.evidence.answers import PART1, Answer, AnswersError, read_answers

QUICK = settings(
    max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read(folder: Path, text: str | bytes) -> dict[str, Answer]:
    path = folder / "answers.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_answers(path)


def verdicts(answers: dict[str, Answer]) -> dict[str, bool | None]:
    return {item: answer.verdict for item, answer in answers.items()}


def refusal(folder: Path, text: str | bytes) -> tuple[str, int | None]:
    with pytest.raises(AnswersError) as error:
        read(folder, text)
    assert str(error.value) == error.value.message
    assert "\n" not in error.value.message
    return error.value.message, error.value.line


def test_an_answer_as_the_template_asks_for_it(tmp_path):
    text = "# a statement\npart1.1:\n  verdict: false\n  explanation: |\n    BN has: a shift.\n    And a scale.\n"
    expected = Answer("part1.1", False, "BN has: a shift.\nAnd a scale.", "answers.yaml, line 2")
    assert read(tmp_path, text) == {"part1.1": expected}
    assert asdict(expected)["problem"] is None


@pytest.mark.parametrize(
    "key",
    ["part1.10", "1.10", "Part 1.10", "'1.10'", "Q10", "Q1.10", "q 10", "problem 1.10", "Problem 10", "p1_10", "10"],
)
def test_spellings_of_a_key(tmp_path, key):
    assert verdicts(read(tmp_path, f"{key}: true\npart1.1: false\n")) == {"part1.10": True, "part1.1": False}


@pytest.mark.parametrize("word", ["true", "True", "T", "t", "'true'", '"T"', "yes", "Y", "TRUE.", "'True'", "correct"])
def test_spellings_of_true(tmp_path, word):
    assert verdicts(read(tmp_path, f"part1.1: {word}\npart1.2: {{verdict: {word}}}\n")) == {
        "part1.1": True,
        "part1.2": True,
    }


@pytest.mark.parametrize("word", ["false", "False", "F", "f", "'false'", "no", "n", "wrong", "incorrect", "FALSE"])
def test_spellings_of_false(tmp_path, word):
    assert verdicts(read(tmp_path, f"part1.1: {word}\n")) == {"part1.1": False}


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        ("part1.1: False, it shifts", "it shifts"),
        ("part1.1: [false, it shifts]", "it shifts"),
        ("part1.1: {answer: F, reason: it shifts}", "it shifts"),
        ("part1.1: {VERDICT: 'False. Not read', Explanation: it shifts}", "it shifts"),
        ("part1.1: {verdict: False because it shifts}", "because it shifts"),
        ("part1:\n  1: False. it shifts", "it shifts"),
        ("part 1:\n  '1.1': {verdict: no, why: it shifts}", "it shifts"),
        ("part1: [False. it shifts]", "it shifts"),
        ("true_false: [{verdict: F, explanation: it shifts}]", "it shifts"),
    ],
)
def test_where_the_explanation_may_stand(tmp_path, text, explanation):
    answer = read(tmp_path, text)["part1.1"]
    assert (answer.verdict, answer.explanation, answer.problem) == (False, explanation, None)


def test_a_statement_kept_beside_the_answer(tmp_path):
    answer = read(tmp_path, "part1.1: {statement: BN has zero mean, verdict: false}")["part1.1"]
    assert (answer.verdict, answer.statement) == (False, "BN has zero mean")


def test_answers_to_labs_need_no_verdict(tmp_path):
    answer = read(tmp_path, "lab1.g: The initial loss is 2.30.\n")["lab1.g"]
    assert answer == Answer("lab1.g", None, "The initial loss is 2.30.", "answers.yaml, line 1")


@QUICK
@given(
    given_verdicts=st.lists(st.booleans(), min_size=10, max_size=10),
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60),
    style=st.sampled_from(["", "'", '"', "|"]),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_what_yaml_writes_is_read_back(tmp_path, given_verdicts, text, style, bom):
    filled = {
        item: {"verdict": verdict, "explanation": text} for item, verdict in zip(PART1, given_verdicts, strict=True)
    }
    dumped = yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, default_style=style or None)
    answers = read(tmp_path, bom + dumped.encode())
    assert list(verdicts(answers).items()) == list(zip(PART1, given_verdicts, strict=True))
    assert {answer.explanation for answer in answers.values()} == {text.strip()}
    assert not any(answer.problem for answer in answers.values())


def test_a_blank_answer_says_so(tmp_path):
    answers = read(tmp_path, "part1.1:\n  verdict:\n  explanation:\npart1.2: ~\npart1.3: []\npart1.4: T\n")
    assert verdicts(answers) == {"part1.1": None, "part1.2": None, "part1.3": None, "part1.4": True}
    problem = "answers.yaml, line 1: expected true or false as the verdict of part1.1, found none."
    assert answers["part1.1"].problem == problem


@pytest.mark.parametrize(
    "value", ["maybe", "3", "{verdict: [T, F]}", "{verdict: T/F}", "!!python/object/apply:os.system [ls]"]
)
def test_a_verdict_that_is_none_costs_its_item_only(tmp_path, value):
    answers = read(tmp_path, f"part1.1: {value}\npart1.2: F\n")
    assert verdicts(answers) == {"part1.1": None, "part1.2": False}
    assert "answers.yaml, line 1: expected true or false as the verdict of part1.1" in (
        answers["part1.1"].problem or ""
    )


def test_a_colon_in_an_explanation_costs_its_item_only(tmp_path):
    answers = read(tmp_path, "part1.1: T\npart1.2:\n  verdict: F\n  explanation: note: a colon\npart1.3: F\n")
    assert verdicts(answers) == {"part1.1": True, "part1.2": None, "part1.3": False}
    assert answers["part1.2"].explanation == "verdict: F explanation: note: a colon"
    assert answers["part1.2"].problem == (
        "answers.yaml, line 4: this is not YAML that can be read (mapping values are not allowed here); "
        "put a text that holds a colon, quotes, * or [ below '|' or between double quotes."
    )
    assert answers["part1.3"].source == "answers.yaml, line 5"


def test_a_tab_costs_its_item_only(tmp_path):
    assert verdicts(read(tmp_path, "part1.1:\n\tverdict: T\npart1.2: F\n")) == {"part1.1": None, "part1.2": False}


def test_a_second_document_costs_the_item_before_it_only(tmp_path):
    assert verdicts(read(tmp_path, "part1.1: T\n---\npart1.2: F\n")) == {"part1.1": None, "part1.2": False}


def test_an_unknown_key_costs_nothing_else(tmp_path):
    answers = read(tmp_path, "part1.11: T\nname: Jo\n? [a, b]\n: x\npart1.1: T\n")
    assert verdicts(answers) == {"part1.11": None, "name": None, "a list": None, "part1.1": True}
    assert answers["name"].problem == (
        "answers.yaml, line 2: 'name' is no item of the assignment; expected part1.1 to part1.10."
    )


def test_an_item_answered_twice(tmp_path):
    agreed = read(tmp_path, "part1.1: T\nQ1: True\n")["part1.1"]
    assert (agreed.verdict, agreed.problem) == (True, None)
    blank = read(tmp_path, "part1.1:\nQ1: True\n")["part1.1"]
    assert (blank.verdict, blank.problem) == (True, None)
    both = read(tmp_path, "part1.1: T\nQ1: F\n1.1: T\n")["part1.1"]
    assert both.verdict is None
    assert both.problem == (
        "answers.yaml, line 1: part1.1 is answered both True (answers.yaml, line 1) and False (answers.yaml, line 2)."
    )


def test_aliases_are_not_expanded(tmp_path):
    bomb = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\npart1.1: *c\npart1.2: T\n"
    answers = read(tmp_path, bomb)
    assert answers["part1.2"].verdict is True
    assert "aliases (*) are not read" in (answers["part1.1"].problem or "")


def test_control_characters_do_not_reach_a_person(tmp_path):
    answer = read(tmp_path, 'part1.1: {verdict: T, explanation: "a\\e[2Jb\\0\\ud800c"}')["part1.1"]
    assert answer.explanation == "a[2Jbc"


REFUSED: dict[str, tuple[str | bytes, int | None, str]] = {
    "empty": ("", None, "answers.yaml: the file is empty."),
    "comments only": ("# nothing\n", None, "there is no answer in the file; expected keys part1.1 to part1.10."),
    "a list": ("- true\n- false\n", 1, "answers.yaml, line 1: expected answers as 'part1.1: ...', found a list."),
    "a text": ("True, False, True\n", 1, "found a text."),
    "nested deeply": ("[" * 5000, 1, "not YAML that can be read (it is nested too deeply)"),
    "broken throughout": ("part1: {\n", 2, "not YAML that can be read"),
    "control characters": ("\x01\x02", None, "(a character that YAML does not allow)"),
    "binary": (b"\xff\xfe\x00\x80", None, "expected a text file in UTF-8, found other bytes."),
    "many entries": ("k: [" + "a, " * 5000 + "]", 1, "not YAML that can be read (it holds too many entries)"),
    "too large": ("#" * 200_001, None, "the file has 200,001 bytes, expected at most 200,000; it was not read."),
}


@pytest.mark.parametrize(("text", "line", "words"), REFUSED.values(), ids=REFUSED)
def test_refusals_of_the_whole_file(tmp_path, text, line, words):
    message, found = refusal(tmp_path, text)
    assert words in message
    assert found == line


def test_missing_file_and_link(tmp_path):
    with pytest.raises(AnswersError, match=r"^answers.yaml: there is no such file in the submission\.$"):
        read_answers(tmp_path / "answers.yaml")
    (tmp_path / "answers.yaml").symlink_to("/etc/passwd")
    with pytest.raises(AnswersError, match="found a link"):
        read_answers(tmp_path / "answers.yaml")


@pytest.mark.parametrize(
    "text",
    ["- " * 90_000, "? " * 90_000, "{" * 190_000, "k:\n" * 60_000, "k:\n" * 60_000 + "\t", "part1.1: " + "a " * 90_000],
    ids=["lists", "keys", "braces", "same key", "same key, broken", "long text"],
)
def test_hostile_files_end_soon(tmp_path, text):
    start = time.process_time()
    with contextlib.suppress(AnswersError):
        read(tmp_path, text)
    assert time.process_time() - start < 2
