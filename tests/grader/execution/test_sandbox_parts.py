"""The sandbox's parts that need no kernel: files taken out, tiers chosen, limits told."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grader.execution.limits import Limits, described, option_of
from grader.execution.sandbox import surroundings, tiers
from grader.execution.sandbox.server import ForkServer, ServerError, receive_enforced
from grader.execution.sandbox.space import Space
from grader.execution.sandbox.surroundings import hidden, lay_out, policy
from grader.execution.sandbox.tiers import Isolation, choose, lacking, probe
from grader.execution.untrusted import UntrustedFileError
from grader.execution.world import INSIDE

sys.path.append(str(INSIDE))
from jail import cgroups

# -- files out of a space --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A space in which a student has left traps."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "labels.txt").write_text("secret")
    space = tmp_path / "space"
    (space / "real" / "deep").mkdir(parents=True)
    (space / "real" / "deep" / "good.txt").write_text("good")
    (space / "link.txt").symlink_to(secret / "labels.txt")
    (space / "inner.txt").symlink_to("real/deep/good.txt")
    (space / "up").symlink_to(secret)
    (space / "folder.txt").mkdir()
    os.mkfifo(space / "pipe.txt")
    with (space / "huge.txt").open("wb") as file:
        file.truncate(10**10)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(space / "socket.txt"))
    (space / "bad\udcff\n.txt").write_text("odd name")
    return space


@pytest.fixture
def space(folder: Path) -> Iterator[Space]:
    opened = Space.at(folder)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("link.txt", "cannot be read: Too many levels of symbolic links"),
        ("inner.txt", "cannot be read: Too many levels of symbolic links"),
        ("up/labels.txt", "labels.txt: Not a directory|up"),
        ("real/../../secret/labels.txt", "leads out of its folder"),
        ("/etc/passwd", "leads out of its folder"),
        ("folder.txt", "cannot be read: Is a directory|not a regular file"),
        ("pipe.txt", "not a regular file"),
        ("socket.txt", "cannot be read: No such device"),
        ("huge.txt", "more than 1,000 bytes"),
        ("none.txt", "none.txt is missing"),
        ("none/none.txt", "missing"),
    ],
)
def test_only_plain_files_are_read(space: Space, name: str, refusal: str) -> None:
    with pytest.raises(UntrustedFileError, match=refusal):
        space.read(name, 1_000)


def test_a_plain_file_is_read_whole_or_in_part(space: Space) -> None:
    assert space.read("real/deep/good.txt", 4) == b"good"
    assert space.read("real/deep/good.txt", 2, start=1, whole=False) == b"oo"


def test_what_is_pulled_are_plain_files_with_the_suffix_within_the_room(space: Space, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "real").mkdir(parents=True)
    space.pull(target, (".txt",), 12)
    pulled = {path.name: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert pulled == {"good.txt": b"good", "bad\udcff\n.txt": b"odd name"}


def test_nothing_is_pulled_through_a_link_of_the_target(space: Space, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "real").symlink_to(tmp_path / "elsewhere")
    space.pull(target, (".txt",), 1_000)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_pulling_ends_in_deep_and_crowded_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grader.execution.sandbox.space.MAX_ENTRIES", 30)
    deep = tmp_path / "space" / "/".join("d" * 20)
    deep.mkdir(parents=True)
    (deep / "too-deep.txt").touch()
    for number in range(40):
        (tmp_path / "space" / f"{number}.txt").touch()
    opened = Space.at(tmp_path / "space")
    opened.pull(tmp_path / "target", (".txt",), 1_000)
    opened.close()
    assert 0 < len(list((tmp_path / "target").rglob("*.txt"))) <= 30


def test_what_the_grader_writes_takes_no_place_that_is_taken(space: Space) -> None:
    made = space.make("challenge-0")
    made.write("request.json", b"{}")
    assert made.path.endswith("/challenge-0")
    assert space.read("challenge-0/request.json", 10) == b"{}"
    with pytest.raises(UntrustedFileError, match="File exists"):
        made.write("request.json", b"{}")
    made.close()
    for name in ("challenge-0", "up", "link.txt"):
        with pytest.raises(UntrustedFileError, match="File exists"):
            space.make(name)


def test_without_descriptors_of_folders_paths_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr(os, "supports_dir_fd", set[object]())
    space = Space.at(tmp_path)
    made = space.make("challenge-0")
    made.write("request.json", b"{}")
    assert made.read("request.json", 10) == b"{}"
    for again in (lambda: made.write("request.json", b""), lambda: space.make("challenge-0")):
        with pytest.raises(UntrustedFileError, match="File exists"):
            again()
    with pytest.raises(UntrustedFileError, match="missing"):
        made.read("reply.json", 10)
    made.close()


# -- tiers -----------------------------------------------------------------------------------------------------------

FIELDS: dict[str, Any] = {
    "tier": "fork",
    "spaces": [{"path": "/box", "bytes": 1_000_000, "inodes": 100}],
    "processes": 10,
    "file_bytes": 100,
    "address_space": 1_000,
}
TIGHT: dict[str, Any] = {
    "user": 1000,
    "capabilities": 0,
    "no_new_privileges": True,
    "filter": True,
    "interfaces": [],
    "sockets": False,
    "reads_python": True,
    "sees_grader": False,
    "processes": 3,
    "spaces": [[1_000_000, 100]],
    "limits": {"processes": 10, "file_bytes": 100, "address_space": 1_000},
}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"user": 0}, "it runs as root"),
        ({"capabilities": 1 << 21}, "it has privileges"),
        ({"no_new_privileges": False}, "it has privileges"),
        ({"filter": False}, "system calls are not filtered"),
        ({"interfaces": ["eth0"]}, "it sees network interfaces"),
        ({"sockets": True}, "it may open sockets"),
        ({"reads_python": False}, "it cannot read Python's own files"),
        ({"sees_grader": True}, "it can read the grader"),
        ({"processes": 90}, "it sees other processes"),
        ({"spaces": [[10**12, 100]]}, "its space has no limit"),
        ({"spaces": [[1_000_000, 10**6]]}, "its space has no limit"),
        ({"limits": {"processes": -1, "file_bytes": 100, "address_space": 1_000}}, "its processes have no limit"),
        ({"limits": {"processes": 10, "file_bytes": -1, "address_space": 1_000}}, "its files have no limit"),
        ({"limits": {"processes": 10, "file_bytes": 100, "address_space": -1}}, "its memory has no limit"),
    ],
)
def test_what_is_not_enforced_is_named(found: dict[str, Any], words: str) -> None:
    assert lacking(FIELDS, TIGHT) == []
    assert lacking(FIELDS, TIGHT | found) == [words]


def test_the_best_tier_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "probe", lambda tier: "" if tier in ("landlock", "none") else f"no {tier} here")
    best = choose.__wrapped__("auto")
    assert (best.tier, best.keeps_labels) == ("landlock", False)
    assert best.describe().startswith("B (Landlock) (A: no fork here; A': no bubblewrap here): no network")
    asked = choose.__wrapped__("none")
    assert (asked.tier, asked.keeps_labels) == ("none", True)
    with pytest.raises(LookupError, match=r"A' .bubblewrap. cannot be had on this machine: no bubblewrap here"):
        choose.__wrapped__("bubblewrap")


def test_other_systems_have_none_and_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers.sys, "platform", "darwin")
    monkeypatch.setattr(tiers.platform, "system", lambda: "Darwin")
    found = choose.__wrapped__("auto")
    assert (found.tier, found.keeps_labels) == ("none", False)
    assert "\n" not in found.describe()
    assert "Darwin has no sandbox that this grader knows" in found.describe()
    assert probe.__wrapped__("fork") == "it needs Linux"


def test_bubblewrap_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers.shutil, "which", lambda name: None)
    assert probe.__wrapped__("bubblewrap") == "bwrap is not installed"


def test_no_gpu_node_is_passed_unless_a_gpu_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "GPU_NODES", ("/dev/null", "/dev/nosuch*"))
    layout = lay_out("fork", tmp_path, None)
    environment = {"HOME": layout.home}
    made = []
    for name, cuda in (("with", True), ("without", False)):
        (tmp_path / name).mkdir()
        made.append(policy("fork", Limits(), layout, tmp_path / name, environment=environment, cwd="/", cuda=cuda))
    assert [fields["devices"] for fields in made] == [["/dev/null"], []]
    # A GPU's address space knows no limit.
    assert [fields["address_space"] for fields in made] == [0, Limits().memory_bytes]


def test_what_is_private_is_hidden_where_it_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "visible" / "labels").mkdir(parents=True)
    inside, outside = tmp_path / "visible" / "labels", tmp_path / "elsewhere"
    outside.mkdir()
    assert hidden([str(tmp_path / "visible")], [inside, outside]) == [str(inside)]


# -- the outside half of starting ------------------------------------------------------------------------------------


def test_a_fork_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("grader.execution.sandbox.server.INSIDE", tmp_path)
    server = ForkServer()
    with pytest.raises(ServerError, match="No module named"):
        server.connect()
    assert server.pid is None


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b'{"failed": "no namespaces"}', "no namespaces"),
        (b"{}", "it ended at once"),
        (None, "beside the kernel is gone"),
    ],
)
def test_a_kernel_that_is_not_there_is_an_error(message: bytes | None, words: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if message is not None:
        theirs.send(message)
    theirs.close()
    with ours, pytest.raises(OSError, match=words):
        receive_enforced(ours, FIELDS, 5.0)


# -- limits ----------------------------------------------------------------------------------------------------------


def test_every_limit_is_an_option_with_a_sentence_and_its_default() -> None:
    options = {option_of(name): text for name, (_, _, text) in described().items()}
    assert options["--cell-timeout"] == "seconds that one cell may take (120.0)"
    assert options["--max-memory-bytes"].endswith("(6,000,000,000)")
    assert len(options) == len(vars(Limits()))
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert [option for option in options if f"`{option}`" not in readme] == []


def test_isolation_that_was_asked_for_may_keep_labels() -> None:
    assert not Isolation("landlock", {}).keeps_labels
    assert Isolation("landlock", {}, asked=True).keeps_labels
    assert Isolation("bubblewrap", {}).keeps_labels


# -- control groups --------------------------------------------------------------------------------------------------


def test_groups_of_version_2_are_made_with_limits_and_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a made-up file system: where the real one is of version 1, this is as far as it can be tried."""
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "SPARED", "0")
    (tmp_path / "cgroup.controllers").touch()
    made: list[Path] = []

    def make(self: Path, *arguments: Any, **options: Any) -> None:
        os.mkdir(self)
        for name in ("memory.max", "pids.max"):
            (self / name).touch()
        made.append(self)

    monkeypatch.setattr(Path, "mkdir", make)
    monkeypatch.setattr(cgroups, "_own", lambda: [tmp_path])
    asked = SimpleNamespace(memory=1_000, processes=10, spaces=[SimpleNamespace(bytes=24)])
    assert cgroups.join(asked) == made  # type: ignore[arg-type]
    assert [(made[0] / name).read_text() for name in ("memory.max", "pids.max")] == ["1024", "18"]
    assert (made[0] / "cgroup.procs").read_text() == str(os.getpid())
    assert not cgroups.out_of_memory(made)
    (made[0] / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert cgroups.out_of_memory(made)
    cgroups.leave(made)
    assert (tmp_path / "cgroup.procs").read_text() == str(os.getpid())


def test_groups_that_cannot_be_made_are_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_own", lambda: [tmp_path / "none", Path("/proc")])
    assert cgroups.join(SimpleNamespace(memory=1, processes=1, spaces=[])) == []  # type: ignore[arg-type]
    cgroups.leave([])
