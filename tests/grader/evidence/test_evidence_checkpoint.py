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


FIRST, BN, LAST = "conv1", "bn1", "fc"
huge = torch.ones(1).expand(10**12)
# What stands in the place of a tensor of the net, and what is said of it.
OTHERS: dict[str, tuple[str, Callable[[torch.Tensor], torch.Tensor], str]] = {
    "other shape": (f"{FIRST}.weight", lambda _: torch.zeros(1, 1, 3, 3), "shape (1, 1, 3, 3), expected (16, 3, 3, 3)"),
    "statistics": (f"{BN}.running_mean", lambda _: torch.zeros(99), "shape (99,), expected (16,)"),
    "one for all": (f"{BN}.running_var", lambda _: torch.ones(()), "shape (), expected (16,)"),
    "bias": (f"{LAST}.bias", lambda _: torch.zeros(0), "shape (0,), expected (10,)"),
    "bias of a BN": (f"{BN}.bias", lambda _: torch.zeros(4, 4), "shape (4, 4), expected (16,)"),
    "variances": (f"{BN}.running_var", lambda value: -torch.ones_like(value), "negative variances"),
    "NaN": (f"{FIRST}.weight", lambda value: value * float("nan"), "infinite or none (NaN)"),
    "too large": (f"{FIRST}.weight", lambda value: value.double() * 1e300, "infinite or none (NaN)"),
    "expanded": (f"{FIRST}.weight", lambda _: huge, "shows 1,000,000,000,000 numbers, expected a tensor"),
    "meta": (f"{FIRST}.weight", lambda value: value.to("meta"), "has no data (a tensor on the device 'meta')"),
    "sparse": (f"{FIRST}.weight", lambda value: value.to_sparse(), "is a sparse tensor"),
    "sparse rows": (f"{LAST}.weight", lambda value: value.to_sparse_csr(), "is a sparse tensor"),
    "quantised": (f"{FIRST}.weight", lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), "is quantised"),
    "complex": (f"{FIRST}.weight", lambda value: value * 1j, "holds numbers of type complexfloat"),
    "whole": (f"{BN}.weight", lambda value: value.to(torch.int8), "holds numbers of type char"),
    "eight bits": (f"{BN}.weight", lambda v: v.to(torch.float8_e4m3fn), "none of float64, 32 and 16"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("other", OTHERS)
def test_a_tensor_that_is_none_of_the_net_s_costs_the_checkpoint_alone(one: Handed, other: str) -> None:
    key, change, said = OTHERS[other]
    state = one.net.state_dict()
    one.save({**state, key: change(state[key])})
    score = one.measure()
    assert score is not None
    assert score.problem is not None
    assert score.problem.startswith(f"its {key} ")
    assert said in score.problem
    assert score.validation_accuracy is None


def test_what_cannot_be_measured_costs_the_checkpoint_alone(one: Handed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("meta tensor")

    monkeypatch.setattr(checkpoint, "_predict", fail)
    one.save(one.net.state_dict())
    assert one.measure() == CheckpointScore("best.pth", problem="it could not be measured (RuntimeError)")


class Arguments:
    """A class that the grader does not have."""

    def __init__(self) -> None:
        self.best, self.seen = np.float64(0.9), {np.int64(3)}


KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "parameters": lambda state: {key: nn.Parameter(v) if v.is_floating_point() else v for key, v in state.items()},
    "channels last": lambda state: {
        key: value.to(memory_format=torch.channels_last) if value.dim() == 4 else value for key, value in state.items()
    },
    "transposed": lambda state: {
        key: value.T.contiguous().T if value.dim() == 2 else value for key, value in state.items()
    },
    "one storage": lambda state: _in_one_storage(state),
    "double": lambda state: {key: v.double() if v.is_floating_point() else v for key, v in state.items()},
    "beside objects": lambda state: {"arguments": Arguments(), "best": np.float64(0.9), "net": state},
}


def _in_one_storage(state: dict[str, Any]) -> dict[str, Any]:
    flat, end = torch.cat([value.flatten().float() for value in state.values()]), 0
    views = {}
    for key, value in state.items():
        views[key] = flat[end : end + value.numel()].view(value.shape)
        end += value.numel()
    return views


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_read_however_they_lie(tmp_path: Path, kind: str) -> None:
    state = trained("B").state_dict()
    torch.save(KINDS[kind](state), tmp_path / "x.pth")
    read = read_state(tmp_path / "x.pth").tensors
    floats = {key: value for key, value in state.items() if value.is_floating_point()}
    assert floats.keys() <= read.keys()
    for key, value in floats.items():
        assert torch.equal(read[key].float(), value), key


def test_bfloat16_is_read(tmp_path: Path) -> None:
    state = {"a": torch.randn(3, 2).bfloat16(), "b": torch.zeros(0)}
    torch.save(state, tmp_path / "x.pth")
    read = read_state(tmp_path / "x.pth").tensors
    assert torch.equal(read["a"], state["a"])
    assert read["b"].shape == (0,)


def test_a_net_that_is_no_resnet20_is_not_measured(one: Handed) -> None:
    one.save(one.net.state_dict())
    score = one.measure(equal=False)
    assert score is not None
    assert score.problem == "the notebook's net is not ResNet-20, so it was not measured"


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/nonexistent/written", "w"))


def _zip(member: bytes, **others: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", member)
        for name, content in others.items():
            archive.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def _number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def _tensors(start: int, shape: bytes, strides: bytes) -> bytes:
    """A pickle of two tensors that lie in the file `0` as one says."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _number(start) + shape + strides + b"\x89}tR"
    return b"\x80\x02}(U\x01a" + tensor + b"U\x01b" + tensor + b"u."


HOSTILE = {
    "empty": (b"", "cannot be read"),
    "no zip": (b"not a checkpoint", "cannot be read"),
    "nothing": (_zip(b"\x80\x02N."), "holds no state dictionary"),
    "no pickle": (_zip(b"x"), "cannot be read as a state dictionary"),
    "unpacks": (_zip(bytes(200_000)), "unpacks to more than 0.1 MB"),
    "many files": (_zip(b"", **{str(i): b"" for i in range(5_001)}), "holds 5,002 files, expected at most 5,000"),
    "great bytearray": (_zip(b"\x80\x02cbuiltins\nbytearray\n" + _number(6 << 30) + b"\x85R."), "no state dictionary"),
    "great memo": (_zip(b"\x80\x02Nr\xff\xff\xff\x7f."), "needs too much memory"),
    "call of text": (_zip(b"\x80\x02ctorch\nByteStorage\n" + _number(1 << 42) + b"\x85R."), "cannot be read"),
    "big-endian": (_zip(_tensors(0, b")", b")"), byteorder=b"big"), "another order of bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_broken_files_and_bombs_are_named(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 100_000 if case == "unpacks" else 10_000_000)
    content, problem = HOSTILE[case]
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=problem):
        read_state(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("start", "shape", "strides", "problem"),
    [
        (1 << 40, b"K\x04\x85", b"K\x01\x85", "reaches beyond its data"),
        (0, b"K\x04\x85", b"K\x02\x85", "reaches beyond its data"),
        (-1, b"K\x04\x85", b"K\x01\x85", "is damaged"),
        (0, _number(-4) + b"\x85", b"K\x01\x85", "is damaged"),
        (0, b"K\x02K\x02\x86", b"K\x01\x85", "is damaged"),
        (0, b"N", b"X\x01\x00\x00\x00x", "is damaged"),
        (0, _number(1 << 40) + b"\x85", b"K\x00\x85", "shows 1,099,511,627,776 numbers"),
    ],
)
def test_tensors_whose_places_lie_are_named(
    tmp_path: Path, start: int, shape: bytes, strides: bytes, problem: str
) -> None:
    (tmp_path / "x.pth").write_bytes(_zip(_tensors(start, shape, strides), **{"data/0": bytes(16)}))
    state = read_state(tmp_path / "x.pth")
    assert state.problems == {"a": problem, "b": problem}
    assert not state.tensors


def test_what_is_pickled_in_it_is_never_run(tmp_path: Path) -> None:
    torch.save({"state_dict": Hostile()}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="it holds no state dictionary"):
        read_state(tmp_path / "x.pth")


def test_floods_of_keys_and_of_numbers_are_refused(tmp_path: Path) -> None:
    one = torch.zeros(1)
    torch.save({f"k{i}": one for i in range(4_001)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="state dictionary has 4,001 entries, expected at most 4,000"):
        read_state(tmp_path / "x.pth")
    torch.save({f"k{i}": one for i in range(100_000)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"its data.pkl has 1.8 MB, expected at most 1 MB"):
        read_state(tmp_path / "x.pth")
    torch.save({f"k{i}": one.expand(1_000_000) for i in range(5)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="state dictionary has more than 4,000,000 numbers"):
        read_state(tmp_path / "x.pth")


@pytest.mark.parametrize("reply", [b"", b"[]\n", b'{"problems": {}}\nxx', b'{"problems": 3}\n', b'{"refused": 1}'])
def test_the_reader_itself_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: bytes) -> None:
    monkeypatch.setattr(checkpoint, "run_limited", lambda *_: reply)
    (tmp_path / "x.pth").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="its reader gave no reply"):
        read_state(tmp_path / "x.pth")


def test_too_large_a_file_and_a_link_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.zeros(3), "b": torch.zeros(3)}, tmp_path / "x.pth")
    assert set(read_state(tmp_path / "x.pth").tensors) == {"a", "b"}
    (tmp_path / "link.pth").symlink_to(tmp_path / "x.pth")
    with pytest.raises(CheckpointError):
        read_state(tmp_path / "link.pth")
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 10)
    with pytest.raises(CheckpointError, match="larger than"):
        read_state(tmp_path / "x.pth")
