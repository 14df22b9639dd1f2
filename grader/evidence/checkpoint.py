"""A checkpoint that was handed in, measured: its weights in the grader's own ResNet-20 on validation and test images.

No code of the student's runs. The net that the notebook built says which entry of the checkpoint is which layer; the
function is the grader's, which the challenge has shown to be the net's own.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grader.execution.architectures import ARCHITECTURES, Layers, layers_of
from grader.execution.challenge import Challenge
from grader.execution.trace_events import LayerRecord, LoaderEvent, NetEvent

SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".tar")
MAX_BYTES = 64_000_000
MOST_LOOKED_AT = 4  # files
TEST_IMAGES = 1_000  # on which predictions.csv is compared
BATCH = 250
PREFIXES = ("module.", "_orig_mod.")  # DataParallel's and torch.compile's
HINT = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))  # the course's mean and deviation


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


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, from a state dictionary or the one inside a dictionary.

    Only torch's zip format is read, without running what is pickled in it. Raises CheckpointError.
    """
    try:
        if not path.is_file() or path.is_symlink() or path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"it is larger than {MAX_BYTES // 1_000_000} MB")
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise CheckpointError(f"it unpacks to more than {MAX_BYTES // 1_000_000} MB")
        with warnings.catch_warnings(action="ignore"):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # noqa: BLE001  (a hostile or broken file may raise anything)
        raise CheckpointError(f"it cannot be read as a state dictionary ({type(error).__name__})") from None
    state = _state_in(loaded)
    if not state:
        raise CheckpointError("it holds no state dictionary")
    return {_without_prefix(str(key)): value for key, value in state.items()}


def _state_in(loaded: Any, depth: int = 3) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping) or not depth:
        return {}
    tensors = {key: value for key, value in loaded.items() if isinstance(value, Tensor)}
    if len(tensors) > 1:
        return tensors
    return next((state for value in loaded.values() if (state := _state_in(value, depth - 1))), {})


def _without_prefix(key: str) -> str:
    while key.startswith(PREFIXES):
        key = key.partition(".")[2]
    return key


# -- from names to layers --------------------------------------------------------------------------------------------


def _layers(state: Mapping[str, Tensor], net: NetEvent, architecture: str) -> Layers:
    """The grader's layers with the checkpoint's weights, float32, in the architecture's order of execution."""
    drawn = []
    for layer, record in zip(layers_of(architecture), _match(net, architecture), strict=True):
        weights = {key: state[f"{record.name}.{key}"] for key in _keys(layer.kind) if f"{record.name}.{key}" in state}
        missing = [key for key in _keys(layer.kind) if key != "bias" and key not in weights]
        if missing or tuple(weights["weight"].shape) != layer.shape:
            raise CheckpointError(f"it has no {record.name}.{(missing or ['weight'])[0]} of the notebook's net")
        if any(value.numel() > math.prod(layer.shape) or value.layout != torch.strided for value in weights.values()):
            raise CheckpointError(f"its {record.name} has another shape than the notebook's net")
        drawn.append((layer, {key: value.float() for key, value in weights.items()}))
    return Layers(torch.Generator(), drawn=drawn)


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
