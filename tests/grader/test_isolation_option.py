"""What the grader says of its sandbox, and when it refuses to grade."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from grader import pipeline
from grader.execution.sandbox.tiers import TIERS, Isolation
from grader.pipeline import Options, PipelineError

ROOT = Path(__file__).resolve().parents[2]


def options(tmp_path: Path, *, labels: bool, isolation: str = "auto") -> Options:
    (tmp_path / "heldout.csv").write_text("id,label\n0,3\n")
    given = tmp_path / "heldout.csv" if labels else None
    return Options(tmp_path, None, given, "cpu", tmp_path / "out", isolation=isolation)


def test_held_out_labels_need_a_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"fork": "no namespaces", "bubblewrap": "bwrap is not installed"}
    monkeypatch.setattr(pipeline, "choose", lambda name: Isolation("landlock", missing))
    with pytest.raises(PipelineError, match=r"--labels: this machine cannot keep notebooks away from the labels"):
        options(tmp_path, labels=True).validate()
    options(tmp_path, labels=False).validate()  # a student checks with what there is


def test_an_instructor_may_accept_the_risk(tmp_path: Path) -> None:
    options(tmp_path, labels=True, isolation="none").validate()


@pytest.mark.parametrize("tier", TIERS)
def test_header_and_results_say_what_is_enforced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: str) -> None:
    monkeypatch.setattr(pipeline, "choose", lambda name: Isolation(tier, {}))
    asked = options(tmp_path, labels=False)
    line = " ".join(" ".join(asked.describe()).partition("isolation: ")[2].split())
    assert TIERS[tier] in line
    assert asked.summary()["enforced"] in line
    assert asked.summary()["isolation"] == TIERS[tier]


def pytest_grader(*arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "grader", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_tier_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    done = pytest_grader("--isolation", "bubblewrap", path=str(tmp_path))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert (
        "--isolation bubblewrap: A' (bubblewrap) cannot be had on this machine: bwrap is not installed" in done.stderr
    )


def test_limits_are_options_and_are_checked() -> None:
    shown = pytest_grader("--help").stdout
    for option in ("--isolation", "--cell-timeout", "--max-memory-bytes", "--max-processes", "--max-disk-files"):
        assert option in shown
    done = pytest_grader("--max-memory-bytes", "0")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--max-memory-bytes 0: expected a number above 0" in done.stderr
