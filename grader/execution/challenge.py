"""The outside half of a challenge: fresh weights and images for a student's net, and the comparison of its outputs.

Equal outputs and equal gradients on weights and images drawn after the net was built mean the same function, whatever
its classes and attributes are called.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from grader.execution.architectures import ARCHITECTURES, DEVIATIONS, KNOWN, Layer, Layers, layers_of
from grader.execution.sandbox.space import Space
from grader.execution.trace_events import NetEvent
from grader.execution.untrusted import UntrustedFileError

IMAGES, CLASSES = 4, 10
# Largest difference of a logit. Logits are of the order of one; rounding adds 1e-13 in float64 and 1e-5 in float32.
TOLERANCE = 1e-6
TOLERANCES = {"float64": TOLERANCE, "float32": 1e-3}
# Largest deviation of a layer's gradient, of the largest entry that is expected. Rounding moves a few activations of
# float32 over ReLU's corner, each of which takes its share of the gradient along.
GRADIENT_TOLERANCES = {"float64": 1e-6, "float32": 0.05}
MODES = ("eval", "train")
MAX_REPLY_BYTES = 100_000


@dataclass(frozen=True)
class Challenge:
    """What one net answered: the architectures it equals in eval and in train mode, or why there was no answer.

    `differences` holds for each architecture of the same layers the largest deviation of a logit, (eval, train).
    `equal_in_eval` are those it equals in eval mode alone, as a net with dropout does. `last` is what follows the
    logits: `none`, or `log_softmax` (which a negative log-likelihood loss asks for), or `softmax`; equality is judged
    before a log_softmax and `equal_but_softmax` before a softmax, which is none of the assignment's.

    `equal_in_values` are those whose outputs it equals, but not their gradients: `without_gradient` and
    `other_gradient` are the positions of their layers whose weights get none, or another one. Where backward() raised,
    `gradient_problem` says how, and outputs alone were compared. `deviations` are common mistakes that it equals.
    """

    net: int
    equal: tuple[str, ...]
    differences: dict[str, tuple[float, float]]
    problem: str | None
    equal_in_eval: tuple[str, ...] = ()
    equal_but_softmax: tuple[str, ...] = ()
    last: str = "none"
    precision: str = "float64"
    equal_in_values: tuple[str, ...] = ()
    without_gradient: tuple[int, ...] = ()
    other_gradient: tuple[int, ...] = ()
    gradient_problem: str = ""
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """Images (IMAGES, 3, 32, 32) and a direction (IMAGES, 10) float64, and the weights that one group shares."""

    names: tuple[str, ...]
    images: Tensor
    direction: Tensor
    layers: Layers

    def answer(self, name: str, mode: str) -> Tensor:
        """The logits (IMAGES, 10) float64 of one of the architectures in `eval` or `train` mode."""
        return KNOWN[name](self.images, self.layers.restart(training=mode == "train"))

    def gradients(self, name: str, last: str) -> list[Tensor]:
        """For each layer (C,) float64 what the inside half calls `gradient.I`; `last` is the net's last operation."""
        layers = self.layers.leaves()
        logits = KNOWN[name](self.images, layers)
        output = logits.log_softmax(1) if last == "log_softmax" else logits
        weights = [held["weight"] for _, held in layers.drawn]
        found = torch.autograd.grad((output * self.direction).sum(), weights)
        return [value.flatten(1).sum(1) if value.dim() > 1 else value for value in found]


@dataclass(frozen=True)
class Reply:
    """Outputs (IMAGES, 10) float64 by mode, gradients by layer, the precision of both, or the problem."""

    outputs: dict[str, Tensor]
    precision: str
    problem: str | None
    gradients: dict[int, Tensor]
    gradient_problem: str = ""


@cache
def _signatures() -> dict[str, Counter[tuple[str, tuple[int, ...]]]]:
    return {name: _signature(layers_of(name)) for name in KNOWN}


def _signature(layers: Sequence[Layer]) -> Counter[tuple[str, tuple[int, ...]]]:
    return Counter((layer.kind, layer.shape) for layer in layers)


def candidates(net: NetEvent) -> list[list[str]]:
    """The known nets with exactly this net's executed layers, those that share their weights in one group."""
    own = Counter((layer.kind, layer.weight) for layer in net.layers if layer.weight and layer.kind != "other")
    groups: dict[tuple[Layer, ...], list[str]] = {}
    for name, signature in _signatures().items():
        if signature == own:
            groups.setdefault(layers_of(name), []).append(name)
    return list(groups.values())


def draw(names: list[str], seed: int) -> Question:
    """Draw images and weights for one group of architectures."""
    generator = torch.Generator().manual_seed(seed)
    layers = Layers(generator)
    images = torch.randn(IMAGES, 3, 32, 32, generator=generator, dtype=torch.float64)
    direction = torch.randn(IMAGES, CLASSES, generator=generator, dtype=torch.float64)
    with _on_one_thread():
        KNOWN[names[0]](images[:1], layers)
    return Question(tuple(names), images, direction, layers)


def write_request(folder: Space, net: int, question: Question) -> None:
    """Write `request.safetensors`, which holds images and weights, and `request.json`, which says what they are for.

    Raises UntrustedFileError where the kernel left no room for them.
    """
    drawn = question.layers.drawn
    tensors = {f"{i}.{key}": value for i, (_, weights) in enumerate(drawn) for key, value in weights.items()}
    given = {"images": question.images, "direction": question.direction}
    folder.write("request.safetensors", save(given | tensors))
    request = {"net": net, "layers": [_as_json(layer) for layer, _ in drawn]}
    folder.write("request.json", json.dumps(request).encode())


@contextlib.contextmanager
def _on_one_thread() -> Iterator[None]:
    """Small nets gain nothing from more, and kernels of students are at work beside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _as_json(layer: Layer) -> dict[str, Any]:
    return {"kind": layer.kind, "shape": list(layer.shape), "after": layer.after}


def read_challenges(path: Path) -> tuple[Challenge, ...]:
    """The answered challenges of a notebook, from the evidence folder."""
    return TypeAdapter(tuple[Challenge, ...]).validate_json(path.read_bytes())


def read_reply(folder: Space, net: int, question: Question) -> Challenge:
    """Compare the outputs in `reply.safetensors` with those of each architecture in the group.

    The reply is the student's: a missing, oversized or malformed one is a challenge without an answer.
    """
    reply = _read_reply(folder, question)
    if reply.problem is not None:
        return Challenge(net, (), {}, reply.problem)
    tolerance, last = TOLERANCES[reply.precision], _last(reply.outputs)
    with _on_one_thread():
        expected = {name: {mode: question.answer(name, mode) for mode in MODES} for name in question.names}
    all_differences = {name: _differences(reply.outputs, expected[name], last) for name in question.names}
    differences = {name: pair for name, pair in all_differences.items() if name in ARCHITECTURES}
    equal = tuple(name for name, pair in differences.items() if max(pair) <= tolerance)
    without, other = _gradients_that_differ(reply, question, equal, last)
    softmax = _softmax_undone(reply.outputs) if last == "softmax" else None
    return Challenge(
        net,
        equal=() if without or other else equal,
        differences=differences,
        problem=None,
        equal_in_eval=tuple(name for name, pair in differences.items() if pair[0] <= tolerance < pair[1]),
        equal_but_softmax=tuple(
            name
            for name in differences
            if softmax is not None and max(_differences(softmax, expected[name], "log_softmax")) <= 1e3 * tolerance
        ),
        last=last,
        precision=reply.precision,
        equal_in_values=equal if without or other else (),
        without_gradient=without,
        other_gradient=other,
        gradient_problem=reply.gradient_problem,
        deviations=tuple(n for n, pair in all_differences.items() if n in DEVIATIONS and max(pair) <= tolerance),
    )


def _gradients_that_differ(
    reply: Reply, question: Question, equal: tuple[str, ...], last: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of the layers without a gradient, and with another one than the architecture that the net equals."""
    if not equal or reply.gradient_problem:
        return (), ()
    with _on_one_thread():
        expected = question.gradients(equal[0], last)
    without: list[int] = []
    other: list[int] = []
    for index, wanted in enumerate(expected):
        found = reply.gradients.get(index)
        if found is None or not bool(found.any()):
            without.append(index)
        elif not float((found - wanted).abs().max() / wanted.abs().max()) <= GRADIENT_TOLERANCES[reply.precision]:
            other.append(index)
    return tuple(without), tuple(other)


def _last(outputs: dict[str, Tensor]) -> str:
    """Logits of fresh weights neither sum to one nor do their exponentials."""
    if all(bool((o >= 0).all()) and _is_one(o.sum(1)) for o in outputs.values()):
        return "softmax"
    return "log_softmax" if all(_is_one(o.exp().sum(1)) for o in outputs.values()) else "none"


def _is_one(sums: Tensor) -> bool:
    return bool(((sums - 1).abs() < 1e-5).all())


def _softmax_undone(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {mode: output.clamp_min(1e-300).log() for mode, output in outputs.items()}


def _differences(outputs: dict[str, Tensor], expected: dict[str, Tensor], last: str) -> tuple[float, float]:
    """The largest deviation of a logit in eval and in train mode; a log_softmax is put behind the expected ones too."""

    def difference(mode: str) -> float:
        wanted = expected[mode].log_softmax(1) if last == "log_softmax" else expected[mode]
        largest = float((outputs[mode] - wanted).abs().max())
        return largest if largest == largest else float("inf")

    return difference("eval"), difference("train")


def _read_reply(folder: Space, question: Question) -> Reply:
    def refused(problem: str) -> Reply:
        return Reply({}, "float64", problem, {})

    try:
        data = folder.read("reply.safetensors", MAX_REPLY_BYTES)
        tensors, metadata = load(data), _metadata(data)
    except (UntrustedFileError, SafetensorError, ValueError, KeyError, RecursionError) as error:
        reason = str(error) if isinstance(error, UntrustedFileError) else type(error).__name__
        return refused(f"the net gave no readable outputs ({reason})")
    if metadata.get("problem"):
        return refused(str(metadata["problem"])[:300])
    outputs = {mode: tensors[mode] for mode in MODES if mode in tensors}
    precision = metadata.get("precision", "float64")
    if len(outputs) < len(MODES) or precision not in TOLERANCES:
        return refused("the net gave no outputs")
    shape = (IMAGES, CLASSES)
    wrong = next((o for o in outputs.values() if tuple(o.shape) != shape or o.dtype != torch.float64), None)
    if wrong is not None:
        return refused(f"the outputs have shape {tuple(wrong.shape)}; expected {shape}")
    gradients = {
        index: tensor
        for index, (layer, _) in enumerate(question.layers.drawn)
        if (tensor := tensors.get(f"gradient.{index}")) is not None
        and (tuple(tensor.shape), tensor.dtype) == (layer.shape[:1], torch.float64)
    }
    return Reply(outputs, precision, None, gradients, str(metadata.get("gradient_problem", ""))[:300])


def _metadata(data: bytes) -> dict[str, Any]:
    """What stands beside the tensors: eight bytes with the header's length, then the header as JSON."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.get("__metadata__", {})
    return metadata if isinstance(metadata, dict) else {}
