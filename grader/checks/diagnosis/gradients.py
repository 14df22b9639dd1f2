"""A net whose outputs are right and whose gradients are not: which layers' weights get none, or another one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from grader.execution.architectures import layers_of
from grader.execution.challenge import Challenge

NAMED = 3


def gradient_reason(challenge: Challenge) -> str:
    """One sentence on the layers without a gradient, or with another one than the function has."""
    labels = _labels(challenge.equal_in_values[0])
    cause = "part of forward() is computed on .data, detached or under no_grad()"
    if challenge.without_gradient:
        layers = _listed([labels[index] for index in challenge.without_gradient])
        return f"its outputs are right, but no gradient reaches {layers}: {cause}"
    layers = _listed([labels[index] for index in challenge.other_gradient])
    return f"its outputs are right, but the gradients of {layers} are not those of the function: {cause}"


def _labels(architecture: str) -> list[str]:
    """`conv1`, `bn1`, `fc1` and so on, in order of execution."""
    numbers = {kind: count(1) for kind in ("conv", "bn", "linear")}
    names = {"linear": "fc"}
    return [f"{names.get(layer.kind, layer.kind)}{next(numbers[layer.kind])}" for layer in layers_of(architecture)]


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - NAMED
    return ", ".join(labels[:NAMED]) + (f" and {more} more layers" if more > 0 else "")
