"""Lab 1 (a) to (d): the model, its data and its device, right and wrong."""

from __future__ import annotations

from functools import partial

from evidence_builders import (
    AUGMENTED,
    Cell,
    broken,
    built,
    dataset,
    differs,
    fed,
    layers_for,
    loader,
    markdown,
    moved,
    net,
    raised,
    run,
)
from notebook_lab1 import (
    DATA,
    HELD_OUT,
    NO_GPU_HERE,
    NO_PACKAGE,
    OWN_MISTAKE,
    TRAINING,
    answered,
    damaged,
    only,
    reported,
    training,
    work,
)
from running import fails, passes, stays_open

from grader.execution.trace_events import LayerRecord

PADDED = (layers_for("simplenn")[0].model_copy(update={"padding": 1}), *layers_for("simplenn")[1:])
WIDER = tuple(
    layer.model_copy(update={"weight": (32, 8, 3, 3)}) if layer.weight == (16, 8, 3, 3) else layer
    for layer in layers_for("simplenn")
)

OWN_ACTIVATION = tuple(
    layer.model_copy(update={"type": "heaviside"}) if layer.type == "ReLU" else layer
    for layer in layers_for("simplenn")
)
BRANCHED = (*layers_for("simplenn"), LayerRecord(type="Linear", weight=(10, 84), bias=True, reads=(9,)))
WITHOUT_GRADIENT = differs(0, equal_in_values=("simplenn",), without_gradient=(0, 1))
SOFTMAX = differs(0, equal_but_softmax=("simplenn",), last="softmax")
DROPOUT = differs(0, evaluating=0.0, equal_in_eval=("simplenn",))
ARCHITECTURE = [
    passes("Table 1", work()),
    passes("another name, among other nets", work(model=Cell("", (*built(3, cls="Net"), *built(4, "resnet20_a"))))),
    fails(
        "padding",
        work(model=Cell("", (net(layers=PADDED), differs(0))), decay=None),
        "SimpleNN (cell 1): conv1: kernel 5, stride 1, no padding expected; found padding 1",
        0.5,
    ),
    fails(
        "wider",
        work(model=Cell("", (net(layers=WIDER, used=99_278),)), decay=None),
        "SimpleNN (cell 1): conv2: 16 channels expected; found 32 channels",
        0.5,
    ),
    fails(
        "an activation of its own",
        work(model=Cell("", (net(layers=OWN_ACTIVATION), differs(0))), decay=None),
        "its logits differ by up to 1.2 in eval mode and 1.2 in train mode; all is as expected but what it computes by",
        0.5,
    ),
    fails(
        "no gradient",
        work(model=Cell("", (net(), WITHOUT_GRADIENT)), decay=None),
        "no gradient reaches conv1, conv2: part of forward() is computed on .data, detached or under no_grad()",
        0.5,
    ),
    fails(
        "branches that do not meet",
        work(model=Cell("", (net(layers=BRANCHED, used=82_880), differs(0))), decay=None),
        "more than the layers of Table 1: 82,880 parameters",
        0.5,
    ),
    fails(
        "BN in Lab 1",
        work(model=Cell("", built(0, "simplenn_bn")), decay=None),
        "SimpleNN (cell 1): BN is executed behind conv1; none expected there",
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
    stays_open(
        "nothing is found to differ",
        work(model=Cell("", (net(), differs(0))), decay=None),
        "logits differ by up to 1.2 in eval mode and 1.2 in train mode, and the record does not tell why",
    ),
    stays_open("no answer to the challenge", work(model=Cell("", (net(),)), decay=None), "could not be compared"),
    stays_open(
        "package missing here",
        work(model=raised(NO_PACKAGE, "import albumentations\nclass SimpleNN(nn.Module): ..."), decay=None),
        "cell 1 raised ModuleNotFoundError",
    ),
]

EARLIER_BATCH = Cell("images, labels = next(iter(train_loader))\nprint(net(images).shape)", (fed(),))
LAYER_BY_LAYER = "x = torch.randn(4, 3, 32, 32)\nfor layer in net:\n    x = layer(x)\n    print(x.shape)"
DUMMY_INPUT = [
    passes("random", work()),
    passes("torchsummary", work(sanity=Cell("summary(net, (3, 32, 32))"))),
    passes("torchinfo", work(sanity=Cell("summary(net, input_size=(1, 3, 32, 32))"))),
    passes("a batch of real images", work(sanity=EARLIER_BATCH, training=training(*run()), decay=None)),
    passes("a single image", work(sanity=Cell("", (fed(split=None, shape=(3, 32, 32)),)))),
    passes("layer by layer", work(sanity=Cell(LAYER_BY_LAYER))),
    fails("layer by layer, and it raised", work(sanity=raised("NameError", LAYER_BY_LAYER)), "no made-up input"),
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
    passes("compared", work(sanity=Cell("print(count(net) == 82030)"))),
    passes("asserted by a function", work(sanity=Cell("torch.testing.assert_close(count(net), 82030)"))),
    passes("in a report", partial(reported, {"lab1.a": "There are 82,030 parameters."}, sanity=None)),
    stays_open(
        "of no network here",
        work(model=Cell("", (net(layers=WIDER, used=99_278),)), decay=None),
        "shows 82,030 parameters, but its networks have 83,198",
    ),
    fails("only in a string", work(sanity=Cell("expected = 'about 82,030'\nexpected == count")), "no output shows"),
    fails("only in a comment", work(sanity=Cell(f"{COUNTING}  # 82030")), "no output shows"),
    fails("only given a name", work(sanity=Cell("PARAMETERS = 82_030")), "no output shows"),
    fails(
        "asserted in vain",
        work(sanity=raised("AssertionError: ", "assert sum(p.numel() for p in net.parameters()) == 82_030")),
        "no output shows",
    ),
    fails("no Python", work(sanity=Cell("count == 82_030 (")), "no output shows"),
    fails("none", work(sanity=Cell(COUNTING)), "no output shows the number of parameters (82,030"),
    fails("another number", work(sanity=Cell(COUNTING, printed="total: 182030, 82031, 3.82030")), "no output shows"),
    stays_open("hindered", work(sanity=raised(NO_PACKAGE, "import fvcore\n" + COUNTING)), "No module named"),
]

UNSCALED = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "low": 0.0, "high": 1.0}
NO_NETWORK = "URLError: <urlopen error [Errno -2] Name or service not known>"
BARE = dataset("train", transform="ToTensor()")
PREPROCESSING = [
    passes("normalised", work()),
    passes("to [-1, 1]", work(training=training(fed(mean=(-0.03,) * 3, std=(0.39,) * 3, low=-0.94, high=1.0)))),
    passes("seen at the loader alone", work(**only(training(loader(0, "train"))), data=None)),
    passes("seen at the data set alone", work(**only(training()))),
    fails("only ToTensor", work(**only(training(fed(**UNSCALED)))), "not normalised: values from 0.0 to 1.0", 0.5),
    fails("only ToTensor, never fed", work(**only(training()), data=Cell("", (BARE,))), "are not normalised", 0.5),
    passes("validation alike", work(**only(training(fed(), fed(split="val", loader=1), *DATA)))),
    fails(
        "only in training",
        work(**only(training(*DATA, fed(), fed(split="val", loader=1, **UNSCALED)))),
        "the validation images are not normalised as the training images are: values from 0.0 to 1.0",
        0.5,
    ),
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
        "torchvision's, which cannot be downloaded here",
        work(
            data=raised(NO_NETWORK, "from torchvision import datasets\ntrain = datasets.CIFAR10('.', download=True)"),
            **only(training()),
        ),
        "torchvision.datasets was used instead",
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
}
