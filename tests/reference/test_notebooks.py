"""The solution notebooks and the untouched template run top to bottom on a tiny data set, with or without results."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from reference import template

STUDENT = Path(template.__file__).parent.parent / "student_template"
LABS = ("simplenn-cifar10.ipynb", "simplenn-cifar10-dev.ipynb", "resnet-cifar10.ipynb")
TEST_IMAGES = 40  # in place of the course's 10,000, which the notebook asserts


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 training images, 21 validation images and a few test images of random pixels."""
    root = tmp_path_factory.mktemp("world") / "data"
    root.mkdir()
    rng = np.random.default_rng(0)
    for mode, count in {"train": 30, "val": 21, "test": TEST_IMAGES}.items():
        np.save(root / f"{mode}-images-batch.npy", rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
        if mode != "test":
            np.save(root / f"{mode}-labels-batch.npy", rng.integers(0, 10, count, dtype=np.uint8))
    return root


def shrunk(path: Path) -> NotebookNode:
    """The notebook with one epoch a run and no worker processes."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        source = re.sub(r"(?m)^EPOCHS = \d+", "EPOCHS = 1", cell.source)
        source = re.sub(r"num_workers=\w+", "num_workers=0", source)
        cell.source = source.replace("10_000", str(TEST_IMAGES))
    return notebook


def execute(notebook: NotebookNode, folder: Path, *, allow_errors: bool = False) -> str:
    """Run the notebook in ``folder``, which gets the course's tools; what it printed."""
    (folder / "tools").mkdir(parents=True, exist_ok=True)
    for name in template.COPIED:
        (folder / name).write_text((template.SOLUTION / name).read_text(encoding="utf-8"), encoding="utf-8")
    client = NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(folder)}}, allow_errors=allow_errors
    )
    client.execute()
    return printed(notebook)


def printed(notebook: NotebookNode) -> str:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


@pytest.mark.slow
@pytest.mark.parametrize("name", LABS)
def test_a_lab_runs_top_to_bottom(name: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(data)
    text = execute(shrunk(template.SOLUTION / name), tmp_path)
    runs = {"simplenn-cifar10.ipynb": 2, "simplenn-cifar10-dev.ipynb": 20, "resnet-cifar10.ipynb": 1}[name]
    assert len(re.findall(r"Best validation accuracy: [01]\.\d{4}\n", text)) == runs
    assert len(re.findall(r"Training loss: \S+, Training accuracy: [01]\.\d{4}", text)) == runs
    assert len(re.findall(r"Validation loss: \S+, Validation accuracy: [01]\.\d{4}", text)) == runs


@pytest.mark.slow
def test_predictions_are_written_from_the_saved_net(data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(data)
    predict = template.SOLUTION / "save_test_predictions.ipynb"
    text = execute(shrunk(predict), tmp_path)
    assert "./saved_model/resnet20.pth not found: run resnet-cifar10.ipynb first" in text
    assert not (tmp_path / "predictions.csv").exists()

    execute(shrunk(template.SOLUTION / "resnet-cifar10.ipynb"), tmp_path)
    (tmp_path / "saved_model" / "resnet20-last.pth").rename(tmp_path / "saved_model" / "resnet20.pth")
    text = execute(shrunk(predict), tmp_path)
    assert f"predictions.csv: {TEST_IMAGES} rows" in text
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert lines[0] == "Id,Label"
    assert [line.split(",")[0] for line in lines[1:]] == [str(i) for i in range(TEST_IMAGES)]
    assert {line.split(",")[1] for line in lines[1:]} <= set("0123456789")


@pytest.mark.slow
def test_the_untouched_template_says_what_is_to_be_done(data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(data)
    text = execute(shrunk(STUDENT / "simplenn-cifar10.ipynb"), tmp_path)
    assert "Fill in first: train_loader (Step 2), val_loader (Step 2)\n" in text
    assert "net (Step 3), criterion (Step 4), optimizer (Step 4)\n" in text
    assert "Fill in first: history (Step 5)" in text
    text = execute(shrunk(STUDENT / "save_test_predictions.ipynb"), tmp_path)
    assert "Nothing to save yet: fill in the steps above first" in text
    assert not (tmp_path / "predictions.csv").exists()


@pytest.mark.slow
def test_without_data_a_notebook_shows_one_message(tmp_path: Path) -> None:
    notebook = shrunk(STUDENT / "save_test_predictions.ipynb")
    execute(notebook, tmp_path, allow_errors=True)
    errors = [output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "error"]
    assert errors[0].ename == "CourseDataError"
    (line,) = errors[0].traceback
    assert "How to get the data" in line
    assert "site-packages" not in line


@pytest.mark.parametrize("name", LABS)
def test_the_results_are_in_the_notebook(name: str) -> None:
    notebook = nbformat.read(template.SOLUTION / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert len(printed(notebook)) < 40_000
    assert "Best validation accuracy: 0." in printed(notebook)
    assert "45000 training images, 5000 validation images" in printed(notebook)


@pytest.mark.parametrize("name", LABS)
def test_figures_in_the_answers_are_in_the_outputs(name: str) -> None:
    notebook = nbformat.read(template.SOLUTION / name, as_version=4)
    answers = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    claimed = set(re.findall(r"\d\.\d{3,4}\b", answers)) - {"0.4914", "0.4822", "0.4465", "0.2023", "0.1994", "0.2010"}
    assert claimed
    assert {figure for figure in claimed if figure not in printed(notebook)} == set()
