"""The attack table: its cases, what it calls held, and what keeps the attacks from the machine they run on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from nbformat import read, write
from nbformat.v4 import new_code_cell, new_notebook

from fixtures.hostile import fill
from fixtures.hostile.plant import planted
from fixtures.hostile.trial import Outcome
from tests.bench_attack_cases import CASES, Case, Verdict
from tests.bench_attack_nbgrader import WRONG, hand_in, net_of, with_points
from tests.bench_attacks import of_outcome, table, words
from tests.bounded_nbgrader import Ran, end_all

ATTACKS = {case.name: case for case in CASES}
FORGERY, HONEST, REACH = (ATTACKS[name] for name in ("forgery-run-code", "honest-renamed", "reach-labels"))


def test_every_case_can_be_planted(tmp_path: Path) -> None:
    with planted(tmp_path) as plant:
        values = plant.values | {"trace": ""}
        for case in CASES:
            assert "<<" not in "".join(fill(cell, values) for cell in case.cells + case.attack.cells)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_that_harms_a_machine_is_put_before_nbgrader(case: Case) -> None:
    source = "\n".join(case.cells)
    assert not re.search(r"kill\(-1|killpg|/proc/1|memfd|\bmmap\.|bash -c", source)
    if case.attack.destructive:
        assert case.same, "only a bounded form of it may be run"


def test_points_decide_about_forgeries_and_honest_work() -> None:
    plain = Verdict("", (), 1.0)
    assert with_points(FORGERY, plain, 0).held
    assert not with_points(FORGERY, plain, 10).held
    assert with_points(HONEST, plain, 10).held
    assert with_points(HONEST, plain, 0).broken == ("0 of 10 points",)
    assert not Verdict("not run", (), 0.0, skipped=True).held


def test_forgeries_begin_with_a_wrong_net_and_reaching_needs_none() -> None:
    assert net_of(FORGERY) == WRONG
    assert net_of(REACH) == ""
    assert "82_030" not in WRONG


def test_what_happened_is_the_end_of_the_cell_else_what_was_refused() -> None:
    died = Outcome("cell 2 ok: \ncell 3 died: killed by SIGKILL\nnotebook: over")
    assert of_outcome(REACH, died).happened == "killed by SIGKILL"
    assert of_outcome(REACH, Outcome("cell 3 ok: \ntcp refused: OSError 97")).happened == "OSError 97"
    assert of_outcome(FORGERY, Outcome("cell 2 ok: ", broken=("gained lab1.a",))).broken == ("gained lab1.a",)


def test_the_last_that_nbgrader_said_of_what_went_wrong_is_found() -> None:
    log = "[A | ERROR] Timeout waiting for execute reply (30s).\n    nbclient.exceptions.DeadKernelError: Kernel died\n"
    assert Ran(1.0, False, 0, log).error == "DeadKernelError: Kernel died"
    assert Ran(1.0, False, 0, log.splitlines()[0]).error == "Timeout waiting for execute reply"
    assert Ran(1.0, False, 0, "        except BaseException: pass\n").error == ""


def test_a_line_of_the_table_says_what_each_grader_did() -> None:
    theirs = {case.name: Verdict("", ("read the labels",), 1.0) for case in CASES}
    ours = {case.name: Verdict("no such file", (), 1.0) for case in CASES}
    (line,) = [line for line in table(theirs, ours) if line.startswith(REACH.label + " ")]
    assert line.split("  ")[-1].strip() == "held: no such file"
    assert "NOT HELD: read the labels" in line
    assert words(REACH, Verdict("not run", (), 0.0, skipped=True)) == "not run"
    assert words(HONEST, Verdict("", ("0 of 10 points",), 1.0)) == "HARMED: 0 of 10 points"


def test_a_submission_holds_the_attack_before_or_after_the_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench_attack_nbgrader.give", lambda *paths: None)
    release = tmp_path / "release" / "homework" / "net.ipynb"
    release.parent.mkdir(parents=True)
    write(new_notebook(cells=[new_code_cell(text) for text in ("imports", "stub", "check")]), release)
    hand_in(tmp_path, "a", "net", (["before"], ["after"]))
    hand_in(tmp_path, "b", "", (["alone"], []))
    found = [read(tmp_path / "submitted" / name / "homework" / "net.ipynb", as_version=4) for name in "ab"]
    sources = [[cell.source for cell in notebook.cells] for notebook in found]
    assert sources == [["imports", "before", "net", "after", "check"], ["alone", "", "check"]]


def test_all_that_nbgrader_started_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bounded_nbgrader.USER", user := 61_612)
    own = user if os.getuid() == 0 else None
    sleeper = subprocess.Popen(["sleep", "60"], env={"MARK": "mark-of-a-test"}, start_new_session=True, user=own)
    time.sleep(0.1)  # it bears the mark once it is another program
    end_all("mark-of-a-test")
    assert sleeper.wait(10) == -signal.SIGKILL
