"""Hooks that record what training really does, at the framework's own hook points where they exist.

Documentation: `torch.nn.modules.module.register_module_forward_hook`,
`torch.optim.optimizer.register_optimizer_step_post_hook`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from course_world.loaders import loaders
from course_world.nets import Executed, nets, record_net, watch_first_call
from course_world.recorder import recorder


@dataclass
class State:
    """What the hooks remember between two events."""

    depth: int = 0
    watching: tuple[Executed, list[RemovableHandle]] | None = None
    optimizers: list[Optimizer] = field(default_factory=list)
    net: int | None = None
    training: bool = False
    images: int = 1
    split: str | None = None
    loader: int | None = None
    loss: torch.Tensor | None = None
    loss_kind: str | None = None
    loss_fed: str | None = None
    loss_reported: bool = True
    backward_value: float | None = None
    fresh_gradients: bool | None = None
    inputs_seen: set[tuple[int, str | None]] = field(default_factory=set)
    penalties_seen: set[tuple[int | None, int]] = field(default_factory=set)


state = State()


def _number(optimizer: Optimizer) -> int:
    for number, known in enumerate(state.optimizers):
        if known is optimizer:
            return number
    state.optimizers.append(optimizer)
    return len(state.optimizers) - 1


def _value(loss: torch.Tensor | None) -> float | None:
    if loss is None or loss.numel() != 1:
        return None
    value = float(loss.detach())
    return value if math.isfinite(value) else None


# -- forward ---------------------------------------------------------------------------------------------------------


def _before_forward(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    if not recorder.active:
        return
    state.depth += 1
    if state.depth > 1 or next(module.parameters(), None) is None:
        return
    net = nets.add(module)
    if not net.described:
        state.watching = watch_first_call(module)


def _after_forward(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    if not recorder.active:
        return
    state.depth = max(0, state.depth - 1)
    if state.depth:
        return
    images = inputs[0] if inputs else None
    net = nets.get(module)
    if net is None:
        return
    if state.watching is not None:
        executed, handles = state.watching
        state.watching = None
        for handle in handles:
            handle.remove()
        if isinstance(output, torch.Tensor):
            record_net(net, module, executed, images, output, "called")
    _note_forward(net.number, module, images)


def _note_forward(number: int, module: nn.Module, images: Any) -> None:
    state.net, state.training = number, module.training
    state.images = len(images) if isinstance(images, torch.Tensor) and images.dim() else 1
    current = loaders.current
    state.split, state.loader = (None, None) if current is None else (current.split, current.loader)
    if current is None and _is_from(loaders.last, images):
        assert loaders.last is not None
        state.split, state.loader = loaders.last.split, loaders.last.loader
    if current is not None:
        current.nets = tuple(dict.fromkeys((*current.nets, number)))
        current.training, current.grad = module.training, torch.is_grad_enabled()
    if isinstance(images, torch.Tensor) and (number, state.split) not in state.inputs_seen:
        state.inputs_seen.add((number, state.split))
        _record_input(number, images)


def _is_from(finished: Any, images: Any) -> bool:
    """Whether a batch taken by `next(iter(loader))` is what the net was fed."""
    if finished is None or finished.first_pixels is None or not isinstance(images, torch.Tensor):
        return False
    pixels = images.detach().reshape(-1)[: len(finished.first_pixels)].cpu().float()
    return pixels.shape == finished.first_pixels.shape and bool(torch.allclose(pixels, finished.first_pixels))


def _record_input(number: int, images: torch.Tensor) -> None:
    pixels = images.detach().float()
    by_channel = pixels.dim() == 4 and pixels.shape[0] > 0
    recorder.emit(
        "input",
        net=number,
        split=state.split,
        loader=state.loader,
        shape=list(images.shape),
        dtype=str(images.dtype).removeprefix("torch."),
        mean=[round(float(m), 4) for m in pixels.mean(dim=(0, 2, 3))] if by_channel else None,
        std=[round(float(s), 4) for s in pixels.std(dim=(0, 2, 3))] if by_channel else None,
        low=round(float(pixels.min()), 4) if pixels.numel() else None,
        high=round(float(pixels.max()), 4) if pixels.numel() else None,
        steps=nets.by_number[number].steps,
        device=images.device.type,
    )


# -- loss and backward -----------------------------------------------------------------------------------------------


def _looks_like(scores: torch.Tensor) -> str:
    """`probabilities` where every row is non-negative and sums to one, else `logits`."""
    rows = scores.detach().float()
    if rows.dim() == 2 and bool((rows >= 0).all()) and bool((rows.sum(1) - 1).abs().max() < 1e-3):
        return "probabilities"
    return "logits"


def _watch_loss(kind: str, original: Any) -> Any:
    @functools.wraps(original)
    def loss(scores: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        value: torch.Tensor = original(scores, *args, **kwargs)
        if recorder.active and isinstance(scores, torch.Tensor):
            _report_unused_loss()
            state.loss, state.loss_kind, state.loss_reported = value, kind, False
            state.loss_fed = _looks_like(scores)
        return value

    return loss


def _report_unused_loss() -> None:
    """A loss that nothing was learnt from, of a net that was never stepped: what Lab 1 (g) asks for."""
    if state.loss_reported or state.net is None:
        return
    state.loss_reported = True
    net = nets.by_number[state.net]
    if net.steps == 0:
        recorder.emit("initial_loss", net=net.number, split=state.split, kind=state.loss_kind, value=_value(state.loss))


def _watch_backward(original: Any) -> Any:
    @functools.wraps(original)
    def backward(self: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        if recorder.active:
            state.backward_value = _value(self)
            state.fresh_gradients = _gradients_are_fresh()
            _measure_penalty(self)
            state.loss_reported = True
        original(self, *args, **kwargs)

    return backward


def _net_parameters() -> list[torch.Tensor]:
    return [p for p, owner in nets.owner.items() if owner == state.net and p.requires_grad]


def _gradients_are_fresh() -> bool:
    """No parameter of the net carries a gradient from an earlier backward pass."""
    return all(p.grad is None or not bool(p.grad.any()) for p in _net_parameters())


def _measure_penalty(total: torch.Tensor) -> None:
    """Once per run: the gradient of the loss minus that of its cross-entropy term, held against sign(w) and w."""
    key = (state.net, len(state.optimizers))
    plain = state.loss
    if plain is None or plain is total or key in state.penalties_seen or not plain.requires_grad or state.net is None:
        return
    state.penalties_seen.add(key)
    names = [p for p in _net_parameters() if p.dim() >= 2]
    with recorder.paused():
        with_penalty = torch.autograd.grad(total, names, retain_graph=True, allow_unused=True)
        without = torch.autograd.grad(plain, names, retain_graph=True, allow_unused=True)
    difference = torch.cat(
        [
            ((a if a is not None else torch.zeros_like(w)) - (b if b is not None else torch.zeros_like(w))).reshape(-1)
            for w, a, b in zip(names, with_penalty, without, strict=True)
        ]
    )
    weights = torch.cat([w.detach().reshape(-1) for w in names])
    norm = float(difference.norm())
    fits = {kind: _fit(difference, direction) for kind, direction in (("l1", weights.sign()), ("l2", weights))}
    recorder.emit(
        "penalty",
        net=state.net,
        value=round(float(total.detach()) - float(plain.detach()), 6),
        gradient_norm=round(norm, 6),
        l1=fits["l1"],
        l2=fits["l2"],
    )


def _fit(difference: torch.Tensor, direction: torch.Tensor) -> dict[str, float]:
    """Least-squares coefficient of `direction` in `difference` and the share of it that stays unexplained."""
    coefficient = float(difference @ direction) / max(float(direction @ direction), 1e-12)
    rest = float((difference - coefficient * direction).norm()) / max(float(difference.norm()), 1e-12)
    return {"coefficient": float(f"{coefficient:.6g}"), "unexplained": round(rest, 4)}


# -- optimizer -------------------------------------------------------------------------------------------------------


def _after_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
    if not recorder.active:
        return
    if loaders.current is not None:
        loaders.current.steps += 1
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    owners = {nets.owner.get(p) for p in parameters}
    owner = next(iter(owners)) if len(owners) == 1 else None
    net = nets.by_number.get(owner) if owner is not None else None
    group = optimizer.param_groups[0]
    recorder.emit(
        "step",
        net=owner,
        fed=state.net,
        optimizer=_number(optimizer),
        kind=type(optimizer).__name__,
        lr=float(group["lr"]),
        momentum=float(group.get("momentum") or 0.0),
        weight_decay=float(group.get("weight_decay") or 0.0),
        covers=_coverage(owner, parameters),
        earlier_steps=net.steps if net is not None else None,
        images=state.images,
        training=state.training,
        split=state.split,
        loader=state.loader,
        loss=state.backward_value,
        cross_entropy=_value(state.loss),
        loss_kind=state.loss_kind,
        loss_fed=state.loss_fed,
        fresh_gradients=state.fresh_gradients,
    )
    if net is not None:
        net.steps += 1
        loaders.spend(net.multiply_adds * state.images)


def _coverage(owner: int | None, parameters: list[torch.Tensor]) -> float:
    """Share of the net's trainable numbers that this optimizer steps."""
    everything = sum(p.numel() for p, number in nets.owner.items() if number == owner and p.requires_grad)
    return round(sum(p.numel() for p in parameters) / everything, 4) if everything else 0.0


def _watch_construction(original: Any) -> Any:
    @functools.wraps(original)
    def init(self: Optimizer, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if recorder.active:
            _number(self)
            loaders.new_run()

    return init


# -- saving ----------------------------------------------------------------------------------------------------------


def _saved_net(value: Any) -> int | None:
    """The net whose weights are in the object that is saved, by the memory they share."""
    if isinstance(value, nn.Module):
        return nets.number(value)
    if not isinstance(value, dict):
        return None
    pointers: dict[int, int] = {p.data_ptr(): owner for p, owner in nets.owner.items()}
    for entry in value.values():
        if isinstance(entry, torch.Tensor) and entry.data_ptr() in pointers:
            return pointers[entry.data_ptr()]
        if isinstance(entry, (dict, nn.Module)):
            found = _saved_net(entry)
            if found is not None:
                return found
    return None


def _watch_save(original: Any) -> Any:
    @functools.wraps(original)
    def save(value: Any, *args: Any, **kwargs: Any) -> None:
        original(value, *args, **kwargs)
        number = _saved_net(value)
        if number is not None:
            recorder.emit("save", net=number, steps=nets.by_number[number].steps)

    return save


def install() -> None:
    """Put every hook in place, once, before the first cell."""
    register_module_forward_pre_hook(_before_forward)
    register_module_forward_hook(_after_forward, always_call=True)
    register_optimizer_step_post_hook(_after_step)
    for name in ("cross_entropy", "nll_loss", "mse_loss", "multi_margin_loss"):
        setattr(functional, name, _watch_loss(name, getattr(functional, name)))
    torch.Tensor.backward = _watch_backward(torch.Tensor.backward)  # type: ignore[method-assign]
    Optimizer.__init__ = _watch_construction(Optimizer.__init__)  # type: ignore[method-assign]
    torch.save = _watch_save(torch.save)
