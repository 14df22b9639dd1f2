"""The reference's own submission graded on real course data, with real held-out labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fixtures import submissions

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar.xz"
SEED = "661"  # of the course data that the reference's predictions are for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IMAGES.is_file(), reason=f"needs the images of {IMAGES.name} beside the repository"),
]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("course")
    data, heldout = folder / "data", folder / "heldout.csv"
    command = [sys.executable, "-m", "reference.data", "build", "--source", str(IMAGES), "--seed", SEED]
    subprocess.run([*command, "--out", str(data), "--heldout", str(heldout)], cwd=ROOT, check=True, capture_output=True)
    return data, heldout


def grade(name: str, course: tuple[Path, Path], folder: Path) -> dict[str, Any]:
    """Grade a sample submission on the course's data with its labels, and read results.json."""
    submission = submissions.make(name, folder / "submission")
    data, heldout = course
    command = [sys.executable, "-m", "pytest", "grader", "--submission", str(submission), "--data", str(data)]
    command += ["--labels", str(heldout), "--out", str(folder / "out"), "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout
    loaded: dict[str, Any] = json.loads((folder / "out" / "results.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def results(course: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return grade("reference", course, tmp_path_factory.mktemp("graded"))


def test_the_reference_loses_no_point(results: dict[str, Any]) -> None:
    lost = {test["number"]: test["extra_data"]["lost"] for test in results["tests"] if test["extra_data"]["lost"]}
    assert lost == {}
    open_checks = [c for t in results["tests"] for c in t["extra_data"]["checks"] if c["needs_review"]]
    assert {check["evidence"] for check in open_checks} == {"person"}


def test_the_accuracy_is_what_three_lines_of_pandas_give(results: dict[str, Any], course: tuple[Path, Path]) -> None:
    truth = pd.read_csv(course[1], index_col="Id")
    predicted = pd.read_csv(submissions.NOTEBOOKS / "predictions.csv", index_col="Id")
    by_hand = (truth["Label"] == predicted["Label"]).mean()
    item = next(test for test in results["tests"] if test["number"] == "lab3.b")
    check = next(check for check in item["extra_data"]["checks"] if check["check"] == "held_out_accuracy")
    assert check["found"]["accuracy"] == by_hand


def test_template_half_done_and_reference_stand_in_this_order(
    results: dict[str, Any], course: tuple[Path, Path], tmp_path: Path
) -> None:
    template = grade("template", course, tmp_path / "template")
    half_done = grade("half_done", course, tmp_path / "half")
    assert 0 < template["score"] < 2
    assert template["score"] + 10 < half_done["score"] < results["score"] - 10
    for document in (template, half_done):
        for test in document["tests"]:
            reasons = [c["reason"] for c in test["extra_data"]["checks"] if c["outcome"] == "failed"]
            assert bool(reasons) == (test["extra_data"]["lost"] > 0)
            assert all(reasons)
