"""Whether a net can learn at all: a copy of it, as it was before its first call, is trained on one fixed batch.

Every right net of the assignment drives the loss of a few images to zero within these steps, whatever its initial
weights; one whose gradients are cut, or whose outputs do not depend on the image, stays at ln 10. Only losses leave.
"""

from __future__ import annotations

import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from course_world.budget import LARGEST_STEP
from course_world.images import source
from course_world.nets import Net, nets
from course_world.recorder import recorder

IMAGES, FEWEST = 32, 8  # of the batch; fewer for a net that takes long
STEPS = 40
RATE = 2e-3  # of Adam, whose steps do not depend on the scale of the gradients
SECONDS = 15.0  # of computing, so that a busy machine makes no difference
MOST_PARAMETERS = 30_000_000  # a copy, its gradients and Adam's averages take four times their memory
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CLASSES = 10


class StoppedError(Exception):
    """Why there are fewer losses than STEPS."""


def answer(folder: str) -> None:
    """Write `reply.json` to `folder`: the loss at each step so far, and the problem that ended it or ""."""
    number = json.loads((Path(folder) / "request.json").read_text())["net"]
    losses: list[float] = []
    problem = ""
    with recorder.aside(), torch.enable_grad():
        torch.manual_seed(0)
        try:
            _train(nets.by_number[number], losses)
        except Exception as error:  # noqa: BLE001  (whatever the student's module raises is the answer)
            problem = str(error) if isinstance(error, StoppedError) else f"{type(error).__name__}: {error}"
    (Path(folder) / "reply.json").write_text(json.dumps({"losses": losses, "problem": problem[:300]}))


def _train(known: Net, losses: list[float]) -> None:
    """STEPS steps in train mode; the losses, each of before its step, are appended to `losses`."""
    if known.copy is None:
        raise StoppedError("the net could not be copied")
    if sum(p.numel() for p in known.copy.parameters()) > MOST_PARAMETERS:
        raise StoppedError("the net is too large to be trained here")
    net = copy.deepcopy(known.copy).requires_grad_(True).train()
    example = next(net.parameters())
    images, labels = _batch(int(LARGEST_STEP // max(known.multiply_adds, 1.0)))
    images, labels = images.to(example.device, example.dtype), labels.to(example.device)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    ends = time.process_time() + SECONDS
    for _ in range(STEPS):
        loss = functional.cross_entropy(_scores(net(images)), labels)
        value = loss.detach().item()
        if not math.isfinite(value):
            raise StoppedError("the loss is not a finite number")
        losses.append(round(value, 5))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if time.process_time() > ends:
            raise StoppedError(f"only {len(losses)} of {STEPS} steps were taken in {SECONDS:.0f} s")


def _batch(affordable: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first training images of the small world, normalised, (N, 3, 32, 32) float32, and their labels (N,)."""
    size = min(max(affordable, FEWEST), IMAGES)
    pixels = torch.from_numpy(source.images("train")[:size].copy()).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    images = ((pixels - mean) / std).contiguous()  # a forward pass may call `.view`, as it can on a loader's batches
    return images, torch.tensor((source.labels("train") or [])[:size])


def _scores(output: Any) -> torch.Tensor:
    """(N, 10) logits, of several outputs the first such; also of probabilities: a softmax is judged elsewhere."""
    if isinstance(output, (list, tuple)):
        output = next(o for o in output if isinstance(o, torch.Tensor) and o.shape[-1] == CLASSES)
    scores: torch.Tensor = output.flatten(1) if output.dim() > 2 else output
    rows = scores.detach()
    if bool((rows >= 0).all()) and bool((rows.sum(1) - 1).abs().max() < 1e-3):
        return scores.clamp_min(1e-12).log()
    return scores
