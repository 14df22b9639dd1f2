"""Written answers in notebooks: found by their headings, less what the template had."""

import time

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.evidence.cells import read_cells
from grader.evidence.headings import MAX_LINES, Line, sections
from grader.evidence.passages import lab_passages
from grader.evidence.prose import added_text, is_cut, markdown_lines, read_prose

QUICK = settings(max_examples=80, deadline=None, database=None)


def markdown(source: str | list[str]) -> dict:
    return {"cell_type": "markdown", "source": source}


def code(source: str) -> dict:
    return {"cell_type": "code", "source": source, "outputs": []}


def book(*cells: dict) -> dict:
    return {"cells": list(cells)}


def texts(notebook: dict, lab: str, template: dict | None = None) -> dict[str, str]:
    return {item: passage.text for item, passage in read_prose(notebook, lab, template).items()}


TEMPLATE = book(
    markdown("# Lab 1: training SimpleNN\n\nSix steps."),
    markdown(
        "### (a) Sanity check\n\nHow do you know that the model is what Table 1 describes?\n\n*Your answer here.*"
    ),
    code("# Step 1: define the net\nnet = None  # your code here"),
    markdown("### (g) Training\nWhat do you observe from training and validation accuracy?\n\n*Your answer here.*"),
    markdown("### (h) Bonus: decay"),
    code("# train with decay"),
)
ANSWERED = book(
    TEMPLATE["cells"][0],
    markdown(
        "### (a) Sanity check\n\nHow do you know that the model is what Table 1 describes?\n\nA dummy batch.\n- 82,030"
    ),
    code("# Step 1: define the net\nnet = SimpleNN()  # mine"),
    markdown("### (g) Training\nWhat do you observe from training and validation accuracy? A gap: it overfits."),
    markdown("### (h) Bonus: decay"),
    code("# train with decay\n# It is smoother with decay.\ntrain(net)"),
)


def test_only_what_the_student_added_is_an_answer():
    assert texts(ANSWERED, "lab1", TEMPLATE) == {
        "lab1.a": "A dummy batch.\n- 82,030",
        "lab1.g": "A gap: it overfits.",
        "lab1.h": "It is smoother with decay.",
    }


def test_the_untouched_template_holds_no_answer():
    assert texts(TEMPLATE, "lab1", TEMPLATE) == {}
    assert added_text(TEMPLATE, TEMPLATE) == ""


def test_added_text_is_of_markdown_alone():
    assert added_text(ANSWERED, TEMPLATE).split("\n") == ["A dummy batch.", "- 82,030", " A gap: it overfits."]
    assert added_text(ANSWERED, {}).startswith("# Lab 1: training SimpleNN")


def test_sources_name_the_cell_and_say_where_it_is_a_comment():
    found = read_prose(ANSWERED, "lab1", TEMPLATE, name="simplenn-cifar10.ipynb")
    assert found["lab1.a"].source == "simplenn-cifar10.ipynb, cell 2"
    found = read_prose(book(markdown("x"), code("# (h) smoother")), "lab1", name="n.ipynb")
    assert found["lab1.h"].source == "n.ipynb, comment in cell 2"


HEADINGS = (
    *("(g)", "### (g)", "**(g)**", "(g) (3 pts)", "## Question g", "Question (g):", "g)", "### Lab 1 (g)", "Lab 1 g)"),
    *("Lab1.g", "## Lab (1) - Question (g)", "> (g)", "- (g)", "**Answer (g):**", "Problem (g).", "LAB 1 (G)"),
    "2 Lab (1) (g)",
)


@pytest.mark.parametrize("heading", HEADINGS)
def test_headings_of_a_question(heading):
    (text,) = texts(book(markdown(f"{heading}\nThe loss is ln 10.")), "lab1").values()
    assert text.lstrip("# \n") == "The loss is ln 10."
    if not heading.startswith("#"):
        assert texts(book(markdown([f"{heading} ", "The loss is ln 10."])), "lab1") == {"lab1.g": "The loss is ln 10."}


@pytest.mark.parametrize(
    "text",
    [
        "(i) one",
        "(g",
        "Lab 12 (g) x",
        "gradient) x",
        "Lab 4 (a) x",
        "part g of it",
        "(e.g., BN) x",
        "Lab 3 is g)",
        "i) x",
    ],
)
def test_what_is_no_heading(text):
    assert texts(book(markdown(text)), "lab1") == {}


def test_letters_rise():
    notebook = book(markdown("(c) As said in\n(a) loading\n(b) shuffling\n(c) all is fed.\n(d) On the GPU."))
    assert texts(notebook, "lab1") == {
        "lab1.c": "As said in\n(a) loading\n(b) shuffling\n(c) all is fed.",
        "lab1.d": "On the GPU.",
    }


def test_a_title_of_the_lab_repeated_does_not_end_an_answer():
    assert texts(book(markdown("Lab 1\n(a) begins\nLab 1\nand ends\n(b) next")), "lab1")["lab1.a"] == "begins\nand ends"


def test_the_questions_of_lab_1_in_a_copied_notebook_are_not_those_of_lab_2():
    copied = book(
        *ANSWERED["cells"],
        markdown("## (a) Augmentation\n72 %"),
        markdown("(c)\n- lr 0.1 best\n- L2 1e-4\n- L1 sparser"),
    )
    assert texts(copied, "lab2", TEMPLATE) == {
        "lab2.a": "## Augmentation\n72 %",
        "lab2.c.lr": "- lr 0.1 best",
        "lab2.c.l2": "- L2 1e-4",
        "lab2.c.l1": "- L1 sparser",
    }
    assert texts(copied, "lab1", TEMPLATE)["lab1.a"].startswith("A dummy batch.")


def test_headings_of_another_lab_lead_elsewhere():
    notebook = book(markdown("# Lab 1\n(a) old"), markdown("# Lab 2\n(a) new"), markdown("# Lab 3: ResNet\n(b) 91 %"))
    assert texts(notebook, "lab2") == {"lab2.a": "new"}
    assert texts(notebook, "lab3") == {"lab3.b": "91 %"}


def test_repeated_headings_of_one_question_are_its_bullets():
    notebook = book(
        markdown("### (b) Batch normalization\nbetter"), markdown("### (b) BN and larger learning rates\nyes")
    )
    notebook["cells"].append(markdown("### (b) Swish\nno"))
    assert texts(notebook, "lab2") == {
        "lab2.b.bn": "### Batch normalization\nbetter",
        "lab2.b.lr": "### (b) BN and larger learning rates\nyes",
        "lab2.b.swish": "### (b) Swish\nno",
    }


def test_comments_count_only_where_markdown_says_nothing():
    notebook = book(markdown("(a) In words."), code("# (a) In code.\n# (b) Only in code.\nx = 1\n# as a comment"))
    assert texts(notebook, "lab1") == {"lab1.a": "In words.", "lab1.b": "Only in code.\nas a comment"}


def test_comments_below_a_heading_may_be_the_template_s_where_none_is_known():
    assert texts(book(markdown("(a)"), code("# define the net")), "lab1") == {}


def test_comments_that_are_not_for_a_reader_are_not_read():
    assert texts(book(markdown("(a)\n<!-- a hint -->\nYes\n<!-- -->")), "lab1") == {"lab1.a": "Yes"}
    assert texts(book(code("# (a)\n### BEGIN SOLUTION net\n### END SOLUTION")), "lab1") == {}


def test_a_title_alone_is_no_answer():
    assert texts(book(markdown("## (a) Sanity check"), markdown("### The net")), "lab1") == {}
    assert texts(book(markdown("(a) Sanity check")), "lab1") == {"lab1.a": "Sanity check"}
    spoken = "the initial loss is 2.30, which is the natural logarithm of ten"
    assert texts(book(markdown(f"## (g) {spoken}")), "lab1") == {"lab1.g": f"## {spoken}"}


def test_no_answer_of_signs_alone_and_no_harmful_characters():
    assert texts(book(markdown("(a)\n---\n***"), markdown("(b) a\x1b[2J\ud800b")), "lab1") == {"lab1.b": "a[2Jb"}


def test_answers_are_cut_and_great_notebooks_end_soon():
    long = book(
        markdown("(a)"), *(markdown("\n".join(f"{i} line {j} of a long answer" for j in range(50))) for i in range(400))
    )
    given_out = book(markdown("\n".join(f"line {j} of a long template, no answer" for j in range(9_000))))
    start = time.process_time()
    assert len(texts(long, "lab1", given_out)["lab1.a"]) == 4_000
    assert time.process_time() - start < 4


def test_only_the_first_lines_of_each_kind_are_looked_at():
    flood = book(markdown("(a) Yes"), markdown("\n" * 1_000_000), markdown("(b) No"), code("# (c) In code"))
    start = time.process_time()
    assert texts(flood, "lab1", TEMPLATE) == {"lab1.a": "Yes", "lab1.c": "In code"}
    assert added_text(flood, TEMPLATE).startswith("(a) Yes")
    cells = list(read_cells(flood))
    assert is_cut(cells)
    assert not is_cut(cells[::2])
    lines = markdown_lines(cells, "n.ipynb")
    assert len(lines) == MAX_LINES
    assert lines[0] == Line("(a) Yes", "n.ipynb, cell 1")
    assert time.process_time() - start < 4


def test_a_long_line_is_cut_and_what_stands_before_it_is_kept():
    long = book(markdown("(a) Yes"), markdown("(b) " + "x" * 600_000), markdown("(c) No"))
    assert sorted(texts(long, "lab1")) == ["lab1.a", "lab1.b"]
    assert is_cut(read_cells(long))


def test_much_code_does_not_hide_the_text_behind_it():
    assert texts(book(code("x = 1\n" * 200_000), markdown("(a) Yes")), "lab1") == {"lab1.a": "Yes"}


def test_nodes_of_nbformat_are_read_alike():
    cells = [nbformat.v4.new_markdown_cell("(a) Yes"), nbformat.v4.new_code_cell("# (b) No")]
    assert texts(nbformat.v4.new_notebook(cells=cells), "lab1") == {"lab1.a": "Yes", "lab1.b": "No"}


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=9) | st.sampled_from(["(a) x", "markdown", "code"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["cells", "source", "cell_type"]) | st.integers(), inner, max_size=3)
    ),
    max_leaves=20,
)


@QUICK
@given(ANYTHING, ANYTHING)
def test_broken_notebooks_never_raise(first, second):
    for notebook in (first, {"cells": first}, {"cells": [first, {"cell_type": "markdown", "source": second}]}):
        read_prose(notebook, "lab1", second)
        read_prose(notebook, "lab2", {"cells": [second]})
        added_text(notebook, second)


@QUICK
@given(
    st.lists(
        st.sampled_from(
            ["(a) x", "(b)", "Lab 1", "Lab 2 (b)", "Problem 1.3 y", "1.4 True", "text", "", "• BN", "Swish"]
        ),
        max_size=25,
    )
)
def test_sections_keep_every_line_below_its_heading(lines):
    found = list(sections([Line(text, "here") for text in lines], "lab1"))
    kept = [line.text for section in found for line in section.lines]
    assert [text for text in kept if text in ("text", "• BN", "Swish")] == [
        t for t in lines if t in ("text", "• BN", "Swish")
    ]
    assert all(section.key == "" or section.key[:4] in ("part", "lab1", "lab2") for section in found)
    assert all(passage.text for passage in lab_passages([Line(text, "here") for text in lines], "lab1").values())
