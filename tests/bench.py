"""Benchmarks: `tox -e bench -- NAME [--n N]`. The last line printed is one JSON object with medians, ranges and n."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable

from tests.bench_anchors import bench_anchors
from tests.bench_attacks import bench_attacks
from tests.bench_grade import bench_grade
from tests.bench_kernel import bench_kernel
from tests.bench_trace import bench_trace
from tests.bench_training import bench_training

BENCHMARKS: dict[str, Callable[[int], dict[str, object]]] = {
    "anchors": bench_anchors,
    "attacks": bench_attacks,
    "grade": bench_grade,
    "kernel": bench_kernel,
    "trace": bench_trace,
    "training": bench_training,
}


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--n", type=int, default=3, help="number of runs (3); some take more")
    options = parser.parse_args()
    result = BENCHMARKS[options.name](options.n)
    print(json.dumps({"bench": options.name, "cores": os.cpu_count(), **result}))


if __name__ == "__main__":
    main()
