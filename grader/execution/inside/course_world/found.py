"""Nets that a cell left behind without calling them: modules under a name, and classes that need no arguments."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from course_world.nets import is_net, nets, record_net
from course_world.operations import Watch
from course_world.recorder import recorder

tried: set[type[nn.Module]] = set()
built: list[nn.Module] = []  # the grader's own instances, kept alive as long as their numbers are used


def find_in(namespace: dict[str, Any]) -> None:
    """Look through the notebook's names after a cell."""
    for value in list(namespace.values()):
        if isinstance(value, nn.Module) and is_net(value) and not _is_known(value):
            _try(value, "instance")
        elif isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == "__main__":
            _try_class(value)


def _is_known(module: nn.Module) -> bool:
    net = nets.get(module)
    return net is not None and net.described


def _try_class(cls: type[nn.Module]) -> None:
    if cls in tried:
        return
    tried.add(cls)
    with recorder.aside():
        try:
            module = cls()
        except Exception:  # noqa: BLE001  (a class that needs arguments is seen when the student builds it)
            return
    if is_net(module):
        built.append(module)
        _try(module, "class")


def _try(module: nn.Module, origin: str) -> None:
    """Call a copy of a net that the student has not called, on dummy images, to see what it is."""
    net = nets.add(module)
    nets.keep_copy(net)
    if net.copy is None:
        return
    problem = ""
    for device in _devices(net.copy):
        images = torch.zeros(2, 3, 32, 32, device=device)
        try:
            with recorder.aside(), torch.no_grad():
                probe = copy.deepcopy(net.copy).to(device).float()
                with Watch() as watch:
                    output = probe(images)
        except Exception as error:  # noqa: BLE001  (a net that does not run is a finding, not a failure of the grader)
            problem = problem or f"{type(error).__name__}: {error}"[:300]
        else:
            record_net(net, probe, watch, images, output, origin)
            return
    net.described = True
    if _is_made_for_images(module):
        recorder.emit("broken_net", net=net.number, cls=type(module).__name__, origin=origin, problem=problem)


def _devices(module: nn.Module) -> list[torch.device]:
    """Where the net is, and the GPU where there is one: a forward pass may name it."""
    devices = [next(module.parameters()).device]
    return [*devices, torch.device("cuda")] if torch.cuda.is_available() else devices


def _is_made_for_images(module: nn.Module) -> bool:
    """Whether it takes three channels or a flattened image, as a block of a larger net does not."""
    layers = list(module.modules())
    return any(isinstance(layer, nn.Conv2d) and layer.in_channels == 3 for layer in layers) or any(
        isinstance(layer, nn.Linear) and layer.in_features == 3 * 32 * 32 for layer in layers
    )
