"""Checks of learning: losses of runs and of one batch, right and wrong."""

from __future__ import annotations

import examples_lab3
import notebook_lab2
from evidence_builders import (
    AUGMENTED,
    PLAIN,
    Cell,
    built,
    differs,
    equals,
    loader,
    net,
    one_batch,
    raised,
    run,
)
from notebook_lab1 import DATA, NOT_TRAINED, only, trained, training, work
from running import fails, passes, stays_open

NOT_FINITE = {"cross_entropy": None, "loss": None}
LONG = {"steps": 270}
UNNORMALISED = PLAIN.model_copy(update={"normalisation": None})

LEARNS = [
    passes("falls", work()),
    passes("falls as the reference's does", work(**only(trained(losses=(2.31, 0.1), **LONG)))),
    passes("falls slowly with another setting", work(**only(trained(losses=(2.305, 2.25), rates=(0.002,), **LONG)))),
    passes("with another optimizer", work(**only(trained(losses=(2.305, 2.2), kind="Adam", momentum=0.0, **LONG)))),
    passes("with decay", work(**only(trained(losses=(2.305, 2.2), rates=(0.01, 0.001), **LONG)))),
    passes(
        "squares, whose sizes are others",
        work(**only(trained(losses=(0.1, 0.095), loss_kind="mse_loss", **LONG))),
    ),
    passes("a first loss far off", work(**only(trained(losses=(5.1, 2.2), **LONG)))),
    passes("the second of two trainings", work(training=trained(losses=(2.3, 2.3), **LONG))),
    passes(
        "images that are not normalised",
        work(**only(training(loader(0, "train", transform=UNNORMALISED), *run(losses=(2.305, 2.2), **LONG)))),
    ),
    passes("a loss for each image, or of one's own", work(training=trained(cross_entropy=None), decay=None)),
    fails(
        "stands",
        work(**only(trained(losses=(2.30, 2.30), **LONG))),
        "does not fall: 2.300 in the first 8 steps, 2.300 in the last 8 of 270",
    ),
    fails("rises", work(**only(trained(losses=(2.3, 9.0), **LONG))), "the training loss does not fall"),
    stays_open(
        "stands with Adam",
        work(**only(trained(losses=(2.30, 2.30), kind="Adam", rates=(0.1,), momentum=0.0, **LONG))),
        "but its setting is not the given one: a person must look",
    ),
    fails(
        "hardly falls with the given setting",
        work(**only(trained(losses=(2.305, 2.2), **LONG))),
        "hardly falls: 2.304 in the first 8 steps, 2.201 in the last 8 of 270; with ",
        0.5,
    ),
    fails("not a number", work(training=trained(**NOT_FINITE), decay=None), "not a finite number"),
    fails("never trained", work(**only(training())), NOT_TRAINED),
    stays_open(
        "no fall yet", work(training=trained(steps=40, losses=(2.305, 2.295)), decay=None), "40 training steps are"
    ),
    stays_open(
        "a small learning rate",
        work(**only(trained(losses=(2.305, 2.30), rates=(1e-4,), **LONG))),
        "with this setting the loss need not fall yet",
    ),
    stays_open(
        "warm-up from nothing",
        work(**only(trained(losses=(2.305, 2.30), rates=(1e-5, 0.005, 0.01), **LONG))),
        "with this setting the loss need not",
    ),
    stays_open(
        "one image a step",
        work(**only(trained(losses=(2.3, 2.4), images=1, **LONG))),
        "the loss of 1 images a step is too noisy",
    ),
    stays_open("one epoch", work(training=trained(steps=4), decay=None), "4 training steps are too few"),
    stays_open(
        "one epoch, not a number", work(**only(trained(steps=4, **NOT_FINITE))), "no training loss could be read"
    ),
    stays_open(
        "backward of several numbers",
        work(**only(training(*DATA, *run(**NOT_FINITE), source="losses.backward(torch.ones(128))"))),
        "no training loss could be read",
    ),
]

UNPROVED = (net(), differs(0))
CANNOT = "SimpleNN (cell 1) cannot learn even one batch of images: after 40 steps of Adam the loss is 2.302"
ONE_BATCH = [
    passes("the right net", work()),
    passes("the right net, however it was initialised", work(model=Cell("", (*built(), one_batch(last=2.3))))),
    passes("another net that learns", work(model=Cell("", (*UNPROVED, one_batch())))),
    passes("the same layers, tried on another instance", work(model=Cell("", (*UNPROVED, net(7), one_batch(7))))),
    fails("no gradient", work(model=Cell("", (*UNPROVED, one_batch(last=2.302)))), CANNOT),
    fails(
        "never trained", work(model=None, training=None, decay=None), "no optimizer step on training images was seen"
    ),
    stays_open("slowly", work(model=Cell("", (*UNPROVED, one_batch(last=1.6)))), "slowly: its loss is 1.600 after 40"),
    stays_open(
        "it raises",
        work(model=Cell("", (*UNPROVED, one_batch(problem="RuntimeError: not 32")))),
        "could not be seen: RuntimeError: not 32",
    ),
    stays_open("not tried", work(model=Cell("", UNPROVED)), "could not be seen: it was not tried"),
]

BATCHES = notebook_lab2.CELLS["data"]
AUGMENTED_LEARNS = [
    passes("falls", notebook_lab2.work()),
    passes(
        "as the reference's does",
        notebook_lab2.only(augmented=Cell("train()", (*built(1), *run(1, losses=(2.31, 0.4), **LONG)))),
    ),
    passes(
        "flips alone",
        notebook_lab2.only(
            "augmented",
            data=Cell("", (loader(0, "train", transform=AUGMENTED.model_copy(update={"shifts": 1, "max_shift": 0})),)),
        ),
    ),
    fails(
        "stands",
        notebook_lab2.only(augmented=Cell("train()", (*built(1), *run(1, losses=(2.3, 2.3), **LONG)))),
        "the training loss does not fall",
    ),
    fails("without augmentation", notebook_lab2.only("a"), "no run was trained on augmented images"),
    fails("never trained", notebook_lab2.only(), notebook_lab2.NOT_TRAINED),
    stays_open(
        "few steps",
        notebook_lab2.only(augmented=Cell("train()", (*built(1), *run(1, losses=(2.3, 2.3), steps=12)))),
        "12 training steps are too few",
    ),
    stays_open("hindered", notebook_lab2.only(late=notebook_lab2.HINDERED), "AssertionError"),
]

WITH_BN = (net(2, "simplenn_bn"), differs(2, "simplenn_bn"))
BN_ONE_BATCH = [
    passes("the right net", notebook_lab2.work()),
    passes("another net with BN", notebook_lab2.only(bn=Cell("", (*WITH_BN, one_batch(2))))),
    fails("no gradient", notebook_lab2.only(bn=Cell("", (*WITH_BN, one_batch(2, 2.31)))), "the loss is 2.310"),
    fails("no BN", notebook_lab2.only("a", definitions=None), "no network with batch normalization was called"),
    stays_open("not tried", notebook_lab2.only(bn=Cell("", WITH_BN)), "it was not tried"),
]

RESNET = (examples_lab3.resnet(), differs(0, "resnet20_a"))
RESNET_ONE_BATCH = [
    passes("the right net", examples_lab3.work()),
    passes("another that learns", examples_lab3.work(model=examples_lab3.model(*RESNET, one_batch()))),
    passes(
        "right, though it could not be tried",
        examples_lab3.work(model=examples_lab3.model(net(0, "resnet20_b"), equals(0, "resnet20_b"), one_batch(0, 2.3))),
    ),
    fails(
        "no gradient", examples_lab3.work(model=examples_lab3.model(*RESNET, one_batch(last=2.4))), "cannot learn even"
    ),
    stays_open("not tried", examples_lab3.work(model=examples_lab3.model(*RESNET)), "it was not tried"),
]
RESNET_LEARNS = [
    passes("falls", examples_lab3.work()),
    passes(
        "warm-up",
        examples_lab3.work(training=examples_lab3.training(*run(losses=(2.6, 2.4), rates=(0.001, 0.1), steps=64))),
    ),
    fails(
        "not a number",
        examples_lab3.work(training=examples_lab3.training(*run(rates=(0.1,), steps=66, **NOT_FINITE))),
        "the training loss is not a finite number",
    ),
    fails("never trained", examples_lab3.work(training=Cell("pass")), "no optimizer step on"),
    stays_open(
        "few steps",
        examples_lab3.work(training=examples_lab3.training(*run(losses=(2.4, 2.4), steps=9))),
        "9 training steps are too few",
    ),
    stays_open(
        "hindered",
        examples_lab3.work(training=raised(examples_lab3.NO_GPU_HERE, examples_lab3.TRAINING)),
        "which may be the grading machine's fault",
    ),
]

EXAMPLES = {
    "lab1.f/learns": LEARNS,
    "lab1.f/one_batch": ONE_BATCH,
    "lab2.a/learns": AUGMENTED_LEARNS,
    "lab2.b.bn/one_batch": BN_ONE_BATCH,
    "lab3.a/one_batch": RESNET_ONE_BATCH,
    "lab3.b/learns": RESNET_LEARNS,
}
