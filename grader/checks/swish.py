"""Lab 2 (b): whether the activations of a net are Swish, and whose."""

from __future__ import annotations

import ast
import re
from typing import NoReturn

from grader.checks.diagnosis import simplenn
from grader.checks.diagnosis.graph import ACTIVATIONS, Departure, UnsureError, chain
from grader.checks.outcome import could_not_check, fail
from grader.checks.support import differs, missing
from grader.evidence.evidence import Lab
from grader.evidence.runs import Run
from grader.execution.trace_events import LayerRecord, NetEvent

SWISH = ("simplenn_swish", "simplenn_bn_swish")
PARTS = ("Sigmoid", "SiLU", "Swish")
RELU = ("simplenn", "simplenn_bn")
LAYERS = 5  # with weights, of SimpleNN
OF_BN = {  # what costs points in (b) Batch normalization, and only there
    "bn_behind_activation",
    "bn_behind_other_layers",
    "bn_misplaced",
    "bn_not_behind_each_convolution",
    "bn_without_weights",
}


def is_borrowed(lab: Lab, net: NetEvent) -> bool:
    """Torch's SiLU is executed, or named in code that holds nothing that Swish could be made of."""
    if any(layer.type == "SiLU" for layer in net.layers):
        return not re.search(r"class\s+SiLU\b", lab.source)
    code = _without_strings(lab.source)
    own = re.search(r"sigmoid|\bexp\(|tanh|expit", code, re.IGNORECASE)
    return not own and re.search(r"silu", code, re.IGNORECASE) is not None


def _without_strings(source: str) -> str:
    """Code without its docstrings, which may speak of what the code does not do; as it is where it cannot be parsed."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.unparse(tree)


def replaces_relu(layers: tuple[LayerRecord, ...]) -> bool:
    """A whole net with a sigmoid, or with no ReLU at all: its author tried to use Swish."""
    types = {layer.type for layer in layers}
    weights = sum(layer.weight is not None for layer in layers)
    return (weights > 1 and not types.isdisjoint(PARTS)) or (weights >= LAYERS and "ReLU" not in types)


def has_swish(run: Run) -> bool:
    """The net is one of those with Swish, or was to be one."""
    return run.is_any(*SWISH) or (replaces_relu(run.layers) and not run.is_any(*RELU))


def nearest(lab: Lab) -> NetEvent:
    """No net equals SimpleNN with Swish: the nearest one where it departs in its BN alone, or how far it got."""
    of_relu = lab.nets_equal_to(*RELU)
    tried = [net for net in lab.nets if replaces_relu(net.layers) and net not in of_relu]
    if not tried:
        missing(lab, "no network replaces the ReLUs of SimpleNN by x * sigmoid(x)", sign=r"(?i)sigmoid|swish|silu")
    net = max(tried, key=lambda net: sum(layer.type in PARTS for layer in net.layers))
    relus = sum(layer.type == "ReLU" for layer in net.layers)
    if relus:
        name = f"{net.cls} ({lab.where(net)})"
        fail(f"{name} still has {relus} ReLU activations; expected Swish in place of all", credit="relu_left")
    departure = _departure(net, "Swish")
    elsewhere = _judged_elsewhere(lab, net, departure)
    if not elsewhere:
        differs(lab, net, departure, own=simplenn.unnamed(net.layers))
    if not _known(lab, net) and not all(kind == "Swish" for kind in _activations(net)):
        _by_a_person(lab, net)
    return net


def _judged_elsewhere(lab: Lab, net: NetEvent, departure: Departure | None) -> bool:
    """The net departs in its BN alone, or as the one with ReLU does."""
    if _known(lab, net):
        return True
    order = [layer.kind for layer in net.layers if layer.kind in ("conv", "bn")]
    if "bn" in order and order != ["conv", "bn"] * 2:
        return True
    of_relu = (_departure(other, "ReLU") for other in lab.nets if any(layer.type == "ReLU" for layer in other.layers))
    return departure is not None and (departure.credit in OF_BN or departure in of_relu)


def _known(lab: Lab, net: NetEvent) -> bool:
    """The challenge shows Swish in a net with BN in another place."""
    return any(name.endswith("swish") for c in lab.challenges if c.net == net.net for name in c.deviations)


def _by_a_person(lab: Lab, net: NetEvent) -> NoReturn:
    name = f"{net.cls} ({lab.where(net)})"
    could_not_check(f"{name} departs from SimpleNN elsewhere, so that its activation must be compared by a person")


def _departure(net: NetEvent, activation: str) -> Departure | None:
    bn = any(layer.type.startswith("BatchNorm") for layer in net.layers)
    return simplenn.departure(net.layers, activation=activation, bn=bn)


def _activations(net: NetEvent) -> list[str]:
    """The steps of a net that are or may be activations, by name."""
    try:
        steps = chain(net.layers)
    except UnsureError:
        return [""]
    return [step.type for step in steps if step.type in ACTIVATIONS or not step.is_sure]
