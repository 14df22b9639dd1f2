"""Which operations a net executes, in what order and on which tensors, seen at torch's own function interface.

Modules and functions look the same from here: `nn.ReLU()(x)`, `F.relu(x)` and `x.relu()` are one operation, and a layer
that is constructed but not called does not appear. Whatever computes something new from what a net computed before is
noted, under torch's own name where TYPES has none. Documentation: `torch.overrides.TorchFunctionMode`.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

MAX_OPERATIONS = 2_000
TYPES = {
    "conv2d": "Conv2d",
    "batch_norm": "BatchNorm2d",
    "linear": "Linear",
    "max_pool2d": "MaxPool2d",
    "avg_pool2d": "AvgPool2d",
    "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "adaptive_max_pool2d": "AdaptiveMaxPool2d",
    "mean": "Mean",
    "relu": "ReLU",
    "relu_": "ReLU",
    "clamp": "Clamp",
    "clamp_": "Clamp",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "hardswish": "Hardswish",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
    "dropout": "Dropout",
    "dropout2d": "Dropout2d",
    "add": "Add",
    "add_": "Add",
    "mul": "Multiply",
    "mul_": "Multiply",
    "cat": "Concatenate",
    "pad": "Pad",
}
# The same numbers in another form, or numbers that do not depend on what they are made like.
PASSING = {
    *(
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "expand",
        "expand_as",
        "view_as",
        "reshape_as",
    ),
    *("narrow", "select", "chunk", "split", "__getitem__", "contiguous", "clone", "alias", "detach", "__get__"),
    *("to", "type", "type_as", "float", "double", "half", "bfloat16", "cuda", "cpu", "requires_grad_", "retain_grad"),
}
CONSTANT = {
    *("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty"),
}
# Arguments of the operations with a geometry, in torch's order.
ARGUMENTS = {
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "linear": ("input", "weight", "bias"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding", "ceil_mode"),
    "dropout": ("input", "p"),
    "dropout2d": ("input", "p"),
    "leaky_relu": ("input", "negative_slope"),
}
SIZES = ("kernel_size", "stride", "padding", "dilation", "groups")
STATE = ("weight", "bias", "running_mean", "running_var")


@dataclass
class Operation:
    """One executed operation: what it is, its weights, and `reads`, the operations whose outputs went into it."""

    type: str
    reads: tuple[int, ...]
    output: tuple[int, ...]
    state: dict[str, Tensor] = field(default_factory=dict)
    geometry: dict[str, Any] = field(default_factory=dict)

    @property
    def has_weights(self) -> bool:
        """Whether it is a convolution, a batch normalisation or a linear layer with weights."""
        return "weight" in self.state

    @property
    def multiply_adds(self) -> float:
        """One for each weight at each output position, for one image; none for a batch normalisation."""
        if not self.has_weights or self.type.startswith("BatchNorm"):
            return 0.0
        return float(self.state["weight"].numel() * math.prod(self.output[2:]))

    def describe(self) -> dict[str, Any]:
        """As it stands in a `net` event."""
        described = {"type": self.type, "reads": list(self.reads), "output": list(self.output), **self.geometry}
        if self.has_weights:
            described |= {"weight": list(self.state["weight"].shape), "bias": "bias" in self.state}
        return described


class Watch(TorchFunctionMode):
    """Notes the operations executed while it is entered, and the parameters that any function was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.used: dict[int, nn.Parameter] = {}
        self._made: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # id of a tensor -> what made it

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        try:
            self._note(getattr(func, "__name__", ""), args, kwargs or {}, result)
        except Exception:  # noqa: BLE001  (an operation of an unforeseen form goes unnoticed; the net must not fail)
            return result
        return result

    def _note(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        tensors = list(_tensors((*args, *kwargs.values())))
        self.used |= {id(tensor): tensor for tensor in tensors if isinstance(tensor, nn.Parameter)}
        if not isinstance(result, Tensor) or result.dim() < 2 or name in CONSTANT:
            return
        reads = tuple(dict.fromkeys(made for t in tensors if (made := self._maker(t)) is not None))
        if name in TYPES or (reads and name not in PASSING):
            if len(self.operations) < MAX_OPERATIONS:
                self.operations.append(_operation(name, reads, args, kwargs, result))
                self._made[id(result)] = weakref.ref(result), len(self.operations) - 1
        elif reads:
            self._made[id(result)] = weakref.ref(result), reads[0]

    def _maker(self, tensor: Tensor) -> int | None:
        known = self._made.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def feeding(self, index: int) -> int | None:
        """The nearest convolution or linear layer whose output reached operation `index`."""
        reads = self.operations[index].reads
        while reads:
            operation = self.operations[reads[0]]
            if operation.has_weights and not operation.type.startswith("BatchNorm"):
                return reads[0]
            reads = operation.reads
        return None


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (entry for entry in value if isinstance(entry, Tensor))


def _operation(
    name: str, reads: tuple[int, ...], args: Sequence[Any], kwargs: dict[str, Any], result: Tensor
) -> Operation:
    given = dict(zip(ARGUMENTS.get(name, ()), args, strict=False)) | kwargs
    kind = "BatchNorm1d" if name == "batch_norm" and result.dim() < 4 else TYPES.get(name, name)
    operation = Operation(kind, reads, tuple(result.shape))
    if name in ("conv2d", "linear", "batch_norm"):
        operation.state = {key: given[key] for key in STATE if isinstance(given.get(key), torch.Tensor)}
    if name == "conv2d":
        operation.geometry["kernel_size"] = list(given["weight"].shape[2:])
    operation.geometry |= {key: size for key in SIZES if (size := _size(given.get(key))) is not None}
    if given.get("ceil_mode") is True:
        operation.geometry["ceil_mode"] = True
    for key in ("p", "negative_slope"):
        if isinstance(given.get(key), (int, float)):
            operation.geometry[key] = float(given[key])
    return operation


def _size(value: Any) -> int | str | list[int] | None:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return value
    whole = isinstance(value, (list, tuple)) and all(isinstance(entry, int) for entry in value)
    return list(value) if whole else None
