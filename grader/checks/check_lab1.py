"""Lab 1: training SimpleNN for CIFAR-10 classification."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import replace
from itertools import pairwise

from grader.checks.blame import hindrance
from grader.checks.borrowed import parsed
from grader.checks.claims import judge_accuracy
from grader.checks.diagnosis import simplenn
from grader.checks.initial_loss import judge_initial_loss
from grader.checks.learning import is_calibrated, judge_learning, judge_one_batch
from grader.checks.outcome import RecordProperty, check, could_not_check, fail
from grader.checks.preprocessing import judge_fed_images, judge_transform
from grader.checks.support import differs, for_a_person, largest_net, missing, words
from grader.checks.training import (
    SHOWS_SOMETHING,
    TRAINS,
    decays_afterwards,
    fail_for,
    idle_schedulers,
    is_fresh,
    loop_bugs,
    no_run,
    same,
    saved_untrained,
    splits_mixed_in,
    steps_without_gradients,
    training_runs,
    validation_bugs,
)
from grader.evidence.evidence import Evidence, Lab
from grader.evidence.runs import Run
from grader.execution.trace_events import InputEvent, LoaderEvent, PassEvent, StepEvent
from grader.rubric import Rubric

TABLE_1 = {
    "Conv 1": (8, 3, 5, 5),
    "Conv 2": (16, 8, 3, 3),
    "FC1": (120, 576),
    "FC2": (84, 120),
    "FC3": (10, 84),
}
PARAMETERS = 82_030
# Layer by layer with biases, and of the weights alone; 81,792 is the sum of the latter.
LAYER_PARAMETERS = ({608, 1_168, 69_240, 10_164, 850}, {600, 1_152, 69_120, 10_080, 840})
TOTALS = {PARAMETERS, 81_792}
NUMBER = re.compile(r"(?<![\d.])\d[\d,_]{2,9}")
TORCHVISIONS = r"torchvision\.datasets|from torchvision import .*\bdatasets\b"
LOADS = r"DataLoader|_?loader\b|\bfor\b.*\benumerate\("


def loader_of(lab: Lab, split: str) -> LoaderEvent:
    """The first loader over a split that was iterated; of validation loaders first those that a run was measured on."""
    validated = {passed.loader for run in lab.runs for passed in run.validations}
    validation = sorted(lab.validation_loaders(), key=lambda loader: loader.loader not in validated)
    for loader in lab.loaders if split == "train" else validation:
        if split == "val" or loader.split == split:
            return loader
    missing(lab, f"no DataLoader over the course's {split} split was iterated when the notebook ran", sign=LOADS)


# -- (a) -------------------------------------------------------------------------------------------------------------


@check("lab1.a", "architecture", evidence="challenge")
def check_architecture(lab1: Lab, record_property: RecordProperty) -> None:
    """SimpleNN computes the function of Table 1: (N, 3, 32, 32) images to (N, 10) logits, with any weights."""
    equal = lab1.nets_equal_to("simplenn")
    net = equal[0] if equal else largest_net(lab1)
    record_property("used", net.used)
    record_property("unused", net.unused)
    if equal:
        return
    name = f"{net.cls} ({lab1.where(net)})"
    shapes = {layer.weight for layer in net.layers}
    absent = [row for row, shape in TABLE_1.items() if shape not in shapes]
    departure = simplenn.departure(net.layers)
    if absent and (departure is None or len(absent) == len(TABLE_1)):
        fail(f"{name} has no layer like {', '.join(absent)} of Table 1", credit=0.1 * (5 - len(absent)))
    if departure is None and net.used != PARAMETERS:
        fail(
            f"{name} has more than the layers of Table 1: {net.used:,} parameters, expected {PARAMETERS:,}",
            credit="more_layers",
        )
    differs(lab1, net, departure, own=simplenn.unnamed(net.layers))


@check("lab1.a", "dummy_input", evidence="trace")
def check_dummy_input(lab1: Lab) -> None:
    """A dummy input of the size of CIFAR-10 images is passed through the model before training."""
    steps = [event.cell for event in lab1.of_type(StepEvent)]
    if any(_is_dummy(lab1, seen, min(steps, default=seen.cell + 1)) for seen in lab1.inputs):
        return
    if re.search(r"\bsummary\(.*3\s*,\s*32\s*,\s*32", lab1.source):  # torchsummary, torchinfo: they pass one themselves
        return
    if _shows_layer_by_layer(lab1, min(steps, default=len(lab1.order))):
        return
    reason = "no made-up input of shape (N, 3, 32, 32) was passed through the model before training"
    missing(lab1, reason, sign=r"randn?\(|zeros|ones|\.shape|\.size\(")


def _is_dummy(lab: Lab, seen: InputEvent, first_training: int) -> bool:
    """An input of no data set, or real images in an earlier cell that looks at shapes."""
    if seen.steps > 0 or seen.shape[-3:] != (3, 32, 32):
        return False
    index = lab.order[seen.cell] if 0 <= seen.cell < len(lab.order) else -1
    return seen.split is None or (seen.cell < first_training and lab.code.reaches(index, r"\.shape\b|\.size\("))


def _shows_layer_by_layer(lab: Lab, first_training: int) -> bool:
    """A cell before training that makes such an input, calls parts of the model in a loop and looks at shapes."""
    ended = {cell.index for cell in lab.cells if cell.status == "ok"}
    before = [index for index in lab.order[:first_training] if index in ended and index in lab.code.cells]
    texts = [lab.code.cells[index].text for index in before]
    made = r"(?:randn?|zeros|ones)\([^)]*3,\s*32,\s*32"
    return any(re.search(made, text) and ".shape" in text and re.search(r"\bfor \w+ in\b", text) for text in texts)


@check("lab1.a", "parameter_count", evidence="record")
def check_parameter_count(evidence: Evidence, lab1: Lab) -> None:
    """The number of parameters of all conv/FC layers is counted and shown."""
    texts = (*lab1.texts(), words(evidence, "lab1.a"))
    found = [{int(re.sub(r"\D", "", number)) for number in NUMBER.findall(text)} for text in texts]
    for numbers in (*found, compared_numbers(lab1)):
        if numbers & TOTALS or any(len(numbers & layers) >= 4 for layers in LAYER_PARAMETERS):
            return confirm_count(lab1)
    reason = f"no output shows the number of parameters ({PARAMETERS:,} in all, or the count of each layer)"
    missing(lab1, reason, sign=r"numel|summary\(|parameters\(\)")


def confirm_count(lab: Lab) -> None:
    """A number can be printed whatever was counted: where networks were seen, one of them must have it."""
    # From the shapes of weights: whoever counts in the notebook may have been replaced.
    counts = {sum(math.prod(w) + w[0] for layer in net.layers if (w := layer.weight)) for net in lab.nets}
    if counts and PARAMETERS not in counts:
        seen = ", ".join(f"{count:,}" for count in sorted(counts)[:4])
        could_not_check(f"the notebook shows {PARAMETERS:,} parameters, but its networks have {seen}")


def compared_numbers(lab: Lab) -> set[int]:
    """Whole numbers that the code compares something with, or asserts, in cells where no assertion failed."""
    failed = {cell.index for cell in lab.cells if cell.error.startswith("AssertionError")}
    found = set[int]()
    for index, code in lab.code.cells.items():
        for node in ast.walk(parsed(code.text)) if index not in failed else ():
            asserts = isinstance(node, ast.Call) and "assert" in ast.unparse(node.func)
            if isinstance(node, ast.Compare) or asserts:
                constants = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
                found |= {value for value in constants if isinstance(value, int)}
    return found


# -- (b) and (c) -----------------------------------------------------------------------------------------------------


@check("lab1.b", "preprocessing", evidence="trace")
def check_preprocessing(lab1: Lab) -> None:
    """Images reach the model as float tensors (N, 3, 32, 32), normalised to about zero mean and unit deviation."""
    seen = next((seen for seen in lab1.inputs if seen.split == "train"), None)
    if seen is None:
        judge_transform(lab1)
    else:
        judge_fed_images(lab1, seen)


@check("lab1.b", "discussion", evidence="person")
def check_preprocessing_discussion(evidence: Evidence) -> None:
    """The preprocessing operations are discussed: what and why."""
    for_a_person(evidence, "lab1.b")


@check("lab1.c", "course_dataset", evidence="trace")
def check_course_dataset(lab1: Lab) -> None:
    """Training and validation data come from the course's CIFAR10 class in tools.dataset."""
    made = {dataset.split for dataset in lab1.datasets}
    if "train" in made and lab1.validation_loaders():
        made.add("val")  # also a part of the training split that is held out
    absent = [split for split in ("train", "val") if split not in made]
    if absent:
        torchvisions = re.search(TORCHVISIONS, lab1.source)
        where = "; torchvision.datasets was used instead" if torchvisions else ""
        reason = f"tools.dataset.CIFAR10 was not made with mode={' or '.join(map(repr, absent))}{where}"
        if torchvisions and not re.search(r"\btools\b", lab1.source):
            fail(reason)
        missing(lab1, reason, sign=r"CIFAR10\(", credit=0.0 if len(absent) == 2 else "one_split_missing")


@check("lab1.c", "training_loader", evidence="trace")
def check_training_loader(lab1: Lab) -> None:
    """A DataLoader feeds shuffled batches of the training split."""
    stepped = {event.loader for event in lab1.of_type(StepEvent)}
    loader = next((found for found in lab1.loaders if found.split == "train" and found.loader in stepped), None)
    loader = loader if loader is not None else loader_of(lab1, "train")
    if not loader.shuffled:
        fail("the training DataLoader does not shuffle: shuffle=True is missing", credit="not_shuffled")
    if loader.batch_size == 1:
        fail(
            "the training DataLoader has batch size 1, so it feeds no batches; the notebook gives 128",
            credit="no_batches",
        )


@check("lab1.c", "validation_loader", evidence="trace")
def check_validation_loader(lab1: Lab) -> None:
    """A DataLoader feeds the validation split in order and without random changes."""
    loader = loader_of(lab1, "val")
    if loader.transform is not None and loader.transform.is_random:
        fail("the validation images are augmented at random; validation must measure the images themselves")
    if loader.shuffled and loader.split == "val":
        fail(
            "the validation DataLoader shuffles, which validation does not need: use shuffle=False",
            credit="validation_shuffled",
        )


# -- (d) and (e) -----------------------------------------------------------------------------------------------------


@check("lab1.d", "deployed", evidence="trace")
def check_deployed(lab1: Lab, record_property: RecordProperty) -> None:
    """The model is sent to the GPU, or to the device that the notebook chose where there is none."""
    if any(move.device.startswith("cuda") for move in lab1.moved) and {seen.device for seen in lab1.inputs} == {"cpu"}:
        record_property("ran on", "the CPU: there is no GPU here, so that `cuda` means the CPU")
    if not lab1.moved and not re.search(r"set_default_device|DataParallel", lab1.source):
        missing(lab1, "the model was never sent to a device with .to(device) or .cuda()", sign=r"\.to\(|\.cuda\(")
    if not re.search(r"cuda|mps|accelerator", lab1.source):
        fail("the notebook never asks for a GPU: there is no 'cuda' in its code", credit="no_gpu_asked_for")


@check("lab1.d", "verification", evidence="record")
def check_deployment_verified(evidence: Evidence, lab1: Lab) -> None:
    """It is shown how to verify that the model is deployed on the GPU."""
    shown = r"(?<!torch)\.device\b|\.is_cuda|get_device|nvidia-smi|gpustat|memory_(?:allocated|reserved|summary)"
    if re.search(shown, lab1.source):
        return
    for_a_person(evidence, "lab1.d")


def stepped_runs(lab: Lab) -> tuple[Run, ...]:
    """Runs on training images, else on those of other splits: what a run trains on is a question of (f) alone."""
    runs = tuple(run for run in lab.runs if run.updates_called_net and run.splits != {None})
    return training_runs(lab) if not runs or any("train" in run.splits for run in runs) else runs


def judged_runs(lab: Lab) -> tuple[Run, ...]:
    """The same for questions other than (f), which need not lose points because no step is taken."""
    made = re.search(r"\b(?:SGD|Adam\w*|RMSprop|Adagrad)\(", lab.source)
    if made and not lab.runs and hindrance(lab, TRAINS) is None:
        could_not_check("loss and optimizer are made, but no optimizer step was seen: a person must look")
    return stepped_runs(lab)


@check("lab1.e", "loss_function", evidence="trace")
def check_loss_function(lab1: Lab) -> None:
    """Training minimises cross-entropy of the model's logits."""
    run = max(judged_runs(lab1), key=lambda run: run.steps)
    if run.loss_kind is None:
        could_not_check(f"no loss function of torch was seen ({run.describe()})")
    if run.loss_kind not in ("cross_entropy", "nll_loss"):
        fail(f"{run.where}: the loss is {run.loss_kind}; expected cross-entropy, which is made for classes")
    if run.loss_kind == "nll_loss" and min(run.losses, default=0.0) < 0:
        fail(f"{run.where}: nll_loss takes log-probabilities: put log_softmax before it", credit="softmax_and_loss")
    if run.loss_kind == "cross_entropy" and run.loss_fed == "probabilities":
        fail(
            f"{run.where}: cross-entropy applies softmax itself: feed it logits, without your softmax",
            credit="softmax_and_loss",
        )


@check("lab1.e", "optimizer", evidence="trace")
def check_optimizer(lab1: Lab) -> None:
    """SGD with the given learning rate 0.01, momentum 0.9 and weight decay 1e-4 steps all of the model's parameters."""
    runs = judged_runs(lab1)
    first = lab1.runs[0]
    if not first.updates_called_net and first.steps >= SHOWS_SOMETHING:
        fail(
            f"{first.where}: the optimizer steps another network than the one that is called: make the optimizer after "
            f"the network ({first.describe()})"
        )
    if any(_is_given_setting(run) for run in runs):
        return
    run = max(runs, key=lambda run: run.steps)
    if run.covers < 1:
        fail(f"the optimizer steps {run.covers:.0%} of the trained network's parameters ({run.describe()})")
    expected = "the notebook gives SGD with lr=0.01, momentum=0.9, weight_decay=0.0001"
    without = {"the momentum": run.momentum, "the weight decay": run.weight_decay}
    absent = " and ".join(name for name, value in without.items() if value == 0)
    told = f"; {absent} is missing: pass it to the optimizer" if absent and run.optimizer == "SGD" else ""
    no_run(lab1, f"found {run.describe()}; {expected}{told}", credit="other_setting")


def _is_given_setting(run: Run) -> bool:
    given = ((run.rates[0], 0.01), (run.momentum, 0.9), (run.weight_decay, 1e-4))
    return run.optimizer == "SGD" and run.covers >= 1 and all(same(*pair) for pair in given)


# -- (f) to (h) ------------------------------------------------------------------------------------------------------


@check("lab1.f", "training_loop", evidence="trace")
def check_training_loop(lab1: Lab) -> None:
    """Each step trains in train mode, with gradients zeroed, on training images; what is saved is what was trained."""
    run = max(stepped_runs(lab1), key=lambda run: run.steps)
    forbidden = sorted(split for split in run.splits | splits_mixed_in(lab1) if split in ("val", "test"))
    if forbidden:
        fail(f"{run.where}: steps were taken on images of the {' and '.join(forbidden)} split")
    without = steps_without_gradients(lab1)
    if without:
        fail(f"{run.where}: {without}")
    fail_for(loop_bugs(run) + saved_untrained(lab1))


@check("lab1.f", "validation_loop", evidence="trace")
def check_validation_loop(lab1: Lab) -> None:
    """After each epoch the validation split is measured in eval mode and without gradients."""
    validated = [run for run in stepped_runs(lab1) if run.validations]
    if not validated:
        measured = _measured_training_split(lab1)
        if measured:
            run = max(stepped_runs(lab1), key=lambda run: run.steps)
            fail_for(validation_bugs(replace(run, validations=measured)))
            could_not_check("what is validated are training images, which (c) judges: a person must look at the loop")
        if re.search(r"random_split|Subset", lab1.source):
            could_not_check("whether validation images are a part of the training split could not be seen")
        missing(lab1, "the network was never called on validation images while it was trained", sign=TRAINS)
    fail_for(validation_bugs(max(validated, key=lambda run: run.steps)))


def _measured_training_split(lab: Lab) -> tuple[PassEvent, ...]:
    """Passes over training images without a step, where no validation set was made."""
    if any(dataset.split == "val" for dataset in lab.datasets):
        return ()
    passes: tuple[PassEvent, ...] = lab.of_type(PassEvent)
    return tuple(passed for passed in passes if passed.split == "train" and passed.nets and not passed.steps)


@check("lab1.f", "learns", evidence="trace")
def check_learns(lab1: Lab, record_property: RecordProperty) -> None:
    """The training loss falls in the first few hundred steps on real images, by more than noise explains."""
    judge_learning(lab1, training_runs(lab1), record_property, lambda run: is_calibrated(run, augmented=False))


@check("lab1.f", "one_batch", evidence="challenge")
def check_one_batch(lab1: Lab) -> None:
    """The network can learn one batch of real images by heart."""
    if not lab1.runs:  # the class alone is given
        no_run(lab1, "no optimizer step on training images was seen when the notebook ran")
    trained = {run.net for run in lab1.runs}
    judge_one_batch(lab1, next((net for net in lab1.nets if net.net in trained), None) or largest_net(lab1))


@check("lab1.g", "initial_loss", evidence="trace")
def check_initial_loss(evidence: Evidence, lab1: Lab) -> None:
    """The loss before any training step is measured: about ln 10 = 2.303 for ten classes."""
    judge_initial_loss(evidence, lab1)


@check("lab1.g", "validation_accuracy", evidence="record")
def check_lab1_accuracy(evidence: Evidence, lab1: Lab, rubric: Rubric, record_property: RecordProperty) -> None:
    """The validation accuracy of the training of 30 epochs reaches the bar of the assignment."""
    judge_accuracy(evidence, lab1, rubric, record_property)


@check("lab1.g", "observations", evidence="person")
def check_lab1_observations(evidence: Evidence) -> None:
    """The initial loss, the accuracies and the problems of the pipeline are discussed."""
    for_a_person(evidence, "lab1.g")


@check("lab1.h", "decayed", evidence="trace")
def check_decay(lab1: Lab) -> None:
    """The learning rate of a run really falls while it trains a fresh network."""
    runs = judged_runs(lab1)
    decayed = [run for run in runs if run.decays]
    if any(is_fresh(lab1, run) and not decays_afterwards(lab1, run) for run in decayed):
        return
    if any(_goes_on_slower(*pair, alone=pair[0] is runs[0]) for pair in pairwise(runs)):
        return
    if decayed:
        fail(f"the run with decay goes on with a trained network ({decayed[0].describe()})", credit="not_reinitialised")
    idle = idle_schedulers(runs)
    if idle:
        fail(f"the learning rate never fell during a run: {idle[0]}")
    no_run(lab1, f"the learning rate never fell during a run; found {runs[-1].describe()}")


def _goes_on_slower(run: Run, later: Run, *, alone: bool) -> bool:
    """A decay by a new optimizer for the same net: in the same cell, or in a later one of a run that is not (g)'s."""
    same_cell = not set(later.cells).isdisjoint(run.cells)
    together = later.net == run.net and later.net is not None and (same_cell or (not alone and run.earlier_steps == 0))
    return together and later.rates[0] < run.rates[-1] and not math.isclose(later.rates[0], run.rates[-1])


@check("lab1.h", "observations", evidence="person")
def check_decay_observations(evidence: Evidence) -> None:
    """The run with decay is compared with the one without."""
    for_a_person(evidence, "lab1.h")
