"""Notebooks that ask for a GPU run on a machine without one: the request is recorded and the CPU serves it."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from course_world.recorder import recorder


def _is_cuda(value: Any) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, str) and value.startswith("cuda")


def _on_cpu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    cpu = torch.device("cpu")
    return (
        tuple(cpu if _is_cuda(value) else value for value in args),
        {name: cpu if _is_cuda(value) else value for name, value in kwargs.items()},
    )


def _requested(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.device) or (isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda")):
            return str(value)
    return None


def _record_move(module: nn.Module, device: str | None) -> None:
    if device is not None and next(module.parameters(), None) is not None:
        from course_world.nets import nets

        recorder.emit("moved", net=nets.number(module), cls=type(module).__name__, device=device)


def install() -> None:
    """Record where modules are moved; without a GPU, let `cuda` mean the CPU."""
    have_gpu = torch.cuda.is_available()
    module_to, module_cuda = nn.Module.to, nn.Module.cuda

    @functools.wraps(module_to)
    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        _record_move(self, _requested(args, kwargs))
        if not have_gpu:
            args, kwargs = _on_cpu(args, kwargs)
        return module_to(self, *args, **kwargs)

    @functools.wraps(module_cuda)
    def cuda(self: nn.Module, device: Any = None) -> nn.Module:
        _record_move(self, "cuda")
        return module_cuda(self, device) if have_gpu else self

    nn.Module.to = to  # type: ignore[method-assign, assignment]
    nn.Module.cuda = cuda  # type: ignore[method-assign, assignment]
    if have_gpu:
        return

    tensor_to, load = torch.Tensor.to, torch.load

    def tensor_to_cpu(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        args, kwargs = _on_cpu(args, kwargs)
        return tensor_to(self, *args, **kwargs)

    def tensor_cuda(self: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
        return self

    @functools.wraps(load)
    def load_on_cpu(*args: Any, **kwargs: Any) -> Any:
        return load(*args, **{**kwargs, "map_location": "cpu"}) if len(args) < 2 else load(args[0], "cpu", *args[2:])

    torch.Tensor.to = tensor_to_cpu  # type: ignore[method-assign, assignment]
    torch.Tensor.cuda = tensor_cuda  # type: ignore[method-assign, assignment]
    torch.load = load_on_cpu
    torch.cuda.synchronize = lambda *_args, **_kwargs: None
    torch.cuda.current_device = lambda: 0
    torch.cuda.get_device_name = lambda *_args, **_kwargs: "none (the grader runs on the CPU)"
