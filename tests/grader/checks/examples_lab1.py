"""Lab 1: one notebook that is right, and what its cells become in other hands."""

from __future__ import annotations

from functools import partial
from textwrap import indent

from evidence_builders import (
    AUGMENTED,
    Cell,
    answer,
    broken,
    built,
    dataset,
    differs,
    evidence,
    fault,
    fed,
    initial_loss,
    lab,
    layers_for,
    loader,
    markdown,
    moved,
    net,
    raised,
    run,
    saved,
    step,
    validation,
)
from running import Example, fails, passes, stays_open

from grader.evidence.evidence import Evidence

TRAINING = """
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
for epoch in range(EPOCHS):
    for images, labels in train_loader:
        loss = criterion(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
DEFINED = "def train(net, lr):\n" + indent(TRAINING.strip(), "    ")
LOG = "Validation loss: 0.9000, Validation accuracy: 0.6612\nBest validation accuracy: 0.6702\n"
ANSWERS = """
(b) ToTensor makes tensors of the images, Normalize centres them.

(d) nvidia-smi lists the process of this notebook.

(g) The loss is what chance gives for ten classes. Training accuracy rises above validation accuracy: it overfits.

(h) With decay the last epochs are calmer.
"""
DATA = (loader(0, "train"), fed(), loader(1, "val"))

CELLS: dict[str, Cell] = {
    "model": Cell("class SimpleNN(nn.Module): ...", built()),
    "sanity": Cell("print(net(torch.randn(4, 3, 32, 32)).shape)", (fed(split=None),), printed="total: 82,030"),
    "data": Cell("train_set = CIFAR10(mode='train')", (dataset("train"), dataset("val"))),
    "device": Cell("net = SimpleNN().to('cuda')\nprint(next(net.parameters()).device)", (moved(),)),
    "training": Cell(TRAINING, (*DATA, initial_loss(), *run(), saved()), printed=LOG, count=5),
    "decay": Cell(TRAINING, (*built(1), *run(1, rates=(0.01, 0.001))), count=6),
    "answers": markdown(ANSWERS),
}


def lab1(**changes: Cell | None) -> Evidence:
    """The right notebook with other cells; None leaves one out, a new name adds one at the end."""
    return evidence(lab("lab1", (CELLS | changes).values()))


def reported(passages: dict[str, str], **changes: Cell | None) -> Evidence:
    """The same with a report."""
    return evidence(lab("lab1", (CELLS | changes).values()), passages=passages, read=("report.pdf",))


def answered(item: str, text: str) -> Evidence:
    """Answers in answers.yaml alone."""
    return evidence(lab("lab1", (CELLS | {"answers": None}).values()), answers=[answer(item, None, text)])


def damaged() -> Evidence:
    """A report that cannot be read."""
    return evidence(lab("lab1", (CELLS | {"answers": None}).values()), problems=("report.pdf: the PDF is damaged",))


def work(**changes: Cell | None) -> partial[Evidence]:
    """The right notebook with other cells, to be built later."""
    return partial(lab1, **changes)


def training(*seen: object, source: str = TRAINING, printed: str = LOG, **fields: object) -> Cell:
    """The cell of the training with other events in it."""
    return Cell(source, seen, printed=printed, count=5, **fields)


def trained(**fields: object) -> Cell:
    """The cell of a training with other steps."""
    return training(*DATA, initial_loss(), *run(**fields), saved())


def only(cell: Cell) -> dict[str, Cell | None]:
    """One training and no other."""
    return {"training": cell, "decay": None}


PADDED = (layers_for("simplenn")[0].model_copy(update={"padding": 1}), *layers_for("simplenn")[1:])
WIDER = tuple(
    layer.model_copy(update={"weight": (32, 8, 3, 3)}) if layer.weight == (16, 8, 3, 3) else layer
    for layer in layers_for("simplenn")
)
NO_GPU_HERE = "AssertionError: Torch not compiled with CUDA enabled"
NO_PACKAGE = "ModuleNotFoundError: No module named 'albumentations'"
OWN_MISTAKE = "TypeError: 'NoneType' object is not callable"
NOT_TRAINED = "no optimizer step on training images was seen"

SOFTMAX = differs(0, equal_but_softmax=("simplenn",), last="softmax")
DROPOUT = differs(0, evaluating=0.0, equal_in_eval=("simplenn",))
ARCHITECTURE = [
    passes("Table 1", work()),
    passes("another name, among other nets", work(model=Cell("", (*built(3, cls="Net"), *built(4, "resnet20_a"))))),
    fails("padding", work(model=Cell("", (net(layers=PADDED), differs(0))), decay=None), "look at activations", 0.5),
    fails("wider", work(model=Cell("", (net(layers=WIDER, used=99_278),)), decay=None), "no layer like Conv 2", 0.4),
    fails(
        "BN in Lab 1",
        work(model=Cell("", built(0, "simplenn_bn")), decay=None),
        "SimpleNN (cell 1) has more than the layers of Table 1: 82,054 parameters, expected 82,030",
        0.5,
    ),
    fails("another net", work(model=Cell("", built(0, "resnet20_a")), decay=None), "no layer like Conv 1"),
    fails("broken", work(model=Cell("", (broken(),)), decay=None), "SimpleNN (cell 1) raises on a batch"),
    fails("none", work(model=None, decay=None), "no network was built"),
    fails("softmax", work(model=Cell("", (net(), SOFTMAX)), decay=None), "but for a softmax at its end", 0.75),
    fails("dropout", work(model=Cell("", (net(), DROPOUT)), decay=None), "right in eval mode alone", 0.75),
    fails(
        "own mistake",
        work(model=raised(OWN_MISTAKE, "class SimpleNN(nn.Module): ..."), decay=None),
        f"no network was built when the notebook ran; cell 1 raised {OWN_MISTAKE}",
    ),
    stays_open("no answer to the challenge", work(model=Cell("", (net(),)), decay=None), "could not be compared"),
    stays_open(
        "package missing here",
        work(model=raised(NO_PACKAGE, "import albumentations\nclass SimpleNN(nn.Module): ..."), decay=None),
        "cell 1 raised ModuleNotFoundError",
    ),
]

EARLIER_BATCH = Cell("images, labels = next(iter(train_loader))\nprint(net(images).shape)", (fed(),))
DUMMY_INPUT = [
    passes("random", work()),
    passes("torchsummary", work(sanity=Cell("summary(net, (3, 32, 32))"))),
    passes("torchinfo", work(sanity=Cell("summary(net, input_size=(1, 3, 32, 32))"))),
    passes("a batch of real images", work(sanity=EARLIER_BATCH, training=training(*run()), decay=None)),
    passes("a single image", work(sanity=Cell("", (fed(split=None, shape=(3, 32, 32)),)))),
    fails("none", work(sanity=None), "no made-up input of shape (N, 3, 32, 32)"),
    fails("after the training", work(sanity=None, late=Cell("", (fed(split=None, steps=40),))), "no made-up input"),
    fails("of another size", work(sanity=Cell("", (fed(split=None, shape=(4, 3, 28, 28)),))), "no made-up input"),
    fails(
        "an import fails elsewhere", work(sanity=None, late=raised(NO_PACKAGE, "import albumentations")), "no made-up"
    ),
    stays_open("hindered", work(sanity=raised(NO_GPU_HERE, "x = torch.randn(4, 3, 32, 32).cuda()")), "CUDA enabled"),
]

COUNTING = "for p in net.parameters():\n    print(p.numel())"
PARAMETER_COUNT = [
    passes("in all", work()),
    passes("layer by layer", work(sanity=Cell(COUNTING, printed="608\n1168\n69240\n10164\n850"))),
    passes(
        "weights and biases apart", work(sanity=Cell(COUNTING, printed="600\n8\n1152\n16\n69120\n120\n10080\n84\n840"))
    ),
    passes("torchsummary", work(sanity=Cell("summary(net, (3, 32, 32))", printed="Total params: 82,030"))),
    passes("asserted", work(sanity=Cell("assert sum(p.numel() for p in net.parameters()) == 82_030"))),
    passes("in a report", partial(reported, {"lab1.a": "There are 82,030 parameters."}, sanity=None)),
    fails("none", work(sanity=Cell(COUNTING)), "no output shows the number of parameters (82,030"),
    fails("another number", work(sanity=Cell(COUNTING, printed="total: 182030, 82031, 3.82030")), "no output shows"),
    stays_open("hindered", work(sanity=raised(NO_PACKAGE, "import fvcore\n" + COUNTING)), "No module named"),
]

UNSCALED = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "low": 0.0, "high": 1.0}
BARE = dataset("train", transform="ToTensor()")
PREPROCESSING = [
    passes("normalised", work()),
    passes("to [-1, 1]", work(training=training(fed(mean=(-0.03,) * 3, std=(0.39,) * 3, low=-0.94, high=1.0)))),
    passes("seen at the loader alone", work(**only(training(loader(0, "train"))), data=None)),
    passes("seen at the data set alone", work(**only(training()))),
    fails("only ToTensor", work(**only(training(fed(**UNSCALED)))), "not normalised: values from 0.0 to 1.0", 0.5),
    fails("only ToTensor, never fed", work(**only(training()), data=Cell("", (BARE,))), "are not normalised", 0.5),
    fails("bytes", work(**only(training(fed(dtype="uint8")))), "cell 5: the model was fed uint8 images"),
    fails("flat", work(**only(training(fed(shape=(128, 3072))))), "expected float (N, 3, 32, 32)"),
    fails("nothing", work(**only(training()), data=None), "no preprocessed training images were seen"),
    stays_open(
        "hindered",
        work(**only(training()), data=raised(NO_PACKAGE, "transform = Compose([ToTensor()])")),
        "cell 3 raised",
    ),
]

DISCUSSION = [
    stays_open("under its heading", work(), "for a person to judge"),
    stays_open(
        "in a report", partial(reported, {"lab1.b": "Normalize, since..."}, answers=None), "for a person to judge"
    ),
    stays_open(
        "without a heading",
        work(answers=markdown("We normalize the images, since nets train better on centred inputs.")),
        "text that may be the answer",
    ),
    stays_open("in answers.yaml", partial(answered, "lab1.b", "Normalize, since..."), "for a person to judge"),
    stays_open("a damaged report", partial(damaged), "no answer was found, but a report could not be read: report.pdf"),
    stays_open("a report without headings", partial(reported, {}, answers=None), "no heading of Lab 1"),
    fails("none", work(answers=None), "no written answer to Lab 1 (b) was found in lab1.ipynb"),
    fails(
        "a report with other answers",
        partial(reported, {"lab1.g": "It overfits."}, answers=None),
        "was found in lab1.ipynb, report.pdf; write it under a heading '(b)'",
    ),
    fails("a title alone", work(answers=markdown("### (b) Preprocessing functions")), "no written answer"),
]

PART = {"size": 128}
HELD_OUT = training(loader(0, "train", size=384), loader(1, "train", **PART), fed(), *run(validations=[]))
COURSE_DATASET = [
    passes("both", work()),
    passes(
        "a part of the training split held out", work(data=Cell("", (dataset("train"),)), training=HELD_OUT, decay=None)
    ),
    fails("training alone", work(data=Cell("", (dataset("train"),)), **only(training())), "mode='val'", 0.5),
    fails(
        "torchvision's",
        work(data=Cell("train = torchvision.datasets.CIFAR10('.', train=True)"), **only(training())),
        "was not made with mode='train' or 'val'; torchvision.datasets was used instead",
    ),
    fails(
        "none, and an import fails elsewhere", work(data=None, **only(training()), late=raised(NO_PACKAGE)), "not made"
    ),
    stays_open("hindered", work(data=raised(NO_PACKAGE, "CIFAR10(mode='val')"), **only(training())), "albumentations"),
]

TRAINING_LOADER = [
    passes("shuffled", work()),
    passes("another first pass over all images", work(data=Cell("", (loader(7, "train", shuffled=False),)))),
    fails(
        "in order", work(training=training(loader(0, "train", shuffled=False), *run())), "shuffle=True is missing", 0.5
    ),
    fails("single images", work(training=training(loader(0, "train", batch_size=1), *run())), "batch size 1", 0.5),
    fails("none", work(**only(training())), "no DataLoader over the course's train split was iterated"),
    stays_open("hindered", work(**only(raised(NO_GPU_HERE, TRAINING))), "cell 5 raised AssertionError"),
]

VALIDATION_LOADER = [
    passes("in order", work()),
    passes("a part of the training split held out", work(training=HELD_OUT, decay=None)),
    fails("shuffled", work(training=training(loader(1, "val", shuffled=True))), "use shuffle=False", 0.5),
    fails("augmented", work(training=training(loader(1, "val", transform=AUGMENTED))), "augmented at random"),
    fails("none", work(training=training(loader(0, "train"), *run())), "the course's val split was iterated"),
    fails(
        "the training images once more",
        work(training=training(loader(0, "train"), loader(1, "train"), *run())),
        "the course's val split was iterated",
    ),
    stays_open("hindered", work(**only(raised(NO_GPU_HERE, TRAINING))), "cell 5 raised AssertionError"),
]

DEPLOYED = [
    passes(".to('cuda')", work()),
    passes(".cuda()", work(device=Cell("net = SimpleNN().cuda()", (moved(),)))),
    passes("a Mac", work(device=Cell("net = SimpleNN().to('mps')", (moved(),)))),
    passes("default device", work(device=Cell("torch.set_default_device('cuda')"))),
    fails("CPU", work(device=Cell("net = SimpleNN().to('cpu')", (moved(),))), "never asks for a GPU", 0.5),
    fails("not at all", work(device=Cell("device = 'cuda'")), "never sent to a device"),
    fails("only in a comment", work(device=Cell("# net.to('cuda')")), "never sent to a device"),
    fails(
        "an import fails elsewhere", work(device=None, late=raised(NO_PACKAGE, "import x")), "never sent to a device"
    ),
    stays_open("hindered", work(device=raised(NO_GPU_HERE, "net = SimpleNN().cuda()")), "CUDA enabled"),
]

VERIFICATION = [
    passes("device of a parameter", work()),
    passes("nvidia-smi", work(device=Cell("!nvidia-smi", (moved(),)))),
    passes("is_cuda", work(device=Cell("print(next(net.parameters()).is_cuda)", (moved(),)))),
    fails("a device is only chosen", work(device=Cell("d = torch.device('cuda')"), answers=None), "no written answer"),
    stays_open("in words", work(device=Cell("net.cuda()")), "for a person to judge"),
]

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
    fails("never trained", work(**only(training())), NOT_TRAINED),
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
    fails("no weight decay", work(**only(trained(weight_decay=0.0))), "weight_decay=0; the notebook gives", 0.5),
    fails("of a part of the net", work(**only(trained(covers=0.3))), "steps 30% of the trained network's parameters"),
    fails(
        "of another net",
        work(**only(training(*DATA, *built(2), *run(0, fed=2)))),
        "in cell 5 the optimizer steps another network than the one that is called",
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

STEPS = [
    passes("as it should be", work()),
    passes("gradient accumulation", work(training=trained(backwards=4))),
    passes("a net in two parts", work(**only(training(*DATA, net(5, output=(2, 64)), *run(0, fed=5))))),
    passes("nothing is saved", work(**only(training(*DATA, *run())))),
    fails("eval mode", work(training=trained(training=False)), "cell 5: only 0% of the steps", 0.5),
    fails("gradients add up", work(training=trained(fresh_gradients=False)), "call zero_grad()", 0.5),
    fails(
        "both", work(training=trained(fresh_gradients=False, training=False)), "call train() every epoch; cell 5: grad"
    ),
    fails(
        "the net that is saved is another",
        work(**only(training(*DATA, *run(), saved(9, steps=0)))),
        "never trained",
        0.5,
    ),
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
        "both", work(training=trained(validations=[validation(grad=True, training=True)])), "eval() before it; cell 5"
    ),
    fails("never", work(**only(trained(validations=[]))), "never called on validation images"),
    fails("never trained", work(**only(training())), NOT_TRAINED),
    stays_open(
        "split by a sampler",
        work(**only(trained(validations=[])), split=Cell("SubsetRandomSampler(indices)")),
        "could not be seen",
    ),
    stays_open("hindered", work(**only(raised(NO_GPU_HERE, TRAINING))), "cell 5 raised AssertionError"),
]

LEARNS = [
    passes("falls", work()),
    passes("falls slowly", work(training=trained(losses=(2.305, 2.26)), decay=None)),
    passes("one step an epoch", work(training=trained(steps=30), decay=None)),
    fails(
        "stands",
        work(training=trained(steps=120, losses=(2.30, 2.30)), decay=None),
        "does not fall: 2.300 in the first 8 steps",
    ),
    fails("rises", work(training=trained(steps=120, losses=(2.3, 9.0)), decay=None), "the training loss does not fall"),
    fails("not a number", work(training=trained(cross_entropy=None), decay=None), "not a finite number"),
    fails("never trained", work(**only(training())), NOT_TRAINED),
    stays_open(
        "no fall yet", work(training=trained(steps=40, losses=(2.305, 2.295)), decay=None), "40 training steps are"
    ),
    stays_open("one epoch", work(training=trained(steps=4), decay=None), "4 training steps are too few"),
]

FIRST = Cell(TRAINING, (*DATA, *run()))
INITIAL_LOSS = [
    passes("measured", work()),
    passes(
        "in the training loop", work(training=Cell(TRAINING, FIRST.seen, printed="Initial loss: 2.3087"), decay=None)
    ),
    passes("of the first batch", work(training=Cell(TRAINING, FIRST.seen, printed="[1,   1] loss: 2.304"), decay=None)),
    passes("written", work(training=FIRST, decay=None, answers=markdown("(g) It is 2.31, about ln(10)."))),
    passes("in a report", partial(reported, {"lab1.g": "The loss starts at log 10."}, training=FIRST, answers=None)),
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
        "claimed, but nothing was trained", work(**only(training())), "nothing was trained when the notebook ran"
    ),
]

NEW_OPTIMIZER = training(*DATA, *run(), *run(rates=(0.001,), optimizer=9, earlier_steps=40))
DECAYED = [
    passes("manual", work()),
    passes("in the first training", work(**only(trained(rates=(0.01, 0.001))))),
    passes("warm-up, then down", work(**only(trained(rates=(0.001, 0.01, 0.005))))),
    passes("by a new optimizer", work(**only(NEW_OPTIMIZER))),
    fails(
        "scheduler never stepped", work(decay=None), "the learning rate never fell during a run; found cell 5: 40 steps"
    ),
    fails("rises", work(**only(trained(rates=(0.001, 0.01)))), "never fell"),
    fails(
        "of a trained network",
        work(decay=Cell("", run(optimizer=1, rates=(0.01, 0.001), earlier_steps=40))),
        "the run with decay goes on with a trained network (cell 6",
        0.5,
    ),
    fails("another net with a smaller rate", work(decay=Cell("", (*built(1), *run(1, rates=(0.001,))))), "never fell"),
    stays_open("hindered", work(decay=raised(NO_GPU_HERE, "train(net, 0.1)"), late=Cell(DEFINED)), "cell 6 raised"),
]


def observations(item: str) -> list[Example]:
    """Examples of prose that a person judges."""
    letter = item[-1]
    return [
        stays_open("under its heading", work(), "for a person to judge"),
        stays_open("in a report", partial(reported, {item: "It overfits."}, answers=None), "for a person to judge"),
        fails("none", work(answers=None), f"no written answer to Lab 1 ({letter})"),
        fails(
            "under another letter",
            work(answers=markdown("(a) Shapes fit, and 82,030 parameters.")),
            "no written answer",
        ),
    ]


EXAMPLES = {
    "lab1.a/architecture": ARCHITECTURE,
    "lab1.a/dummy_input": DUMMY_INPUT,
    "lab1.a/parameter_count": PARAMETER_COUNT,
    "lab1.b/preprocessing": PREPROCESSING,
    "lab1.b/discussion": DISCUSSION,
    "lab1.c/course_dataset": COURSE_DATASET,
    "lab1.c/training_loader": TRAINING_LOADER,
    "lab1.c/validation_loader": VALIDATION_LOADER,
    "lab1.d/deployed": DEPLOYED,
    "lab1.d/verification": VERIFICATION,
    "lab1.e/loss_function": LOSS_FUNCTION,
    "lab1.e/optimizer": OPTIMIZER,
    "lab1.f/training_loop": STEPS,
    "lab1.f/validation_loop": VALIDATION_LOOP,
    "lab1.f/learns": LEARNS,
    "lab1.g/initial_loss": INITIAL_LOSS,
    "lab1.g/validation_accuracy": ACCURACY,
    "lab1.g/observations": observations("lab1.g"),
    "lab1.h/decayed": DECAYED,
    "lab1.h/observations": observations("lab1.h"),
}
