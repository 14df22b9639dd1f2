"""Benchmarks: `tox -e bench -- NAME [--n N]`. The last line printed is one JSON object with medians, ranges and n."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench_trace import bench_trace

ROOT = Path(__file__).resolve().parents[1]


def bench_grade(n: int) -> dict[str, object]:
    """Wall-clock seconds of `pytest grader` on the sample submission, and of its notebooks' own cells by role."""
    totals: list[float] = []
    cells: dict[str, list[float]] = {}
    for run in range(n):
        with tempfile.TemporaryDirectory() as out:
            started = time.perf_counter()
            command = [sys.executable, "-m", "pytest", "grader", "-q", "--out", out]
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            totals.append(time.perf_counter() - started)
            for role in ("lab1", "lab2", "lab3", "predict"):
                summary = json.loads(Path(out, "evidence", role, "cells.json").read_text())
                cells.setdefault(role, []).append(sum(cell["seconds"] for cell in summary["cells"]))
        print(f"run {run + 1} of {n}: {totals[-1]:.1f} s", flush=True)
    return {"seconds": spread(totals), "cells": {role: spread(seconds) for role, seconds in cells.items()}, "n": n}


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {
        "median": round(statistics.median(values), 2),
        "low": round(min(values), 2),
        "high": round(max(values), 2),
    }


BENCHMARKS: dict[str, Callable[[int], dict[str, object]]] = {"grade": bench_grade, "trace": bench_trace}


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--n", type=int, default=3, help="number of runs (3)")
    options = parser.parse_args()
    result = BENCHMARKS[options.name](options.n)
    print(json.dumps({"bench": options.name, "cores": os.cpu_count(), **result}))


if __name__ == "__main__":
    main()
