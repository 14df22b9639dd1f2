"""Whether images reach the network as they should: float tensors, normalised alike in training and validation."""

from __future__ import annotations

from grader.checks.outcome import fail
from grader.checks.support import missing
from grader.evidence.evidence import Lab
from grader.execution.trace_events import InputEvent, Transform

FEW = 8  # images whose mean says little of all


def is_normalised(seen: InputEvent) -> bool:
    """About zero mean and unit deviation, in every channel; pixels from -1 to 1 count."""
    mean, std = seen.mean or (), seen.std or ()
    few = bool(seen.shape) and seen.shape[0] < FEW
    spread = all(abs(m) < 1 for m in mean) and all(0.3 < s < 2.5 for s in std)
    return (few or spread) and (seen.low or 0) < -0.2


def judge_fed_images(lab: Lab, seen: InputEvent) -> None:
    """The training images as the network got them, and the validation images beside them."""
    if seen.shape[1:] != (3, 32, 32) or not seen.dtype.startswith(("float", "bfloat")):
        fail(f"{lab.where(seen)}: the model was fed {seen.dtype} images {seen.shape}; expected float (N, 3, 32, 32)")
    if not is_normalised(seen):
        advice = "are not normalised: {}; use transforms.Normalize"
        fail(f"{lab.where(seen)}: the training images {advice.format(_found(seen))}", credit="not_normalised")
    validation = {loader.loader for loader in lab.validation_loaders()}
    other = next((other for other in lab.inputs if other.loader in validation and not is_normalised(other)), None)
    if other is not None:
        advice = (
            "are not normalised as the training images are: {}; the network must meet the same kind of input in both"
        )
        fail(f"{lab.where(other)}: the validation images {advice.format(_found(other))}", credit="not_normalised")


def _found(seen: InputEvent) -> str:
    return f"values from {seen.low} to {seen.high}, mean {seen.mean or ()}, deviation {seen.std or ()}"


def judge_transform(lab: Lab) -> None:
    """Where no network was called on training images: what their transform does, or at least says that it does."""
    loader = next((loader for loader in lab.loaders if loader.split == "train"), None)
    transform = loader.transform if loader is not None else None
    said = " ".join(dataset.transform for dataset in lab.datasets if dataset.split == "train")
    if _normalises(transform) or ("Normalize(" in said and "Tensor" in said):
        return
    if "Tensor" in said:
        fail(
            "the training images become tensors, but are not normalised; use transforms.Normalize",
            credit="not_normalised",
        )
    missing(lab, "no preprocessed training images were seen when the notebook ran", sign=r"Compose|ToTensor|CIFAR10\(")


def _normalises(transform: Transform | None) -> bool:
    found = transform.normalisation if transform is not None and transform.tensor else None
    return found is not None and all(0 < m < 1 for m in found.mean) and all(0.1 < s < 0.6 for s in found.std)
