"""The small world as a folder: its data, the environment of a kernel, and the copy of a submission."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from notebook_runs import write_notebook

from grader.execution import run
from grader.execution.limits import Limits
from grader.execution.run import execute
from grader.execution.sandbox.surroundings import lay_out
from grader.execution.untrusted import UntrustedFileError, read_untrusted
from grader.execution.world import CourseDataError, World, build_world, kernel_environment
from grader.submission.find import Found, Submission, find_submission


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for split, size in (("train", 1_300), ("val", 300), ("test", 20)):
        images = np.zeros((size, 32, 32, 3), dtype=np.uint8)
        images[:, 0, 0, 0] = np.arange(size) % 10
        np.save(folder / f"{split}-images-batch.npy", images)
        if split != "test":
            np.save(folder / f"{split}-labels-batch.npy", (np.arange(size) % 10).astype(np.uint8))
    return folder


def test_small_world_is_stratified_and_keeps_the_test_rows(data: Path, tmp_path: Path) -> None:
    world = build_world(data, tmp_path / "world")
    labels = np.load(world.data / "train-labels-batch.npy")
    images = np.load(world.data / "train-images-batch.npy")
    assert (len(labels), len(np.load(world.data / "val-labels-batch.npy"))) == (1_152, 200)
    assert set(np.bincount(labels)) <= {114, 115, 116}
    assert (images[:, 0, 0, 0] == labels).all()
    assert len(set(labels[:20])) > 3
    assert len(np.load(world.data / "test-images-batch.npy")) == 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("val-images-batch.npy", None, "val-images-batch.npy is missing; the course's data folder holds"),
        ("val-labels-batch.npy", b"text", "val-labels-batch.npy is not a NumPy array file"),
        ("test-images-batch.npy", np.zeros((5, 3, 32, 32), np.uint8), r"expected \(N, 32, 32, 3\) uint8, found \(5, 3"),
        ("train-labels-batch.npy", np.zeros(700), r"expected \(N,\) uint8, found \(700,\) float64"),
        ("train-labels-batch.npy", np.zeros(5, np.uint8), "1300 train images but 5 labels"),
    ],
)
def test_data_that_are_not_the_course_s(
    data: Path, tmp_path: Path, name: str, content: np.ndarray | bytes | None, message: str
) -> None:
    (data / name).unlink()
    if isinstance(content, bytes):
        (data / name).write_bytes(content)
    elif content is not None:
        np.save(data / name, content)
    with pytest.raises(CourseDataError, match=message):
        build_world(data, tmp_path / "world")


def test_environment_holds_nothing_of_the_grader_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_LABELS", "/instructor/heldout.csv")
    layout = lay_out("fork", tmp_path, tmp_path)
    environment = kernel_environment(World(tmp_path), layout, 5)
    assert "SECRET_LABELS" not in environment
    assert environment["HOME"] == layout.home
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    on_gpu = kernel_environment(World(tmp_path, cuda=True), layout, 5)
    assert "CUDA_VISIBLE_DEVICES" not in on_gpu


# -- the copy of a submission ----------------------------------------------------------------------------------------


def copy_of(root: Path, folder: Path, world: World) -> set[str]:
    write_notebook(root / "lab" / "simplenn-cifar10.ipynb", {"net": "SimpleNN = nn.Conv2d(3, 8, 5)"})
    submission = find_submission(root)
    run._copy(submission, folder)
    run._furnish(submission, folder, world, None)
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_modules_and_small_files_are_copied(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MAX_COPIED_BYTES", 1_000)
    world, root = build_world(data, tmp_path / "world"), tmp_path / "in"
    for name, size in (("lab/helper.py", 10), ("net.pth", 900), ("big.npy", 2_000), ("run.sh", 5), ("b.ipynb", 5)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * size)
    (root / "link.py").symlink_to("/etc/hostname")
    copied = {name for name in copy_of(root, tmp_path / "work", world) if "/data/" not in name}
    assert copied == {"lab/helper.py", "net.pth"}
    assert (tmp_path / "work" / "lab" / "saved_model").is_dir()


def test_world_s_data_replace_those_handed_in(data: Path, tmp_path: Path) -> None:
    world, root = build_world(data, tmp_path / "world"), tmp_path / "in"
    (root / "lab" / "data").mkdir(parents=True)
    np.save(root / "lab" / "data" / "val-labels-batch.npy", np.zeros(3))
    copy_of(root, tmp_path / "work", world)
    assert len(np.load(tmp_path / "work" / "lab" / "data" / "val-labels-batch.npy")) == 200


def test_a_folder_in_the_way_of_the_data_is_replaced(data: Path, tmp_path: Path) -> None:
    world, root = build_world(data, tmp_path / "world"), tmp_path / "in"
    (root / "lab" / "data" / "val-labels-batch.npy").mkdir(parents=True)
    (root / "lab" / "data" / "val-labels-batch.npy" / "a.txt").write_text("in the way")
    copy_of(root, tmp_path / "work", world)
    assert len(np.load(tmp_path / "work" / "lab" / "data" / "val-labels-batch.npy")) == 200


def test_one_notebook_s_trouble_stays_its_own(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("something unforeseen")

    monkeypatch.setattr(run, "run_notebook", fails)
    write_notebook(tmp_path / "in" / "simplenn-cifar10.ipynb", {"net": "SimpleNN = nn.Conv2d(3, 8, 5)"})
    submission, world = find_submission(tmp_path / "in"), build_world(data, tmp_path / "world")
    asyncio.run(execute(submission, tmp_path / "out", tmp_path / "work", world, Limits()))
    fault = json.loads((tmp_path / "out" / "lab1" / "grader-fault.json").read_text())
    assert fault["reason"] == "the grader met an error of its own (RuntimeError: something unforeseen)"


def test_unreadable_notebooks_are_not_run(data: Path, tmp_path: Path) -> None:
    found = Found("lab1", tmp_path / "simplenn-cifar10.ipynb", "its name", "it is broken")
    submission = Submission(tmp_path, {"lab1": found}, None, None, ())
    world = build_world(data, tmp_path / "world")
    asyncio.run(execute(submission, tmp_path / "out", tmp_path / "work", world, Limits()))
    assert not (tmp_path / "out").exists()


# -- untrusted files -------------------------------------------------------------------------------------------------


def test_untrusted_file_is_read_in_part_or_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_untrusted(tmp_path / "file", 10) == b"0123456789"
    assert read_untrusted(tmp_path / "file", 4, start=3, whole=False) == b"3456"
    with pytest.raises(UntrustedFileError, match="file has more than 9 bytes"):
        read_untrusted(tmp_path / "file", 9)
    with pytest.raises(UntrustedFileError, match="none is missing"):
        read_untrusted(tmp_path / "none", 9)
    with pytest.raises(UntrustedFileError, match="Is a directory"):
        read_untrusted(tmp_path, 9)


def test_submitted_notebook_is_kept_in_format_4(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ran(*_arguments: object, **_options: object) -> None:
        """In place of a kernel."""

    monkeypatch.setattr(run, "run_notebook", ran)
    cell = {"cell_type": "code", "input": ["x = 1"], "language": "python", "outputs": []}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [cell]}]}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "simplenn-cifar10.ipynb").write_bytes(b"\xef\xbb\xbf" + json.dumps(old).encode())
    found = Found("lab1", tmp_path / "in" / "simplenn-cifar10.ipynb", "its name")
    submission = Submission(tmp_path / "in", {"lab1": found}, None, None, ())
    world = build_world(data, tmp_path / "world")
    asyncio.run(execute(submission, tmp_path / "out", tmp_path / "work", world, Limits()))
    kept = json.loads((tmp_path / "out" / "lab1" / "submitted.ipynb").read_text())
    assert [cell["source"] for cell in kept["cells"]] == ["x = 1"]
