"""A checkpoint that was handed in, measured: its weights in the grader's own ResNet-20 on validation and test images.

No code of the student's runs. The net that the notebook built says which entry of the checkpoint is which layer; the
function is the grader's, which the challenge has shown to be the net's own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from grader.evidence.bounded import preview
from grader.evidence.limited import LimitedError, run_limited
from grader.execution.architectures import ARCHITECTURES, Layers, layers_of
from grader.execution.challenge import Challenge
from grader.execution.trace_events import LayerRecord, LoaderEvent, NetEvent
from grader.execution.untrusted import FLAGS

SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".tar")
READER = Path(__file__).with_name("checkpoint_tensors.py")
MAX_BYTES = 64_000_000  # of a file, packed and unpacked
MAX_REPLY = 36_000_000  # bytes: 4,000,000 numbers of eight bytes and what is said of them
MOST_LOOKED_AT = 4  # files
TEST_IMAGES = 1_000  # on which predictions.csv is compared
BATCH = 250
HINT = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))  # the course's mean and deviation


class Reply(BaseModel):
    """What the reader says of a checkpoint: why it is refused, or which tensors of it are no plain numbers."""

    refused: str | None = None
    problems: dict[str, str] = {}


class CheckpointError(Exception):
    """A file that is no checkpoint of this net; the message says why."""


@dataclass(frozen=True)
class CheckpointScore:
    """What a checkpoint reaches: validation accuracy in [0, 1], and the share of test images labelled as handed in.

    `agreement` is None where there is no readable predictions.csv; `problem` says why nothing was measured.
    """

    file: str
    validation_accuracy: float | None = None
    agreement: float | None = None
    problem: str | None = None


def measure_checkpoint(
    files: Iterable[Path],
    root: Path,
    data: Path,
    events: Sequence[Any],
    challenges: Sequence[Challenge],
    predicted: Sequence[int] | None,
) -> CheckpointScore | None:
    """The best of the checkpoints in a submission by validation accuracy; None where there is none at all.

    `events` and `challenges` are of Lab 3's notebook, `data` is the course's folder, `predicted` the labels handed in.
    """
    found = [path for path in files if path.suffix.lower() in SUFFIXES][:MOST_LOOKED_AT]
    net, name = _resnet20(events, challenges)
    scores = []
    for path in found:
        file = str(path.relative_to(root))
        try:
            if net is None:
                raise CheckpointError("the notebook's net is not ResNet-20, so it was not measured")
            layers = _layers(read_state(path), net, name)
            scores.append(_measure(file, name, layers, data, _normalisation(events), predicted))
        except CheckpointError as error:
            scores.append(CheckpointScore(file, problem=str(error)))
        except Exception as error:  # noqa: BLE001  (a file that was handed in costs no more than its own measurement)
            scores.append(CheckpointScore(file, problem=f"it could not be measured ({type(error).__name__})"))
    return max(scores, key=lambda score: score.validation_accuracy or 0.0, default=None)


def _resnet20(events: Sequence[Any], challenges: Sequence[Challenge]) -> tuple[NetEvent | None, str]:
    """The first net that is ResNet-20, and which one of its forms."""
    nets = {event.net: event for event in events if isinstance(event, NetEvent)}
    for challenge in challenges:
        for name in challenge.equal:
            if name.startswith("resnet20") and challenge.net in nets:
                return nets[challenge.net], name
    return None, ""


def _normalisation(events: Sequence[Any]) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of the notebook's validation images, else the course's hint."""
    for event in events:
        if isinstance(event, LoaderEvent) and event.split == "val" and event.transform is not None:
            found = event.transform.normalisation
            if found is not None and all(abs(s) > 1e-6 for s in found.std):
                return found.mean, found.std
    return HINT


# -- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """The tensors of a state dictionary by name, of floating-point numbers, and what the others are or lack."""

    tensors: Mapping[str, Tensor]
    problems: Mapping[str, str]

    def has(self, key: str) -> bool:
        """Whether there is such an entry, whatever it is."""
        return key in self.tensors or key in self.problems


def read_state(path: Path) -> State:
    """A state dictionary, or the one inside a dictionary, in torch's zip format. Raises CheckpointError.

    Another process with limits reads it and runs nothing of it; what that hands back is bounded and checked here.
    """
    try:
        with open(os.open(path, FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointError("it is not a regular file")
            if status.st_size > MAX_BYTES:
                raise CheckpointError(f"it is larger than {MAX_BYTES / 1e6:g} MB")
            written = run_limited(READER, [str(MAX_BYTES)], file, MAX_REPLY)
    except OSError as error:
        raise CheckpointError(f"it cannot be opened ({error.strerror})") from None
    except LimitedError as error:
        raise CheckpointError(str(error)) from None
    head, _, tensors = written.partition(b"\n")
    try:
        reply = Reply.model_validate_json(head)
        if reply.refused is not None:
            raise CheckpointError(preview(reply.refused, 300))
        return State(load(tensors), reply.problems)
    except (ValueError, SafetensorError):
        raise CheckpointError("it cannot be read: its reader gave no reply") from None


# -- from names to layers --------------------------------------------------------------------------------------------


def _layers(state: State, net: NetEvent, architecture: str) -> Layers:
    """The grader's layers with the checkpoint's weights, float32, in the architecture's order of execution."""
    drawn = []
    for layer, record in zip(layers_of(architecture), _match(net, architecture), strict=True):
        shapes = {key: layer.shape if key == "weight" else layer.shape[:1] for key in _keys(layer.kind)}
        if layer.kind == "conv" and not state.has(f"{record.name}.bias"):
            del shapes["bias"]
        weights = {key: _weight(state, f"{record.name}.{key}", shape) for key, shape in shapes.items()}
        drawn.append((layer, weights))
    return Layers(torch.Generator(), drawn=drawn)


def _weight(state: State, key: str, shape: tuple[int, ...]) -> Tensor:
    """One entry of the state in float32. Raises CheckpointError, which names what it is instead."""
    if key in state.problems:
        raise CheckpointError(f"its {key} {preview(state.problems[key], 100)}, expected a tensor of float32")
    if key not in state.tensors:
        raise CheckpointError(f"it has no {key} of the notebook's net")
    value = state.tensors[key]
    if tuple(value.shape) != shape:
        raise CheckpointError(f"its {key} has shape {tuple(value.shape)}, expected {shape}")
    value = value.float()
    if not bool(value.isfinite().all()):
        raise CheckpointError(f"its {key} holds numbers that are infinite or none (NaN) in float32")
    if key.endswith("running_var") and bool((value < 0).any()):
        raise CheckpointError(f"its {key} holds negative variances")
    return value


def _keys(kind: str) -> tuple[str, ...]:
    return ("weight", "bias", "running_mean", "running_var") if kind == "bn" else ("weight", "bias")


def _match(net: NetEvent, architecture: str) -> list[LayerRecord]:
    """For each layer of the architecture the net's, by kind and shape in order of execution, BN by its convolution."""
    free = [place for place, record in enumerate(net.layers) if record.kind != "other" and record.weight]
    matched: list[int] = []
    for layer in layers_of(architecture):
        fits = [p for p in free if (net.layers[p].kind, net.layers[p].weight) == (layer.kind, layer.shape)]
        if layer.kind == "bn" and layer.after is not None:
            fits = [place for place in fits if _feeding(net, place) == matched[layer.after]] or fits
        if not fits:
            raise CheckpointError(f"the notebook's net has no {layer.kind} layer of shape {layer.shape}")
        matched.append(fits[0])
        free.remove(fits[0])
    return [net.layers[place] for place in matched]


def _feeding(net: NetEvent, place: int) -> int | None:
    """The nearest convolution or linear layer whose output reached an operation."""
    while net.layers[place].reads:
        earlier = net.layers[place].reads[0]
        if earlier >= place:  # no trace of an honest kernel
            return None
        place = earlier
        if net.layers[place].kind in ("conv", "linear"):
            return place
    return None


# -- measuring -------------------------------------------------------------------------------------------------------


def _measure(
    file: str,
    name: str,
    layers: Layers,
    data: Path,
    normalisation: tuple[Sequence[float], Sequence[float]],
    predicted: Sequence[int] | None,
) -> CheckpointScore:
    truth = np.load(data / "val-labels-batch.npy")
    labels = _predict(name, layers, np.load(data / "val-images-batch.npy", mmap_mode="r"), normalisation)
    accuracy = float((labels == truth).mean())
    if predicted is None:
        return CheckpointScore(file, accuracy)
    images = np.load(data / "test-images-batch.npy", mmap_mode="r")[:TEST_IMAGES]
    same = _predict(name, layers, images, normalisation) == np.asarray(predicted[: len(images)])
    return CheckpointScore(file, accuracy, float(same.mean()))


def _predict(
    name: str, layers: Layers, images: NDArray[np.uint8], normalisation: tuple[Sequence[float], Sequence[float]]
) -> NDArray[np.int64]:
    """Labels (N,) of images (N, 32, 32, 3) uint8, in eval mode."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in normalisation)
    labels = []
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(np.array(images[start : start + BATCH])).permute(0, 3, 1, 2).float() / 255
            logits = ARCHITECTURES[name]((batch - mean) / std, layers.restart(training=False))
            labels.append(logits.argmax(dim=1))
    found: NDArray[np.int64] = torch.cat(labels).numpy()
    return found
