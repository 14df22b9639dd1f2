"""The outside half of a challenge: fresh weights and images for a student's net, and the comparison of its outputs.

Equal outputs on weights and images drawn after the net was built mean the same function, whatever its classes and
attributes are called.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from grader.execution.architectures import ARCHITECTURES, Layer, Layers, layers_of
from grader.execution.trace_events import NetEvent

IMAGES = 4
TOLERANCE = 1e-6
MAX_REPLY_BYTES = 100_000


@dataclass(frozen=True)
class Challenge:
    """What one net answered: the architectures it equals in eval and in train mode, or why there was no answer.

    `differences` holds for each architecture of the same layers the largest deviation of a logit, (eval, train).
    """

    net: int
    equal: tuple[str, ...]
    differences: dict[str, tuple[float, float]]
    problem: str | None


@cache
def _signatures() -> dict[str, Counter[tuple[str, tuple[int, ...]]]]:
    return {name: _signature(layers_of(name)) for name in ARCHITECTURES}


def _signature(layers: Sequence[Layer]) -> Counter[tuple[str, tuple[int, ...]]]:
    return Counter((layer.kind, layer.shape) for layer in layers)


def candidates(net: NetEvent) -> list[list[str]]:
    """The architectures with exactly this net's executed layers, those that share their weights in one group."""
    own = Counter((layer.kind, layer.weight) for layer in net.layers if layer.weight and layer.kind != "other")
    groups: dict[tuple[Layer, ...], list[str]] = {}
    for name, signature in _signatures().items():
        if signature == own:
            groups.setdefault(layers_of(name), []).append(name)
    return list(groups.values())


def write_request(folder: Path, net: int, names: list[str], seed: int) -> None:
    """Draw weights and images for one group of architectures and write `request.safetensors` and `.json`."""
    images, layers = _draw(names, seed)
    tensors = {f"{i}.{key}": value for i, (_, weights) in enumerate(layers.drawn) for key, value in weights.items()}
    save_file({"images": images, **tensors}, folder / "request.safetensors")
    question = {"net": net, "layers": [_as_json(layer) for layer, _ in layers.drawn]}
    (folder / "request.json").write_text(json.dumps(question))


def _draw(names: list[str], seed: int) -> tuple[torch.Tensor, Layers]:
    """Images (IMAGES, 3, 32, 32) float64 and the weights that all architectures of the group share."""
    generator = torch.Generator().manual_seed(seed)
    layers = Layers(generator)
    images = torch.randn(IMAGES, 3, 32, 32, generator=generator, dtype=torch.float64)
    ARCHITECTURES[names[0]](images, layers)
    return images, layers


def _as_json(layer: Layer) -> dict[str, Any]:
    return {"kind": layer.kind, "shape": list(layer.shape), "after": layer.after}


def read_reply(folder: Path, net: int, names: list[str], seed: int) -> Challenge:
    """Compare the outputs in `reply.safetensors` with those of each architecture in the group.

    The reply is the student's: a missing, oversized or malformed one is a challenge without an answer.
    """
    outputs, problem = _read_outputs(folder / "reply.safetensors")
    if problem or not outputs:
        return Challenge(net, (), {}, problem or "the net gave no outputs")
    differences: dict[str, tuple[float, float]] = {}
    images, layers = _draw(names, seed)
    for name in names:
        expected = {
            mode: ARCHITECTURES[name](images, layers.restart(training=mode == "train")) for mode in ("eval", "train")
        }
        differences[name] = _difference(outputs, expected, "eval"), _difference(outputs, expected, "train")
    equal = tuple(name for name, pair in differences.items() if max(pair) <= TOLERANCE)
    return Challenge(net, equal, differences, None)


def _difference(outputs: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], mode: str) -> float:
    difference = float((outputs[mode] - expected[mode]).abs().max())
    return difference if difference == difference else float("inf")


def _read_outputs(path: Path) -> tuple[dict[str, torch.Tensor], str | None]:
    try:
        if path.stat().st_size > MAX_REPLY_BYTES:
            return {}, "the reply is larger than two sets of logits"
        with safe_open(path, framework="pt") as reply:
            problem = (reply.metadata() or {}).get("problem", "")
            if problem:
                return {}, problem
            outputs = {mode: reply.get_tensor(mode) for mode in ("eval", "train")}
    except (OSError, SafetensorError) as error:
        return {}, f"the net gave no readable outputs ({type(error).__name__})"
    if any(tuple(o.shape) != (IMAGES, 10) or o.dtype != torch.float64 for o in outputs.values()):
        return {}, f"the outputs have shape {tuple(outputs['eval'].shape)}; expected ({IMAGES}, 10)"
    return outputs, None
