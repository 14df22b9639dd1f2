"""Evidence of a submission, built from a few cells: what stands in them, what the trace saw there, what was saved."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from grader.evidence.answers import Answer
from grader.evidence.evidence import LABS, Answers, Evidence, Lab, Predictions, assemble_lab
from grader.evidence.passages import Passage
from grader.execution.architectures import KNOWN, Layers, parameter_count
from grader.execution.challenge import Challenge
from grader.execution.overfit import STEPS, Overfit
from grader.execution.trace_events import (
    BrokenNetEvent,
    DatasetEvent,
    Event,
    FaultEvent,
    InitialLossEvent,
    InputEvent,
    LayerRecord,
    LoaderEvent,
    LoadEvent,
    MovedEvent,
    NetEvent,
    Normalisation,
    PassEvent,
    PenaltyEvent,
    PenaltyFit,
    SaveEvent,
    SchedulerEvent,
    StepEvent,
    Transform,
)
from grader.execution.world import INSIDE

sys.path.append(str(INSIDE))
from course_world.operations import Watch

SEEN = Event | Challenge | Overfit


# -- transforms, loaders, data sets -----------------------------------------------------------------------------------

NORMALISED = Normalisation(mean=(0.49, 0.48, 0.45), std=(0.2, 0.2, 0.2))
PLAIN = Transform(tensor=True, shape=(3, 32, 32), shifts=1, normalisation=NORMALISED)
AUGMENTED = Transform(tensor=True, shape=(3, 32, 32), shifts=25, max_shift=4, flips=True, normalisation=NORMALISED)
FLIPPED = Transform(tensor=True, shape=(3, 32, 32), shifts=1, flips=True, normalisation=NORMALISED)
COMPOSED = "Compose(ToTensor() Normalize(mean=(0.49, 0.48, 0.45), std=(0.2, 0.2, 0.2)))"


def dataset(split: str, *, transform: str = COMPOSED) -> DatasetEvent:
    """`CIFAR10(mode=split)`."""
    return DatasetEvent(
        event="dataset", cell=0, split=split, transform=transform, size=512 if split == "train" else 200
    )


def loader(number: int, split: str | None, **fields: Any) -> LoaderEvent:
    """A DataLoader at its first pass; number 0 is for training, 1 for validation."""
    usual = {
        "batch_size": 128,
        "shuffled": split == "train",
        "size": 512 if split == "train" else 200,
        "transform": PLAIN,
    }
    return LoaderEvent(event="loader", cell=0, loader=number, split=split, **(usual | fields))


# -- nets -------------------------------------------------------------------------------------------------------------


@cache
def layers_for(architecture: str) -> tuple[LayerRecord, ...]:
    """The executed operations of a known architecture."""
    layers, images = Layers(torch.Generator().manual_seed(0)), torch.zeros(2, 3, 32, 32, dtype=torch.float64)
    KNOWN[architecture](images, layers)  # draws the weights
    with Watch() as watch:
        KNOWN[architecture](images, layers.restart(training=False))
    return tuple(LayerRecord.model_validate(json.loads(json.dumps(o.describe()))) for o in watch.operations)


def chained(*layers: LayerRecord) -> tuple[LayerRecord, ...]:
    """The operations of a net without branches: each reads the one before."""
    return tuple(
        layer.model_copy(update={"reads": (place - 1,) if place else ()}) for place, layer in enumerate(layers)
    )


@cache
def parameters_of(architecture: str) -> int:
    """Number of its parameters."""
    return parameter_count(architecture)


def net(number: int = 0, architecture: str = "simplenn", **fields: Any) -> NetEvent:
    """A net with the executed layers of a known architecture, or with `layers` of its own."""
    usual = {
        "cls": "SimpleNN",
        "origin": "called",
        "layers": layers_for(architecture),
        "used": parameters_of(architecture),
        "unused": 0,
        "copied": True,
        "output": (2, 10),
    }
    return NetEvent(event="net", cell=0, net=number, **(usual | fields))


def equals(number: int, *names: str) -> Challenge:
    """A challenge that shows the net to be these functions."""
    return Challenge(number, names, dict.fromkeys(names, (0.0, 0.0)), None)


def differs(
    number: int, name: str = "simplenn", *, evaluating: float = 1.2, training: float = 1.2, **fields: Any
) -> Challenge:
    """A challenge whose outputs differ from those of a known architecture."""
    return Challenge(number, (), {name: (evaluating, training)}, None, **fields)


def one_batch(number: int = 0, last: float = 0.001, problem: str | None = None) -> Overfit:
    """A net trained on one batch, whose loss ends at `last`; with a `problem` it ends early."""
    steps = STEPS if problem is None else STEPS // 4
    return Overfit(number, tuple(2.3 + (last - 2.3) * k / (steps - 1) for k in range(steps)), problem)


def built(number: int = 0, architecture: str = "simplenn", **fields: Any) -> tuple[SEEN, ...]:
    """A net of a known architecture, as the challenge confirms."""
    return net(number, architecture, **fields), equals(number, architecture)


def broken(number: int = 0, cls: str = "SimpleNN") -> BrokenNetEvent:
    """A net that raises when it is called."""
    problem = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x400 and 576x120)"
    return BrokenNetEvent(event="broken_net", cell=0, net=number, cls=cls, origin="class", problem=problem)


def moved(number: int = 0) -> MovedEvent:
    """`net.to(device)`."""
    return MovedEvent(event="moved", cell=0, net=number, cls="SimpleNN", device="cuda")


def fed(number: int = 0, split: str | None = "train", **fields: Any) -> InputEvent:
    """The first images of a split that a net was called on."""
    usual = {
        "loader": None if split is None else 0,
        "shape": (128, 3, 32, 32),
        "dtype": "float32",
        "mean": (0.02, 0.01, 0.03),
        "std": (1.2, 1.2, 1.3),
        "low": -2.4,
        "high": 2.7,
        "steps": 0,
        "device": "cpu",
    }
    return InputEvent(event="input", cell=0, net=number, split=split, **(usual | fields))


def initial_loss(value: float | None = 2.304, number: int = 0) -> InitialLossEvent:
    """A loss measured before any step."""
    return InitialLossEvent(event="initial_loss", cell=0, net=number, split="val", kind="cross_entropy", value=value)


def saved(number: int = 0, *, steps: int = 40, changed: bool = False) -> SaveEvent:
    """`torch.save` of a net's weights."""
    return SaveEvent(event="save", cell=0, net=number, steps=steps, changed=changed)


def loaded(number: int = 0, *, steps: int | None = None) -> LoadEvent:
    """`load_state_dict`; `steps` that the weights had taken in this notebook, None where they come from elsewhere."""
    return LoadEvent(event="load", cell=0, net=number, steps=steps)


def fault() -> FaultEvent:
    """A hook of the grader's that failed."""
    return FaultEvent(event="fault", cell=0, where="_after_step", problem="ValueError: too many values")


# -- runs -------------------------------------------------------------------------------------------------------------


def step(number: int | None = 0, **fields: Any) -> StepEvent:
    """One `optimizer.step()`."""
    usual = {
        "fed": number,
        "optimizer": number or 0,
        "kind": "SGD",
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "covers": 1.0,
        "earlier_steps": 0,
        "images": 128,
        "training": True,
        "split": "train",
        "loader": 0,
        "loss": 2.3,
        "cross_entropy": 2.3,
        "loss_kind": "cross_entropy",
        "loss_fed": "logits",
        "fresh_gradients": True,
    }
    return StepEvent(event="step", cell=0, net=number, **(usual | fields))


def scheduler(steps: int, *, optimizer: int = 0, kind: str = "StepLR") -> SchedulerEvent:
    """A scheduler after so many calls of its `step()`."""
    return SchedulerEvent(
        event="scheduler", cell=0, scheduler=optimizer, optimizer=optimizer, kind=kind, steps=steps, lr=0.01
    )


def validation(number: int = 0, **fields: Any) -> PassEvent:
    """A pass over validation images in eval mode without gradients."""
    usual = {"loader": 1, "split": "val", "batches": 2, "nets": (number,), "training": False, "grad": False, "steps": 0}
    return PassEvent(event="pass", cell=0, **(usual | fields))


def run(
    number: int | None = 0,
    *,
    rates: Sequence[float] = (0.01,),
    losses: tuple[float, float] = (2.31, 1.8),
    steps: int = 40,
    validations: Iterable[PassEvent] | None = None,
    **fields: Any,
) -> tuple[Event, ...]:
    """A training in two passes; the loss moves evenly between `losses`, the rates change evenly over the steps."""
    first = fields.pop("earlier_steps", 0)
    start, end = losses
    events: list[Event] = []
    for k in range(steps):
        loss = start + (end - start) * k / max(steps - 1, 1)
        rate = rates[k * len(rates) // steps]
        taken = {"lr": rate, "cross_entropy": loss, "loss": loss, "earlier_steps": first + k}
        events.append(step(number, **(taken | fields)))
    half = max(steps // 2, 1)
    number_of_loader = fields.get("loader", 0)
    of_training = {
        "loader": number_of_loader,
        "split": fields.get("split", "train"),
        "batches": half,
        "steps": half,
        "training": True,
        "grad": True,
    }
    after = (validation(number or 0),) if validations is None else tuple(validations)
    if number_of_loader is not None:
        events.append(validation(number or 0, **of_training))
    return *events[: steps - 1], *after[:-1], *events[steps - 1 :], *after[-1:]  # one validation after the last epoch


def penalty(
    number: int = 0,
    *,
    l1: tuple[float, float] = (1e-4, 0.0),
    l2: tuple[float, float] = (2.5e-3, 0.6),
    covers: float = 1.0,
    norm: float = 0.03,
    value: float = 0.2,
) -> PenaltyEvent:
    """A penalty in the loss; the pairs are a fit's coefficient and the share of the gradient it leaves unexplained."""
    return PenaltyEvent(
        event="penalty",
        cell=0,
        net=number,
        value=value,
        gradient_norm=norm,
        l1=PenaltyFit(coefficient=l1[0], unexplained=l1[1], covers=covers),
        l2=PenaltyFit(coefficient=l2[0], unexplained=l2[1]),
    )


L2_PENALTY = {"l1": (1e-5, 0.6), "l2": (1e-3, 0.0)}


# -- cells, labs, submissions -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A code cell: its source, what the trace saw in it, how it ended here, and what the student saved with it.

    `count` is its saved execution count, None where the outputs were cleared; `kind` may be markdown.
    """

    source: str = ""
    seen: tuple[SEEN, ...] = ()
    printed: str = ""
    image: bool = False
    status: str = "ok"
    error: str = ""
    saved_error: bool = False
    count: int | None = None
    kind: str = "code"

    def as_json(self) -> dict[str, Any]:
        """The cell of the notebook that was handed in."""
        if self.kind != "code":
            return {"cell_type": self.kind, "source": self.source}
        outputs: list[dict[str, Any]] = []
        if self.printed:
            outputs.append({"output_type": "stream", "name": "stdout", "text": self.printed})
        if self.image:
            outputs.append({"output_type": "display_data", "data": {"image/png": ""}, "metadata": {}})
        if self.saved_error:
            outputs.append({"output_type": "error", "ename": "NameError", "evalue": "", "traceback": []})
        return {"cell_type": "code", "source": self.source, "outputs": outputs, "execution_count": self.count}


def markdown(text: str) -> Cell:
    """A Markdown cell."""
    return Cell(text, kind="markdown")


def raised(error: str, source: str = "", **fields: Any) -> Cell:
    """A code cell that raised here."""
    return Cell(source, status="error", error=error, **fields)


def lab(role: str, cells: Iterable[Cell | None]) -> Lab:
    """One lab from its cells; None is left out, an event belongs to the cell that it stands in."""
    kept = [cell for cell in cells if cell is not None]
    code = [index for index, cell in enumerate(kept) if cell.kind == "code"]
    seen = [(number, event) for number, index in enumerate(code) for event in kept[index].seen]
    notebook = {"nbformat": 4, "cells": [cell.as_json() for cell in kept]}
    ended = [
        {"index": index, "status": kept[index].status, "error": kept[index].error, "seconds": 0.1} for index in code
    ]
    return assemble_lab(
        role,
        f"{role}.ipynb",
        submitted=notebook,
        executed={"cells": []},
        ended={"cells": ended, "executed": code, "problem": None},
        events=[e.model_copy(update={"cell": number}) for number, e in seen if isinstance(e, Event)],
        answered=[challenge for _, challenge in seen if isinstance(challenge, Challenge)],
        overfits=[overfit for _, overfit in seen if isinstance(overfit, Overfit)],
    )


def answer(item: str, verdict: bool | None, explanation: str = "because of the shift", **fields: Any) -> Answer:
    """An answer to a problem of part 1."""
    return Answer(item, verdict, explanation, fields.pop("source", "answers.yaml, line 3"), **fields)


def evidence(
    *labs: Lab,
    answers: Iterable[Answer] = (),
    passages: dict[str, str] | None = None,
    problems: tuple[str, ...] = (),
    read: tuple[str, ...] = (),
    predictions: Predictions | None = None,
    truth: tuple[int, ...] | None = None,
    lossy: bool = False,
    source: str = "course",
) -> Evidence:
    """A submission with these labs; the others were not handed in."""
    absent = {role: Lab(role, None, f"no notebook of {name} was found", "student") for role, name in LABS.items()}
    written = {item: Passage(text, "report.pdf, page 2") for item, text in (passages or {}).items()}
    return Evidence(
        labs=absent | {lab.role: lab for lab in labs},
        predictions=predictions or Predictions(None, None, "predictions.csv was not handed in", None),
        answers=Answers({a.item: a for a in answers}, written, problems, read),
        lossy=lossy,
        source=source,
        truth=truth,
    )
