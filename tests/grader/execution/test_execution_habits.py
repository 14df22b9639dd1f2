"""What students' notebooks are used to: magics, Colab, a GPU, foreign paths, own files. None of it fails here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from habit_cells import CELLS, FILES
from notebook_runs import Given, Ran, run_given

from grader.execution.world import World

pytestmark = pytest.mark.slow
NOT_CODE = ("title", "empty", "blank")


@pytest.fixture(scope="module")
def ran(world: World, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    files = {f"lab/{path}": content for path, content in FILES.items()}
    given = Given(CELLS, files, path="lab/notebook.ipynb")
    return run_given({"habits": given}, tmp_path_factory.mktemp("habits"), world)["habits"]


@pytest.fixture(scope="module")
def workdir(ran: Ran) -> Path:
    return ran.folder.parent.parent / "work" / "lab1" / "lab"


@pytest.mark.parametrize("name", [name for name in CELLS if name not in NOT_CODE])
def test_cell_runs(ran: Ran, name: str) -> None:
    result = ran.result(name)
    assert (result["status"], result["error"]) == ("ok", "")


@pytest.mark.parametrize("name", NOT_CODE)
def test_cells_without_code_are_not_run(ran: Ran, name: str) -> None:
    with pytest.raises(KeyError):
        ran.result(name)


def test_no_hook_fails(ran: Ran) -> None:
    assert [event for event in ran.events if event.event == "fault"] == []


def test_installers_are_left_out(ran: Ran) -> None:
    assert ran.printed("shell lines").count("left out by the grader: ") == 2
    assert "['hello']" in ran.printed("shell lines")
    assert ran.printed("shell with a python").count("left out by the grader: ") == 2
    assert ran.printed("bash") == "from bash\n"


def test_grader_s_packages_are_withheld(ran: Ran) -> None:
    names = ("grader", "reference", "fixtures")
    assert ran.printed("withheld").splitlines() == [f"No module named '{name}'" for name in names]


def test_student_s_files_do_not_run_by_themselves(workdir: Path) -> None:
    assert sorted(path.name for path in workdir.glob("ran-*")) == []


def test_course_files_lie_where_a_notebook_looks(ran: Ran) -> None:
    assert ran.printed("course files") == "(512, 32, 32, 3) uint8\n"


def test_foreign_paths_stay_in_the_working_folder(ran: Ran, workdir: Path) -> None:
    assert (workdir / "elsewhere" / "content" / "predictions.csv").is_file()
    assert (workdir / "elsewhere" / "home" / "me" / "models" / "net.pth").is_file()
    assert (workdir / "C:" / "Users" / "me" / "hw2" / "net.pth").is_file()
    assert not any(os.path.lexists(path) for path in ("/content", "/kaggle", "/home/me", "/Users/me"))


def test_all_epochs_happen_and_steps_grow_cheap(ran: Ran) -> None:
    steps = ran.of("epochs", "step")
    assert len(steps) == 200 * 4
    assert (steps[0].images, steps[-1].images) == (128, 2)
    assert [steps[0].lr, steps[-1].lr] == pytest.approx([0.1, 0.001])


def test_data_set_of_the_course_s_size(ran: Ran) -> None:
    assert ran.printed("whole data").splitlines() == ["512 200", "<class 'int'> (3, 32, 32)", "200"]


def test_torchvision_s_data_set_is_not_the_course_s(ran: Ran) -> None:
    assert ran.of("torchvision data", "dataset") == []
    assert [loader.split for loader in ran.of("torchvision data", "loader")] == ["train"]


def test_net_after_a_reset_is_found(ran: Ran) -> None:
    assert [net.cls for net in ran.of("after reset", "net")] == ["TinyNet"]


def test_output_is_kept(ran: Ran) -> None:
    assert any("image/png" in output.get("data", {}) for output in ran.outputs("foreign plots"))
    assert "deprecated" in ran.printed("warnings")
