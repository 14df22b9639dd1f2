"""The inside half of a challenge: the student's net with the grader's weights, on the grader's images.

Weights are laid onto layers by order of execution and shape, so names and order of definition do not matter. Only
outputs and gradients leave; the comparison happens outside.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from course_world.nets import nets
from course_world.operations import STATE, Operation, Watch
from course_world.recorder import recorder

KINDS = {"Conv2d": "conv", "Linear": "linear", "BatchNorm2d": "bn"}
CLASSES = 10
EPS = 1e-5  # torch's own; another one in a BN is nobody's mistake


class NoCounterpartError(Exception):
    """A layer of the challenge that the net does not execute, or the other way round."""


def answer(folder: str) -> None:
    """Write the net's answer to `folder`, or the reason why there is none.

    `eval` and `train` are the outputs (N, 10) float64 in either mode. `gradient.I` (C,) float64 is the gradient of
    <outputs in train mode, direction> with respect to the weight of the question's layer I, summed over all but its
    output channels; it is absent where no gradient reaches the weight.
    """
    tensors = load_file(Path(folder) / "request.safetensors")
    question = json.loads((Path(folder) / "request.json").read_text())
    answers: dict[str, torch.Tensor] = {}
    metadata = {"problem": "", "precision": "", "gradient_problem": ""}
    with recorder.aside(), _full_precision():
        for dtype in (torch.float64, torch.float32):
            try:
                with _probe(question["net"], dtype) as net:
                    answers, gradient_problem = _answers(net, question["layers"], tensors, dtype)
            except Exception as error:  # noqa: BLE001  (whatever the student's module raises is the answer)
                metadata["problem"] = metadata["problem"] or _sentence(error)
            else:
                precision = str(dtype).removeprefix("torch.")
                metadata = {"problem": "", "precision": precision, "gradient_problem": gradient_problem}
                break
    save_file(answers, Path(folder) / "reply.safetensors", metadata=metadata)


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 in a GPU's convolutions, whose outputs would differ in the third digit; no autocast left on."""
    cudnn, allowed = torch.backends.cudnn, torch.backends.cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        with torch.no_grad():
            yield
    finally:
        cudnn.allow_tf32 = allowed


@contextlib.contextmanager
def _probe(number: int, dtype: torch.dtype) -> Iterator[nn.Module]:
    """The net as it was before its first call, or itself with its state put back where it could not be copied.

    It stays on its device: a forward pass may name it.
    """
    known = nets.by_number[number]
    if known.copy is not None:
        yield _even(copy.deepcopy(known.copy).to(dtype))
        return
    module = known.module()
    if module is None:
        raise LookupError("the net could not be copied and is gone")
    state = {name: value.detach().clone() for name, value in module.state_dict().items()}
    parts = [(part, part.training, getattr(part, "eps", None)) for part in module.modules()]
    parameters = [(p, p.dtype, p.requires_grad) for p in module.parameters()]
    try:
        yield _even(module.to(dtype))
    finally:
        module.to(parameters[0][1])
        module.load_state_dict(state)
        for parameter, _, asks_for_gradients in parameters:
            parameter.requires_grad_(asks_for_gradients)
        for part, training, eps in parts:
            part.training = training
            if eps is not None:
                part.eps = eps


def _even(module: nn.Module) -> nn.Module:
    """The same net with torch's usual constant in its BN layers."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eps = EPS
    return module


def _answers(
    net: nn.Module, wanted: list[dict[str, Any]], tensors: dict[str, torch.Tensor], dtype: torch.dtype
) -> tuple[dict[str, torch.Tensor], str]:
    """Outputs and gradients by name, and why there are no gradients."""
    device = next(net.parameters()).device
    images = tensors["images"].to(device, dtype)
    with Watch() as watch:
        net.eval()(images)
    operations = _match(wanted, watch)
    for index, operation in enumerate(operations):
        _lay(operation, index, tensors)
    outputs = {"eval": net.eval()(images), "train": net.train()(images)}
    answers = {mode: _plain(_logits(output)) for mode, output in outputs.items()}
    try:
        gradients = _gradients(net, operations, images, tensors["direction"].to(device, dtype))
    except Exception as error:  # noqa: BLE001  (a net that backward cannot pass shows it in its own training)
        return answers, _sentence(error)
    return answers | {f"gradient.{index}": value for index, value in gradients.items()}, ""


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().double().cpu().contiguous().clone()


def _gradients(
    net: nn.Module, operations: list[Operation], images: torch.Tensor, direction: torch.Tensor
) -> dict[int, torch.Tensor]:
    """By position of the layer; a weight that forward() reads through `.data` is asked for as the net holds it."""
    held = {p.data_ptr(): p for p in net.parameters()}
    weights = [held.get(o.state["weight"].data_ptr(), o.state["weight"]) for o in operations]
    with torch.enable_grad():
        for weight in weights:
            if weight.is_leaf:
                weight.requires_grad_(True)
        logits = _logits(net.train()(images.clone()))
        asked = {index: weight for index, weight in enumerate(weights) if weight.requires_grad}
        if not logits.requires_grad:
            return {}
        found = torch.autograd.grad((logits * direction).sum(), list(asked.values()), allow_unused=True)
    reached = {index: value for index, value in zip(asked, found, strict=True) if value is not None}
    return {index: _plain(value.flatten(1).sum(1) if value.dim() > 1 else value) for index, value in reached.items()}


def _match(wanted: list[dict[str, Any]], watch: Watch) -> list[Operation]:
    """For each layer of the challenge the net's layer of that kind and shape, BN by the convolution it follows."""
    seen: set[int] = set()
    free: list[int] = []
    for index, operation in enumerate(watch.operations):
        if operation.has_weights and operation.type in KINDS and id(operation.state["weight"]) not in seen:
            seen.add(id(operation.state["weight"]))
            free.append(index)
    matched: list[int] = []
    for layer in wanted:
        fits = [i for i in free if _fits(watch.operations[i], layer)]
        if layer["kind"] == "bn" and layer["after"] is not None:
            fits = [i for i in fits if watch.feeding(i) == matched[layer["after"]]] or fits
        if not fits:
            raise NoCounterpartError(f"no {layer['kind']} layer with weight {layer['shape']} is executed")
        matched.append(fits[0])
        free.remove(fits[0])
    if free:
        left = watch.operations[free[0]]
        raise NoCounterpartError(
            f"another {left.type} layer with weight {list(left.state['weight'].shape)} is executed"
        )
    return [watch.operations[i] for i in matched]


def _fits(operation: Operation, layer: dict[str, Any]) -> bool:
    return bool(KINDS[operation.type] == layer["kind"] and list(operation.state["weight"].shape) == layer["shape"])


def _lay(operation: Operation, index: int, tensors: dict[str, torch.Tensor]) -> None:
    for name in STATE:
        own, given = operation.state.get(name), tensors.get(f"{index}.{name}")
        if own is not None:
            own.data.copy_(given if given is not None else torch.zeros_like(own))


def _logits(output: Any) -> torch.Tensor:
    """The net's output, or of several the first with a column for each class."""
    if isinstance(output, (list, tuple)):
        output = next(o for o in output if isinstance(o, torch.Tensor) and o.shape[-1] == CLASSES)
    logits: torch.Tensor = output.flatten(1) if output.dim() > 2 else output
    return logits
