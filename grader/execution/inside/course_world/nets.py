"""The nets of a notebook, found by what they do: a module with parameters that is called on images.

Each is copied before its first call, before anything can rebind its name, so that the challenge asks what was built.
"""

from __future__ import annotations

import copy
import hashlib
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from course_world.operations import Operation, Watch
from course_world.recorder import recorder

MAX_COPIED = 60_000_000  # numbers in all copies that are kept
MAX_LAYERS = 400
MAX_NAME = 200
WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}


@dataclass
class Net:
    """A net of the student's: the module, a copy from before its first call, the cost of a call, steps taken so far."""

    number: int
    module: weakref.ref[nn.Module]
    copy: nn.Module | None = None
    described: bool = False
    multiply_adds: float = 0.0  # of one image's forward pass
    steps: int = 0
    first: bytes = b""  # fingerprint of the weights when it was first seen

    def parameters(self) -> list[nn.Parameter]:
        """Of the module as it is now; none when it is gone."""
        module = self.module()
        return [] if module is None else list(module.parameters())


def unwrapped(module: nn.Module) -> nn.Module:
    """The net inside a wrapper of torch's that computes the same function."""
    while (name := WRAPPERS.get(type(module).__name__)) and isinstance(getattr(module, name, None), nn.Module):
        module = getattr(module, name)
    return module


def is_net(module: nn.Module) -> bool:
    """A module with parameters that is more than one layer of torch's own."""
    if next(module.parameters(), None) is None:
        return False
    return not type(module).__module__.startswith("torch.nn.modules") or next(module.children(), None) is not None


@dataclass
class Nets:
    """Every net seen so far."""

    by_number: list[Net] = field(default_factory=list)
    trained: dict[bytes, int] = field(default_factory=dict)  # fingerprint of weights -> steps that they had taken
    _by_module: weakref.WeakKeyDictionary[nn.Module, Net] = field(default_factory=weakref.WeakKeyDictionary)
    _copied: int = 0

    def get(self, module: nn.Module) -> Net | None:
        """The net that this module is, if it was seen."""
        return self._by_module.get(unwrapped(module))

    def add(self, module: nn.Module) -> Net:
        """The net of this module; a new one gets a number, a copy, and the steps of a net that it is a copy of."""
        module = unwrapped(module)
        net = self._by_module.get(module)
        if net is None:
            net = Net(len(self.by_number), weakref.ref(module), first=fingerprint(dict(module.named_parameters())))
            net.steps = max((other.steps for other in self.by_number if _same_weights(other, module)), default=0)
            net.steps = max(net.steps, self.trained.get(net.first, 0))
            self._by_module[module] = net
            self.by_number.append(net)
        return net

    def keep_copy(self, net: Net) -> None:
        """Copy the module unless that was done, or its parameters have no shape yet, or the copies grow too large."""
        module = net.module()
        if net.copy is not None or net.described or module is None or any(map(is_lazy, module.parameters())):
            return
        size = sum(p.numel() for p in module.parameters())
        if self._copied + size <= MAX_COPIED:
            net.copy = _copied(module)
            self._copied += size

    def drop_copies(self) -> None:
        """Nets of earlier cells have answered their challenges."""
        for net in self.by_number:
            if net.described and net.copy is not None:
                self._copied -= sum(p.numel() for p in net.copy.parameters())
                net.copy = None

    def holding(self, parameters: Iterable[torch.Tensor], called: int | None) -> list[Net]:
        """Nets that hold some of these parameters, the one with most of them first, of equals the one called last."""
        wanted = {id(p): p.numel() for p in parameters}
        shares = [(sum(wanted.get(id(p), 0) for p in net.parameters()), net) for net in self.by_number]
        held = [(share, net) for share, net in shares if share]
        held.sort(key=lambda pair: (-pair[0], pair[1].number != called, sum(p.numel() for p in pair[1].parameters())))
        return [net for _, net in held]


nets = Nets()


def fingerprint(state: Mapping[str, Any]) -> bytes:
    """Of the first tensor with two or more dimensions among weights by name; the same weights give the same."""
    for value in state.values():
        if isinstance(value, torch.Tensor) and value.dim() >= 2 and value.is_floating_point() and not is_lazy(value):
            return hashlib.blake2b(value.detach().cpu().float().contiguous().numpy().tobytes()).digest()
    return b""


def _copied(module: nn.Module) -> nn.Module | None:
    try:
        return copy.deepcopy(module)
    except Exception:  # noqa: BLE001  (a module that cannot be copied is challenged itself; see course_world.challenge)
        return None


def _same_weights(net: Net, module: nn.Module) -> bool:
    """Whether a trained net and a new module carry the same numbers, which makes the module a copy of it."""
    if not net.steps:
        return False
    pairs = list(zip(net.parameters(), module.parameters(), strict=False))
    try:
        return bool(pairs) and all(a is not b and torch.equal(a, b.to(a.device)) for a, b in pairs)
    except (RuntimeError, ValueError):
        return False


def layer_names(module: nn.Module) -> dict[int, str]:
    """By the address of each parameter its qualified name in the module without `.weight`: `layer1.0.conv1`."""
    named = module.named_parameters()
    return {p.data_ptr(): name.removesuffix(".weight")[:MAX_NAME] for name, p in named if not is_lazy(p) and p.numel()}


def names_of(operation: Operation, names: Mapping[int, str]) -> dict[str, str]:
    """`name` of the layer whose weight an operation was executed with, also where it was detached; else nothing."""
    weight = operation.state.get("weight")
    name = names.get(weight.data_ptr()) if weight is not None else None
    return {} if name is None else {"name": name}


def record_net(net: Net, module: nn.Module, watch: Watch, inputs: Any, output: Any, origin: str) -> None:
    """One `net` event: class, executed operations, parameters used and unused, input and output shape."""
    net.described = True
    net.multiply_adds = sum(operation.multiply_adds for operation in watch.operations)
    counts = {id(p): p.numel() for p in module.parameters()}
    # A scripted module executes where no operation can be seen.
    used = set(watch.used) if watch.operations else set(counts)
    names = layer_names(module)
    recorder.emit(
        "net",
        net=net.number,
        cls=type(module).__name__,
        origin=origin,
        layers=[operation.describe() | names_of(operation, names) for operation in watch.operations[:MAX_LAYERS]],
        used=sum(n for key, n in counts.items() if key in used),
        unused=sum(n for key, n in counts.items() if key not in used),
        input=list(inputs.shape) if isinstance(inputs, torch.Tensor) else None,
        output=list(output.shape) if isinstance(output, torch.Tensor) else None,
        copied=net.copy is not None,
    )
