"""Weights that leave a net for a file or come from one: which net was saved, and where loaded weights were trained."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from course_world.nets import Net, fingerprint, is_net, nets
from course_world.recorder import harmless, recorder

MAX_DEPTH = 4


def _states(value: Any, depth: int = MAX_DEPTH) -> Iterator[dict[str, Any]]:
    """Every state dictionary in an object that is saved, and that of every module in it."""
    if isinstance(value, nn.Module):
        yield value.state_dict()
    elif isinstance(value, dict) and depth:
        if any(isinstance(entry, torch.Tensor) for entry in value.values()):
            yield value
        for entry in value.values():
            yield from _states(entry, depth - 1)


def _sharing(state: dict[str, Any]) -> Net | None:
    """The net whose memory the tensors share."""
    pointers = {t.data_ptr() for t in state.values() if isinstance(t, torch.Tensor) and t.numel()}
    return next((net for net in nets.by_number if any(p.data_ptr() in pointers for p in net.parameters())), None)


def _alike(state: dict[str, Any]) -> Net | None:
    """For a copy of weights: the last net with weights of these shapes, a trained one before an untrained."""
    shapes = {tuple(entry.shape) for entry in state.values() if isinstance(entry, torch.Tensor)}
    fits = [net for net in nets.by_number if (own := {tuple(p.shape) for p in net.parameters()}) and own <= shapes]
    return max(fits, key=lambda net: (net.steps > 0, net.number), default=None)


@harmless
def _note_saved(value: Any) -> None:
    for state in _states(value):
        net = _sharing(state) or _alike(state)
        if net is not None:
            saved = fingerprint(state)
            steps = nets.trained.get(saved, net.steps)
            recorder.emit("save", net=net.number, steps=steps, changed=saved != net.first)
            return


@harmless
def _note_state(module: nn.Module, state: Any) -> None:
    """Weights that were handed out may be loaded again later, from a file or from a copy in memory."""
    net = nets.get(module)
    if net is not None:
        nets.trained[fingerprint(state)] = net.steps


@harmless
def _note_loaded(module: nn.Module, state: Any) -> None:
    """Weights of which nobody here knows where they come from have `steps` None: they were trained elsewhere."""
    if not isinstance(state, dict) or not is_net(module):
        return
    net, shared = nets.add(module), _sharing(state)
    steps = nets.trained.get(fingerprint(state), shared.steps if shared is not None else None)
    recorder.emit("load", net=net.number, steps=steps)
    net.steps = steps or 0


def install() -> None:
    """Watch `torch.save`, `state_dict` and `load_state_dict`."""
    original_save = torch.save
    original_state, original_load = nn.Module.state_dict, nn.Module.load_state_dict

    @functools.wraps(original_save)
    def save(value: Any, *args: Any, **kwargs: Any) -> None:
        original_save(value, *args, **kwargs)
        _note_saved(value)

    @functools.wraps(original_state)
    def state_dict(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        state = original_state(self, *args, **kwargs)
        if not args and "destination" not in kwargs:  # not for the parts of a net, which are asked in turn
            _note_state(self, state)
        return state

    @functools.wraps(original_load)
    def load_state_dict(self: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        result = original_load(self, state_dict, *args, **kwargs)
        _note_loaded(self, state_dict)
        return result

    torch.save = save  # type: ignore[assignment]
    nn.Module.state_dict = state_dict  # type: ignore[method-assign]
    nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign]
