"""Optimizer steps: whose parameters were stepped, with which settings, after which backward pass.

Documentation: `torch.optim.optimizer.register_optimizer_step_post_hook`.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from course_world.budget import budget
from course_world.forward import calls
from course_world.loaders import loaders
from course_world.losses import losses, value_of
from course_world.nets import Net, nets
from course_world.recorder import harmless, recorder

LOOK_AGAIN = 64  # steps after which the owner of an optimizer's parameters is looked up anew


@dataclass
class Stepped:
    """One optimizer: its number, the nets that hold its parameters, and how much of the first one they are."""

    number: int
    holders: list[Net]
    covers: float = 0.0
    called: int | None = None
    parameters: int = 0
    steps: int = 0


known: weakref.WeakKeyDictionary[Optimizer, Stepped] = weakref.WeakKeyDictionary()
numbers = iter(range(1_000_000_000))
look_for_nets: list[Callable[[], None]] = []  # what finds nets that were built and never called


def _of(optimizer: Optimizer) -> Stepped:
    stepped = known.get(optimizer)
    if stepped is None:
        stepped = known[optimizer] = Stepped(next(numbers), [])
    return stepped


def number_of(optimizer: Optimizer) -> int:
    """The optimizer's number in the events."""
    return _of(optimizer).number


def _look_up(optimizer: Optimizer, stepped: Stepped) -> None:
    """Find the net that holds the optimizer's parameters, now and then, since nets and optimizers can be changed."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    same = stepped.called == calls.last.net and stepped.parameters == len(parameters)
    if stepped.holders and same and stepped.steps % LOOK_AGAIN:
        return
    stepped.called, stepped.parameters = calls.last.net, len(parameters)
    stepped.holders = nets.holding(parameters, calls.last.net)
    if not stepped.holders:
        for look in look_for_nets:
            look()
        stepped.holders = nets.holding(parameters, calls.last.net)
    stepped.covers = _coverage(stepped.holders[0], parameters) if stepped.holders else 0.0


def _coverage(net: Net, parameters: list[torch.Tensor]) -> float:
    """Share of the net's trainable numbers that the optimizer steps."""
    wanted = {id(p) for p in parameters}
    trainable = [p for p in net.parameters() if p.requires_grad]
    everything = sum(p.numel() for p in trainable)
    return round(sum(p.numel() for p in trainable if id(p) in wanted) / everything, 4) if everything else 0.0


@harmless
def _after_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
    stepped = _of(optimizer)
    _look_up(optimizer, stepped)
    net = stepped.holders[0] if stepped.holders else None
    # Settings may differ by group (no decay for biases, say); the group with most of the weights speaks for the run.
    group = max(optimizer.param_groups, key=lambda g: sum(p.numel() for p in g["params"]))
    if loaders.current is not None:
        loaders.current.steps += 1
    loss = losses.used
    recorder.emit(
        "step",
        net=net.number if net is not None else None,
        fed=calls.last.net,
        optimizer=stepped.number,
        kind=type(optimizer).__name__,
        lr=float(group["lr"]),
        momentum=float(group.get("momentum") or 0.0),
        weight_decay=float(group.get("weight_decay") or 0.0),
        groups=len(optimizer.param_groups),
        covers=stepped.covers,
        earlier_steps=net.steps if net is not None else None,
        images=calls.last.images,
        training=calls.last.training,
        split=calls.last.split,
        loader=calls.last.loader,
        loss=losses.backward_value,
        cross_entropy=value_of(loss.value) if loss is not None else None,
        loss_kind=loss.kind if loss is not None else None,
        loss_fed=loss.fed if loss is not None else None,
        fresh_gradients=losses.fresh_gradients,
        backwards=losses.backwards,
        has_gradients=_has_gradients(group),
        kept_graphs=losses.kept_graphs(),
    )
    losses.stepped()
    stepped.steps += 1
    for holder in stepped.holders:
        holder.steps += 1
    called = nets.by_number[calls.last.net : calls.last.net + 1] if calls.last.net is not None else []
    cost = max((other.multiply_adds for other in (*called, *stepped.holders[:1])), default=0.0)
    budget.spend(cost, calls.last.images, calls.last.loader)


def _has_gradients(group: dict[str, Any]) -> bool:
    """Whether any gradient is there to be used; the last parameter's is looked at first, since it is seldom zero."""
    return any(p.grad is not None and bool(p.grad.any()) for p in reversed(group["params"]))


def _watch_construction() -> None:
    original = Optimizer.__init__

    @functools.wraps(original)
    def init(self: Optimizer, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _begin_run(self)

    Optimizer.__init__ = init  # type: ignore[method-assign]


@harmless
def _begin_run(optimizer: Optimizer) -> None:
    _of(optimizer)
    losses.begin_run()
    budget.new_run()


def install() -> None:
    """Watch every optimizer."""
    register_optimizer_step_post_hook(_after_step)
    _watch_construction()
