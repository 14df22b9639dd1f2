"""However a notebook ends, it is reported as itself and costs only what it touches."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ending_notebooks import LEFT_BEHIND, NOTEBOOKS
from notebook_runs import Given, Ran, run_given, write_notebook

from grader.execution import cells, kernel
from grader.execution.limits import Limits
from grader.execution.outputs import CELL_TEXT
from grader.execution.trace_events import MAX_BYTES
from grader.execution.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "GRACE", 1.0)
        return run_given(NOTEBOOKS, tmp_path_factory.mktemp("endings"), world)


@pytest.fixture(scope="module")
def mixed(ran: dict[str, Ran]) -> Ran:
    return ran["mixed"]


def statuses(ran: Ran) -> list[str]:
    return [ran.status(name) for name in ran.names]


# -- one cell --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("first", "ok", ""),
        ("raises", "error", "ZeroDivisionError: division by zero"),
        ("asserts", "error", "AssertionError: at `assert net.is_cuda  # deployed?`"),
        ("does not parse", "error", "SyntaxError: invalid syntax"),
        ("asks", "error", "StdinNotImplementedError: raw_input was called"),
        ("asks for a secret", "error", "StdinNotImplementedError: getpass was called"),
        ("reads stdin", "ok", ""),
        ("debugs", "error", ""),
        ("leaves", "error", "SystemExit: 3"),
        ("exits", "error", "SystemExit: exit() was called"),
        ("recurses", "error", "RecursionError: maximum recursion depth exceeded"),
        ("too much memory", "error", "MemoryError"),
        ("prints 100 MB", "error", "ValueError: after the flood"),
        ("prints many lines", "ok", ""),
        ("prints from a process", "ok", ""),
        ("shows much", "ok", ""),
        ("long error", "error", "ValueError: eee"),
        ("sends malformed messages", "ok", ""),
        ("floods the trace", "ok", ""),
        ("forges an event", "ok", ""),
        ("removes the trace", "ok", ""),
        ("last", "ok", ""),
    ],
)
def test_cell_ends_as_itself_and_the_next_one_runs(mixed: Ran, name: str, status: str, error: str) -> None:
    result = mixed.result(name)
    assert result["status"] == status
    assert result["error"].startswith(error) or error in result["error"]
    assert len(result["error"]) <= cells.MAX_MESSAGE


def test_cells_that_run_too_long_are_interrupted(ran: dict[str, Ran]) -> None:
    assert statuses(ran["late"]) == ["timeout", "timeout", "ok"]
    assert ran["late"].result("too long")["error"] == "still running after 2 s"
    assert ran["late"].printed("swallows one interrupt") == "not me\nnot me\n"
    assert ran["late"].printed("after") == "in time\n"


def test_notebook_went_on_to_its_end(mixed: Ran) -> None:
    assert mixed.printed("last") == "still here 1\n"
    assert mixed.summary["problem"] is None


@pytest.mark.parametrize("name", ["prints 100 MB", "prints many lines", "prints from a process", "shows much"])
def test_output_is_bounded_and_says_so(mixed: Ran, name: str) -> None:
    kept = len(json.dumps(mixed.outputs(name)))
    assert CELL_TEXT / 2 < kept < 3 * CELL_TEXT
    if name.startswith("prints"):
        assert f"the grader keeps the first {CELL_TEXT:,} characters" in mixed.printed(name)


def test_what_no_page_could_show_is_left_out(mixed: Ran) -> None:
    assert [output["data"] for output in mixed.outputs("shows too large a picture")] == [{"text/plain": ["picture"]}]
    assert mixed.outputs("shows nonsense") == []
    assert len(mixed.outputs("sends malformed messages")) == 0


def test_flooded_trace_is_cut(mixed: Ran) -> None:
    assert [event.event for event in mixed.events] == ["ready"]  # what was read before the flood stays
    assert (mixed.folder / "trace.jsonl").stat().st_size <= MAX_BYTES


# -- the kernel ------------------------------------------------------------------------------------------------------


def test_kernel_that_leaves(ran: dict[str, Ran]) -> None:
    result = ran["leaves the process"].result("end")
    assert (result["status"], result["error"]) == ("died", "the kernel left with exit code 3 while this cell ran")
    later = ran["leaves the process"].result("later")
    assert (later["status"], later["error"]) == ("not run", f"cell 3: {result['error']}")


def test_earlier_nets_are_challenged_all_the_same(ran: dict[str, Ran]) -> None:
    assert [challenge.equal for challenge in ran["leaves the process"].challenges] == [("simplenn",)]


def test_kernel_that_is_killed(ran: dict[str, Ran]) -> None:
    result = ran["kills itself"].result("end")
    assert result["status"] == "died"
    assert result["error"] == "the kernel was killed by SIGKILL while this cell ran"


def test_cell_that_ignores_interrupts(ran: dict[str, Ran]) -> None:
    assert statuses(ran["never stops"]) == ["stuck", "not run"]
    assert ran["never stops"].result("end")["error"] == "still running after 1 s, and it ignored the interrupt"


def test_whole_notebook_s_limit(ran: dict[str, Ran]) -> None:
    assert statuses(ran["takes too long"]) == ["ok", "timeout", "not run"]
    assert ran["takes too long"].result("sleep 1")["seconds"] < 4
    assert ran["takes too long"].summary["problem"] == "the notebook was stopped after 3 s"


def test_challenge_that_does_not_return(ran: dict[str, Ran]) -> None:
    assert ran["kills itself"].status("nonsense") == "ok"
    first = ran["kills itself"].challenges[:2]
    assert sorted(challenge.equal for challenge in first) == [(), ("simplenn",)]
    assert {challenge.problem for challenge in first} == {
        None,
        "the net gave no readable outputs (reply.safetensors is missing)",
    }


def test_replies_that_are_no_answers(ran: dict[str, Ran]) -> None:
    challenges = ran["kills itself"].challenges[2:]
    expected = (
        "no readable outputs (SafetensorError)",
        "no readable outputs (SafetensorError)",
        "no readable outputs (reply.safetensors has more than 100,000 bytes)",
        "the net gave no outputs",
        "no readable outputs (reply.safetensors is not a regular file)",
        "no readable outputs (reply.safetensors cannot be read: Too many levels of symbolic links)",
        "the net gave no outputs",
        "the outputs have shape (3, 3); expected (4, 10)",
    )
    for challenge, end in zip(challenges, expected, strict=True):
        assert challenge.problem is not None
        assert challenge.problem.endswith(end)
        assert challenge.equal == ()


# -- processes -------------------------------------------------------------------------------------------------------


def alive(mark: str) -> list[str]:
    """Command lines with `mark` in them, of processes in any namespace."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            if mark.encode() in words:
                found.append(b" ".join(words).decode())
    return found


def wait_for_end(mark: str, seconds: float = 20) -> list[str]:
    """What is still alive after so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and alive(mark):
        time.sleep(0.1)
    return alive(mark)


def test_no_child_outlives_its_kernel(ran: dict[str, Ran]) -> None:
    assert ran["leaves the process"].printed("children") == "2 started\n"
    assert wait_for_end(LEFT_BEHIND) == []


GRADER = """
import asyncio, sys
from pathlib import Path
from grader.execution.limits import Limits
from grader.execution.run import execute
from grader.execution.sandbox.tiers import choose
from grader.execution.world import World
from grader.submission.find import find_submission
root, world, isolation = Path(sys.argv[1]), World(Path(sys.argv[2])), choose(sys.argv[3])
asyncio.run(execute(find_submission(root / "in"), root / "out", root / "work", world, Limits(), isolation))
"""
SLEEPING = """
import subprocess
child = subprocess.Popen(["sleep", "{mark}"])
child.wait(); SimpleNN = nn.Conv2d(3, 8, 5), CIFAR10()
"""


@pytest.mark.parametrize(
    ("isolation", "number"),
    [
        ("none", signal.SIGINT),
        ("none", signal.SIGTERM),
        ("auto", signal.SIGINT),
        ("auto", signal.SIGTERM),
        ("auto", signal.SIGKILL),
    ],
)
def test_kernel_ends_with_the_grader(world: World, tmp_path: Path, isolation: str, number: signal.Signals) -> None:
    mark = f"{30_000 + number}.{'1' if isolation == 'none' else '2'}"
    write_notebook(tmp_path / "in" / "simplenn-cifar10.ipynb", {"sleeping": SLEEPING.format(mark=mark)})
    command = [sys.executable, "-c", GRADER, str(tmp_path), str(world.data), isolation]
    grader = subprocess.Popen(command, cwd=Path(__file__).parents[3], stderr=subprocess.PIPE)
    end = time.monotonic() + 120
    while not alive(mark) and grader.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    assert alive(mark)
    grader.send_signal(number)
    _, error = grader.communicate(timeout=60)
    assert grader.returncode != 0
    assert b"never retrieved" not in error
    assert b"pending" not in error
    assert wait_for_end(mark) == []


# -- the machine's faults --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ((sys.executable, "-c", "raise SystemExit('no kernel today')"), "the kernel did not start: "),
        (tuple(part for part in kernel.COMMAND if "--ext" not in part), "started without the small course world"),
    ],
)
def test_kernel_that_does_not_start_is_the_grader_s_fault(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], reason: str
) -> None:
    monkeypatch.setattr(kernel, "COMMAND", command)
    with pytest.raises(FileNotFoundError, match=r"challenges\.json|trace\.jsonl"):
        run_given({"fault": Given({"cell": "x = 1"}, limits=Limits(start=30.0))}, tmp_path, world)
    fault = json.loads((tmp_path / "fault" / "out" / "lab1" / "grader-fault.json").read_text())
    assert reason in fault["reason"]
