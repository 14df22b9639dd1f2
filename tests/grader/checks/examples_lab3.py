"""Lab 3: one notebook that is right, its predictions, and what becomes of them in other hands."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from evidence_builders import (
    AUGMENTED,
    Cell,
    broken,
    built,
    differs,
    evidence,
    fed,
    lab,
    layers_for,
    loaded,
    loader,
    net,
    raised,
    run,
    saved,
    scheduler,
    step,
    validation,
)
from running import fails, passes, stays_open

from grader.evidence.checkpoint import CheckpointScore
from grader.evidence.evidence import Evidence, Predictions
from grader.execution.trace_events import LayerRecord, NetEvent

TRAINING = "for epoch in range(EPOCHS):\n    optimizer.step()"
DATA = (loader(0, "train", transform=AUGMENTED), fed(), loader(1, "val"))
LOG = "Best validation accuracy: 0.9143\n"
CELLS: dict[str, Cell] = {
    "model": Cell("class ResNet(nn.Module): ...", built(0, "resnet20_a", cls="ResNet")),
    "training": Cell(TRAINING, (*DATA, *run(), saved()), printed=LOG, count=2),
}


def lab3(lossy: bool = False, passages: dict[str, str] | None = None, **changes: Cell | None) -> Evidence:
    """The right notebook with other cells; None leaves one out, a new name adds one at the end."""
    return evidence(lab("lab3", (CELLS | changes).values()), lossy=lossy, passages=passages)


def work(**changes: object) -> partial[Evidence]:
    """The right notebook with other cells, to be built later."""
    return partial(lab3, **changes)


def model(*seen: object, source: str = "class ResNet(nn.Module): ...") -> Cell:
    """Another model."""
    return Cell(source, seen)


def training(*seen: object, printed: str = LOG) -> Cell:
    """Another training."""
    return Cell(TRAINING, (*DATA, *seen), printed=printed, count=2)


def resnet(name: str = "resnet20_a", **fields: object) -> NetEvent:
    """A net of the student's that no challenge confirmed."""
    return net(0, name, cls="ResNet", **fields)


PLAIN = layers_for("resnet20_a")


def scaled(factor: int) -> tuple[LayerRecord, ...]:
    """ResNet-20's layers with more channels."""
    return tuple(
        layer.model_copy(update={"weight": (factor * layer.weight[0], *layer.weight[1:])}) if layer.weight else layer
        for layer in layers_for("resnet20_a")
    )


NO_GPU_HERE = "AssertionError: Torch not compiled with CUDA enabled"
OFFLINE = "URLError: <urlopen error [Errno -3] Temporary failure in name resolution>"
UNNORMALISED = layers_for("resnet20_b_without_bn")
NO_STRIDES = tuple(layer.model_copy(update={"stride": 1}) if layer.kind == "conv" else layer for layer in PLAIN)
WIDE_STEM = tuple(
    layer.model_copy(update={"weight": (16, 3, 7, 7), "padding": 3, "kernel_size": 7}) if place == 0 else layer
    for place, layer in enumerate(PLAIN)
)
SOFTMAX = differs(0, "resnet20_a", equal_but_softmax=("resnet20_a",))
LIBRARY = "net = torchvision.models.resnet18()"

TORCHVISION = (LayerRecord(type="Conv2d", weight=(64, 3, 7, 7)), *scaled(4))
BORROWED = {
    "import torchvision.models as models\nnet = models.resnet34(num_classes=10)": "torchvision.models.resnet34",
    "from torchvision.models import resnet18\nnet = resnet18()": "torchvision.models.resnet18",
    "import torch\nnet = torch.hub.load('pytorch/vision', 'resnet18')": "torch.hub.load",
    "from timm import create_model\nnet = create_model('resnet18')": "timm.create_model",
    "class ResNet(nn.Module):\n    def __init__(self):\n        self.net = models.resnet18()": "models.resnet18",
    "class ResNet(torchvision.models.ResNet): ...": "torchvision.models.ResNet",
}
OWN = (
    "import torchvision.models",
    "from torchvision.models import resnet18",
    "# torchvision.models.resnet18()\nimport timm",
    "print('torch.hub.load(...) is not allowed')",
    "compared = torchvision.models.resnet18()",
    "from tools import models\nmodels.resnet20()",
)

ARCHITECTURE = [
    passes("option A", work()),
    passes("option B", work(model=model(*built(0, "resnet20_b")))),
    passes("zeros behind, beside another net", work(model=model(*built(0, "resnet20_a_behind"), *built(1)))),
    fails(
        "no strides",
        work(model=model(resnet(layers=NO_STRIDES), differs(0, "resnet20_a"))),
        "ResNet (cell 1): stage 2 block 1 conv1: kernel 3, stride 2, padding 1 expected; found stride 1",
        0.5,
    ),
    fails(
        "a stem as for ImageNet",
        work(model=model(resnet(layers=WIDE_STEM, used=271_642))),
        "the first convolution: kernel 3, stride 1, padding 1 expected; found kernel 7, padding 3",
        0.5,
    ),
    fails(
        "projection without BN, as the challenge knows",
        work(model=model(resnet("resnet20_b"), differs(0, "resnet20_b", deviations=("resnet20_b_without_bn",)))),
        "projection shortcuts without BN; expected option A, or B with BN after it",
        0.75,
    ),
    stays_open(
        "nothing is found to differ",
        work(model=model(resnet(), differs(0, "resnet20_a"))),
        "its logits differ by up to 1.2 in eval mode and 1.2 in train mode, and the record does not tell why",
    ),
    fails(
        "softmax", work(model=model(resnet(), SOFTMAX)), "ResNet (cell 1) is right but for a softmax at its end", 0.75
    ),
    fails("projection without BN", work(model=model(resnet("resnet20_b", layers=UNNORMALISED))), "without BN", 0.75),
    fails(
        "twice as wide",
        work(model=model(resnet(layers=scaled(2), used=1_073_962))),
        "in ResNet (cell 1): 7 at 32, 6 at 64, 6 at 128; expected 7 at 16, 6 at 32, 6 at 64",
        0.25,
    ),
    fails("SimpleNN", work(model=model(*built(0))), "1 at 16; expected 7 at 16"),
    fails(
        "from a library", work(model=model(resnet(layers=scaled(4)), source=LIBRARY)), "comes from a library of models"
    ),
    *[
        fails(
            f"from a library: {source}",
            work(model=model(resnet(layers=scaled(4)), source=source)),
            f"comes from a library of models ({call})",
        )
        for source, call in BORROWED.items()
    ],
    fails(
        "torchvision's ResNet beside an own class of that name",
        work(model=model(resnet(layers=TORCHVISION), source=f"class ResNet(nn.Module): ...\n{LIBRARY}")),
        "comes from a library of models",
    ),
    *[
        fails(
            f"no library: {source}",
            work(model=model(resnet(layers=scaled(4)), source=f"{source}\nclass ResNet(nn.Module): ...")),
            "3x3 convolutions by channels in ResNet (cell 1)",
            0.25,
        )
        for source in OWN
    ],
    fails("broken", work(model=model(broken(0, "ResNet"))), "ResNet (cell 1) raises on a batch of (2, 3, 32, 32)"),
    fails("none", work(model=None), "no network was built when the notebook ran"),
    stays_open("not compared", work(model=model(resnet())), "its outputs could not be compared"),
    stays_open(
        "hindered", work(model=raised(NO_GPU_HERE, "class ResNet(nn.Module): ...")), "cell 1 raised AssertionError"
    ),
]

PARAMETERS = [
    passes("option A", work()),
    passes("biases in some convolutions", work(model=model(*built(0, "resnet20_b", used=272_570)))),
    passes("the right number, another order", work(model=model(resnet(), differs(0, "resnet20_a")))),
    fails(
        "twice as wide", work(model=model(resnet(layers=scaled(2), used=1_073_962))), "uses 1,073,962 parameters; exp"
    ),
    fails(
        "twice as wide, with an unused head",
        work(model=model(resnet(layers=scaled(2), used=1_073_962, unused=1_290))),
        "uses 1,073,962 parameters, besides 1,290 that it never uses; expected 269,722 (option A)",
    ),
    passes("an unused head is not counted", work(model=model(*built(0, "resnet20_a", unused=1_290)))),
    fails("none", work(model=None), "no network was built when the notebook ran"),
    stays_open("hindered", work(model=raised(OFFLINE, "class ResNet(nn.Module): ...")), "cell 1 raised URLError"),
]

AVERAGE = net(5, "resnet20_a", cls="AveragedModel")
TRAINED = [
    passes("as it should be", work()),
    passes(
        "another instance of the same layers", work(training=training(resnet(layers=layers_for("resnet20_a")), *run()))
    ),
    passes("Adam, nothing saved", work(training=training(*run(kind="AdamW", rates=(0.001,))))),
    passes("goes on from its checkpoint", work(training=training(loaded(steps=40), *run(earlier_steps=40)))),
    fails("eval mode", work(training=training(*run(training=False))), "call train() every epoch", 0.5),
    fails("softmax", work(training=training(*run(loss_fed="probabilities"))), "applies softmax itself", 0.5),
    fails("gradients add up", work(training=training(*run(fresh_gradients=False))), "call zero_grad()", 0.5),
    fails(
        "validation in train mode",
        work(training=training(*run(validations=[validation(training=True)]))),
        "eval()",
        0.5,
    ),
    passes("its average is validated", work(training=training(AVERAGE, *run(validations=[validation(5)])))),
    fails(
        "its average is validated in train mode",
        work(training=training(AVERAGE, *run(validations=[validation(5, training=True)]))),
        "eval()",
        0.5,
    ),
    fails("never validated", work(training=training(*run(validations=[]))), "never called on validation images", 0.5),
    fails(
        "another net is validated",
        work(training=training(*built(5), *run(validations=[validation(5)]))),
        "never called on validation images",
        0.5,
    ),
    fails(
        "a copy was validated before the training",
        work(training=training(AVERAGE, validation(5), *run(validations=[]))),
        "never called on validation images",
        0.5,
    ),
    fails(
        "the untrained net is saved and loaded",
        work(training=training(*run(), saved(7, steps=0), loaded())),
        "the network that is saved was never trained",
        0.5,
    ),
    fails("the untrained net is saved", work(training=training(*run(), saved(7, steps=0))), "never trained", 0.5),
    fails(
        "two mistakes",
        work(training=training(*run(training=False, validations=[]))),
        "every epoch; it was never called",
        0.25,
    ),
    fails("validation images", work(training=training(*run(), step(split="val"))), "which then measure nothing"),
    fails(
        "scheduler never stepped",
        work(training=training(scheduler(0), *run())),
        "the StepLR scheduler is made, but its step() is never called",
        0.75,
    ),
    passes("scheduler without effect yet", work(training=training(scheduler(9), *run()))),
    fails(
        "augmented validation",
        work(training=training(loader(1, "val", transform=AUGMENTED), *run())),
        "validation images are augmented at random",
        0.5,
    ),
    passes(
        "the average is validated and saved",
        work(training=training(*run(validations=[validation()]), saved(9, steps=0, changed=True))),
    ),
    fails("test images", work(training=training(*run(), step(split="test"))), "do not train on the test set"),
    fails("SimpleNN is trained", work(training=training(*built(1), *run(1))), "no optimizer step on ResNet (cell 1)"),
    fails("never", work(training=training()), "no optimizer step on training images was seen"),
    stays_open("weights from elsewhere", work(training=training(loaded(), *run())), "not trained in this notebook"),
    stays_open("hindered", work(training=raised(NO_GPU_HERE, TRAINING)), "cell 2 raised AssertionError"),
    stays_open(
        "too long", work(training=Cell(TRAINING, status="timeout", error="still running")), "cell 2 stopped: still"
    ),
]

TRUTH = tuple(k % 10 for k in range(10_000))


def claimed(correct: int, *, known: bool = True) -> Evidence:
    """The right notebook, which claims 0.9143, with predictions of which so many are right."""
    return replace(predicted(correct, known=known), labs=lab3().labs)


def with_checkpoint(accuracy: float | None, *, printed: str = "", problem: str | None = None) -> Evidence:
    """The right notebook with other outputs, and a checkpoint that reaches this accuracy."""
    handed_in = lab3(training=training(*run(), printed=printed))
    return replace(handed_in, checkpoint=CheckpointScore("resnet.pth", accuracy, 0.95, problem))


ACCURACY = [
    passes("above the bar", work()),
    passes("cleared, but the checkpoint reaches it", partial(with_checkpoint, 0.9123)),
    fails("cleared, and the checkpoint does not", partial(with_checkpoint, 0.8523), "were they cleared"),
    fails("cleared, no checkpoint of it", partial(with_checkpoint, None, problem="it is broken"), "were they cleared"),
    passes(
        "above the bar of lossy images",
        work(lossy=True, training=training(*run(), printed="Validation accuracy: 0.8712")),
    ),
    passes("as the predictions", partial(claimed, 9_000)),
    passes("labels unknown", partial(claimed, 5_000, known=False)),
    stays_open(
        "far above the predictions",
        partial(claimed, 8_600),
        "claim a validation accuracy of 0.9143, but the predictions of the held-out images reach 0.8600: a person",
    ),
    fails("near", work(training=training(*run(), printed="Validation accuracy: 0.8712")), "0.8712, expected 0.90", 0.5),
    fails(
        "far", work(lossy=True, training=training(*run(), printed="Validation accuracy: 0.7")), "0.7000, expected 0.87"
    ),
    fails("cleared", work(training=training(*run(), printed="")), "were they cleared before handing in?"),
    stays_open(
        "nothing was trained", work(training=training()), "claim a validation accuracy of 0.9143, but nothing was"
    ),
    stays_open(
        "in the report alone",
        work(passages={"lab3.b": "Its accuracy is 91.2%."}, training=training(*run(), printed="")),
        "names an accuracy, which a person must judge",
    ),
]


def predicted(correct: int, *, known: bool = True, lossy: bool = False) -> Evidence:
    """Predictions of which so many are right."""
    labels = tuple(label if k < correct else (label + 1) % 10 for k, label in enumerate(TRUTH))
    predictions = Predictions("predictions.csv", labels, None, None)
    return evidence(predictions=predictions, truth=TRUTH if known else None, lossy=lossy)


def unreadable() -> Evidence:
    """A file in another format."""
    problem = "predictions.csv, line 7: the Label 11 is above 9; expected a whole number from 0 to 9."
    return evidence(predictions=Predictions("predictions.csv", None, problem, 7), truth=TRUTH)


FORMAT = [
    passes("as the sample", partial(predicted, 9_500)),
    passes("labels unknown", partial(predicted, 9_500, known=False)),
    fails("a label too large", unreadable, "predictions.csv, line 7: the Label 11 is above 9"),
    fails("none", partial(evidence, truth=TRUTH), "predictions.csv was not handed in"),
]

HELD_OUT = [
    passes("above the bar", partial(predicted, 9_000)),
    passes("above the bar of lossy images", partial(predicted, 8_700, lossy=True)),
    fails("near", partial(predicted, 8_500), "accuracy on the held-out images is 0.8500 (95 % interval 0.8429", 0.9),
    fails("between", partial(predicted, 7_000), "full points at 0.90", 0.6),
    fails("chance", partial(predicted, 1_000), "is 0.1000", 0.0),
    fails("worse than chance", partial(predicted, 600), "is 0.0600", 0.0),
    fails("a label too large", unreadable, "line 7"),
    fails("none", partial(evidence, truth=TRUTH), "predictions.csv was not handed in"),
    stays_open("labels unknown", partial(predicted, 9_500, known=False), "only the format was checked"),
]

EXAMPLES = {
    "lab3.a/architecture": ARCHITECTURE,
    "lab3.a/parameter_count": PARAMETERS,
    "lab3.b/trained": TRAINED,
    "lab3.b/validation_accuracy": ACCURACY,
    "lab3.b/predictions_format": FORMAT,
    "lab3.b/held_out_accuracy": HELD_OUT,
}
