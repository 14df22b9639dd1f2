"""Notebooks that ask for a GPU run on a machine without one: the request is recorded and the CPU serves it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from course_world.nets import is_net, nets, unwrapped
from course_world.recorder import harmless, recorder

FACTORIES = (
    *("zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "arange", "linspace", "eye", "tensor"),
    *("as_tensor", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "from_numpy"),
)
TENSOR_METHODS = ("to", "new_zeros", "new_ones", "new_full", "new_tensor", "new_empty", "type")
CUDA_TYPES = ("FloatTensor", "DoubleTensor", "HalfTensor", "LongTensor", "IntTensor", "ByteTensor", "BoolTensor")
NAMED = (str, torch.device)  # what a device is named by
NAME = "none (the grader runs on the CPU)"


def _is_cuda(value: Any) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, str) and value.split(":")[0] == "cuda"


def _on_cpu(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("torch.cuda."):
        return value.replace("torch.cuda.", "torch.")
    return torch.device("cpu") if _is_cuda(value) else value


def _served(original: Callable[..., Any]) -> Callable[..., Any]:
    """The function with every `cuda` among its arguments replaced by the CPU."""

    @functools.wraps(original)
    def on_cpu(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, NAMED):
                return original(*map(_on_cpu, args), **{name: _on_cpu(value) for name, value in kwargs.items()})
        return original(*args, **kwargs)

    return on_cpu


def _requested(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.device) or (isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda")):
            return str(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return f"cuda:{value}"
    return None


@harmless
def _note_move(module: nn.Module, device: str | None) -> None:
    if device is not None and is_net(module):
        recorder.emit("moved", net=nets.add(module).number, cls=type(unwrapped(module)).__name__, device=device)


def _watch_moves(have_gpu: bool) -> None:
    module_to, module_cuda = nn.Module.to, nn.Module.cuda
    move = module_to if have_gpu else _served(module_to)

    @functools.wraps(module_to)
    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        _note_move(self, _requested(args, kwargs))
        if not have_gpu and args and isinstance(args[0], int):
            args = (torch.device("cpu"), *args[1:])
        moved: nn.Module = move(self, *args, **kwargs)
        return moved

    @functools.wraps(module_cuda)
    def cuda(self: nn.Module, device: Any = None) -> nn.Module:
        _note_move(self, "cuda")
        return module_cuda(self, device) if have_gpu else self

    nn.Module.to = to  # type: ignore[method-assign, assignment]
    nn.Module.cuda = cuda  # type: ignore[method-assign, assignment]


def _returning(value: Any) -> Callable[..., Any]:
    return lambda *_args, **_kwargs: value


class _Moment:
    """Stands for `torch.cuda.Event` and `torch.cuda.Stream`: everything is done at once, and takes no time."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        self.record = self.synchronize = self.wait = self.wait_event = self.wait_stream = _returning(None)
        self.elapsed_time = _returning(0.0)
        self.query = _returning(True)


def _serve_from_cpu() -> None:
    """Let what would need a GPU be served by the CPU, or answer as an idle GPU would."""
    for name in FACTORIES:
        setattr(torch, name, _served(getattr(torch, name)))
    for name in TENSOR_METHODS:
        setattr(torch.Tensor, name, _served(getattr(torch.Tensor, name)))
    for name in CUDA_TYPES:
        setattr(torch.cuda, name, getattr(torch, name))
    torch.Tensor.cuda = lambda self, *_args, **_kwargs: self  # type: ignore[method-assign]
    torch.Tensor.pin_memory = lambda self, *_args: self  # type: ignore[method-assign]

    class Generator(torch.Generator):
        def __new__(cls, device: Any = "cpu") -> Any:
            return super().__new__(cls, _on_cpu(device))  # type: ignore[call-arg]

    class Autocast(torch.autocast):
        def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
            super().__init__("cpu" if _is_cuda(device_type) else device_type, *args, **kwargs)

    torch.Generator = Generator  # type: ignore[misc]
    torch.autocast = torch.amp.autocast = Autocast  # type: ignore[misc]
    torch.set_default_device = _served(torch.set_default_device)
    load = torch.load

    @functools.wraps(load)
    def load_on_cpu(*args: Any, **kwargs: Any) -> Any:
        return load(*args, **{**kwargs, "map_location": "cpu"}) if len(args) < 2 else load(args[0], "cpu", *args[2:])

    torch.load = load_on_cpu
    _answer_for_gpu()


def _answer_for_gpu() -> None:
    properties = SimpleNamespace(name=NAME, total_memory=0, major=0, minor=0, multi_processor_count=0)
    answers = {
        "synchronize": None,
        "set_device": None,
        "current_device": 0,
        "get_device_name": NAME,
        "get_device_properties": properties,
        "get_device_capability": (0, 0),
        "memory_allocated": 0,
        "memory_reserved": 0,
        "memory_cached": 0,
        "max_memory_allocated": 0,
        "max_memory_reserved": 0,
        "reset_peak_memory_stats": None,
        "mem_get_info": (0, 0),
        "memory_summary": "",
        "current_stream": _Moment(),
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, _returning(answer))
    torch.cuda.Event = torch.cuda.Stream = _Moment  # type: ignore[misc, assignment]


def install() -> None:
    """Record where nets are moved; without a GPU, let `cuda` mean the CPU."""
    have_gpu = torch.cuda.is_available()
    _watch_moves(have_gpu)
    if not have_gpu:
        _serve_from_cpu()
    # Compiling takes longer than the small world's training, and is meant to change nothing.
    torch.compile = _uncompiled
    nn.Module.compile = _returning(None)  # type: ignore[method-assign]


def _uncompiled(model: Any = None, **_kwargs: Any) -> Any:
    return model if model is not None else lambda function: function
