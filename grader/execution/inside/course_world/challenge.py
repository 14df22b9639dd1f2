"""The inside half of a challenge: the student's net with the grader's weights, on the grader's images.

Weights are laid onto layers by order of execution and shape, so names and order of definition do not matter. Only
outputs leave; the comparison happens outside.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from course_world.nets import nets
from course_world.recorder import recorder

KINDS = {nn.Conv2d: "conv", nn.Linear: "linear", nn.BatchNorm2d: "bn"}


class NoCounterpartError(Exception):
    """A layer of the challenge that the net does not execute, or the other way round."""


def _executed(net: nn.Module, images: torch.Tensor) -> list[tuple[str, Any, int | None]]:
    """(kind, layer, index of the convolution whose output a BN reads) of each layer with weights, as executed."""
    layers: list[tuple[str, Any, int | None]] = []
    seen: set[int] = set()
    previous: list[int] = []

    def note(part: nn.Module, _inputs: Any, _output: Any) -> None:
        kind = next((name for cls, name in KINDS.items() if isinstance(part, cls)), None)
        if kind is None or id(part) in seen:
            return
        seen.add(id(part))
        layers.append((kind, part, previous[-1] if kind == "bn" and previous else None))
        if kind != "bn":
            previous.append(len(layers) - 1)

    handles = [part.register_forward_hook(note) for part in net.modules()]
    try:
        with torch.no_grad():
            net(images)
    finally:
        for handle in handles:
            handle.remove()
    return layers


def _match(wanted: list[dict[str, Any]], layers: list[tuple[str, Any, int | None]]) -> list[Any]:
    """For each layer of the challenge the net's layer of that kind and shape, BN by the convolution it follows."""
    free = list(range(len(layers)))
    matched: list[int] = []
    for layer in wanted:
        fits = [i for i in free if layers[i][0] == layer["kind"] and list(layers[i][1].weight.shape) == layer["shape"]]
        if layer["kind"] == "bn" and layer["after"] is not None:
            fits = [i for i in fits if layers[i][2] == matched[layer["after"]]] or fits
        if not fits:
            raise NoCounterpartError(f"no {layer['kind']} layer with weight {layer['shape']} is executed")
        matched.append(fits[0])
        free.remove(fits[0])
    if free:
        kind, part, _ = layers[free[0]]
        raise NoCounterpartError(f"another {kind} layer with weight {list(part.weight.shape)} is executed")
    return [layers[i][1] for i in matched]


def _lay(layer: Any, index: int, tensors: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name in ("weight", "bias", "running_mean", "running_var"):
            own = getattr(layer, name, None)
            if isinstance(own, torch.Tensor):
                given = tensors.get(f"{index}.{name}")
                own.copy_(given if given is not None else torch.zeros_like(own))


def _outputs(net: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        outputs = {"eval": net.eval()(images), "train": net.train()(images)}
    return {name: output.double().contiguous().clone() for name, output in outputs.items()}


def answer(request: str, reply: str) -> None:
    """Write the outputs (N, 10) float64 in eval and in train mode, or the reason why there are none."""
    tensors = load_file(request)
    images = tensors.pop("images")
    question = json.loads(Path(request).with_suffix(".json").read_text())
    problem = ""
    outputs: dict[str, torch.Tensor] = {}
    with recorder.paused(), torch.random.fork_rng():
        try:
            original = nets.by_number[question["net"]].copy
            assert original is not None
            net = copy.deepcopy(original).cpu().double()
            net.eval()
            layers = _match(question["layers"], _executed(net, images))
            for index, layer in enumerate(layers):
                _lay(layer, index, tensors)
            outputs = _outputs(net, images)
        except Exception as error:  # noqa: BLE001  (whatever the student's module raises is the answer)
            problem = f"{type(error).__name__}: {error}"[:300]
    save_file(outputs, reply, metadata={"problem": problem})
