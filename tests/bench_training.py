"""How fast the reference trains beside the course's own way: loader, PIL transforms, float32, NCHW.

Each way has a process of its own, and the two take turns, so that a noisy machine disturbs both alike. A turn is a part
of an epoch on random images (see `Job`), scaled to one of 45,000; what an epoch does once, as starting the loader's
workers, is timed apart and added once. Epochs are training alone, validation is left out. Both ways use the GPU where
there is one; `COURSE_DATA=FOLDER`, real data, then adds the time to 90 % validation accuracy.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from reference.data.layout import images_file, labels_file
from reference.lab2 import LEARNING_RATES, with_bn
from reference.layers import layers
from reference.models import ResNet20, SimpleNN
from reference.record import hardware, versions
from reference.speed import choose_device, has_bfloat16
from tests.bench_numbers import spread
from tests.bench_training_ways import BATCH, Answer, Job, cores

ROOT = Path(__file__).resolve().parents[1]
EPOCH = 45_000  # training images of the course
COURSE_EPOCHS = 30  # of one run of a lab; a compilation that pays back later than that is not worth it
BAR = 0.90  # validation accuracy
TARGETS = {"simplenn": 5.0, "resnet20": 1.7}  # times faster than the course's own way, at least
SIX_RATES = 2.5  # times the epoch of one learning rate, at most
COURSE, REFERENCE = "course", "reference"
NETS = {"simplenn": SimpleNN, "resnet20": ResNet20, "one rate": with_bn, "six rates": with_bn}


@dataclass(frozen=True)
class Entry:
    """A net trained in one way, and `copies` of it at once."""

    way: str
    name: str
    copies: int = 1

    @property
    def label(self) -> str:
        return f"{self.name}, {self.way}"

    @property
    def net(self) -> str:
        return self.name.removesuffix(" compiled")


ENTRIES = (
    Entry(COURSE, "simplenn"),
    Entry(REFERENCE, "simplenn"),
    Entry(COURSE, "resnet20"),
    Entry(REFERENCE, "resnet20"),
    Entry(REFERENCE, "resnet20 compiled"),
    Entry(REFERENCE, "one rate"),
    Entry(REFERENCE, "six rates", len(LEARNING_RATES)),
)
SIMPLENN, QUICK_SIMPLENN, RESNET, QUICK_RESNET, COMPILED, ONE_RATE, SIX = ENTRIES


@dataclass
class Measured:
    """What the turns gave, a number a round: seconds of an epoch, and those of them for what it does once.

    `first_batch` has the seconds of an entry's very first batch, compilation included; `peak` the most operations a
    second of each way's process, by dtype.
    """

    epoch: dict[Entry, list[float]] = field(default_factory=dict)
    once: dict[Entry, list[float]] = field(default_factory=dict)
    first_batch: dict[Entry, float] = field(default_factory=dict)
    peak: dict[str, dict[str, float]] = field(default_factory=dict)


def epoch_seconds(seconds: float, once: float, images: int) -> float:
    """Of `EPOCH` images, where `images` took `seconds`, with what an epoch does `once` whatever its length."""
    return once + seconds * EPOCH / images


def operations(multiply_adds: int) -> int:
    """Floating-point operations of one training step on one image: two a multiply-add, backward twice the forward."""
    return 3 * 2 * multiply_adds


def share_of_peak(multiply_adds: int, images_per_second: float, peak: float) -> float:
    """Which share of the peak, in operations a second, training nets of `multiply_adds` an image comes to."""
    return operations(multiply_adds) * images_per_second / peak


def pays_back_after(compiling: float, plain: float, compiled: float) -> float | None:
    """Epochs after which `compiling` seconds are won back, each epoch taking `compiled` for `plain`; None if never."""
    return compiling / (plain - compiled) if compiled < plain else None


def seconds_to(bar: float, accuracy: Sequence[float], seconds: Sequence[float]) -> float | None:
    """Seconds until the end of the first epoch whose accuracy reaches `bar`; None if none does."""
    return next((after for found, after in zip(accuracy, seconds, strict=True) if found >= bar), None)


def target(found: float, bound: float, *, at_least: bool) -> dict[str, Any]:
    met = found >= bound if at_least else found <= bound
    return {"target": f"{'>=' if at_least else '<='} {bound:g}", "found": round(found, 2), "met": met}


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """Round by round, so that what disturbed a round disturbed both."""
    return [this / that for this, that in zip(these, those, strict=True)]


def bench_training(n: int) -> dict[str, object]:
    """The table, and its numbers: seconds of an epoch, images a second, shares of the peak, ratios, targets."""
    job, device = Job(), choose_device()
    compiler = "gcc" if device.type == "cuda" else os.environ.get("CXX", "g++")
    measured = measure(n, job, compiled=shutil.which(compiler) is not None)
    result = report(measured, has_bfloat16(device))
    Console().print(table(result))
    details = {"batch": BATCH, "images_of_a_turn": asdict(job), "loader_workers": cores()}
    data = os.environ.get("COURSE_DATA")
    if device.type == "cuda" and data:
        result["to_90_percent"] = to_bar(Path(data), n)
    return {**result, **details, "hardware": hardware(device), "versions": versions(), "n": n}


def measure(n: int, job: Job, *, compiled: bool) -> Measured:
    """Let both ways take n turns at every entry, in turn forwards and backwards, after a round that does not count."""
    measured = Measured()
    entries = [entry for entry in ENTRIES if compiled or entry != COMPILED]
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as running:
        folder = Path(temporary)
        write_images(folder, max(job.simplenn, job.resnet20))
        workers = {way: running.enter_context(start(way, folder, job)) for way in (COURSE, REFERENCE)}
        for number in range(n + 1):
            for entry in entries if number % 2 else entries[::-1]:
                answer = ask(workers[entry.way], entry.name)
                if number > 0:
                    note(measured, entry, answer, job)
            for way, worker in workers.items():
                found = ask(worker, "peak")
                best = measured.peak.setdefault(way, found)
                measured.peak[way] = {dtype: max(rate, best[dtype]) for dtype, rate in found.items()}
    return measured


def note(measured: Measured, entry: Entry, answer: Answer, job: Job) -> None:
    images = job.resnet20 if NETS[entry.net] is ResNet20 else job.simplenn
    seconds = epoch_seconds(answer["seconds"], answer["once"], images)
    measured.epoch.setdefault(entry, []).append(seconds)
    measured.once.setdefault(entry, []).append(answer["once"])
    if "first_batch" in answer:
        measured.first_batch[entry] = answer["first_batch"]


def write_images(folder: Path, count: int) -> None:
    """Random training images in the course's files, and a batch of validation images, which nobody looks at."""
    rng = np.random.default_rng(0)
    for split, images in (("train", count), ("val", BATCH)):
        np.save(folder / images_file(split), rng.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8))
        np.save(folder / labels_file(split), rng.integers(0, 10, images, dtype=np.uint8))


def start(way: str, folder: Path, job: Job) -> subprocess.Popen[str]:
    """A worker; it ends when its input does. What it compiles is not found compiled by an earlier run."""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}
    command = [sys.executable, "-m", "tests.bench_training_ways", way, str(folder), json.dumps(asdict(job))]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def ask(worker: subprocess.Popen[str], entry: str) -> Answer:
    """Raises SystemExit where the worker ended instead of answering; its own words are on stderr."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{entry}\n")
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(f"the process that should have measured {entry!r} ended with exit code {worker.wait()}")
    answer: Answer = json.loads(line)
    return answer


def report(measured: Measured, bfloat16: bool) -> dict[str, Any]:
    """Everything that is computed from what was measured; the ratios are those of each round."""
    epoch = measured.epoch
    faster = {
        entry.name: spread(ratios(epoch[course], epoch[entry]), 2)
        for course, entry in ((SIMPLENN, QUICK_SIMPLENN), (RESNET, QUICK_RESNET), (RESNET, COMPILED))
        if entry in epoch
    }
    compilation = of_compilation(measured) if COMPILED in epoch else None
    together = spread(ratios(epoch[SIX], epoch[ONE_RATE]), 2)
    resnets = [faster[entry.name]["median"] for entry in (QUICK_RESNET, COMPILED) if counts(entry, compilation)]
    return {
        "entries": {entry.label: of_entry(entry, measured, bfloat16) for entry in epoch},
        "times_faster": faster,
        "six_rates_over_one": {"together": together, "one after another": float(len(LEARNING_RATES))},
        "compilation": compilation,
        "peak_gflops": {
            way: {dtype: round(rate / 1e9, 1) for dtype, rate in rates.items()} for way, rates in measured.peak.items()
        },
        "targets": {
            "simplenn": target(faster["simplenn"]["median"], TARGETS["simplenn"], at_least=True),
            "resnet20": target(max(resnets), TARGETS["resnet20"], at_least=True),
            "six rates": target(together["median"], SIX_RATES, at_least=False),
        },
    }


def counts(entry: Entry, compilation: dict[str, Any] | None) -> bool:
    """Whether an entry may stand for the reference: a compiled net where compilation pays back within a lab's run."""
    if entry != COMPILED:
        return True
    return compilation is not None and (compilation["pays_back_after_epochs"] or math.inf) <= COURSE_EPOCHS


def of_entry(entry: Entry, measured: Measured, bfloat16: bool) -> dict[str, Any]:
    """Seconds of an epoch, images a second (that each net sees), share of the peak (of all nets that train at once)."""
    seconds = measured.epoch[entry]
    rates = [EPOCH / each for each in seconds]
    multiply_adds = entry.copies * sum(layer.multiply_adds for layer in layers(NETS[entry.net]()))
    dtype = "bfloat16" if bfloat16 and entry.way == REFERENCE else "float32"
    peak = measured.peak[entry.way][dtype]
    return {
        "epoch_seconds": spread(seconds, 2),
        "once_an_epoch_seconds": spread(measured.once[entry], 2),
        "images_per_second": spread(rates, 0),
        "share_of_peak": round(share_of_peak(multiply_adds, statistics.median(rates), peak), 4),
        "dtype": dtype,
    }


def of_compilation(measured: Measured) -> dict[str, Any]:
    """Seconds of the first batch, compiled and not, and the epochs after which the difference is won back."""
    first, plain = measured.first_batch[COMPILED], measured.first_batch[QUICK_RESNET]
    medians = [statistics.median(measured.epoch[entry]) for entry in (QUICK_RESNET, COMPILED)]
    after = pays_back_after(first - plain, *medians)
    return {
        "first_batch_seconds": round(first, 1),
        "first_batch_seconds_not_compiled": round(plain, 3),
        "pays_back_after_epochs": None if after is None else round(after, 1),
    }


def table(result: dict[str, Any]) -> Table:
    """A row an entry; below it the ratio of the six rates, compilation, the peaks, and the targets."""
    shown = Table(title=f"Training, epochs of {EPOCH:,} images, batch {BATCH}: median (range)")
    for column in ("net, way", "seconds an epoch", "images/s", "share of peak", "times faster"):
        shown.add_column(column, justify="left" if column == "net, way" else "right")
    for label, row in result["entries"].items():
        name, way = label.split(", ")
        faster = result["times_faster"].get(name) if way == REFERENCE else None
        share = f"{row['share_of_peak']:.1%} {row['dtype']}"
        shown.add_row(
            label,
            in_words(row["epoch_seconds"], 1),
            in_words(row["images_per_second"], 0),
            share,
            in_words(faster) if faster else "",
        )
    shown.caption = "\n".join(caption(result))
    return shown


def caption(result: dict[str, Any]) -> list[str]:
    together, in_turn = result["six_rates_over_one"].values()
    lines = [f"Six rates together take {in_words(together)} times one, one after another {in_turn:g} times."]
    compilation = result["compilation"]
    if compilation is not None:
        after = compilation["pays_back_after_epochs"]
        when = "never pays back" if after is None else f"pays back after {after:.1f} epochs"
        lines.append(f"Compiling: first batch {compilation['first_batch_seconds']:.1f} s, {when}.")
    for way, rates in result["peak_gflops"].items():
        lines.append(f"Peak, {way}: {', '.join(f'{dtype} {rate:,.0f} GFLOP/s' for dtype, rate in rates.items())}.")
    for name, goal in result["targets"].items():
        lines.append(f"{name}: {goal['found']:g}, target {goal['target']}: {'met' if goal['met'] else 'NOT MET'}.")
    return lines


def in_words(values: dict[str, float], digits: int = 2) -> str:
    return f"{values['median']:,.{digits}f} ({values['low']:,.{digits}f} to {values['high']:,.{digits}f})"


def to_bar(data: Path, n: int) -> dict[str, Any]:
    """Seconds of training and validation until a ResNet-20 on real data reaches the bar, for n seeds."""
    with start("curve", data, Job()) as worker:
        curves = [ask(worker, str(seed)) for seed in range(n)]
    return {
        "seconds": [seconds_to(BAR, each["val_accuracy"], each["seconds"]) for each in curves],
        "best_val_accuracy": spread([max(each["val_accuracy"]) for each in curves], 4),
        "epochs": len(curves[0]["seconds"]),
        "seconds_of_all_epochs": spread([each["seconds"][-1] for each in curves], 1),
    }
