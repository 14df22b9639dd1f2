"""Losses and backward passes: what was minimised, whether gradients were fresh, and what a penalty adds to them."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from course_world.forward import calls
from course_world.nets import nets
from course_world.recorder import harmless, recorder

WATCHED = (
    "cross_entropy",
    "nll_loss",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "multi_margin_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
)
MAX_NODES = 1_000  # of a graph that are looked through for the loss
MAX_KEPT = 64
ROUNDING = 1e-5  # share of a gradient that rounding may leave over


@dataclass
class Loss:
    """A loss of a net's outputs: the value as a tensor, its kind, what it was fed with, and where."""

    value: torch.Tensor
    kind: str
    fed: str
    net: int | None
    split: str | None


class _Graph:
    """A mark that lives as long as the graph it is tied to."""


@dataclass
class Losses:
    """The last loss and what became of it; `used` is the one that the last backward pass began from or went through."""

    last: Loss | None = None
    waiting: bool = False  # no gradient was taken from it so far
    used: Loss | None = None
    backward_value: float | None = None
    fresh_gradients: bool | None = None
    backwards: int = 0  # since the last optimizer step
    of_run: int = 0  # since the last new optimizer
    scaled: tuple[weakref.ref[torch.Tensor], torch.Tensor] | None = None
    earlier: list[weakref.ref[_Graph]] = field(default_factory=list)  # of losses before the last step
    recent: list[weakref.ref[_Graph]] = field(default_factory=list)

    def watch_graph(self, value: torch.Tensor) -> None:
        """Tie a mark to the graph behind a loss: it is gone as soon as nothing holds the graph any more."""
        if value.grad_fn is not None:
            mark = _Graph()
            metadata: Any = value.grad_fn.metadata
            metadata["course_world"] = mark
            self.recent.append(weakref.ref(mark))

    def kept_graphs(self) -> int:
        """How many losses of earlier steps are still held with their graphs, at most MAX_KEPT."""
        self.earlier = [mark for mark in self.earlier if mark() is not None][-MAX_KEPT:]
        return len(self.earlier)

    def begin_run(self) -> None:
        """A new optimizer: what a former training has left behind is not this one's."""
        self.of_run = 0
        self.earlier, self.recent = [], []

    def stepped(self) -> None:
        """An optimizer has used the gradients; a later step has a loss of its own."""
        self.backwards = 0
        self.used = None
        self.earlier += self.recent
        self.recent = []


losses = Losses()


def value_of(loss: torch.Tensor | None) -> float | None:
    """The number in a loss, None where it holds several or none that is finite."""
    if loss is None or loss.numel() != 1:
        return None
    value = float(loss.detach())
    return value if math.isfinite(value) else None


def _fed_with(scores: torch.Tensor) -> str:
    """`probabilities` where every row is non-negative and sums to one, else `logits`."""
    rows = scores.detach().float()
    rounding = 1e-3 if scores.dtype in (torch.float32, torch.float64) else 2e-2  # mixed precision has 8 bits
    if rows.dim() == 2 and bool((rows >= 0).all()) and bool((rows.sum(1) - 1).abs().max() < rounding):
        return "probabilities"
    return "logits"


@harmless
def _note_loss(kind: str, scores: Any, value: Any) -> None:
    # A loss of parameters is a penalty; one inside a net's own forward pass is the net's affair.
    if not isinstance(scores, torch.Tensor) or isinstance(scores, nn.Parameter) or not isinstance(value, torch.Tensor):
        return
    if scores.dim() < 2 or scores.shape[0] != calls.last.images:  # no scores of the images that the net was called on
        return
    report_unused()
    losses.last = Loss(value, kind, _fed_with(scores), calls.last.net, calls.last.split)
    losses.watch_graph(value)
    losses.waiting = True


@harmless
def report_unused() -> None:
    """A loss that nothing was learnt from, of a net that was never stepped: what Lab 1 (g) asks for."""
    loss = losses.last
    if not losses.waiting or loss is None or loss.net is None:
        return
    losses.waiting = False
    if nets.by_number[loss.net].steps == 0:
        recorder.emit("initial_loss", net=loss.net, split=loss.split, kind=loss.kind, value=value_of(loss.value))


@harmless
def _note_backward(total: torch.Tensor) -> None:
    if losses.scaled is not None and losses.scaled[0]() is total:  # a GradScaler's multiple of the loss
        total = losses.scaled[1]
    losses.waiting = False
    losses.used = losses.last if losses.last is not None and _goes_through(total, losses.last.value) else None
    losses.backward_value = value_of(total)
    losses.backwards += 1
    losses.of_run += 1
    if losses.backwards == 1:
        losses.fresh_gradients = all(p.grad is None or not bool(p.grad.any()) for p in _parameters())
    # Seldom, since it takes two backward passes of its own: at the first of a run, the 2nd, the 4th, the 8th and so on.
    if losses.of_run & (losses.of_run - 1) == 0:
        _measure_penalty(total)


def _goes_through(total: torch.Tensor, loss: torch.Tensor) -> bool:
    """Whether what is minimised was computed from this loss, and not from one that torch's functions had no part in."""
    wanted, ahead, seen = loss.grad_fn, [total.grad_fn], set[Any]()
    while ahead and len(seen) < MAX_NODES:
        node = ahead.pop(0)
        if node is wanted:
            return wanted is not None
        if node is not None and node not in seen:
            seen.add(node)
            ahead += [following for following, _ in node.next_functions]
    return False


def _parameters() -> list[nn.Parameter]:
    """What is trained of the net that was called last."""
    number = calls.last.net
    return [] if number is None else [p for p in nets.by_number[number].parameters() if p.requires_grad]


def _measure_penalty(total: torch.Tensor) -> None:
    """The gradient of what is minimised minus that of its loss term, held against sign(w) and w.

    What is minimised may be a multiple of loss and penalty (accumulated gradients are divided by their number); the
    loss term's share is taken out by least squares, over weights with two or more dimensions.
    """
    loss = losses.used
    weights = [p for p in _parameters() if p.dim() >= 2]
    if loss is None or loss.value is total or loss.value.numel() != 1 or not loss.value.requires_grad or not weights:
        return  # nothing was added, or it cannot be told to what
    with_penalty, plain = _gradient(total, weights), _gradient(loss.value, weights)
    if not all(bool(part.isfinite().all()) for part in (*with_penalty, *plain)):
        return  # the net has diverged
    directions = [w.detach().reshape(-1).double() for w in weights]
    recorder.emit(
        "penalty",
        net=loss.net,
        value=round(float(total.detach()) - float(loss.value.detach()), 6),
        gradient_norm=round(float((torch.cat(with_penalty) - torch.cat(plain)).norm()), 6),
        l1=_fit(with_penalty, plain, [direction.sign() for direction in directions]),
        l2=_fit(with_penalty, plain, directions),
    )


Vectors = list[torch.Tensor]  # one float64 vector for each weight tensor


def _gradient(value: torch.Tensor, weights: list[nn.Parameter]) -> Vectors:
    """Of a loss with respect to each weight tensor."""
    if not value.requires_grad:
        return [torch.zeros(w.numel(), dtype=torch.float64, device=w.device) for w in weights]
    gradients = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
    parts = (torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True))
    return [part.detach().reshape(-1).double() for part in parts]


def _fit(total: Vectors, plain: Vectors, directions: Vectors) -> dict[str, float]:
    """How far `directions` explain total - plain, or total - s * plain where what is minimised is a multiple."""
    added = _explained([t - p for t, p in zip(total, plain, strict=True)], directions)
    if added["unexplained"] < 0.05:
        return added
    whole, part = torch.cat(total), torch.cat(plain)
    basis = torch.stack([part, torch.cat(directions)], dim=1)
    scale = float(torch.linalg.lstsq(basis, whole[:, None]).solution[0, 0])
    if float((whole - scale * part).norm()) <= ROUNDING * float(whole.norm()):
        return {"coefficient": 0.0, "unexplained": 1.0, "covers": 0.0}  # a multiple of the loss and nothing else
    return _explained([t - scale * p for t, p in zip(total, plain, strict=True)], directions)


def _explained(differences: Vectors, directions: Vectors) -> dict[str, float]:
    """Least squares with a coefficient for each tensor, since a mean over weights counts each tensor differently.

    `coefficient` is the one over all tensors, `unexplained` the share of the difference's norm that is left, `covers`
    the share of the weights in tensors whose own coefficient is positive.
    """
    own = [_coefficient(d, direction) for d, direction in zip(differences, directions, strict=True)]
    rests = [d - c * direction for d, c, direction in zip(differences, own, directions, strict=True)]
    difference = torch.cat(differences)
    covered = sum(d.numel() for d, c in zip(differences, own, strict=True) if c > 1e-12)
    return {
        "coefficient": float(f"{_coefficient(difference, torch.cat(directions)):.6g}"),
        "unexplained": round(float(torch.cat(rests).norm()) / max(float(difference.norm()), 1e-12), 4),
        "covers": round(covered / difference.numel(), 4),
    }


def _coefficient(difference: torch.Tensor, direction: torch.Tensor) -> float:
    return float(difference @ direction) / max(float(direction @ direction), 1e-12)


# -- installing ------------------------------------------------------------------------------------------------------


def _watched(kind: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def loss(*args: Any, **kwargs: Any) -> Any:
        value = original(*args, **kwargs)
        _note_loss(kind, args[0] if args else kwargs.get("input"), value)
        return value

    return loss


def _watch_backward(owner: Any) -> None:
    original = owner.backward

    @functools.wraps(original)
    def backward(first: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(first, torch.Tensor):
            _note_backward(first)
        original(first, *args, **kwargs)

    owner.backward = backward


def _watch_scaler() -> None:
    original = torch.amp.GradScaler.scale

    @functools.wraps(original)
    def scale(self: Any, outputs: Any) -> Any:
        scaled = original(self, outputs)
        if isinstance(outputs, torch.Tensor) and scaled is not outputs:
            losses.scaled = weakref.ref(scaled), outputs
        return scaled

    torch.amp.GradScaler.scale = scale  # type: ignore[method-assign]


def install() -> None:
    """Watch torch's losses and `loss.backward()`, which is also how `torch.autograd.backward(loss)` is reached here."""
    for name in WATCHED:
        setattr(functional, name, _watched(name, getattr(functional, name)))
    _watch_backward(torch.Tensor)
    _watch_scaler()
