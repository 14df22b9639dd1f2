"""Lab 1: training SimpleNN for CIFAR-10 classification."""

from __future__ import annotations

import math
import re
from statistics import fmean
from typing import Any

from grader.checks.outcome import check, could_not_check, fail
from grader.checks.support import for_a_person, missing
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.record import max_validation_accuracy
from grader.evidence.runs import Run
from grader.execution.trace_events import InputEvent, LoaderEvent
from grader.rubric import Rubric

SIMPLENN = ("simplenn", "simplenn_bn", "simplenn_swish", "simplenn_bn_swish")
PARAMETERS = 82_030
LAYER_PARAMETERS = (608, 1_168, 69_240, 10_164, 850)
LN_10 = math.log(10)


def training_runs(lab: Lab) -> tuple[Run, ...]:
    """Runs on the training split, or the reason why there are none."""
    runs = tuple(run for run in lab.runs if "train" in run.splits)
    if not runs:
        missing(lab, "no optimizer step on training images was seen when the notebook ran")
    return runs


def loader_of(lab: Lab, split: str) -> LoaderEvent:
    """The first loader over a split that was iterated."""
    for loader in lab.loaders:
        if loader.split == split:
            return loader
    missing(lab, f"no DataLoader over the course's {split} split was iterated when the notebook ran")


# -- (a) -------------------------------------------------------------------------------------------------------------


@check("lab1.a", "architecture", evidence="challenge")
def check_architecture(lab1: Lab) -> None:
    """SimpleNN computes the function of Table 1: (N, 3, 32, 32) images to (N, 10) logits, with any weights."""
    if lab1.nets_equal_to("simplenn"):
        return
    if lab1.broken_nets:
        fail(f"{lab1.broken_nets[0].cls} raises on a batch of (2, 3, 32, 32) images: {lab1.broken_nets[0].problem}")
    if not lab1.nets:
        missing(lab1, "no network was built when the notebook ran")
    net = lab1.nets[0]
    if net.used == PARAMETERS:
        fail(
            f"{net.cls} has the layers of Table 1, but with the same weights its outputs differ from SimpleNN's: "
            "look at activations, pooling and padding",
            credit=0.5,
        )
    layers = [f"{layer.type}{list(layer.weight)}" for layer in net.layers if layer.weight]
    fail(f"{net.cls} is not SimpleNN: it has {net.used:,} parameters in use, expected {PARAMETERS:,}", layers=layers)


@check("lab1.a", "dummy_input", evidence="trace")
def check_dummy_input(lab1: Lab) -> None:
    """A dummy input of the size of CIFAR-10 images is passed through the model before training."""
    for seen in lab1.inputs:
        if seen.split is None and seen.steps == 0 and seen.shape[1:] == (3, 32, 32):
            return
    missing(lab1, "no made-up input of shape (N, 3, 32, 32) was passed through the model before training")


@check("lab1.a", "parameter_count", evidence="record")
def check_parameter_count(lab1: Lab) -> None:
    """The number of parameters of all conv/FC layers is counted and shown."""
    for text in lab1.texts():
        numbers = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]{2,9}", text)}
        if PARAMETERS in numbers or len(numbers & set(LAYER_PARAMETERS)) >= 4:
            return
    missing(lab1, f"no output shows the number of parameters ({PARAMETERS:,} in all, or the count of each layer)")


# -- (b) and (c) -----------------------------------------------------------------------------------------------------


def training_input(lab: Lab) -> InputEvent:
    """The first training images that a net was called on."""
    for seen in lab.inputs:
        if seen.split == "train":
            return seen
    missing(lab, "no network was called on training images when the notebook ran")


@check("lab1.b", "preprocessing", evidence="trace")
def check_preprocessing(lab1: Lab) -> None:
    """Images reach the model as float tensors (N, 3, 32, 32), normalised to about zero mean and unit deviation."""
    seen = training_input(lab1)
    found: dict[str, Any] = {"shape": seen.shape, "dtype": seen.dtype, "mean": seen.mean, "std": seen.std}
    if seen.shape[1:] != (3, 32, 32) or not seen.dtype.startswith(("float", "bfloat")):
        fail(f"the model was fed {seen.dtype} images of shape {seen.shape}; expected float (N, 3, 32, 32)", **found)
    mean, std = seen.mean or (), seen.std or ()
    if all(abs(m) < 0.6 for m in mean) and all(0.4 < s < 1.7 for s in std) and (seen.low or 0) < -0.2:
        return
    fail(
        f"the training images are not normalised: values from {seen.low} to {seen.high}, mean {mean}, deviation {std}",
        credit=0.5,
        **found,
    )


@check("lab1.b", "discussion", evidence="person")
def check_preprocessing_discussion(evidence: Evidence) -> None:
    """The preprocessing operations are discussed: what and why."""
    for_a_person(evidence, "lab1.b")


@check("lab1.c", "course_dataset", evidence="trace")
def check_course_dataset(lab1: Lab) -> None:
    """Training and validation data come from the course's CIFAR10 class in tools.dataset."""
    splits = {dataset.split for dataset in lab1.datasets}
    absent = [split for split in ("train", "val") if split not in splits]
    if absent:
        where = "; torchvision.datasets was used instead" if "torchvision.datasets" in lab1.source else ""
        missing(lab1, f"tools.dataset.CIFAR10 was not made with mode={' or '.join(map(repr, absent))}{where}")


@check("lab1.c", "training_loader", evidence="trace")
def check_training_loader(lab1: Lab) -> None:
    """A DataLoader feeds shuffled batches of the training split."""
    loader = loader_of(lab1, "train")
    if not loader.shuffled:
        fail("the training DataLoader does not shuffle: shuffle=True is missing", batch_size=loader.batch_size)
    if (loader.batch_size or 0) < 2:
        fail(f"the training DataLoader has batch size {loader.batch_size}; the notebook gives 128")


@check("lab1.c", "validation_loader", evidence="trace")
def check_validation_loader(lab1: Lab) -> None:
    """A DataLoader feeds the validation split in order and without random changes."""
    loader = loader_of(lab1, "val")
    if loader.shuffled:
        fail("the validation DataLoader shuffles; validation needs no shuffling")
    if loader.transform is not None and loader.transform.is_random:
        fail("the validation images are augmented at random; validation must measure the images themselves")


# -- (d) and (e) -----------------------------------------------------------------------------------------------------


@check("lab1.d", "deployed", evidence="trace")
def check_deployed(lab1: Lab) -> None:
    """The model is sent to the GPU, or to the device that the notebook chose where there is none."""
    if not lab1.moved:
        missing(lab1, "the model was never sent to a device with .to(device) or .cuda()")
    if "cuda" not in lab1.source:
        fail("the notebook never asks for a GPU: no 'cuda' in its code", credit=0.5)


@check("lab1.d", "verification", evidence="record")
def check_deployment_verified(evidence: Evidence, lab1: Lab) -> None:
    """It is shown how to verify that the model is deployed on the GPU."""
    shown = r"parameters\(\)\s*\)\s*\.device|\.is_cuda|nvidia-smi|memory_allocated|get_device_name|weight\.device"
    if re.search(shown, lab1.source):
        return
    for_a_person(evidence, "lab1.d")


@check("lab1.e", "loss_function", evidence="trace")
def check_loss_function(lab1: Lab) -> None:
    """Training minimises cross-entropy of the model's logits."""
    run = training_runs(lab1)[0]
    if run.loss_kind is None:
        could_not_check(f"no loss function of torch was seen ({run.describe()})")
    if run.loss_kind not in ("cross_entropy", "nll_loss"):
        fail(f"the loss is {run.loss_kind}; expected cross-entropy, which is made for classes")
    if run.loss_kind == "cross_entropy" and run.loss_fed == "probabilities":
        fail("cross-entropy is fed with probabilities: it applies softmax itself, so leave yours out", credit=0.5)


@check("lab1.e", "optimizer", evidence="trace")
def check_optimizer(lab1: Lab) -> None:
    """SGD with the given learning rate 0.01, momentum 0.9 and weight decay 1e-4 steps all of the model's parameters."""
    runs = training_runs(lab1)
    if any(_is_given_setting(run) for run in runs):
        return
    run = runs[0]
    if run.covers < 1:
        fail(f"the optimizer steps {run.covers:.0%} of the trained network's parameters ({run.describe()})")
    expected = "SGD with lr=0.01, momentum=0.9, weight_decay=0.0001"
    fail(f"found {run.describe()}; the notebook gives {expected}", credit=0.5)


def _is_given_setting(run: Run) -> bool:
    given = ((run.rates[0], 0.01), (run.momentum, 0.9), (run.weight_decay, 1e-4))
    return run.optimizer == "SGD" and run.covers == 1 and all(math.isclose(*pair, rel_tol=1e-3) for pair in given)


# -- (f) to (h) ------------------------------------------------------------------------------------------------------


@check("lab1.f", "training_loop", evidence="trace")
def check_training_loop(lab1: Lab) -> None:
    """Each step trains in train mode, with gradients zeroed, on training images."""
    run = max(training_runs(lab1), key=lambda run: run.steps)
    bugs = []
    if run.in_train_mode < 0.9:
        bugs.append(f"only {run.in_train_mode:.0%} of the steps were taken in train mode: call net.train() every epoch")
    if run.zeroed < 0.9:
        bugs.append("gradients add up from step to step: call optimizer.zero_grad() before each backward pass")
    if run.splits - {"train"}:
        bugs.append(f"steps were taken on images of {sorted(str(s) for s in run.splits - {'train'})}")
    if bugs:
        fail("; ".join(bugs), credit=0.5 if len(bugs) == 1 else 0.0, run=run.describe())


@check("lab1.f", "validation_loop", evidence="trace")
def check_validation_loop(lab1: Lab) -> None:
    """After each epoch the validation split is measured in eval mode and without gradients."""
    validations = [passed for run in training_runs(lab1) for passed in run.validations]
    if not validations:
        missing(lab1, "the network was never called on validation images while it was trained")
    bugs = []
    if any(passed.training for passed in validations):
        bugs.append("validation ran in train mode: call net.eval() before it")
    if any(passed.grad for passed in validations):
        bugs.append("validation computed gradients: put it under torch.no_grad()")
    if bugs:
        fail("; ".join(bugs), credit=0.5 if len(bugs) == 1 else 0.0)


@check("lab1.f", "learns", evidence="trace")
def check_learns(lab1: Lab) -> None:
    """The training loss falls within the first hundred steps on real images."""
    losses = max((run.losses for run in training_runs(lab1)), key=len)
    if len(losses) < 32:
        missing(
            lab1, f"only {len(losses)} training steps were seen when the notebook ran, too few to see the loss fall"
        )
    start, end = fmean(losses[:8]), fmean(losses[-8:])
    if end > start - 0.05:
        fail(f"the training loss does not fall: {start:.3f} in the first 8 steps, {end:.3f} after {len(losses)}")


@check("lab1.g", "initial_loss", evidence="trace")
def check_initial_loss(evidence: Evidence, lab1: Lab) -> None:
    """The loss before any training step is measured: about ln 10 = 2.303 for ten classes."""
    measured = [loss.value for loss in lab1.initial_losses if loss.value is not None]
    if any(abs(value - LN_10) < 0.2 for value in measured):
        return
    passage = lab1.written.get("lab1.g") or evidence.answers.passages.get("lab1.g")
    if passage is not None and re.search(r"\b2\.[23]\d*|ln\s*\(?10|log\s*\(?10", passage.text):
        return
    if measured:
        fail(f"the loss before the first step is {measured[0]:.3f}; ten classes give about ln 10 = {LN_10:.3f}")
    missing(lab1, "no loss was measured or written down before the first training step (about ln 10 = 2.303)")


@check("lab1.g", "validation_accuracy", evidence="record")
def check_lab1_accuracy(lab1: Lab, rubric: Rubric) -> None:
    """The training of 30 epochs reaches the expected 65 % validation accuracy."""
    judge_accuracy(lab1, rubric.bars.lab1)


def judge_accuracy(lab: Lab, bar: float) -> None:
    """The best validation accuracy in the saved outputs against a bar; within five points of it half counts."""
    best = max_validation_accuracy(lab.record)
    if best is None:
        fail(f"the saved outputs of {lab.file} show no validation accuracy (were they cleared before handing in?)")
    if best < bar:
        reason = f"the best validation accuracy in the saved outputs is {best:.4f}, expected {bar:.2f}"
        fail(reason, credit=0.5 if best >= bar - 0.05 else 0.0, best=best)


@check("lab1.g", "observations", evidence="person")
def check_lab1_observations(evidence: Evidence) -> None:
    """The initial loss, the accuracies and the problems of the pipeline are discussed."""
    for_a_person(evidence, "lab1.g")


@check("lab1.h", "decayed", evidence="trace")
def check_decay(lab1: Lab) -> None:
    """A run's learning rate really falls while it trains."""
    runs = training_runs(lab1)
    if not any(run.decays for run in runs):
        missing(lab1, f"the learning rate never changed during a run; found {runs[0].describe()}")


@check("lab1.h", "observations", evidence="person")
def check_decay_observations(evidence: Evidence) -> None:
    """The run with decay is compared with the one without."""
    for_a_person(evidence, "lab1.h")
