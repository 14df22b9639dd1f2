"""Checkpoints are measured with the grader's own network, whatever they are called and however they are wrapped."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from grader.evidence import checkpoint
from grader.evidence.checkpoint import CheckpointError, CheckpointScore, measure_checkpoint, read_state
from grader.execution.challenge import Challenge
from grader.execution.trace_events import AnyEvent, NetEvent
from grader.execution.world import INSIDE
from reference import models, training
from reference.preprocessing import normalise

sys.path.append(str(INSIDE))
from course_world.nets import layer_names, names_of
from course_world.operations import Watch

NET = 3
SIZES = {"val": 40, "test": 30}


pytestmark = pytest.mark.usefixtures("one_thread")


def net_event(module: nn.Module) -> NetEvent:
    """What the trace says of a net at its first call."""
    with torch.no_grad(), Watch() as watch:
        module(torch.zeros(2, 3, 32, 32))
    names = layer_names(module)
    layers = [operation.describe() | names_of(operation, names) for operation in watch.operations]
    fields = {"event": "net", "cell": 0, "net": NET, "cls": "Net", "origin": "called", "layers": layers}
    content = json.dumps(fields | {"used": 1, "unused": 0, "copied": True})
    event: NetEvent = TypeAdapter(AnyEvent).validate_python(json.loads(content))
    return event


def images(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Noise, each image in a colour of its own."""
    random = np.random.default_rng(count)
    colours, noise = random.integers(0, 200, (count, 1, 1, 3)), random.integers(0, 56, (count, 32, 32, 3))
    return (colours + noise).astype(np.uint8)


@cache
def trained(option: str) -> models.ResNet20:
    """A net with running statistics of its own that tells images apart."""
    torch.manual_seed(0)
    net = models.ResNet20(option)  # type: ignore[arg-type]
    seen = normalise(torch.from_numpy(images(SIZES["val"])))
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(-1, 1)
                module.momentum = None  # an average over all calls
        net.train()(seen)
        net.fc.bias -= net.eval()(seen).mean(dim=0)  # else one class is predicted for all
    return net


@cache
def labelled(option: str, split: str) -> torch.Tensor:
    """The net's own labels."""
    return training.predict(trained(option), torch.from_numpy(images(SIZES[split])))


class Handed:
    """A net, course data that it has labelled itself, and a folder to hand its checkpoint in."""

    def __init__(self, folder: Path, option: str) -> None:
        self.net, self.root, self.data = trained(option), folder / "submission", folder / "data"
        self.root.mkdir()
        self.data.mkdir()
        self.labels = {split: labelled(option, split) for split in SIZES}
        for split, n in SIZES.items():
            np.save(self.data / f"{split}-images-batch.npy", images(n))
            np.save(self.data / f"{split}-labels-batch.npy", self.labels[split].numpy())
        assert len(set(self.labels["val"].tolist())) > 3, "one class would be right by chance"
        self.name = {"A": "resnet20_a_behind", "B": "resnet20_b"}[option]

    def measure(self, *, equal: bool = True, predicted: list[int] | None = None) -> CheckpointScore | None:
        challenge = Challenge(NET, (self.name,) if equal else (), {}, None)
        files = sorted(self.root.iterdir())
        return measure_checkpoint(files, self.root, self.data, [net_event(self.net)], [challenge], predicted)

    def save(self, value: Any, name: str = "best.pth") -> None:
        torch.save(value, self.root / name)


@pytest.fixture(params=["A", "B"])
def handed(request: pytest.FixtureRequest, tmp_path: Path) -> Handed:
    return Handed(tmp_path, request.param)


@pytest.fixture
def one(tmp_path: Path) -> Handed:
    return Handed(tmp_path, "B")


WRAPPINGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "bare": lambda state: state,
    "the notebook's": lambda state: {"state_dict": state, "epoch": 7, "lr": 0.1},
    "with an optimizer": lambda state: {"epoch": 1, "model": state, "optimizer": {"state": {}, "param_groups": []}},
    "parallel": lambda state: {"net": {f"module.{key}": value for key, value in state.items()}},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "half": lambda state: {key: value.half() if value.is_floating_point() else value for key, value in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_checkpoint_reaches_what_its_net_reaches(handed: Handed, wrapping: str) -> None:
    handed.save(WRAPPINGS[wrapping](handed.net.state_dict()))
    score = handed.measure(predicted=handed.labels["test"].tolist())
    assert score is not None
    assert (score.file, score.problem) == ("best.pth", None)
    least = 0.95 if wrapping == "half" else 1.0
    assert score.validation_accuracy >= least  # type: ignore[operator]
    assert score.agreement >= least  # type: ignore[operator]


def test_other_weights_and_other_predictions_show(one: Handed) -> None:
    torch.manual_seed(9)
    one.save(models.ResNet20("B").state_dict())
    score = one.measure(predicted=[(int(label) + 1) % 10 for label in one.labels["test"].tolist()])
    assert score is not None
    assert score.validation_accuracy is not None
    assert score.validation_accuracy < 0.6
    assert one.measure() == CheckpointScore("best.pth", score.validation_accuracy, None)


def test_the_best_of_several_counts_and_none_is_nothing(one: Handed) -> None:
    assert one.measure() is None
    one.save({"a": 1}, "a.pth")
    one.save(one.net.state_dict(), "b.pt")
    score = one.measure()
    assert score is not None
    assert (score.file, score.validation_accuracy) == ("b.pt", 1.0)


def test_weights_of_another_net_are_named(one: Handed) -> None:
    state = one.net.state_dict()
    key = next(key for key in state if key.endswith("conv2.weight"))
    one.save({name: value for name, value in state.items() if name != key})
    score = one.measure()
    assert score is not None
    assert score.problem == f"it has no {key} of the notebook's net"
    one.save({**state, key: torch.zeros(1, 1, 3, 3)})
    assert one.measure() == score
    one.save({**state, key.replace("conv2.weight", "bn2.running_mean"): torch.zeros(99)})
    assert "another shape" in (one.measure() or CheckpointScore("")).problem  # type: ignore[operator]


def test_a_net_that_is_no_resnet20_is_not_measured(one: Handed) -> None:
    one.save(one.net.state_dict())
    score = one.measure(equal=False)
    assert score is not None
    assert score.problem == "the notebook's net is not ResNet-20, so it was not measured"


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/nonexistent/written", "w"))


def _zip(member: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read"),
        (b"not a checkpoint", "cannot be read"),
        (_zip(b"\x80\x02N."), "cannot be read"),
        (_zip(b"\0" * 200_000), "unpacks to more than"),
    ],
)
def test_broken_files_and_bombs_are_named(
    tmp_path: Path, content: bytes, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 100_000)
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=problem):
        read_state(path)


def test_what_is_pickled_in_it_is_never_run(tmp_path: Path) -> None:
    torch.save({"state_dict": Hostile()}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="cannot be read as a state dictionary"):
        read_state(tmp_path / "x.pth")


def test_too_large_a_file_and_a_link_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.zeros(3), "b": torch.zeros(3)}, tmp_path / "x.pth")
    assert set(read_state(tmp_path / "x.pth")) == {"a", "b"}
    (tmp_path / "link.pth").symlink_to(tmp_path / "x.pth")
    with pytest.raises(CheckpointError):
        read_state(tmp_path / "link.pth")
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 10)
    with pytest.raises(CheckpointError, match="larger than"):
        read_state(tmp_path / "x.pth")
