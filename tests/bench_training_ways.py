"""The two ways of training that `bench_training` compares, each in a process that works whenever it is asked to.

    python -m tests.bench_training_ways course|reference|curve FOLDER JOB

FOLDER holds data in the course's files, JOB is a `Job` as JSON. Every line read names an entry (of `curve`, a seed),
every line written is the answer to it, as JSON.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms

from reference.lab2 import LEARNING_RATES, with_bn
from reference.models import ResNet20, SimpleNN
from reference.notebooks.tools.dataset import CIFAR10
from reference.preprocessing import MEAN, PADDING, STD
from reference.speed import choose_device, has_bfloat16, keep_freed_memory
from reference.training import Recipe, Splits, load_splits, make_group, seeded, train, train_epoch

BATCH = 128
MATRIX_PRODUCTS = 3  # at each question; the first of a process brings libraries to where they are found at once
Answer = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """How much one turn is: training images for a SimpleNN and a ResNet-20, and the side of the matrices."""

    simplenn: int = 12_800
    resnet20: int = 2_560
    matrix: int = 4096


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def now(device: torch.device) -> float:
    """Seconds, once the device has done all it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak(side: int, device: torch.device) -> Answer:
    """Floating-point operations per second of a product of two square matrices, the best of several, by dtype.

    A dtype that the device has no instructions for is left out.
    """
    rates = {}
    for dtype in (torch.float32, *([torch.bfloat16] if has_bfloat16(device) else [])):
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(MATRIX_PRODUCTS):
            started = now(device)
            torch.mm(a, b)
            seconds.append(now(device) - started)
        rates[str(dtype).removeprefix("torch.")] = 2 * side**3 / min(seconds)
    return rates


class CoursesOwn:
    """The loop of the notebooks: a loader with one worker process a core, PIL transforms, float32, NCHW."""

    def __init__(self, make_net: Callable[[], nn.Module], folder: Path, images: int, device: torch.device) -> None:
        transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )
        data = Subset(CIFAR10(folder, mode="train", download=False, transform=transform), range(images))
        self.loader = DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=cores())
        self.device = device
        self.net = seeded(make_net, 0).to(device)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def turn(self) -> Answer:
        """Train on all images: seconds from the first batch to the last, and those of starting and ending workers.

        An epoch starts its workers once, however short it is here, so the two are told apart. While they start, they
        prepare up to two batches each; these count among the images trained, in favour of this way.
        """
        self.net.train()
        total_loss, correct = 0.0, 0
        started = now(self.device)
        batches = iter(self.loader)
        first = next(batches)
        ready = now(self.device)
        for images, labels in islice(chain([first], batches), len(self.loader)):
            images, labels = images.to(self.device), labels.to(self.device)
            logits = self.net(images)
            loss = self.criterion(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total_loss += loss.item() * len(labels)
            correct += (logits.argmax(dim=1) == labels).sum().item()
        trained = now(self.device)
        next(batches, None)  # asked for one batch more, the loader ends its workers
        ended = now(self.device)
        return {"seconds": trained - ready, "once": ready - started + ended - trained}


class References:
    """The reference's training of K nets on the same batches."""

    def __init__(self, nets: Sequence[nn.Module], recipes: Sequence[Recipe], splits: Splits, images: int) -> None:
        self.device = splits.train_labels.device
        self.splits = part(splits, images)
        self.group = make_group(nets, recipes, self.device)
        started = now(self.device)
        train_epoch(self.group, part(splits, BATCH), 0)
        self.first_batch = now(self.device) - started

    def turn(self) -> Answer:
        """Train on all images: the seconds that takes, and those of the very first batch, compilation included."""
        started = now(self.device)
        train_epoch(self.group, self.splits, 0)
        return {"seconds": now(self.device) - started, "once": 0.0, "first_batch": self.first_batch}


def part(splits: Splits, images: int) -> Splits:
    return replace(splits, train_images=splits.train_images[:images], train_labels=splits.train_labels[:images])


def quick(device: torch.device, **changes: Any) -> Recipe:
    """What the reference does for speed, on this device."""
    return Recipe(augment=True, channels_last=True, bfloat16=has_bfloat16(device), **changes)


def course(folder: Path, job: Job) -> Callable[[str], Answer]:
    device = choose_device()
    made = {
        "simplenn": CoursesOwn(SimpleNN, folder, job.simplenn, device),
        "resnet20": CoursesOwn(ResNet20, folder, job.resnet20, device),
    }
    return lambda name: peak(job.matrix, device) if name == "peak" else made[name].turn()


def reference(folder: Path, job: Job) -> Callable[[str], Answer]:
    keep_freed_memory()
    device = choose_device()
    splits = load_splits(folder).to(device)

    @functools.cache
    def made(name: str) -> References:
        recipe = quick(device)
        if name == "six rates":
            nets = [seeded(with_bn, 0) for _ in LEARNING_RATES]
            return References(nets, [replace(recipe, lr=lr) for lr in LEARNING_RATES], splits, job.simplenn)
        make_net, images = {
            "simplenn": (SimpleNN, job.simplenn),
            "one rate": (with_bn, job.simplenn),
            "resnet20": (ResNet20, job.resnet20),
            "resnet20 compiled": (ResNet20, job.resnet20),
        }[name]
        recipe = replace(recipe, compiled=name.endswith("compiled"))
        return References([seeded(make_net, 0)], [recipe], splits, images)

    return lambda name: peak(job.matrix, device) if name == "peak" else made(name).turn()


def curve(folder: Path, _: Job) -> Callable[[str], Answer]:
    keep_freed_memory()
    splits = load_splits(folder)
    return lambda seed: trained_by_short_recipe(splits, int(seed))


def trained_by_short_recipe(splits: Splits, seed: int) -> Answer:
    """Validation accuracy of a ResNet-20 after each epoch, and the seconds until then, compilation included."""
    recipe = quick(
        choose_device(), epochs=60, lr=0.2, nesterov=True, weight_decay=5e-4, schedule="one_cycle", label_smoothing=0.1
    )
    recipe = replace(recipe, average=0.995, flip_test=True, compiled=True, seed=seed)
    seconds: list[float] = []
    history = train(seeded(ResNet20, seed), splits, recipe, on_epoch=lambda so_far: seconds.append(so_far.seconds))
    return {"val_accuracy": history.val_accuracy, "seconds": seconds}


WAYS = {"course": course, "reference": reference, "curve": curve}


def main(way: str, folder: str, job: str) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    torch.manual_seed(0)
    answer_to = WAYS[way](Path(folder), Job(**json.loads(job)))
    for line in sys.stdin:
        print(json.dumps(answer_to(line.strip())), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
