"""What the course's special preprocessing does, in numbers.

Is training on public CIFAR-10 worth nothing? Does a hash find any image? Does the change of pixels leave accuracy
alone? Are CIFAR-10's own train and test images mixed?
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reference.data.source import Originals
from reference.data.transform import Split, hash_matches, row_matches
from reference.models import SimpleNN
from reference.training import Recipe, Splits, predict, seeded, train

LIMIT = 0.10  # share of held-out labels that a classifier trained on original labels may get right

Progress = Callable[[str], None]


@dataclass(frozen=True)
class PixelEffect:
    """Accuracy on the held-out images (fractions) of pairs of nets that differ in nothing but the pixels.

    Attributes:
        changed: trained and tested on the course's images, one net for each seed.
        unchanged: trained and tested on the same images as they were, with the same labels, splits and seeds.
        unchanged_net_on_changed: the unchanged nets, tested on the course's images.
        mean_difference: mean of changed - unchanged.
        standard_error: sqrt(p * (1 - p) / n), the binomial standard error of one net's accuracy p (the mean of
            `unchanged`) on the n held-out images; the bar is |mean_difference| <= standard_error.
        standard_error_of_difference: sample standard deviation of changed - unchanged over seeds, divided by
            sqrt(seeds): how far mean_difference itself can be trusted.
    """

    changed: list[float]
    unchanged: list[float]
    unchanged_net_on_changed: list[float]
    mean_difference: float
    standard_error: float
    standard_error_of_difference: float

    @property
    def within(self) -> bool:
        return abs(self.mean_difference) <= self.standard_error


@dataclass(frozen=True)
class Measurement:
    """All figures. Shares and accuracies are fractions; the dictionaries have the course's splits as keys.

    Attributes:
        source: kind of the source; `lossy` where it was JPEG.
        epochs, seeds: of every SimpleNN trained here.
        original_labels_accuracy: held-out labels that a net trained on all originals with original labels gets right.
        original_ids_accuracy: the same net's accuracy where labels are mapped back to original ids: how good it is.
        image_matches: images with the bytes of an original or of its mirror image.
        row_matches: the same for single rows of 32 pixels.
        pixel_effect: see there.
        from_original_test: share of images that come from CIFAR-10's own test split (1/6 of all).
        seconds: wall time.
    """

    source: str
    lossy: bool
    epochs: int
    seeds: int
    original_labels_accuracy: float
    original_ids_accuracy: float
    image_matches: dict[str, int]
    row_matches: dict[str, int]
    pixel_effect: PixelEffect
    from_original_test: dict[str, float]
    seconds: float

    @property
    def passed(self) -> bool:
        matches = sum(self.image_matches.values())
        return self.original_labels_accuracy <= LIMIT and matches == 0 and self.pixel_effect.within


def measure(
    originals: Originals,
    splits: dict[str, Split],
    *,
    epochs: int = 4,
    seeds: int = 5,
    progress: Progress = lambda line: None,
) -> Measurement:
    """Train 1 + 2 * `seeds` SimpleNNs for `epochs` epochs each and count matches; arguments as from `load_course`."""
    started = time.perf_counter()
    progress("hashing")
    images = {name: hash_matches(split.images, originals.images) for name, split in splits.items()}
    rows = {name: row_matches(split.images, originals.images) for name, split in splits.items()}
    progress("training on the original labels")
    on_course, on_original = original_labels_accuracy(originals, splits["test"], epochs)
    return Measurement(
        source=originals.kind,
        lossy=originals.lossy,
        epochs=epochs,
        seeds=seeds,
        original_labels_accuracy=on_course,
        original_ids_accuracy=on_original,
        image_matches=images,
        row_matches=rows,
        pixel_effect=pixel_effect(originals, splits, epochs, seeds, progress),
        from_original_test={name: float(originals.from_test[split.indices].mean()) for name, split in splits.items()},
        seconds=time.perf_counter() - started,
    )


def original_labels_accuracy(originals: Originals, heldout: Split, epochs: int) -> tuple[float, float]:
    """Train a SimpleNN on every original with its original label, the held-out ones included, as a cheat could.

    Returns its accuracy against the held-out labels, and against the original labels of the same images.
    """
    net = trained(originals.images, originals.labels, 0, epochs)
    original = originals.labels[heldout.indices]
    return accuracy(net, heldout.images, heldout.labels), accuracy(net, heldout.images, original)


def pixel_effect(
    originals: Originals, splits: dict[str, Split], epochs: int, seeds: int, progress: Progress = lambda line: None
) -> PixelEffect:
    """Train a SimpleNN on the course's pixels and one on the unchanged pixels for each seed; test on the held-out."""
    training, heldout = splits["train"], splits["test"]
    before = originals.images[heldout.indices]
    changed, unchanged, crossed = [], [], []
    for seed in range(seeds):
        progress(f"training pair {seed + 1} of {seeds}")
        net = trained(training.images, training.labels, seed, epochs)
        changed.append(accuracy(net, heldout.images, heldout.labels))
        net = trained(originals.images[training.indices], training.labels, seed, epochs)
        unchanged.append(accuracy(net, before, heldout.labels))
        crossed.append(accuracy(net, heldout.images, heldout.labels))
    return summarise(changed, unchanged, crossed, len(heldout.labels))


def trained(images: NDArray[np.uint8], labels: NDArray[np.uint8], seed: int, epochs: int) -> nn.Module:
    """A SimpleNN trained on images (N, 32, 32, 3) and class ids (N,), the order of batches and the start by `seed`."""
    # One cycle: a run of few epochs ends at a low rate, so that the noise between seeds does not hide the difference.
    recipe = Recipe(epochs=epochs, lr=0.05, schedule="one_cycle", channels_last=True, seed=seed)
    x, y = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    net = seeded(SimpleNN, seed)
    train(net, Splits(x, y, x[:1000], y[:1000]), recipe)  # its validation figures are not used
    return net


def accuracy(net: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float:
    """Share of images (N, 32, 32, 3) whose class id (N,) is predicted."""
    return float((predict(net, torch.from_numpy(images)).numpy() == labels).mean())


def summarise(changed: list[float], unchanged: list[float], crossed: list[float], n: int) -> PixelEffect:
    """Compare the accuracies on n images; at least two pairs are needed."""
    differences = np.subtract(changed, unchanged)
    p = float(np.mean(unchanged))
    return PixelEffect(
        changed=changed,
        unchanged=unchanged,
        unchanged_net_on_changed=crossed,
        mean_difference=float(differences.mean()),
        standard_error=float(np.sqrt(p * (1 - p) / n)),
        standard_error_of_difference=float(differences.std(ddof=1) / np.sqrt(len(differences))),
    )


def render(measurement: Measurement) -> str:
    """The figures as text, each with its bar and whether it is met."""
    effect = measurement.pixel_effect
    low = measurement.original_labels_accuracy <= LIMIT
    unfound = sum(measurement.image_matches.values()) == 0
    shares = {name: round(share, 4) for name, share in measurement.from_original_test.items()}
    lines = [
        f"source: {measurement.source}{', lossy' if measurement.lossy else ''}; SimpleNN, {measurement.epochs} epochs",
        f"{_mark(low)} trained on all originals with original labels: accuracy on the held-out labels "
        f"{measurement.original_labels_accuracy:.4f}, at most {LIMIT} wanted",
        f"     the same net on the original labels of the same images: {measurement.original_ids_accuracy:.4f}",
        f"{_mark(unfound)} images with the bytes of an original or its mirror image: {measurement.image_matches}",
        f"     rows of 32 pixels likewise: {measurement.row_matches}",
        f"{_mark(effect.within)} accuracy on the held-out images, mean of {measurement.seeds} seeds: changed pixels "
        f"{np.mean(effect.changed):.4f}, unchanged {np.mean(effect.unchanged):.4f}, difference "
        f"{effect.mean_difference:+.4f}, wanted within {effect.standard_error:.4f}, one binomial standard error of one "
        f"net's accuracy",
        f"     standard error of that mean difference, from the spread over seeds: "
        f"{effect.standard_error_of_difference:.4f}",
        f"     nets trained on unchanged pixels, tested on changed: {np.mean(effect.unchanged_net_on_changed):.4f}",
        f"     share from CIFAR-10's own test split (0.1667 of all images): {shares}",
    ]
    return "\n".join(lines)


def to_json(measurement: Measurement) -> str:
    return (
        json.dumps({**asdict(measurement), "torch": torch.__version__, "passed": measurement.passed}, indent=2) + "\n"
    )


def _mark(met: bool) -> str:
    return "ok  " if met else "MISS"
