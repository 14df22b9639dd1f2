"""The README's commands exist, and continuous integration runs the README's own test command."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
MODULES = sorted({match[1] for line in COMMANDS if (match := re.search(r"python -m (reference[\w.]*|grader)", line))})


def test_two_commands_set_everything_up() -> None:
    set_up = [line for line in COMMANDS if line.startswith("python3 -m venv")]
    assert [line.split("tox -e ")[1] for line in set_up] == ["grade", "tests"]


def test_ci_runs_the_test_command_word_for_word() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    extract = re.search(r"command=\$\((.*)\)\n", script)
    assert extract is not None
    found = subprocess.run(["bash", "-c", extract[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == next(line for line in COMMANDS if line.endswith("tox -e tests"))


@pytest.mark.parametrize("module", MODULES)
def test_each_python_command_of_the_readme_exists(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", [line for line in COMMANDS if "reference.data" in line])
def test_options_of_the_data_commands_exist(line: str) -> None:
    verb = line.split()[3]
    command = [sys.executable, "-m", "reference.data", verb, "--help"]
    help_text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for option in re.findall(r"--[\w-]+", line):
        assert option in help_text


def test_folders_of_the_readme_exist() -> None:
    for folder in re.findall(r"^\| `(\w+/)`", README, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


@pytest.mark.slow
def test_what_is_handed_out_checks_a_submission_and_holds_no_solution(tmp_path: Path) -> None:
    (archive,) = [line for line in COMMANDS if line.startswith("git archive")]
    command = archive.replace("homework.zip", str(tmp_path / "homework.zip"))
    subprocess.run(["bash", "-c", command], cwd=ROOT, check=True)
    kit = tmp_path / "kit"
    shutil.unpack_archive(tmp_path / "homework.zip", kit)
    assert not {"reference", "tests"} & {path.name for path in kit.iterdir()}
    assert not list(kit.rglob("answer_key.toml"))
    grade = [sys.executable, "-m", "pytest", "grader", "--submission", "student_template", "--out", "out"]
    done = subprocess.run(grade, cwd=kit, capture_output=True, text=True, check=False)
    results = json.loads((kit / "out" / "results.json").read_text())
    assert results["score"] > 0, done.stdout
