"""The student template, generated from the solution by stripping what is marked in it.

    python -m reference.template [--out DIR] [--check]

writes the template, or with ``--check`` says where the one in DIR differs. Marks, each on a line of its own:

- code: ``### BEGIN SOLUTION [names]`` to ``### END SOLUTION``. The lines between give way to a comment; names that
  later cells need are set to None.
- markdown: ``<!-- BEGIN SOLUTION -->`` to ``<!-- END SOLUTION -->``. The lines between give way to a prompt.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat

from reference.answers_yaml import blank_yaml
from reference.part1 import answers

SOLUTION = Path(__file__).parent / "notebooks"
NOTEBOOKS = ("simplenn-cifar10.ipynb", "save_test_predictions.ipynb")
COPIED = ("tools/__init__.py", "tools/dataset.py")
TEST_IMAGES = 10_000

README = """# Homework: construct, train and optimize CNN models

| file | what to do with it |
|---|---|
| `answers.yaml` | part 1: a verdict and an explanation for each statement |
| `simplenn-cifar10.ipynb` | lab 1: fill in steps 0 to 5, answer (a) to (h) |
| `simplenn-cifar10-dev.ipynb` | lab 2: make it as a copy of your lab 1 |
| `resnet-cifar10.ipynb` | lab 3: make it as a copy of your lab 2 |
| `save_test_predictions.ipynb` | lab 3: writes `predictions.csv` for the 10,000 test images |
| `sample_predictions.csv` | what `predictions.csv` looks like (the labels in it mean nothing) |
| `tools/` | the data set; do not change it |

**Data.** The notebooks expect the course's data in the folder `data` beside them: copy there what your instructor
shares, or set the environment variable `COURSE_DATA_URL` to the address of the course's zip, which is then fetched at
first use. Without the data the notebooks say how to get them.

**Set-up.** Python 3.11 or newer with `torch`, `torchvision`, `pandas`, `matplotlib` and Jupyter. A GPU is used where
there is one.
"""

_MARK = re.compile(r"(?P<indent>\s*)(?:### |<!-- )(?P<word>BEGIN|END) SOLUTION(?P<names>[\w ]*?)(?: -->)?\s*")


class MarkError(ValueError):
    """Marks of a solution that do not pair up; the message names the notebook and the cell."""


def strip_source(source: str, *, markdown: bool) -> str:
    """The cell's text without its solutions. Raises ``ValueError`` for marks that do not pair up."""
    kept: list[str] = []
    inside = False
    for line in source.split("\n"):
        mark = _MARK.fullmatch(line)
        if mark is None:
            if not inside:
                kept.append(line)
            continue
        if (mark["word"] == "BEGIN") == inside:
            raise ValueError(f"{mark['word']} SOLUTION {'inside' if inside else 'without'} a solution")
        inside = not inside
        if inside:
            kept.append(
                "*Your answer here.*" if markdown else mark["indent"] + _blank(mark["names"].split(), mark["indent"])
            )
    if inside:
        raise ValueError("BEGIN SOLUTION without an END")
    return "\n".join(kept)


def _blank(names: Sequence[str], indent: str) -> str:
    """What stands in place of code; ``pass`` keeps an indented block valid."""
    if names:
        return " = ".join([*names, "None"]) + "  # your code here"
    return "pass  # your code here" if indent else "# your code here"


def strip_notebook(path: Path) -> str:
    """The notebook at ``path`` as JSON without solutions, outputs, counts and metadata, its cells numbered."""
    notebook = nbformat.read(path, as_version=4)
    cells = []
    for number, cell in enumerate(notebook.cells, start=1):
        markdown = cell.cell_type == "markdown"
        try:
            source = strip_source(cell.source, markdown=markdown)
        except ValueError as error:
            raise MarkError(f"{path.name}, cell {number}: {error}") from error
        cells.append({"cell_type": cell.cell_type, "id": f"cell-{number:02d}", "metadata": {}, "source": source})
        if not markdown:
            cells[-1] |= {"execution_count": None, "outputs": []}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    stripped = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    text: str = nbformat.writes(nbformat.from_dict(stripped))
    return text + "\n"


def sample_predictions() -> str:
    """A predictions.csv in the right format whose labels mean nothing."""
    return "Id,Label\n" + "".join(f"{image},0\n" for image in range(TEST_IMAGES))


def build(solution: Path = SOLUTION) -> dict[str, str]:
    """The template: text by path relative to its folder."""
    return (
        {name: strip_notebook(solution / name) for name in NOTEBOOKS}
        | {name: (solution / name).read_text(encoding="utf-8") for name in COPIED}
        | {
            "answers.yaml": blank_yaml(answers().values()),
            "sample_predictions.csv": sample_predictions(),
            "README.md": README,
        }
    )


def write(template: Mapping[str, str], folder: Path) -> None:
    """Write the template to ``folder``; other files there stay."""
    for name, text in template.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def differences(template: Mapping[str, str], folder: Path) -> list[str]:
    """One sentence for each file of ``folder`` that is missing, differs from the template, or is none of it."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    found = {name for name in found if "__pycache__" not in name}
    missing = [f"{folder / name}: missing" for name in sorted(template.keys() - found)]
    extra = [f"{folder / name}: not part of the template" for name in sorted(found - template.keys())]
    differing = [
        f"{folder / name}: differs from what the solution gives"
        for name in sorted(found & template.keys())
        if (folder / name).read_bytes() != template[name].encode()
    ]
    return missing + extra + differing


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; exit status 1 where ``--check`` finds a difference, 2 for marks that do not pair up."""
    parser = argparse.ArgumentParser(prog="python -m reference.template", description="Generate the student template.")
    parser.add_argument("--out", type=Path, default=Path("student_template"), help="folder (default: student_template)")
    parser.add_argument("--check", action="store_true", help="compare with what is there and write nothing")
    options = parser.parse_args(arguments)
    try:
        template = build()
    except MarkError as error:
        print(error, file=sys.stderr)
        return 2
    if not options.check:
        write(template, options.out)
        print(f"{options.out}: {len(template)} files")
        return 0
    found = differences(template, options.out)
    print("\n".join(found) or f"{options.out}: up to date")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
