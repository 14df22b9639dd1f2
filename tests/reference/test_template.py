"""The student template: in step with the solution, and free of it."""

import ast
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml

from reference import template
from reference.answers_yaml import blank_yaml, solution_yaml
from reference.part1 import answers
from reference.template import MarkError, build, differences, main, strip_notebook, strip_source, write

REPOSITORY = Path(template.__file__).parent.parent
STUDENT = REPOSITORY / "student_template"


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    return build()


def test_the_template_in_the_repository_is_what_the_solution_gives(built: dict[str, str]) -> None:
    assert differences(built, STUDENT) == []


def test_building_twice_gives_the_same_bytes(built: dict[str, str]) -> None:
    assert build() == built


CASES = [
    ("a = 1\n### BEGIN SOLUTION\nb = 2\n### END SOLUTION\nc = 3", "a = 1\n# your code here\nc = 3"),
    ("### BEGIN SOLUTION b c\nb = c = 2\n### END SOLUTION", "b = c = None  # your code here"),
    (
        "for a in b:\n    # Step.\n    ### BEGIN SOLUTION\n    a.step()\n\n    ### END SOLUTION\nc",
        "for a in b:\n    # Step.\n    pass  # your code here\nc",
    ),
    ("### BEGIN SOLUTION\na\n### END SOLUTION\n### BEGIN SOLUTION\nb\n### END SOLUTION", "# your code here\n" * 2),
    ("nothing marked", "nothing marked"),
]


@pytest.mark.parametrize(("source", "stripped"), CASES)
def test_marked_code_gives_way_to_a_comment(source: str, stripped: str) -> None:
    assert strip_source(source, markdown=False) == stripped.removesuffix("\n")


def test_a_marked_answer_gives_way_to_a_prompt() -> None:
    source = "### (g)\nWhy?\n<!-- BEGIN SOLUTION -->\nBecause.\n<!-- END SOLUTION -->"
    assert strip_source(source, markdown=True) == "### (g)\nWhy?\n*Your answer here.*"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("### BEGIN SOLUTION\na", "BEGIN SOLUTION without an END"),
        ("a\n### END SOLUTION", "END SOLUTION without a solution"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "BEGIN SOLUTION inside a solution"),
    ],
)
def test_marks_that_do_not_pair_up_name_notebook_and_cell(tmp_path: Path, source: str, message: str) -> None:
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "lab.ipynb")
    with pytest.raises(MarkError, match=rf"^lab\.ipynb, cell 2: {message}$"):
        strip_notebook(tmp_path / "lab.ipynb")


def test_a_notebook_loses_outputs_counts_and_metadata(tmp_path: Path) -> None:
    output = nbformat.v4.new_output("stream", name="stdout", text="0.6812")
    cell = nbformat.v4.new_code_cell(
        "a = 1", outputs=[output], execution_count=7, metadata={"tags": ["x"]}, id="random"
    )
    path = tmp_path / "lab.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {}}), path)
    stripped = nbformat.reads(strip_notebook(path), as_version=4)
    assert set(stripped.metadata) == {"kernelspec", "language_info"}
    (cell,) = stripped.cells
    assert (cell.outputs, cell.execution_count, cell.metadata, cell.id) == ([], None, {}, "cell-01")


def marked_and_given(source: str) -> tuple[list[str], list[str]]:
    """The lines of a cell that are marked as solution, and the others."""
    marked: list[str] = []
    given: list[str] = []
    current = given
    for line in source.split("\n"):
        if "BEGIN SOLUTION" in line:
            current = marked
        elif "END SOLUTION" in line:
            current = given
        else:
            current.append(line.strip())
    return marked, given


@pytest.mark.parametrize("name", template.NOTEBOOKS)
def test_no_line_of_a_solution_is_left(built: dict[str, str], name: str) -> None:
    solution = nbformat.read(template.SOLUTION / name, as_version=4)
    parts = [marked_and_given(cell.source) for cell in solution.cells]
    given = {line for _, lines in parts for line in lines}
    marked = {line for lines, _ in parts for line in lines if len(line) > 12} - given
    assert len(marked) > 20
    left = {
        line.strip() for cell in nbformat.reads(built[name], as_version=4).cells for line in cell.source.split("\n")
    }
    assert marked & left == set()
    assert "SOLUTION" not in built[name]


PATTERNS = [
    r"CrossEntropyLoss\(",
    r"\.backward\(",
    r"zero_grad\(",
    r"\.eval\(\)",
    r"no_grad\(",
    r"Normalize\(",
    r"optim\.SGD\(",
    r"class BasicBlock",
    r"82_030",
    r"math\.log\(",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_telling_call_of_a_solution_is_left(built: dict[str, str], pattern: str) -> None:
    solutions = "".join((template.SOLUTION / name).read_text(encoding="utf-8") for name in template.NOTEBOOKS)
    assert re.search(pattern, solutions)  # else the pattern would prove nothing
    assert not re.search(pattern, "".join(built[name] for name in template.NOTEBOOKS))


@pytest.mark.parametrize("name", template.NOTEBOOKS)
def test_every_cell_of_the_template_is_valid_python(built: dict[str, str], name: str) -> None:
    for cell in nbformat.reads(built[name], as_version=4).cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)


def test_lab1_gives_the_model_and_asks_for_every_letter(built: dict[str, str]) -> None:
    notebook = nbformat.reads(built["simplenn-cifar10.ipynb"], as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "class SimpleNN(nn.Module)" in text
    for letter in "abcdefgh":
        assert f"### ({letter}) " in text
    for step in range(6):
        assert f"## Step {step}: " in text


def test_the_sample_predictions_have_the_right_format(built: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text(built["sample_predictions.csv"])
    table = pd.read_csv(tmp_path / "sample.csv")
    assert list(table.columns) == ["Id", "Label"]
    assert table["Id"].tolist() == list(range(10_000))
    assert table["Label"].nunique() == 1


def test_the_answers_are_blank_and_carry_the_statements(built: dict[str, str]) -> None:
    text = built["answers.yaml"]
    parsed = yaml.safe_load(text)
    assert list(parsed) == [f"part1.{k}" for k in range(1, 11)]
    assert all(entry == {"verdict": None, "explanation": None} for entry in parsed.values())
    comments = " ".join(line[2:] for line in text.splitlines() if line.startswith("# "))
    for answer in answers().values():
        assert " ".join(answer.statement.split()) in comments
        assert answer.explanation not in text
    assert text == blank_yaml(answers().values())


def test_the_solution_answers_are_those_of_part1() -> None:
    text = (template.SOLUTION / "answers.yaml").read_text(encoding="utf-8")
    assert text == solution_yaml(answers().values())
    parsed = yaml.safe_load(text)
    for answer in answers().values():
        assert parsed[answer.item] == {"verdict": answer.verdict, "explanation": " ".join(answer.explanation.split())}


def test_writing_and_checking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "template"
    assert main(["--out", str(out)]) == 0
    assert main(["--out", str(out), "--check"]) == 0
    assert "up to date" in capsys.readouterr().out
    (out / "README.md").unlink()
    (out / "answers.yaml").write_text("part1.1: false\n")
    (out / "solution.ipynb").write_text("{}")
    assert main(["--out", str(out), "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{out / 'README.md'}: missing",
        f"{out / 'solution.ipynb'}: not part of the template",
        f"{out / 'answers.yaml'}: differs from what the solution gives",
    ]


def test_writing_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.ipynb").write_text("{}")
    write({"tools/__init__.py": "", "README.md": "read"}, tmp_path)
    assert (tmp_path / "mine.ipynb").read_text() == "{}"
    assert (tmp_path / "README.md").read_text() == "read"


def test_a_bad_mark_is_one_line_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken() -> dict[str, str]:
        raise MarkError("lab.ipynb, cell 2: END SOLUTION without a solution")

    monkeypatch.setattr(template, "build", broken)
    assert main(["--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "lab.ipynb, cell 2: END SOLUTION without a solution\n"
    assert not (tmp_path / "out").exists()
