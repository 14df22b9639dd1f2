"""The nets of a notebook, found by what they do: a module with parameters that is called on images.

Each is copied at its first call, before anything can rebind its name, so that the challenge asks what was really built.
"""

from __future__ import annotations

import copy
import math
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from course_world.recorder import recorder

MAX_NETS = 64
LAYERS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


@dataclass
class Net:
    """A net of the student's: its number, a copy from before its first call, the cost of a call, steps taken so far."""

    number: int
    copy: nn.Module | None
    described: bool = False
    multiply_adds: float = 0.0  # of one image's forward pass
    steps: int = 0


class Nets:
    """Every net seen so far, by the module itself and by its parameters."""

    def __init__(self) -> None:
        self._by_module: weakref.WeakKeyDictionary[nn.Module, Net] = weakref.WeakKeyDictionary()
        self.by_number: dict[int, Net] = {}
        self.owner: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # parameter -> number of its net
        self.tried_classes: set[int] = set()

    def get(self, module: nn.Module) -> Net | None:
        """The net that this module is, if it was seen."""
        return self._by_module.get(module)

    def add(self, module: nn.Module) -> Net:
        """The net of this module; a new one gets a number, a copy and the ownership of its parameters."""
        net = self._by_module.get(module)
        if net is None:
            number = len(self.by_number)
            net = Net(number, _copied(module) if number < MAX_NETS else None)
            self._by_module[module] = net
            self.by_number[number] = net
        for parameter in module.parameters():
            self.owner.setdefault(parameter, net.number)
        return net

    def number(self, module: nn.Module) -> int:
        """The net's number."""
        return self.add(module).number


nets = Nets()


def _copied(module: nn.Module) -> nn.Module | None:
    try:
        return copy.deepcopy(module)
    except Exception:  # noqa: BLE001  (a module that cannot be copied cannot be challenged; the event says so)
        return None


def _layer(module: nn.Module, output: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"type": type(module).__name__, "name": type(module).__name__}
    weight = getattr(module, "weight", None)
    if isinstance(weight, torch.Tensor):
        described["weight"] = list(weight.shape)
        described["bias"] = isinstance(getattr(module, "bias", None), torch.Tensor)
    for name in ("kernel_size", "stride", "padding", "groups"):
        value = getattr(module, name, None)
        if isinstance(value, (int, tuple, str)):
            described[name] = list(value) if isinstance(value, tuple) else value
    if isinstance(output, torch.Tensor):
        described["output"] = list(output.shape)
    return described


def _multiply_adds(layer: dict[str, Any]) -> float:
    """One multiply-add for each weight at each output position, for one image."""
    if "weight" not in layer or "output" not in layer:
        return 0.0
    return float(math.prod(layer["weight"]) * math.prod(layer["output"][2:]))


Executed = list[tuple[nn.Module, dict[str, Any]]]


def watch_first_call(module: nn.Module) -> tuple[Executed, list[RemovableHandle]]:
    """Hooks on every part of `module` that note which layers run, in order; the caller removes them."""
    executed: Executed = []

    def note(part: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(part, LAYERS) or next(part.children(), None) is None:
            executed.append((part, _layer(part, output)))

    handles = [part.register_forward_hook(note) for part in module.modules()]
    return executed, handles


def record_net(net: Net, module: nn.Module, executed: Executed, inputs: Any, output: Any, origin: str) -> None:
    """One `net` event: class, executed layers with shapes, parameters used and unused, input and output shape."""
    net.described = True
    parts = {id(part) for part, _ in executed}
    used: set[int] = {id(p) for part, _ in executed for p in part.parameters(recurse=False)}
    for part in module.modules():
        if id(part) not in parts and next(part.children(), None) is not None:
            used |= {id(p) for p in part.parameters(recurse=False)}
    net.multiply_adds = sum(_multiply_adds(layer) for _, layer in executed)
    counts = {id(p): p.numel() for p in module.parameters()}
    recorder.emit(
        "net",
        net=net.number,
        cls=type(module).__name__,
        origin=origin,
        layers=[layer for _, layer in executed][:400],
        used=sum(n for key, n in counts.items() if key in used),
        unused=sum(n for key, n in counts.items() if key not in used),
        input=list(inputs.shape) if isinstance(inputs, torch.Tensor) else None,
        output=list(output.shape) if isinstance(output, torch.Tensor) else None,
        copied=net.copy is not None,
    )


def _try(module: nn.Module, origin: str) -> None:
    """Call a net that the student has not called, on dummy images, to see what it is."""
    net = nets.add(module)
    probe = net.copy
    if net.described or probe is None:
        return
    images = torch.zeros(2, 3, 32, 32)
    parameter = next(probe.parameters(), None)
    if parameter is None:
        return
    with recorder.paused(), torch.random.fork_rng(), torch.no_grad():
        probe = copy.deepcopy(probe).cpu().float()
        executed, handles = watch_first_call(probe)
        try:
            output = probe(images)
        except Exception as error:  # noqa: BLE001  (a net that does not run is a finding, not a failure of the grader)
            problem = f"{type(error).__name__}: {error}"[:300]
        else:
            problem = ""
        for handle in handles:
            handle.remove()
    if not problem:
        record_net(net, probe, executed, images, output, origin)
    else:
        net.described = True
        recorder.emit("broken_net", net=net.number, cls=type(module).__name__, origin=origin, problem=problem)


def find_in(namespace: dict[str, Any]) -> None:
    """Look through the notebook's names after a cell: nets, and classes that build one without arguments."""
    for value in list(namespace.values()):
        if isinstance(value, nn.Module) and not isinstance(value, nn.modules.loss._Loss):
            if next(value.parameters(), None) is not None and nets.get(value) is None:
                _try(value, "instance")
        elif isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == "__main__":
            _try_class(value)


def _try_class(cls: type[nn.Module]) -> None:
    if id(cls) in nets.tried_classes:
        return
    nets.tried_classes.add(id(cls))
    with recorder.paused(), torch.random.fork_rng():
        try:
            module = cls()
        except Exception:  # noqa: BLE001  (a class that needs arguments is seen when the student builds it)
            return
    if next(module.parameters(), None) is not None:
        keep_alive.append(module)
        _try(module, "class")


keep_alive: list[nn.Module] = []
