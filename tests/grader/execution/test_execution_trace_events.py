"""The trace is read as hostile input: what is no event is dropped and counted, whatever stands in the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from grader.execution import trace_events
from grader.execution.trace_events import LayerRecord, ReadyEvent, StepEvent, Transform, read_events

READY = {"event": "ready", "cell": -1}
STEP = {
    "event": "step",
    "cell": 0,
    "net": 0,
    "fed": 0,
    "optimizer": 0,
    "kind": "SGD",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "covers": 1.0,
    "earlier_steps": 0,
    "images": 128,
    "training": True,
    "split": "train",
    "loader": 0,
    "loss": 2.3,
    "cross_entropy": 2.3,
    "loss_kind": "cross_entropy",
    "loss_fed": "logits",
    "fresh_gradients": True,
}


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_events_in_order_and_where_to_read_on(tmp_path: Path) -> None:
    trace = write(tmp_path / "trace", READY, STEP)
    with trace.open("a") as file:
        file.write('{"event": "rea')
    events, malformed, end = read_events(trace)
    assert [type(event) for event in events] == [ReadyEvent, StepEvent]
    assert malformed == 0
    with trace.open("a") as file:
        file.write('dy", "cell": 3}\n')
    events, malformed, end = read_events(trace, start=end)
    assert ([event.cell for event in events], malformed) == ([3], 0)
    assert end == trace.stat().st_size


@pytest.mark.parametrize(
    "line",
    [
        *(
            "garbage",
            "[1, 2]",
            "null",
            "3",
            '"text"',
            "{}",
            '{"event": "ready"}',
            "[" * 10_000,
            '{"cell": 1' + "0" * 5_000,
        ),
        {"event": "unknown", "cell": 0},
        {**READY, "cell": -2},
        {**READY, "cell": 10**9},
        {**READY, "cell": True},
        {**STEP, "net": -1},
        {**STEP, "images": 10**30},
        {**STEP, "kind": "x" * 10_000},
        {**STEP, "split": "held-out"},
        '{"event": "step", "lr": NaN}',
        json.dumps(STEP).replace("2.3", "Infinity"),
        {"event": "pass", "cell": 0, "loader": 0, "split": None, "batches": 1, "nets": [0] * 1_000},
        {"event": "net", "cell": 0, "net": 0, "layers": [{"type": "Conv2d"}] * 10_000},
    ],
)
def test_lines_that_are_no_event_are_counted(tmp_path: Path, line: Any) -> None:
    events, malformed, _ = read_events(write(tmp_path / "trace", READY, line, READY))
    assert ([event.event for event in events], malformed) == (["ready", "ready"], 1)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(b"\xff\xfe\n\n" + json.dumps(READY).encode() + b"\n")
    events, malformed, _ = read_events(tmp_path / "trace")
    assert (len(events), malformed) == (1, 1)


def test_flood_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_events, "MAX_EVENTS", 10)
    monkeypatch.setattr(trace_events, "MAX_BYTES", 10_000)
    trace = write(tmp_path / "trace", *[READY] * 1_000)
    events, malformed, end = read_events(trace)
    assert (len(events), malformed) == (10, 0)
    assert 0 < end <= 10_000


def test_endless_line_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_events, "MAX_BYTES", 1_000)
    (tmp_path / "trace").write_text("x" * 1_500 + "\n" + json.dumps(READY) + "\n")
    _, malformed, end = read_events(tmp_path / "trace")
    assert (malformed, end) == (1, 1_000)
    events, _, _ = read_events(tmp_path / "trace", start=end)
    assert len(events) == 1


def test_what_is_no_file_has_no_events(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(write(tmp_path / "trace", READY))
    for name in ("pipe", "link", "none", "."):
        assert read_events(tmp_path / name) == ([], 0, 0)


def test_kinds_of_layers() -> None:
    kinds = [LayerRecord(type=name).kind for name in ("Conv2d", "BatchNorm2d", "Linear", "ReLU", "BatchNorm1d")]
    assert kinds == ["conv", "bn", "linear", "other", "other"]


def test_augmentation_needs_crops_and_flips() -> None:
    both = Transform(tensor=True, shifts=20, max_shift=4, flips=True)
    assert (both.augments, both.is_random) == (True, True)
    assert not both.model_copy(update={"flips": False}).augments
    assert not both.model_copy(update={"always_flipped": True}).augments
    assert not both.model_copy(update={"shifts": 1, "max_shift": 0}).augments
    assert not Transform(shifts=1, flips=True, always_flipped=True).is_random
    assert Transform(shifts=1, other=True).is_random
