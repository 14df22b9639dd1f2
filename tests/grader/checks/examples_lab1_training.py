"""Lab 1 (e) to (h): loss, optimizer, training and its results, right and wrong."""

from __future__ import annotations

from functools import partial

from evidence_builders import (
    Cell,
    built,
    dataset,
    fault,
    fed,
    initial_loss,
    loader,
    markdown,
    net,
    raised,
    run,
    saved,
    scheduler,
    step,
    validation,
)
from notebook_lab1 import (
    DATA,
    DEFINED,
    LOG,
    NO_GPU_HERE,
    NO_PACKAGE,
    NOT_TRAINED,
    PART,
    TRAINING,
    observations,
    only,
    reported,
    trained,
    training,
    work,
)
from running import fails, passes, stays_open

LOSS_FUNCTION = [
    passes("cross-entropy", work()),
    passes("log_softmax and nll_loss", work(training=trained(loss_kind="nll_loss"), decay=None)),
    fails("squares", work(training=trained(loss_kind="mse_loss"), decay=None), "cell 5: the loss is mse_loss"),
    fails("softmax twice", work(training=trained(loss_fed="probabilities"), decay=None), "without your softmax", 0.5),
    fails(
        "nll_loss of logits",
        work(training=trained(loss_kind="nll_loss", losses=(-0.1, -7.0)), decay=None),
        "put log_softmax before it",
        0.5,
    ),
    stays_open("made and never stepped", work(**only(training())), "no optimizer step was seen: a person"),
    stays_open(
        "one of the student's own", work(training=trained(loss_kind=None), decay=None), "no loss function of torch"
    ),
    stays_open("hindered", work(**only(raised(NO_GPU_HERE, TRAINING))), "cell 5 raised AssertionError"),
]

OPTIMIZER = [
    passes("as given", work()),
    passes("with a schedule", work(**only(trained(rates=(0.01, 0.005, 0.001))))),
    passes("the second of two trainings", work(training=trained(rates=(0.1,)))),
    passes(
        "one that also holds another net's parameters", work(**only(training(*DATA, *run(None, fed=0, covers=0.0))))
    ),
    fails("Adam", work(**only(trained(kind="Adam", momentum=0.0))), "steps of Adam with lr=0.01", 0.5),
    fails("another rate", work(**only(trained(rates=(0.1,)))), "the notebook gives SGD with lr=0.01", 0.5),
    fails(
        "no weight decay", work(**only(trained(weight_decay=0.0))), "0.0001; the weight decay is missing: pass it", 0.5
    ),
    fails("of a part of the net", work(**only(trained(covers=0.3))), "steps 30% of the trained network's parameters"),
    fails(
        "of another net",
        work(**only(training(*DATA, *built(2), *run(0, fed=2)))),
        "in cell 5 the optimizer steps another network than the one that is called",
    ),
    fails(
        "of another net at first",
        work(**only(training(*DATA, *built(2), *run(0, fed=2), *run(3, optimizer=3)))),
        "cell 5: the optimizer steps another network",
    ),
    stays_open(
        "hindered", work(decay=None, training=raised(NO_GPU_HERE, "train(net, 0.01)"), late=Cell(DEFINED)), "cell 5"
    ),
    stays_open(
        "the given setting hindered, another seen",
        work(training=raised(NO_GPU_HERE, TRAINING), decay=training(*DATA, *run(rates=(0.1,)))),
        "which may be the grading machine's fault",
    ),
]

SPLITS = Cell("", (dataset("train"), dataset("val")))


def trained_on(size: int) -> Cell:
    """A training with so many images in its loader."""
    return training(loader(0, "train", size=size), loader(1, "val"), fed(), initial_loss(), *run(), saved())


STEPS = [
    passes("as it should be", work()),
    passes("gradient accumulation", work(training=trained(backwards=4))),
    passes("a net in two parts", work(**only(training(*DATA, net(5, output=(2, 64)), *run(0, fed=5))))),
    passes("nothing is saved", work(**only(training(*DATA, *run())))),
    fails("eval mode", work(training=trained(training=False)), "cell 5: only 0% of the steps", 0.5),
    fails("gradients add up", work(training=trained(fresh_gradients=False)), "call zero_grad()", 0.5),
    fails(
        "both",
        work(training=trained(fresh_gradients=False, training=False)),
        "call train() every epoch; cell 5: grad",
        0.25,
    ),
    fails("losses kept with their graphs", work(training=trained(kept_graphs=3)), "add loss.item()", 0.75),
    passes("the last loss is kept", work(training=trained(kept_graphs=2))),
    fails(
        "the net that is saved is another",
        work(**only(training(*DATA, *run(), saved(9, steps=0)))),
        "never trained",
        0.5,
    ),
    fails("no backward", work(**only(trained(backwards=0, has_gradients=False))), "call loss.backward()"),
    fails("zeroed too late", work(**only(trained(has_gradients=False))), "not between it and step()"),
    passes("one layer alone", work(**only(trained(covers=0.3, fresh_gradients=False)))),
    fails("validation images alone", work(**only(trained(split="val", loader=1))), "images of the val split"),
    fails("both splits in one loader", work(data=SPLITS, **only(trained_on(512 + 200))), "images of the val split"),
    passes("the training images twice", work(data=SPLITS, **only(trained_on(2 * 512)))),
    fails(
        "validation images too", work(training=training(*DATA, *run(), step(split="val"))), "images of the val split"
    ),
    fails("never", work(**only(training())), NOT_TRAINED),
    fails(
        "an import fails at the end",
        work(**only(training()), late=raised(NO_PACKAGE, "import albumentations")),
        NOT_TRAINED,
    ),
    stays_open(
        "images from elsewhere", work(**only(training(*run(split=None, loader=None)))), "not come from a DataLoader"
    ),
    stays_open("unseen", work(**only(Cell(TRAINING, (fault(),)))), "an error in the grader's trace (ValueError"),
    stays_open(
        "stopped", work(**only(Cell(TRAINING, status="timeout", error="still running after 120 s"))), "cell 5 stopped"
    ),
    stays_open(
        "not run", work(**only(Cell(TRAINING, status="not run", error="the kernel was gone"))), "cell 5 was not run"
    ),
    stays_open(
        "ran at the student's", work(**only(raised("IndexError: 0", TRAINING, count=7))), "cell 5 raised IndexError"
    ),
]

VALIDATION_LOOP = [
    passes("eval mode, no gradients", work()),
    passes(
        "a part of the training split held out",
        work(
            **only(
                training(
                    loader(0, "train", size=384),
                    loader(1, "train", **PART),
                    *run(validations=[validation(split="train")]),
                )
            )
        ),
    ),
    passes(
        "once in train mode by accident",
        work(training=trained(validations=[validation(training=True, grad=True), *[validation()] * 12])),
    ),
    fails("train mode", work(training=trained(validations=[validation(training=True)])), "call eval() before it", 0.5),
    fails("gradients", work(training=trained(validations=[validation(grad=True)])), "under torch.no_grad()", 0.5),
    fails(
        "once at the end",
        work(**only(training(*DATA, *(e for k in range(6) for e in run(validations=[])), validation()))),
        "validation images were measured once in 6 epochs: measure them after each epoch",
        0.75,
    ),
    fails(
        "both",
        work(training=trained(validations=[validation(grad=True, training=True)])),
        "eval() before it; cell 5",
        0.25,
    ),
    fails("never", work(**only(trained(validations=[]))), "never called on validation images"),
    fails("never trained", work(**only(training())), NOT_TRAINED),
    stays_open(
        "on training images",
        work(data=Cell("", (dataset("train"),)), **only(trained(validations=[validation(split="train", loader=2)]))),
        "what is validated are training images",
    ),
    stays_open(
        "split by a sampler",
        work(**only(trained(validations=[])), split=Cell("SubsetRandomSampler(indices)")),
        "could not be seen",
    ),
    stays_open("hindered", work(**only(raised(NO_GPU_HERE, TRAINING))), "cell 5 raised AssertionError"),
]

FIRST = Cell(TRAINING, (*DATA, *run()))
STATED = "an initial loss of about ln 10 is stated, but none was measured here"
OWN_WEIGHTS = Cell("nn.init.kaiming_normal_(layer.weight)")
INITIAL_LOSS = [
    passes("measured", work()),
    passes(
        "with weights drawn by hand",
        work(training=training(*DATA, initial_loss(2.61), *run()), decay=None, late=OWN_WEIGHTS),
    ),
    fails(
        "far off all the same",
        work(training=training(*DATA, initial_loss(4.1), *run()), decay=None, late=OWN_WEIGHTS),
        "the loss before the first step is 4.100",
        0.5,
    ),
    passes(
        "in the training loop", work(training=Cell(TRAINING, FIRST.seen, printed="Initial loss: 2.3087"), decay=None)
    ),
    passes("of the first batch", work(training=Cell(TRAINING, FIRST.seen, printed="[1,   1] loss: 2.304"), decay=None)),
    stays_open(
        "a constant is printed",
        work(training=Cell("print('Initial loss: 2.3026')", FIRST.seen, printed="Initial loss: 2.3026"), decay=None),
        STATED,
    ),
    stays_open(
        "ln 10 is computed and printed",
        work(training=Cell("print(math.log(10))", FIRST.seen, printed="Initial loss: 2.302585"), decay=None),
        STATED,
    ),
    stays_open(
        "printed, and the first batch's loss is another",
        work(training=training(*DATA, *run(losses=(9.1, 1.8)), printed="Initial loss: 2.3087"), decay=None),
        STATED,
    ),
    stays_open("written", work(training=FIRST, decay=None, answers=markdown("(g) It is 2.31, about ln(10).")), STATED),
    stays_open(
        "in a report", partial(reported, {"lab1.g": "It starts at log 10."}, training=FIRST, answers=None), STATED
    ),
    fails(
        "a sum", work(training=Cell(TRAINING, (*DATA, initial_loss(294.9), *run()))), "the first step is 294.900", 0.5
    ),
    fails("never", work(training=FIRST, decay=None), "no loss was measured or written down before"),
    passes("of the net of the second training", work(training=FIRST, decay=Cell("", (initial_loss(2.3, 1),)))),
    stays_open("hindered", work(**only(raised(NO_GPU_HERE, TRAINING))), "cell 5 raised AssertionError"),
]

ACCURACY = [
    passes("above the bar", work()),
    passes("decay makes it", work(training=training(*run(), printed=""), decay=Cell("", printed=LOG))),
    fails(
        "near",
        work(training=training(*run(), printed="Best validation accuracy: 0.6321")),
        "is 0.6321, expected 0.65",
        0.5,
    ),
    fails(
        "far", work(training=training(*run(), printed="Best validation accuracy: 0.3000")), "is 0.3000, expected 0.65"
    ),
    fails("cleared", work(training=training(*run(), printed="")), "were they cleared before handing in?"),
    stays_open(
        "only in the report",
        partial(reported, {"lab1.g": "Validation accuracy is 66.1 %."}, training=training(*run(), printed="")),
        "names an accuracy",
    ),
    stays_open(
        "beyond reach",
        work(training=training(*run(), printed="Best validation accuracy: 0.9312")),
        "claim a validation accuracy of 0.9312, but the best known of Lab 1 is 0.696, with 5 standard deviations 0.711",
    ),
    stays_open(
        "claimed, but the run learns nothing",
        work(**only(training(*DATA, *run(steps=240, losses=(2.303, 2.303))))),
        "claim a validation accuracy of 0.6702, but when the notebook ran here the training loss does not fall",
    ),
    stays_open(
        "claimed, but nothing was trained", work(**only(training())), "nothing was trained when the notebook ran"
    ),
]

NEW_OPTIMIZER = training(*DATA, *run(), *run(rates=(0.001,), optimizer=9, earlier_steps=40))
SLOWER = Cell("", run(1, rates=(0.001,), optimizer=9, earlier_steps=40))
SLOWER_AGAIN = Cell("", run(0, rates=(0.001,), optimizer=9, earlier_steps=40))
DECAYED = [
    passes("manual", work()),
    passes("in the first training", work(**only(trained(rates=(0.01, 0.001))))),
    passes("warm-up, then down", work(**only(trained(rates=(0.001, 0.01, 0.005))))),
    passes("by a new optimizer", work(**only(NEW_OPTIMIZER))),
    fails("no decay", work(decay=None), "the learning rate never fell during a run; found cell 5: 40 steps"),
    fails(
        "scheduler never stepped",
        work(decay=Cell("", (*built(1), scheduler(0, optimizer=1), *run(1)))),
        "cell 6: the StepLR scheduler is made, but its step() is never called",
    ),
    fails(
        "scheduler without effect",
        work(decay=Cell("", (*built(1), scheduler(30, optimizer=1), *run(1)))),
        "was stepped 30 times without effect; the learning rate stayed at 0.01",
    ),
    fails("rises", work(**only(trained(rates=(0.001, 0.01)))), "never fell"),
    passes("by a new optimizer in a later cell", work(decay=Cell("", (*built(1), *run(1))), late=SLOWER)),
    fails("the net of (g) goes on slower", work(decay=SLOWER_AGAIN), "never fell"),
    passes("of a run on other images", work(**only(trained(split="val", loader=1, rates=(0.01, 0.001))))),
    stays_open("no step at all", work(**only(training())), "no optimizer step was seen"),
    fails(
        "of a trained network",
        work(decay=Cell("", run(optimizer=1, rates=(0.01, 0.001), earlier_steps=40))),
        "the run with decay goes on with a trained network (cell 6",
        0.5,
    ),
    fails(
        "of the same optimizer in a later cell",
        work(decay=Cell("", run(rates=(0.01, 0.001), earlier_steps=40))),
        "the run with decay goes on with a trained network",
        0.5,
    ),
    passes("by hand in a later cell", work(decay=Cell("", run(rates=(0.001,), earlier_steps=40)))),
    fails("another net with a smaller rate", work(decay=Cell("", (*built(1), *run(1, rates=(0.001,))))), "never fell"),
    stays_open("hindered", work(decay=raised(NO_GPU_HERE, "train(net, 0.1)"), late=Cell(DEFINED)), "cell 6 raised"),
]


EXAMPLES = {
    "lab1.e/loss_function": LOSS_FUNCTION,
    "lab1.e/optimizer": OPTIMIZER,
    "lab1.f/training_loop": STEPS,
    "lab1.f/validation_loop": VALIDATION_LOOP,
    "lab1.g/initial_loss": INITIAL_LOSS,
    "lab1.g/validation_accuracy": ACCURACY,
    "lab1.g/observations": observations("lab1.g"),
    "lab1.h/decayed": DECAYED,
    "lab1.h/observations": observations("lab1.h"),
}
