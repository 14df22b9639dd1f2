"""The inside half of a challenge: the student's net with the grader's weights, on the grader's images.

Weights are laid onto layers by order of execution and shape, so names and order of definition do not matter. Only
outputs leave; the comparison happens outside.
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


class NoCounterpartError(Exception):
    """A layer of the challenge that the net does not execute, or the other way round."""


def answer(folder: str) -> None:
    """Write the outputs (N, 10) float64 in eval and in train mode to `folder`, or the reason why there are none."""
    tensors = load_file(Path(folder) / "request.safetensors")
    question = json.loads((Path(folder) / "request.json").read_text())
    outputs: dict[str, torch.Tensor] = {}
    problem, precision = "", ""
    with recorder.aside(), _full_precision():
        for dtype in (torch.float64, torch.float32):
            try:
                with _probe(question["net"], dtype) as net:
                    outputs = _answers(net, question["layers"], tensors, dtype)
            except Exception as error:  # noqa: BLE001  (whatever the student's module raises is the answer)
                problem = problem or f"{type(error).__name__}: {error}"[:300]
            else:
                problem, precision = "", str(dtype).removeprefix("torch.")
                break
    metadata = {"problem": problem, "precision": precision}
    save_file(outputs, Path(folder) / "reply.safetensors", metadata=metadata)


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
        yield copy.deepcopy(known.copy).to(dtype)
        return
    module = known.module()
    if module is None:
        raise LookupError("the net could not be copied and is gone")
    state = {name: value.detach().clone() for name, value in module.state_dict().items()}
    modes = [(part, part.training) for part in module.modules()]
    dtypes = {name: p.dtype for name, p in module.named_parameters()}
    try:
        yield module.to(dtype)
    finally:
        module.to(next(iter(dtypes.values())))
        module.load_state_dict(state)
        for part, training in modes:
            part.training = training


def _answers(
    net: nn.Module, wanted: list[dict[str, Any]], tensors: dict[str, torch.Tensor], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    device = next(net.parameters()).device
    images = tensors["images"].to(device, dtype)
    with Watch() as watch:
        net.eval()(images)
    for index, layer in enumerate(_match(wanted, watch)):
        _lay(layer, index, tensors)
    outputs = {"eval": net.eval()(images), "train": net.train()(images)}
    return {mode: _logits(output).double().cpu().contiguous().clone() for mode, output in outputs.items()}


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
