"""Measure the calibration: the reference's notebooks run through the real pipeline, with one seed after another.

    python -m grader calibrate [--data DIR] --seeds 20 --out grader/calibration.json

For each lab the notebook is cut to what its first training needs; a cell that trains a fresh net with learning rate 0
follows, which shows what noise does to the loss of a net that cannot learn. The file is written after each seed: a
measurement that was interrupted goes on where it ended, one with as many seeds is replaced, the other source's stay.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import platform
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fixtures import embedded, submissions
from grader.calibration import CHECKPOINTS, Calibration, Distribution, Measured, Side, Source, fall, read
from grader.evidence.runs import build_runs
from grader.execution.kernel import Place
from grader.execution.limits import Limits
from grader.execution.notebook import run_notebook
from grader.execution.overfit import Overfit
from grader.execution.trace_events import read_events
from grader.execution.world import World, build_world
from grader.submission.read import read_notebook

PACKAGES = ("torch", "torchvision", "numpy", "pillow")
LIMITS = Limits(cell=3_600.0, notebook=3_600.0, start=600.0, challenge=600.0)  # a busy machine only takes longer


class CalibrationError(Exception):
    """A notebook did not run as the calibration needs it."""


@dataclass(frozen=True)
class Recipe:
    """What is measured of a lab's notebook.

    `last` is found in the last cell that is needed, `without` in lines left out; `frozen` is the cell that trains a
    fresh net with learning rate 0 by the notebook's own loop, on a loader of its own so that it gets full batches.
    """

    notebook: str
    setting: str
    last: str
    frozen: str
    without: str = r"(?!)"


RECIPES = {
    "lab1": Recipe(
        "simplenn-cifar10.ipynb",
        "SimpleNN, SGD with lr 0.01, momentum 0.9, weight decay 1e-4, batches of 128, no augmentation",
        last=r"history = train\(net, optimizer",
        frozen="""
train_loader = DataLoader(train_set, batch_size=TRAIN_BATCH_SIZE, shuffle=True)
frozen = SimpleNN().to(device)
train(frozen, optim.SGD(frozen.parameters(), lr=0.0, momentum=MOMENTUM), 3, DECAY_EPOCHS, DECAY, "frozen.pth")
""",
    ),
    "lab2": Recipe(
        "simplenn-cifar10-dev.ipynb",
        "SimpleNN as in Lab 1, with random crops and flips; one batch: SimpleNN with BN",
        last=r'train\("augmented"',
        frozen="""
frozen_loader = DataLoader(train_augmented, batch_size=TRAIN_BATCH_SIZE, shuffle=True)
train("frozen", new_net(), frozen_loader, 3, lr=0.0)
""",
        without=r'^train\("plain"',
    ),
    "lab3": Recipe(
        "resnet-cifar10.ipynb",
        "ResNet-20, SGD with Nesterov momentum 0.9, one cycle to lr 0.2, weight decay 5e-4, label smoothing 0.1, "
        "augmented batches of 32",
        last=r"for epoch in range\(first_epoch",
        frozen="""
frozen_loader = DataLoader(train_set, batch_size=TRAIN_BATCH_SIZE, shuffle=True)
net = ResNet20().to(device, memory_format=torch.channels_last)
optimizer = optim.SGD(net.parameters(), lr=0.0, momentum=MOMENTUM)
scheduler = optim.lr_scheduler.LambdaLR(optimizer, one_cycle)
for epoch in range(3):
    train_epoch(frozen_loader)
""",
    ),
}


@dataclass(frozen=True)
class Sample:
    """What one run of a notebook showed: losses of full batches, also of the frozen net, and the last on one batch."""

    losses: tuple[float, ...]
    frozen: tuple[float, ...]
    first_loss: float
    overfit: float


def notebook_for(recipe: Recipe, seed: int) -> dict[str, Any]:
    """The reference's notebook up to the training, with this seed, and the cell with the frozen net.

    Raises CalibrationError where the notebook is not as the recipe expects.
    """
    notebook = read_notebook(submissions.NOTEBOOKS / recipe.notebook)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    ends = next((k for k, cell in enumerate(code) if re.search(recipe.last, cell["source"])), None)
    if ends is None:
        raise CalibrationError(f"{recipe.notebook} has no cell with {recipe.last}")
    sources = [_changed(cell["source"], recipe, seed) for cell in code[: ends + 1]]
    return {**notebook, "cells": [{**code[0], "source": source} for source in (*sources, recipe.frozen)]}


def _changed(source: str, recipe: Recipe, seed: int) -> str:
    lines = [line for line in source.splitlines() if not re.search(recipe.without, line)]
    return re.sub(r"manual_seed\(\d+\)", f"manual_seed({seed})", "\n".join(lines))


def run_once(recipe: Recipe, world: World, seed: int) -> Sample:
    """Run one notebook in a folder of its own. Raises CalibrationError."""
    with tempfile.TemporaryDirectory(prefix="calibrate-") as temporary:
        folder = Path(temporary)
        work, out = folder / "work", folder / "out"
        (work / "saved_model").mkdir(parents=True)
        notebook = notebook_for(recipe, seed)
        asyncio.run(run_notebook(notebook, Place(world, work), folder / "scratch", out, LIMITS, one_batch="always"))
        return _read(out, recipe)


def _read(out: Path, recipe: Recipe) -> Sample:
    ended = json.loads((out / "cells.json").read_text())
    failed = next((cell["error"] for cell in ended["cells"] if cell["status"] != "ok"), ended["problem"])
    runs = build_runs(read_events(out / "trace.jsonl")[0], {}, ended["executed"])
    overfits = [Overfit(**overfit) for overfit in json.loads((out / "overfits.json").read_text())]
    last = overfits[-1].last if overfits else None
    if failed or len(runs) != 2 or last is None or runs[0].first_loss is None:
        raise CalibrationError(f"{recipe.notebook}: {failed or f'{len(runs)} runs, last loss on one batch: {last}'}")
    return Sample(runs[0].losses, runs[1].losses, runs[0].first_loss, last)


@dataclass(frozen=True)
class Conditions:
    """By what and on what is measured."""

    command: str
    versions: dict[str, str]
    hardware: str
    setting: str

    def hold(self, measured: Measured) -> bool:
        """Whether an earlier measurement was made alike, so that it can be continued."""
        then = measured.versions, measured.hardware, measured.setting
        return then == (self.versions, self.hardware, self.setting)


def extended(known: Measured | None, samples: Sequence[Sample], conditions: Conditions) -> Measured:
    """The measurement so far with the values of more seeds."""
    steps = min(len(sample.losses) for sample in samples)
    falls = {n: [fall(sample.losses, n) for sample in samples] for n in CHECKPOINTS if n <= steps}
    known_falls = known.falls if known is not None else dict.fromkeys(falls)
    return Measured(
        **asdict(conditions),
        seeds=len(samples) + (known.seeds if known is not None else 0),
        falls={n: _added(known_falls[n], values, "below") for n, values in falls.items() if n in known_falls},
        noise=_added(
            known.noise if known is not None else None, [fall(s.frozen, len(s.frozen)) for s in samples], "above"
        ),
        first_loss=_added(
            known.first_loss if known is not None else None, [sample.first_loss for sample in samples], "above"
        ),
        overfit=_added(known.overfit if known is not None else None, [sample.overfit for sample in samples], "above"),
    )


def _added(known: Distribution | None, values: Sequence[float], side: Side) -> Distribution:
    return Distribution.of([*(known.values if known is not None else ()), *values], side)


def versions() -> dict[str, str]:
    """Of Python and of what the losses depend on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def hardware() -> str:
    """`8 x Intel(R) Xeon(R) ...`; the kernels compute on one core, or on the GPU where the world has one."""
    try:
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}, torch on one thread"


def calibrate(data: Path | None, seeds: int, out: Path, labs: Sequence[str] = tuple(RECIPES)) -> Calibration:
    """Measure these labs with two seeds or more; `out` and a picture beside it are written after each seed.

    Raises CalibrationError.
    """
    source: Source = "embedded" if data is None else "course"
    given = "" if data is None else "--data DIR "
    command = f"python -m grader calibrate {given}--seeds {seeds}"
    with tempfile.TemporaryDirectory(prefix="calibrate-world-") as temporary:
        folder = Path(temporary)
        if data is None:
            data = folder / "embedded"
            embedded.build(data, folder / "heldout.csv")
        world = build_world(data, folder / "world")
        calibration = read(out)
        for lab in labs:
            conditions = Conditions(command, versions(), hardware(), RECIPES[lab].setting)
            known = calibration.labs.get(lab, {}).get(source)
            if known is not None and (known.seeds >= seeds or not conditions.hold(known)):
                known = None
            samples: list[Sample] = []
            for seed in range(known.seeds if known is not None else 0, seeds):
                samples.append(run_once(RECIPES[lab], world, seed))
                if len(samples) > 1 or known is not None:
                    calibration = calibration.with_(lab, source, extended(known, samples, conditions))
                    out.write_text(calibration.model_dump_json(indent=1) + "\n", encoding="utf-8")
                    plot(calibration, out.with_suffix(".png"))
            print(f"{lab}, {source}: {seeds} seeds", flush=True)
    return calibration


COLORS = {"embedded": "C0", "course": "C1"}


def plot(calibration: Calibration, path: Path) -> None:
    """One row a lab: fall of the loss against noise, first loss, last loss on one batch; thresholds are dashed."""
    from matplotlib.figure import Figure

    labs = sorted(calibration.labs.items())
    figure = Figure(figsize=(15, 3.4 * max(len(labs), 1)), layout="constrained")
    for row, (lab, sources) in zip(figure.subplots(max(len(labs), 1), 3, squeeze=False), labs, strict=False):
        steps = {source: max(measured.falls) for source, measured in sources.items() if measured.falls}
        falls = {source: sources[source].falls[known] for source, known in steps.items()}
        most = max(steps.values(), default=0)
        _panel(row[0], f"{lab}: fall of the loss in {most} steps", falls, "learning rate 0", _noise(sources))
        _panel(row[1], f"{lab}: first loss of a fresh net", {s: m.first_loss for s, m in sources.items()})
        _panel(row[2], f"{lab}: last loss on one batch", {s: m.overfit for s, m in sources.items()})
    figure.suptitle("The reference over many seeds; dashed: thresholds, 4 standard deviations from the mean")
    figure.savefig(path, dpi=90)


def _noise(sources: Mapping[Source, Measured]) -> Distribution:
    """Of the source where it is largest."""
    return max((measured.noise for measured in sources.values()), key=lambda noise: noise.threshold)


def _panel(
    axis: Any, title: str, found: Mapping[Source, Distribution], other: str = "", noise: Distribution | None = None
) -> None:
    """Histograms by source on common bins, each with its threshold."""
    named = [(str(source), COLORS[source], distribution) for source, distribution in found.items()]
    if noise is not None:
        named.append((other, "0.5", noise))
    numbers = [number for _, _, d in named for number in (*d.values, d.threshold)]
    low, high = min(numbers), max(numbers)
    margin = 0.03 * (high - low)
    for name, color, d in named:
        axis.hist(d.values, bins=40, range=(low - margin, high + margin), color=color, alpha=0.6, label=name)
        axis.axvline(d.threshold, color=color, linestyle="--", label=f"{name}: {d.threshold:.3g}")
    axis.set(title=title, ylabel="seeds", xlabel="loss")
    axis.locator_params(axis="x", nbins=6)
    axis.legend(fontsize="small")
