"""The record of an experiment: everything needed to read, check and repeat its results, as JSON."""

import json
import math
import os
import platform
import re
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from reference.experiment import Answers, Run, Runs, Setting, best
from reference.speed import choose_device
from reference.splits import Splits, checksum
from reference.summary import Summary, as_record

DIGITS = 5  # of what is recorded of every epoch


def hardware(device: torch.device) -> dict[str, Any]:
    """Processor, cores that this process may use, PyTorch's threads, and the GPU where one trains."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }


def processor_name() -> str:
    """The processor's own name where Linux tells it, else the platform's."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}}


def plain(value: Any) -> Any:
    """What JSON can hold: summaries as dictionaries, NaN and infinities (losses of a run that diverged) as None."""
    if isinstance(value, Summary):
        return plain(as_record(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def describe_runs(runs: list[Run]) -> dict[str, Any]:
    """The recipe without its seed, the best validation accuracy over the seeds, and each seed's history."""
    recipe = asdict(runs[0].recipe)
    del recipe["seed"]
    return {"recipe": recipe, "best_val_accuracy": best(runs), "seeds": [describe_run(run) for run in runs]}


def describe_run(run: Run) -> dict[str, Any]:
    history = {
        name: [round(value, DIGITS) for value in values] if isinstance(values, list) else values
        for name, values in asdict(run.history).items()
    }
    return {"seed": run.recipe.seed, "best_epoch": run.history.best_epoch, **history}


def make_record(
    lab: str, command: str, setting: Setting, splits: Splits, runs: Runs, answers: Answers
) -> dict[str, Any]:
    """`seconds` is the wall time of all training and validation."""
    record = {
        "lab": lab,
        "command": command,
        "seeds": list(setting.seeds),
        "epochs": setting.epochs,
        "seconds": sum(run.history.seconds for seeds in runs.values() for run in seeds),
        "data": {
            "train_images": len(splits.train_labels),
            "val_images": len(splits.val_labels),
            "train_labels_crc32": checksum(splits.train_labels),  # tells which build of the data it was
        },
        "hardware": hardware(choose_device(setting.device)),
        "versions": versions(),
        "answers": answers,
        "runs": {name: describe_runs(list(seeds)) for name, seeds in runs.items()},
    }
    result: dict[str, Any] = plain(record)
    return result


def write_record(record: dict[str, Any], path: Path) -> None:
    """As JSON, each list of numbers on a line of its own."""
    text = json.dumps(record, indent=1, allow_nan=False)
    text = re.sub(r"\[[\s\d.eE+,null-]*\]", lambda match: re.sub(r"\s+", " ", match.group()), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, path)
