"""A notebook cannot write to the grader's record unnoticed, and what is nobody's doing is no tampering."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from notebook_runs import Given, Ran, run_given

from grader.execution.sandbox.space import Space
from grader.execution.signed_trace import KEY, MAX_LINE, REMOVED, WROTE, SignedTrace
from grader.execution.trace_events import MAX_BYTES
from grader.execution.world import INSIDE, TRACE, World

sys.path.append(str(INSIDE))
from course_world.recorder import Recorder


class Kernel:
    """The recorder of a kernel that does not run, and the grader's view of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / TRACE
        self.recorder = Recorder(str(self.path))
        self.space = Space.at(folder)
        self.trace = SignedTrace((folder / KEY).read_bytes())
        self.recorder.forget_key()

    def emit(self, *cells: int) -> None:
        for cell in cells:
            self.recorder.cell = cell
            self.recorder.emit("ready")

    def read(self) -> list[int]:
        """The cells of the events that the grader accepts."""
        return [event.cell for event in self.trace.read(self.space)]

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    made = Kernel(tmp_path)
    yield made
    made.space.close()


def test_recorded_lines_are_kept_as_plain_json(kernel: Kernel, tmp_path: Path) -> None:
    kernel.emit(0, 1)
    assert kernel.read() == [0, 1]
    kernel.emit(2)
    assert kernel.read() == [2]
    assert [json.loads(line)["cell"] for line in kernel.trace.lines.splitlines()] == [0, 1, 2]
    assert kernel.trace.tampered is None
    assert os.listdir(tmp_path) == [TRACE]  # no key


def other_key(kernel: Kernel) -> None:
    folder = kernel.path.parent / "other"
    folder.mkdir()
    forged = Kernel(folder)
    forged.emit(5, 6, 7)
    kernel.append(forged.path.read_bytes())
    forged.space.close()


def exchanged(kernel: Kernel) -> None:
    kernel.path.write_bytes(kernel.path.read_bytes().replace(b'"cell": 1', b'"cell": 7'))


def first_removed(kernel: Kernel) -> None:
    kernel.path.write_bytes(kernel.path.read_bytes().partition(b"\n")[2])


def without_line(kernel: Kernel) -> None:
    lines = kernel.path.read_bytes().splitlines(keepends=True)
    kernel.path.write_bytes(b"".join(lines[:1] + lines[2:]))


def removed(kernel: Kernel) -> None:
    kernel.path.unlink()


def pipe(kernel: Kernel) -> None:
    kernel.path.unlink()
    os.mkfifo(kernel.path)


def link(kernel: Kernel) -> None:
    kernel.path.rename(kernel.path.with_suffix(".moved"))
    kernel.path.symlink_to(kernel.path.with_suffix(".moved"))


@pytest.mark.parametrize(
    ("change", "accepted", "tampered"),
    [
        (lambda kernel: kernel.append(b'{"event": "ready", "cell": 3}\n'), [0, 1, 2], WROTE),
        (lambda kernel: kernel.append(b"\n"), [0, 1, 2], WROTE),
        (lambda kernel: kernel.append(b"\xff 3 {}\n" * 70_000), [0, 1, 2], WROTE),
        (lambda kernel: kernel.append(b"x" * (MAX_LINE + 1)), [0, 1, 2], WROTE),
        (lambda kernel: kernel.append(kernel.path.read_bytes()), [0, 1, 2], WROTE),
        (other_key, [0, 1, 2], WROTE),
        (exchanged, [0, 2], WROTE),
        (first_removed, [1, 2], REMOVED),
        (without_line, [0, 2], REMOVED),
        (removed, [], REMOVED),
        (pipe, [], REMOVED),
        (link, [], REMOVED),
    ],
)
def test_what_was_not_recorded_is_dropped_and_remembered(
    kernel: Kernel, change: Callable[[Kernel], None], accepted: list[int], tampered: str
) -> None:
    kernel.emit(0, 1, 2)
    change(kernel)
    assert (kernel.read(), kernel.trace.tampered) == (accepted, tampered)


@pytest.mark.parametrize("size", [0, 10])
def test_what_was_read_cannot_be_taken_back(kernel: Kernel, size: int) -> None:
    kernel.emit(0, 1)
    assert kernel.read() == [0, 1]
    os.truncate(kernel.path, size)
    assert kernel.read() == []
    assert kernel.trace.tampered == REMOVED
    assert kernel.trace.lines.count(b"\n") == 2


def test_recorder_s_lines_after_others_still_count(kernel: Kernel) -> None:
    kernel.emit(0)
    kernel.append(b"garbage\n")
    kernel.emit(1)
    assert kernel.read() == [0, 1]


def test_no_more_than_a_limit_is_read(kernel: Kernel) -> None:
    kernel.emit(0)
    kernel.append((b"x" * 1_000_000 + b"\n") * (MAX_BYTES // 1_000_000))
    assert kernel.read() == [0]
    kernel.emit(1)
    assert kernel.read() == []
    assert len(kernel.trace.lines) < 100


# -- nobody's doing --------------------------------------------------------------------------------------------------


def test_a_line_that_is_cut_or_still_to_come_is_no_tampering(kernel: Kernel) -> None:
    kernel.emit(0, 1)
    whole = kernel.path.read_bytes()
    os.truncate(kernel.path, len(whole) - 5)
    assert kernel.read() == [0]
    kernel.append(whole[-5:])
    assert (kernel.read(), kernel.trace.tampered) == ([1], None)


def test_an_interrupt_leaves_no_gap(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def interrupted(descriptor: int, line: bytes) -> int:
        write(descriptor, line)
        raise KeyboardInterrupt  # as Python raises it: after the call that it could not interrupt

    kernel.emit(0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kernel.emit(1)
    kernel.emit(2)
    assert (kernel.read(), kernel.trace.tampered) == ([0, 1, 2], None)


def test_an_event_in_the_midst_of_another_follows_it(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    write, nested = os.write, [8, 9]

    def finalised(descriptor: int, line: bytes) -> int:
        if nested:
            kernel.emit(nested.pop(0))
        return write(descriptor, line)

    monkeypatch.setattr(os, "write", finalised)
    kernel.emit(0, 1)
    assert (kernel.read(), kernel.trace.tampered) == ([0, 8, 9, 1], None)


def test_events_of_several_threads(kernel: Kernel) -> None:
    threads = [threading.Thread(target=lambda: kernel.emit(*[3] * 200)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (kernel.read(), kernel.trace.tampered) == ([3] * 800, None)


@pytest.mark.parametrize("room", [0, 20])
def test_a_full_disk_is_told_later_and_is_no_error_of_the_cell(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    write = os.write

    def full(descriptor: int, line: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, line[:room])

    kernel.emit(0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        kernel.emit(1, 2)
    kernel.emit(3)
    assert (kernel.read(), kernel.trace.tampered) == ([0, 1, 3], None)
    told = [json.loads(line) for line in kernel.trace.lines.splitlines()]
    assert [line["event"] for line in told] == ["ready", "fault", "ready"]


# -- in kernels ------------------------------------------------------------------------------------------------------

PATH = "import os; path = os.environ['COURSE_WORLD_TRACE']\n"
NET = "import torch.nn as nn\nclass Tiny(nn.Sequential):\n    pass\n"
TINY = "net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))"
NOTEBOOKS: dict[str, Any] = {
    "appends": {"net": NET + TINY, "writes": PATH + "print('\\n', file=open(path, 'a'))", "after": TINY},
    "replays": {"net": NET + TINY, "writes": PATH + "text = open(path).read(); open(path, 'a').write(text)"},
    "truncates": {"net": NET + TINY, "writes": PATH + "os.truncate(path, 0)", "after": TINY},
    "removes": {"net": NET + TINY, "writes": PATH + "os.remove(path)"},
    "dies": {"net": NET + TINY, "writes": TINY + "\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)"},
    "has no room": {
        "net": NET + TINY,
        "writes": PATH
        + """
import resource
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(path).st_size + 7, limits[1]))
"""
        + TINY,
        "after": "resource.setrlimit(resource.RLIMIT_FSIZE, limits)\n" + TINY,
    },
    "looks for the key": {"look": PATH + "print(*os.listdir(os.path.dirname(path)))"},
}


@pytest.fixture(scope="module")
def ran(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    given = {name: Given(cells) for name, cells in NOTEBOOKS.items()}
    return run_given(given, tmp_path_factory.mktemp("signed"), world)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tampered", "nets"),
    [
        ("appends", f"cell 2 {WROTE}", 2),
        ("replays", f"cell 2 {WROTE}", 1),
        ("truncates", f"cell 2 {REMOVED}", None),
        ("removes", f"cell 2 {REMOVED}", 1),
        ("dies", None, None),
        ("has no room", None, 2),
    ],
)
def test_notebooks_that_touch_the_trace(ran: dict[str, Ran], name: str, tampered: str | None, nets: int | None) -> None:
    assert ran[name].summary["tampered"] == tampered
    assert ran[name].malformed == 0
    assert ran[name].events[0].event == "ready"
    assert nets in (None, sum(event.event == "net" for event in ran[name].events))


@pytest.mark.slow
def test_a_full_disk_is_a_fault_of_the_cell_in_which_events_were_lost(ran: dict[str, Ran]) -> None:
    no_room = ran["has no room"]
    assert [no_room.status(name) for name in no_room.names] == ["ok", "ok", "ok"]
    assert [event.problem for event in no_room.of("writes", "fault")] == ["no room for the trace"]


@pytest.mark.slow
def test_the_key_is_gone_before_the_first_cell(ran: dict[str, Ran]) -> None:
    assert set(ran["looks for the key"].printed("look").split()) <= {TRACE, "kernel.log"}
