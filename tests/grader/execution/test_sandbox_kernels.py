"""What a notebook can do in each tier: real kernels, looked at from inside and from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from grader.execution.cells import CellResult, run_cell, runnable
from grader.execution.kernel import Kernel, KernelStartError, Place, start_kernel
from grader.execution.limits import Limits
from grader.execution.sandbox.provisioner import Ending, SandboxProvisioner
from grader.execution.sandbox.server import fork_server
from grader.execution.sandbox.tiers import Isolation, choose, probe
from grader.execution.world import World

pytestmark = pytest.mark.slow
LIMITS = Limits(
    cell=30.0, notebook=60.0, memory_bytes=2_000_000_000, disk_bytes=20_000_000, disk_files=500, file_bytes=15_000_000
)
JAILED = ("fork", "bubblewrap")
TRY = """
import os, socket
def attempt(function):
    try: return f"done {function()}"
    except BaseException as error: return type(error).__name__
"""


@pytest.fixture(scope="module", params=["fork", "bubblewrap", "landlock"])
def tier(request: pytest.FixtureRequest) -> str:
    problem = probe(request.param)
    if problem:
        pytest.skip(f"{request.param}: {problem}")
    return str(request.param)


@dataclass(frozen=True)
class Ran:
    results: tuple[CellResult, ...]
    printed: tuple[str, ...]
    pulled: dict[str, bytes]
    kinds: tuple[tuple[str, ...], ...]
    ending: Ending | None


def run(tier: str, folder: Path, cells: list[str], limits: Limits = LIMITS, **place: object) -> Ran:
    """Run cells in a kernel; what they printed, how they ended, and the files that came out."""
    for name in ("handed-in", "scratch", "world"):
        (folder / name).mkdir(parents=True)
    (folder / "handed-in" / "note.txt").write_text("handed in")
    np.save(folder / "world" / "images.npy", np.arange(3))
    isolation = Isolation(tier, {})
    where = replace(Place(World(folder / "world"), folder / "handed-in", isolation=isolation), **place)
    notebook = runnable([{"cell_type": "code", "source": source} for source in cells])

    async def all_cells() -> Ran:
        async with start_kernel(notebook, where, folder / "scratch", limits) as kernel:
            results = [await run_cell(kernel.client, index, limits.cell) for index in range(len(cells))]
            await kernel.freeze()
            kernel.pull(where.folder, (".txt",))
            printed = tuple("".join(o.get("text", "") for o in cell.outputs) for cell in notebook.cells)
            pulled = {p.name: p.read_bytes() for p in where.folder.rglob("*") if p.is_file() and not p.is_symlink()}
            shown = (o for cell in notebook.cells for o in cell.outputs if "data" in o)
            kinds = tuple(tuple(sorted(output["data"])) for output in shown)
            return Ran(tuple(results), printed, pulled, kinds, getattr(kernel.provisioner, "ending", None))

    return asyncio.run(all_cells())


# -- reach -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Secrets:
    file: Path
    port: int
    sockets: tuple[socket.socket, ...]
    abstract: str

    def reached(self) -> bool:
        """Whether somebody connected, or sent something."""
        return bool(select.select(self.sockets, [], [], 0.2)[0])


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secrets]:
    file = tmp_path_factory.mktemp("secrets") / "heldout.csv"
    file.write_text("id,label\n0,3\n")
    file.chmod(0o644)
    abstract = f"\0secret-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.socket())
        tcp.bind(("127.0.0.1", 0))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(tcp.getsockname())
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(abstract)
        for listening in (tcp, unix):
            listening.listen()
        yield Secrets(file, tcp.getsockname()[1], (tcp, udp, unix), abstract[1:])


def reaching(secrets: Secrets, grader: int) -> str:
    """A cell that tries each way and prints a JSON object of what came of it."""
    return f"""
import json
ways = dict(
    labels=lambda: open({str(secrets.file)!r}).read(),
    folder=lambda: os.listdir({str(secrets.file.parents[1])!r}),
    tcp=lambda: socket.create_connection(("127.0.0.1", {secrets.port}), 2),
    udp=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {secrets.port})),
    abstract=lambda: socket.socket(socket.AF_UNIX).connect(chr(0) + {secrets.abstract!r}),
    vsock=lambda: socket.socket(40, socket.SOCK_STREAM),
    packet=lambda: socket.socket(17, socket.SOCK_RAW),
    variable=lambda: os.environ["SECRET"],
    environment=lambda: open("/proc/{grader}/environ").read(),
    memory=lambda: open("/proc/1/mem", "r+b"),
    root=lambda: os.listdir("/proc/1/root"),
    limits=lambda: __import__("resource").prlimit(1, 7, (1, 1)),
    user=lambda: os.setuid(0),
)
if os.getuid() == 0: ways.pop("user")
print(json.dumps({{name: attempt(way) for name, way in ways.items()}}))
print(os.getuid(), len([p for p in os.listdir("/proc") if p.isdigit()]))
"""


@pytest.fixture(scope="module")
def reached(tier: str, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET", "a token of the grader's")
        grader = subprocess.Popen(["sleep", "300"])  # its environment as the operating system shows it
        try:
            return run(tier, tmp_path_factory.mktemp("reach") / "run", [TRY, reaching(secrets, grader.pid)])
        finally:
            grader.kill()
            grader.wait()


def test_nothing_outside_is_reached(reached: Ran, secrets: Secrets, tier: str) -> None:
    came = json.loads(reached.printed[1].splitlines()[0])
    assert len(came) >= 12
    known = ("environment", "root", "memory") if tier == "landlock" else ()  # /proc is the machine's there
    assert {name: end for name, end in came.items() if end.startswith("done") and name not in known} == {}
    assert not secrets.reached()
    if tier in JAILED:
        assert "token of the grader" not in reached.printed[1]


def test_kernel_has_no_privileges_and_sees_no_other_process(reached: Ran, tier: str) -> None:
    if tier not in JAILED:
        pytest.skip("Landlock has no namespaces")
    user, processes = reached.printed[1].splitlines()[-1].split()
    assert user != "0"
    assert int(processes) <= 4


CALLS = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def refused(name, *arguments):
    ctypes.set_errno(0)
    return getattr(libc, name)(*arguments) == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)
print([refused("unshare", flag) for flag in (0x10000000, 0x00020000, 0x40000000)])
print(refused("ptrace", 16, 1, 0, 0), refused("mount", b"t", b"/tmp", b"tmpfs", 0, None))
print(refused("memfd_create", b"x", 0), refused("shmget", 1, 4096, 0o1000))
print(refused("chroot", b"/tmp"), refused("syscall", 321, 0, 0, 0))
"""


def test_calls_of_the_system_are_refused(tier: str, tmp_path: Path) -> None:
    ran = run(tier, tmp_path / "run", [CALLS])
    assert "False" not in ran.printed[0]
    assert ran.printed[0].count("True") == 9


# -- space, memory, time, processes ----------------------------------------------------------------------------------

FILL = """
def fill():
    for i in range(10):
        with open(f"big{i}.txt", "wb") as file: file.write(b"x" * 5_000_000)
def many():
    for i in range(2_000): open(f"small{i}", "w").close()
def huge():
    with open("huge.bin", "wb") as file: file.write(b"x" * 16_000_000)
print(attempt(huge), flush=True)
import glob
for f in glob.glob("huge*"): os.remove(f)
print(attempt(fill), flush=True)
for f in glob.glob("big*"): os.remove(f)
print(attempt(many), flush=True)
for f in glob.glob("small*"): os.remove(f)
open("kept.txt", "w").write("kept"); os.symlink("/etc/passwd", "link.txt"); os.mkfifo("pipe.txt")
os.makedirs("deep/er"); open("deep/er/inner.txt", "w").write("inner"); open("left.bin", "w").write("not asked for")
"""


def test_space_is_bounded_and_only_plain_files_come_out(tier: str, tmp_path: Path) -> None:
    ran = run(tier, tmp_path / "run", [TRY, "print(open('note.txt').read())", FILL])
    assert ran.printed[1] == "handed in\n"
    huge, fill, many = ran.printed[2].splitlines()
    assert huge == "OSError"
    if tier in JAILED:
        assert (fill, many) == ("OSError", "OSError")
    assert ran.pulled == {"note.txt": b"handed in", "kept.txt": b"kept", "inner.txt": b"inner"}


def test_a_process_that_asks_for_too_much_gets_a_memory_error(tier: str, tmp_path: Path) -> None:
    ran = run(tier, tmp_path / "run", ["x = bytearray(3_000_000_000)", "print('goes on')"])
    assert ran.results[0].error.startswith("MemoryError")
    assert ran.printed[1] == "goes on\n"


def test_processes_that_take_too_much_together_are_ended(tier: str, tmp_path: Path) -> None:
    source = """
import os, time
for i in range(8):
    if os.fork() == 0:
        kept = bytearray(b"x" * 400_000_000)
        time.sleep(60)
time.sleep(60)
"""
    ran = run(tier, tmp_path / "run", [source])
    assert ran.results[0].status == "died"
    assert ran.results[0].error.startswith("out of memory: it and what it started took more than 2.0 GB")


def test_cpu_time_is_bounded_over_all_processes(tier: str, tmp_path: Path) -> None:
    source = "import os\nfor i in range(3): os.fork()\nwhile True: pass"
    ran = run(tier, tmp_path / "run", [source], replace(LIMITS, cpu=6.0))
    assert ran.results[0].error.startswith("out of time: it and what it started used more than 6 s of CPU time")


def test_number_of_processes_is_bounded(tier: str, tmp_path: Path) -> None:
    if tier == "landlock" and os.getuid() == 0:
        pytest.skip("the limit does not hold for root, and Landlock does not change the user")
    source = """
import os, time
started = 0
try:
    while started < 2_000:
        if os.fork() == 0: time.sleep(100); os._exit(0)
        started += 1
except OSError as error: print(type(error).__name__, started < 400)
"""
    ran = run(tier, tmp_path / "run", [source], replace(LIMITS, processes=200))
    assert ran.printed[0] == "BlockingIOError True\n"


@pytest.mark.parametrize(
    ("source", "end"),
    [
        ("import os; os._exit(3)", "the kernel left with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "the kernel was killed by SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "the kernel was killed by SIGSEGV"),
        ("import os; os.execv('/bin/true', ['true'])", "the kernel left with exit code 0"),
    ],
)
def test_how_a_kernel_ended_is_told(tier: str, tmp_path: Path, source: str, end: str) -> None:
    assert run(tier, tmp_path / "run", [source]).results[0].error == f"{end} while this cell ran"


def test_output_without_end_is_ended(tier: str, tmp_path: Path) -> None:
    source = """
kernel = get_ipython().kernel
while True: kernel.session.send(kernel.iopub_socket, "stream", {"name": "stdout", "text": "x" * 500_000})
"""
    ran = run(tier, tmp_path / "run", [source], replace(LIMITS, output_bytes=20_000_000))
    assert ran.results[0].status == "died"
    assert ran.results[0].error.startswith("the notebook sent more than 20 MB")


# -- the provisioner and the fork server -----------------------------------------------------------------------------


def stock(tier: str, folder: Path, source: str) -> tuple[str, AsyncKernelManager]:
    """Run one cell with nbclient as it is; only the kernelspec names the sandbox."""
    metadata = {"kernel_provisioner": {"provisioner_name": "course-sandbox", "config": {"tier": tier}}}
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "course").mkdir(parents=True)
    spec = {"argv": argv, "display_name": "course", "language": "python", "metadata": metadata}
    (folder / "course" / "kernel.json").write_text(json.dumps(spec))
    specs = KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)
    manager = AsyncKernelManager(kernel_name="course", kernel_spec_manager=specs)
    notebook = new_notebook(cells=[new_code_cell(source)])

    async def execute() -> None:
        client = NotebookClient(notebook, km=manager, timeout=60)
        await client.async_execute()
        client.kc.stop_channels()
        await manager.shutdown_kernel(now=True)

    asyncio.run(execute())
    return "".join(output.get("text", "") for output in notebook.cells[0].outputs), manager


def test_stock_client_needs_nothing_but_the_kernelspec(tier: str, tmp_path: Path) -> None:
    text, manager = stock(tier, tmp_path, f"import os; print(6 * 7, os.path.exists({__file__!r}), os.getpid() < 50)")
    assert isinstance(manager.provisioner, SandboxProvisioner) or manager.provisioner is None
    assert text.startswith("42 ")
    if tier in JAILED:
        assert text == "42 False True\n"


def test_kernels_draw_independent_numbers(tmp_path: Path) -> None:
    if probe("fork"):
        pytest.skip(probe("fork"))
    source = "import random, numpy, torch; print(random.random(), numpy.random.rand(), float(torch.rand(1)))"
    first, second = (stock("fork", tmp_path / name, source)[0].split() for name in "ab")
    assert not set(first) & set(second)


def test_a_fork_server_that_was_killed_is_started_again(tmp_path: Path) -> None:
    if probe("fork"):
        pytest.skip(probe("fork"))
    assert run("fork", tmp_path / "a", ["print(1)"]).printed == ("1\n",)
    before = fork_server.pid
    assert before is not None
    os.kill(before, 9)
    time.sleep(0.2)
    assert run("fork", tmp_path / "b", ["print(2)"]).printed == ("2\n",)
    assert fork_server.pid != before


def test_fork_server_computes_what_a_fresh_process_does(tmp_path: Path) -> None:
    """Losses of a short training are equal to the last bit."""
    source = """
import torch; from torch import nn
torch.manual_seed(1); torch.set_num_threads(2)
net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 900, 10))
optimizer, x = torch.optim.SGD(net.parameters(), lr=0.05), torch.randn(32, 3, 32, 32)
for _ in range(4):
    loss = nn.functional.cross_entropy(net(x), torch.arange(32) % 10)
    optimizer.zero_grad(); loss.backward(); optimizer.step(); print(loss.item().hex())
"""
    if probe("fork"):
        pytest.skip(probe("fork"))
    assert run("fork", tmp_path / "a", [source]).printed == run("none", tmp_path / "b", [source]).printed


def test_processes_and_shell_lines_work(tier: str, tmp_path: Path) -> None:
    cells = [
        "!echo from the shell",
        "import multiprocessing\nwith multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))",
        "import subprocess; print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout)",
        "import asyncio; print(await asyncio.sleep(0.01, 'awaited'))",
    ]
    ran = run(tier, tmp_path / "run", cells)
    assert [text.split() for text in ran.printed] == [["from", "the", "shell"], ["[1,", "2]"], ["child"], ["awaited"]]


def test_private_folders_below_visible_ones_are_empty(tier: str, tmp_path: Path) -> None:
    """As where everything lies below /usr in a container."""
    if tier not in JAILED:
        pytest.skip("Landlock has no mounts")
    private = Path(sys.prefix) / "share" / f"labels-{os.getpid()}"
    try:
        private.mkdir(parents=True)
    except OSError:
        pytest.skip("the environment cannot be written to")
    try:
        (private / "heldout.csv").write_text("secret")
        source = f"import os; print(os.listdir({str(private)!r}))"
        assert run(tier, tmp_path / "seen", [source]).printed == ("['heldout.csv']\n",)
        assert run(tier, tmp_path / "not", [source], private=(private,)).printed == ("[]\n",)
    finally:
        (private / "heldout.csv").unlink()
        private.rmdir()


def test_plots_are_shown_without_a_word_of_it(tier: str, tmp_path: Path) -> None:
    cells = ["import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"]
    assert run(tier, tmp_path / "run", cells).kinds[0] == ("image/png", "text/plain")


def test_a_working_folder_that_was_moved_away_leaves_nothing(tier: str, tmp_path: Path) -> None:
    """And is no error of the grader's."""
    cells = ["import os; here = os.getcwd(); os.chdir('/'); os.rename(here, here + '-gone'); os.symlink('/etc', here)"]
    ran = run(tier, tmp_path / "run", cells)
    assert ran.results[0].status == "ok"
    assert ran.pulled == {"note.txt": b"handed in"}


def test_python_on_the_shell_is_this_python(tier: str, tmp_path: Path) -> None:
    ran = run(tier, tmp_path / "run", ["!python -c 'import torch, sys; print(sys.prefix)'"])
    assert ran.printed[0].split() == [sys.prefix]


def test_ending_tells_what_was_used(tier: str, tmp_path: Path) -> None:
    ran = run(tier, tmp_path / "run", ["kept = bytearray(b'x' * 200_000_000)"])
    assert ran.ending is not None
    assert (ran.ending.why, ran.ending.code) == ("asked", -9)
    assert ran.ending.peak > 200_000_000
    assert ran.ending.cpu > 0


def test_a_kernel_that_cannot_start_says_why(tier: str, tmp_path: Path) -> None:
    with pytest.raises(KernelStartError, match="No such file or directory"):
        run(tier, tmp_path / "run", ["1"], cwd="not/there")


def test_kernels_run_side_by_side(tmp_path: Path) -> None:
    best = choose().tier
    printed: dict[int, tuple[str, ...]] = {}

    def one(number: int) -> None:
        printed[number] = run(best, tmp_path / str(number), [f"print({number})"]).printed

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert printed == {number: (f"{number}\n",) for number in range(4)}


def test_kernel_is_frozen_before_its_files_are_read(tier: str, tmp_path: Path) -> None:
    """A process that it left cannot change them any more."""
    source = """
import os, time
if os.fork() == 0:
    os.setsid()
    while True: open("note.txt", "a").write("x"); time.sleep(0.01)
"""
    folder = tmp_path / "run"
    for name in ("handed-in", "scratch", "world"):
        (folder / name).mkdir(parents=True)

    async def twice() -> list[bytes]:
        place = Place(World(folder / "world"), folder / "handed-in", isolation=Isolation(tier, {}))
        notebook = runnable([{"cell_type": "code", "source": source}])
        async with start_kernel(notebook, place, folder / "scratch", LIMITS) as kernel:
            await run_cell(kernel.client, 0, 30.0)
            await asyncio.sleep(0.3)
            await kernel.freeze()
            first = _note(kernel)
            await asyncio.sleep(0.3)
            return [first, _note(kernel)]

    first, second = asyncio.run(twice())
    assert first
    assert first == second


def _note(kernel: Kernel) -> bytes:
    assert kernel.box is not None
    return kernel.box.read("work/note.txt", 1_000_000)


def test_control_groups_are_used_where_they_can_be_made_and_go_with_the_kernel(tmp_path: Path) -> None:
    """Without a namespace, so that the kernel sees the groups' names."""
    own = Path("/sys/fs/cgroup/cpu")
    if probe("landlock") or not os.access(own, os.W_OK) or not (own / "cgroup.procs").exists():
        pytest.skip("no control groups of version 1 can be made here")
    ran = run("landlock", tmp_path / "run", ["print(open('/proc/self/cgroup').read())"])
    lines = [line.split(":") for line in ran.printed[0].split()]
    groups = [path.split("/")[-1] for _, controllers, path in lines if controllers in ("cpu", "memory")]
    assert len(groups) == 2
    assert all(name.startswith("course-") for name in groups), ran.printed[0]
    end = time.monotonic() + 10
    while any((own / name).exists() for name in groups) and time.monotonic() < end:
        time.sleep(0.05)  # they go after the kernel
    assert not any((own / name).exists() for name in groups)
