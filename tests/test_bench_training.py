"""The benchmark of training: what it computes from measured seconds, and one small run of both ways."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests import bench_training as bench
from tests.bench_training import COMPILED, ENTRIES, ONE_RATE, QUICK_RESNET, QUICK_SIMPLENN, RESNET, SIMPLENN, SIX
from tests.bench_training_ways import Job


@pytest.fixture
def measured() -> bench.Measured:
    """Two rounds in which the reference is 6 and 2 times faster, compiled 2.5 times, and six rates take twice one."""
    seconds = {SIMPLENN: 12.0, QUICK_SIMPLENN: 2.0, RESNET: 100.0, QUICK_RESNET: 50.0, COMPILED: 40.0}
    seconds |= {ONE_RATE: 3.0, SIX: 6.0}
    return bench.Measured(
        epoch={entry: [seconds[entry], 2 * seconds[entry]] for entry in ENTRIES},
        once={entry: [0.1, 0.3] for entry in ENTRIES},
        first_batch={QUICK_RESNET: 1.0, COMPILED: 61.0},
        peak={"course": {"float32": 1e11}, "reference": {"float32": 1e11, "bfloat16": 1e12}},
    )


def test_a_part_of_an_epoch_is_scaled_and_what_it_does_once_is_not() -> None:
    assert bench.epoch_seconds(seconds=2.0, once=0.5, images=9_000) == pytest.approx(10.5)


def test_a_training_step_counts_three_forward_passes_of_two_operations_a_multiply_add() -> None:
    assert bench.share_of_peak(multiply_adds=1_000, images_per_second=50.0, peak=3e6) == pytest.approx(0.1)


@pytest.mark.parametrize(("plain", "compiled", "epochs"), [(50.0, 40.0, 6.0), (40.0, 40.0, None), (40.0, 50.0, None)])
def test_compilation_pays_back_only_where_epochs_are_faster(
    plain: float, compiled: float, epochs: float | None
) -> None:
    assert bench.pays_back_after(60.0, plain, compiled) == epochs


@pytest.mark.parametrize(("bar", "seconds"), [(0.5, 10.0), (0.8, 20.0), (0.95, None)])
def test_a_bar_is_reached_at_the_end_of_the_first_epoch_that_has_it(bar: float, seconds: float | None) -> None:
    assert bench.seconds_to(bar, [0.5, 0.8, 0.8], [10.0, 20.0, 30.0]) == seconds


@pytest.mark.parametrize(("found", "at_least", "met"), [(5.0, True, True), (4.9, True, False), (5.1, False, False)])
def test_targets_are_bounds_from_below_or_above(found: float, at_least: bool, met: bool) -> None:
    goal = bench.target(found, 5.0, at_least=at_least)
    assert goal == {"target": ">= 5" if at_least else "<= 5", "found": found, "met": met}


def test_ratios_are_those_of_each_round(measured: bench.Measured) -> None:
    result = bench.report(measured, bfloat16=True)
    assert result["times_faster"]["simplenn"] == {"median": 6.0, "low": 6.0, "high": 6.0}
    assert result["six_rates_over_one"]["together"]["median"] == 2.0
    assert {name: goal["met"] for name, goal in result["targets"].items()} == dict.fromkeys(result["targets"], True)


def test_the_peak_is_that_of_the_own_process_and_dtype(measured: bench.Measured) -> None:
    entries = bench.report(measured, bfloat16=True)["entries"]
    assert entries[SIMPLENN.label]["dtype"] == "float32"
    assert entries[QUICK_SIMPLENN.label]["dtype"] == "bfloat16"
    measured.peak["reference"]["bfloat16"] /= 2
    lower = bench.report(measured, bfloat16=True)["entries"]
    assert lower[SIMPLENN.label]["share_of_peak"] == entries[SIMPLENN.label]["share_of_peak"]
    assert lower[QUICK_RESNET.label]["share_of_peak"] == pytest.approx(
        2 * entries[QUICK_RESNET.label]["share_of_peak"], abs=1e-4
    )


def test_nets_that_train_at_once_count_together_toward_the_peak(measured: bench.Measured) -> None:
    """At twice the time, six nets are three times the arithmetic a second."""
    entries = bench.report(measured, bfloat16=False)["entries"]
    assert entries[SIX.label]["share_of_peak"] == pytest.approx(3 * entries[ONE_RATE.label]["share_of_peak"], rel=0.01)


@pytest.mark.parametrize(("first_batch", "found"), [(61.0, 2.5), (1_000.0, 2.0)])
def test_the_compiled_net_counts_where_compilation_pays_back_within_a_lab(
    measured: bench.Measured, first_batch: float, found: float
) -> None:
    measured.first_batch[COMPILED] = first_batch
    assert bench.report(measured, bfloat16=True)["targets"]["resnet20"]["found"] == found


def test_without_a_compiler_the_rest_is_reported(measured: bench.Measured) -> None:
    del measured.epoch[COMPILED]
    result = bench.report(measured, bfloat16=True)
    assert result["compilation"] is None
    assert result["targets"]["resnet20"]["found"] == 2.0
    assert "Compiling" not in printed(result)


def test_the_table_says_everything(measured: bench.Measured) -> None:
    measured.epoch[QUICK_SIMPLENN] = [6.0, 12.0]
    text = printed(bench.report(measured, bfloat16=True))
    assert re.search(r"simplenn, course .* 18\.0 \(12\.0 to 24\.0\)", text)
    assert re.search(r"resnet20, reference .* 2\.00 \(2\.00 to 2\.00\)", text)
    assert "first batch 61.0 s, pays back after 4.0 epochs" in text
    assert "simplenn: 2, target >= 5: NOT MET" in text
    assert "six rates: 2, target <= 2.5: met" in text


def printed(result: dict[str, object]) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(bench.table(result))
    return capture.get()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bench.write_images(tmp_path, 256)
    return tmp_path


@pytest.mark.slow
def test_a_worker_that_fails_ends_the_benchmark(folder: Path) -> None:
    with bench.start("reference", folder, Job()) as worker, pytest.raises(SystemExit, match="'no such entry'"):
        bench.ask(worker, "no such entry")


@pytest.mark.slow
def test_both_ways_take_turns_at_every_entry() -> None:
    result = bench.measure(1, Job(simplenn=256, resnet20=128, matrix=64), compiled=False)
    assert set(result.epoch) == set(ENTRIES) - {COMPILED}
    assert all(np.isfinite(seconds) and seconds > 0 for (seconds,) in result.epoch.values())
    assert all((once > 0) == (entry.way == "course") for entry, (once,) in result.once.items())
    assert all(rates["float32"] > 0 for rates in result.peak.values())
    json.dumps(bench.report(result, bfloat16="bfloat16" in result.peak["reference"]))
