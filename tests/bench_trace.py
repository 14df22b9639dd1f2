"""What the trace costs: the same training steps of SimpleNN in two processes, with and without the kernel's hooks.

Both processes stay alive and take turns, a piece of training each, so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fixtures import embedded
from grader.execution.world import TRAIN_IMAGES, build_world

ROOT = Path(__file__).resolve().parents[1]
STEPS = 60  # a piece of training
BATCH = 128
WARM_UP = 3  # pieces; in the first of them nets are described and data sets looked at


def bench_trace(n: int) -> dict[str, object]:
    """Milliseconds of one step of SimpleNN at batch 128, with a loader over tensors, and the ratio of each pair."""
    pieces = max(n, 10)
    with tempfile.TemporaryDirectory() as folder:
        embedded.build(Path(folder) / "data", Path(folder) / "heldout.csv")
        build_world(Path(folder) / "data", Path(folder))
        plain, traced = (_start(traced, Path(folder)) for traced in (False, True))
        times: dict[str, list[float]] = {"plain": [], "traced": []}
        for piece in range(WARM_UP + pieces):
            order = [("plain", plain), ("traced", traced)]
            for name, worker in order if piece % 2 else order[::-1]:
                seconds = _ask(worker)
                if piece >= WARM_UP:
                    times[name].append(1000 * seconds / STEPS)
        for worker in (plain, traced):
            _end(worker)
        size = (Path(folder) / "trace.jsonl").stat().st_size
    ratios = [t / p for t, p in zip(times["traced"], times["plain"], strict=True)]
    steps = STEPS * (WARM_UP + pieces)
    return {
        **{f"{name}_ms": _spread(values) for name, values in times.items()},
        "overhead": _spread([ratio - 1 for ratio in ratios], 4),
        "bytes_a_step": round(size / steps),
        "batch": BATCH,
        "steps": STEPS,
        "n": pieces,
    }


def _spread(values: list[float], digits: int = 3) -> dict[str, float]:
    median, low, high = statistics.median(values), min(values), max(values)
    return {"median": round(median, digits), "low": round(low, digits), "high": round(high, digits)}


def _start(traced: bool, folder: Path) -> subprocess.Popen[str]:
    """A worker that trains a piece for each line it reads and answers with the seconds."""
    environment = {
        **os.environ,
        "COURSE_WORLD_TRACE": str(folder / "trace.jsonl"),
        "COURSE_WORLD_DATA": str(folder),
        "COURSE_WORLD_EFFORT": "1e6",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "grader" / "execution" / "inside"), str(ROOT)]),
    }
    command = [sys.executable, "-m", "tests.bench_trace", "traced" if traced else "plain"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def _ask(worker: subprocess.Popen[str]) -> float:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("go\n")
    return float(worker.stdout.readline())


def _end(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.close()
    worker.wait()


def work(traced: bool) -> None:
    """The worker: an ordinary training loop."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    from reference.models import SimpleNN

    torch.manual_seed(0)
    torch.set_num_threads(1)
    if traced:
        from course_world import forward, loaders, losses, saving, schedules, steps

        for part in (loaders, forward, losses, steps, schedules, saving):
            part.install()
    # As many images as the small world has for training, so that the trace takes them for a copy of those.
    images, labels = torch.randn(TRAIN_IMAGES, 3, 32, 32), torch.randint(0, 10, (TRAIN_IMAGES,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=BATCH, shuffle=True)
    net, criterion = SimpleNN(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    for _ in sys.stdin:
        begin = time.perf_counter()
        for _ in range(STEPS * BATCH // TRAIN_IMAGES):
            net.train()
            for batch, target in loader:
                optimizer.zero_grad()
                loss = criterion(net(batch), target)
                loss.backward()
                optimizer.step()
                loss.item()
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    work(sys.argv[1] == "traced")
