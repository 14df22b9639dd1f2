"""The outside half of training on one batch: which nets are asked, and their losses read as hostile input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from grader.execution.sandbox.space import Space
from grader.execution.trace_events import NetEvent, Number
from grader.execution.untrusted import UntrustedFileError

CLASSES = 10
STEPS = 40  # as course_world.overfit takes them
MAX_ASKED = 6  # of one notebook
MAX_REPLY_BYTES = 20_000


@dataclass(frozen=True)
class Overfit:
    """The losses of a copy of `net` at each step on one batch of real images, or why they end early."""

    net: int
    losses: tuple[float, ...]
    problem: str | None

    @property
    def last(self) -> float | None:
        """The loss before the last of all steps; None where they were not all taken."""
        return self.losses[-1] if self.problem is None and len(self.losses) == STEPS else None


class _Reply(BaseModel):
    losses: Annotated[tuple[Number, ...], Field(max_length=STEPS)]
    problem: Annotated[str, Field(max_length=2_000)]


def signature(net: NetEvent) -> tuple[object, ...]:
    """What is executed: nets that share it are asked once."""
    return tuple((layer.type, layer.weight) for layer in net.layers)


def can_learn(net: NetEvent) -> bool:
    """A classifier of images that is more than one layer: (N, 10) outputs of at least two layers with weights."""
    weighted = sum(layer.weight is not None for layer in net.layers)
    classifies = net.output is not None and len(net.output) >= 2 and net.output[1] == CLASSES
    return weighted > 1 and classifies and net.input is not None and net.input[1:] == (3, 32, 32)


def write_request(folder: Space, net: int) -> None:
    """Write `request.json`, which names the net. Raises UntrustedFileError where the kernel left no room for it."""
    folder.write("request.json", json.dumps({"net": net}).encode())


def read_reply(folder: Space, net: int) -> Overfit:
    """What `reply.json` says; the reply is the student's, and a malformed one is none."""
    try:
        reply = _Reply.model_validate_json(folder.read("reply.json", MAX_REPLY_BYTES))
    except UntrustedFileError as error:
        return Overfit(net, (), f"there are no readable losses ({error})")
    except (ValidationError, ValueError, RecursionError) as error:
        return Overfit(net, (), f"there are no readable losses ({type(error).__name__})")
    return Overfit(net, reply.losses, reply.problem[:300] or None)
