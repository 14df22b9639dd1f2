"""Lab 2 (a) and (b): augmentation, batch normalization and Swish, right and wrong."""

from __future__ import annotations

from functools import partial

from evidence_builders import (
    AUGMENTED,
    FLIPPED,
    PLAIN,
    Cell,
    built,
    chained,
    dataset,
    differs,
    evidence,
    fed,
    lab,
    layers_for,
    loader,
    net,
    raised,
    run,
    validation,
)
from notebook_lab2 import (
    DEFINITIONS,
    ELSEWHERE,
    HINDERED,
    NO_GPU_HERE,
    NO_TRAINING,
    NOT_TRAINED,
    bn_run,
    observations,
    only,
    work,
)
from running import fails, passes, stays_open

from grader.evidence.evidence import Evidence
from grader.execution.trace_events import LayerRecord


def data(transform: object) -> Cell:
    """Training images that another transform changed."""
    return Cell("", (dataset("train"), loader(0, "train", transform=transform), loader(1, "val")))


SHIFTED = AUGMENTED.model_copy(update={"max_shift": 2})
CROPPED = AUGMENTED.model_copy(update={"flips": False})
MIRRORED = AUGMENTED.model_copy(update={"always_flipped": True})
UPSIDE_DOWN = AUGMENTED.model_copy(update={"flips": False, "other": True})
IN_THE_LOOP = Cell("", (*built(1), fed(1, seen=AUGMENTED), *run(1)))
AUGMENTATION = [
    passes("crop and flip", work()),
    passes("of batches, in the loop", only(augmented=IN_THE_LOOP, data=data(PLAIN))),
    fails("flips alone", work(data=data(FLIPPED)), "nothing is cropped, with flips", 0.5),
    fails("crops alone", work(data=data(CROPPED)), "the largest shift is 4 pixels, without flips", 0.5),
    fails("another padding", work(data=data(SHIFTED)), "a padding of 4 and random flips; the largest shift is 2", 0.5),
    fails("all mirrored", work(data=data(MIRRORED)), "the largest shift is 4 pixels, every image is flipped", 0.5),
    stays_open("flips of another kind", work(data=data(UPSIDE_DOWN)), "whether these are flips of another kind"),
    fails("made, but not handed on", work(data=data(PLAIN)), "every image reached the network the same way"),
    fails(
        "an import fails elsewhere", work(data=data(PLAIN), late=ELSEWHERE), "every image reached the network the same"
    ),
    fails("never trained", work(**NO_TRAINING), NOT_TRAINED),
    stays_open("hindered", work(**NO_TRAINING, late=HINDERED), "cell 3 raised AssertionError"),
]

AUGMENTED_VALIDATION = Cell("", (dataset("train"), loader(0, "train"), loader(1, "val", transform=AUGMENTED)))
VALIDATION_UNAUGMENTED = [
    passes("plain", work()),
    fails("augmented", work(data=AUGMENTED_VALIDATION), "cell 2: validation images are augmented"),
    passes("another loader to look at", work(late=Cell("", (loader(2, "val", transform=AUGMENTED),)))),
    fails("none", work(data=None), "no DataLoader over the validation split was iterated"),
    stays_open("hindered", work(data=raised(NO_GPU_HERE, "DataLoader(val_set)")), "cell 2 raised AssertionError"),
]


def variant(name: str, *, unused: int = 0, **changes: object) -> Cell:
    """A training of a net that is not quite what was asked for."""
    return Cell(DEFINITIONS, (net(2, name, unused=unused, **changes), differs(2, name), *run(2)))


def without(architecture: str, kind: str) -> tuple[LayerRecord, ...]:
    """The layers of an architecture but those of one type."""
    return tuple(layer for layer in layers_for(architecture) if layer.type != kind)


NEVER_CALLED = Cell("self.bn1 = nn.BatchNorm2d(8)", (net(2, unused=48), *run(2)))
FC_TOO = chained(
    *layers_for("simplenn_bn")[:-1], LayerRecord(type="BatchNorm1d", weight=(84,)), layers_for("simplenn_bn")[-1]
)
ONE_BN = chained(*layers_for("simplenn_bn")[:4], *layers_for("simplenn")[3:])
LOST_BN = {"bn": None, "bn_large": None, "swish": None, "rates": None, "l2": None, "l1": None}


def padded(architecture: str) -> tuple[LayerRecord, ...]:
    """The first convolution is padded, which Table 1 does not ask for."""
    first, *rest = layers_for(architecture)
    return (first.model_copy(update={"padding": 1}), *rest)


def with_lab_1(*bn_layers: LayerRecord) -> Evidence:
    """A Lab 1 with a padded SimpleNN, and Lab 2 with this net with BN."""
    plain = Cell("", (net(0, layers=padded("simplenn")), differs(0)))
    with_bn = Cell("", (net(2, "simplenn_bn", layers=bn_layers), differs(2, "simplenn_bn")))
    return evidence(lab("lab1", [plain]), lab("lab2", [with_bn]))


BN_ARCHITECTURE = [
    passes("a mistake of Lab 1 is not paid for again", partial(with_lab_1, *padded("simplenn_bn"))),
    fails(
        "but BN must stand right", partial(with_lab_1, *padded("simplenn_bn_last")), "no padding expected; found", 0.5
    ),
    fails(
        "and Lab 1 must have it",
        only(bn=variant("simplenn_bn", layers=padded("simplenn_bn"))),
        "conv1: kernel 5, stride 1, no padding expected; found padding 1",
        0.5,
    ),
    passes("conv -> BN -> ReLU", work()),
    passes("with Swish already", only("swish")),
    fails(
        "behind the activation",
        only(bn=variant("simplenn_bn", layers=layers_for("simplenn_bn_last"))),
        "behind the act",
        0.5,
    ),
    fails(
        "behind the activation, as the challenge knows",
        only(
            bn=Cell("", (net(2, "simplenn_bn"), differs(2, "simplenn_bn", deviations=("simplenn_bn_last",)), *run(2)))
        ),
        "expected conv -> BN -> activation",
        0.5,
    ),
    stays_open("nothing is found to differ", only(bn=variant("simplenn_bn")), "the record does not tell why"),
    fails("after FC layers too", only(bn=variant("simplenn_bn", layers=FC_TOO)), "BN is executed behind fc2", 0.75),
    fails(
        "after one convolution",
        only(bn=variant("simplenn_bn", layers=ONE_BN)),
        "SimpleNN (cell 3) is conv -> bn -> conv (no BN behind conv2); expected conv -> bn -> conv -> bn",
        0.25,
    ),
    fails("constructed, never called", only("a", bn=NEVER_CALLED), "48 parameters, but forward() never calls them"),
    fails("none", work(**LOST_BN), "no network with batch normalization was called"),
    stays_open("not compared", only(bn=Cell("", (net(2, "simplenn_bn"), *run(2)))), "could not be compared"),
    stays_open(
        "hindered",
        work(**LOST_BN, late=raised(NO_GPU_HERE, "nn.BatchNorm2d(8).cuda()")),
        "cell 7 raised AssertionError",
    ),
]

CONTINUED = bn_run(2, earlier_steps=120, losses=(1.9, 1.6))
REDRAWN = Cell("net.apply(init_weights)", bn_run(2, earlier_steps=120))
WITHOUT_AUGMENTATION = Cell("", (loader(3, "train"), *bn_run(2, loader=3)))


def printed(accuracy: str) -> Cell:
    """A training without BN that claims this validation accuracy."""
    claim = f"Best validation accuracy: {accuracy}" if accuracy else ""
    return Cell("train(SimpleNN(), 0.01)", (*built(0), *run(0)), printed=claim)


BN_TRAINED = [
    passes("fresh", work()),
    passes("one of several", work(bn=Cell("", CONTINUED))),
    passes("weights drawn again", only(bn=REDRAWN)),
    passes("flips alone, which count in (a)", work(data=data(FLIPPED))),
    passes("BN behind one convolution, which counts above", only(bn=variant("simplenn_bn", layers=ONE_BN))),
    passes("BN behind the activation", only(bn=variant("simplenn_bn", layers=layers_for("simplenn_bn_last")))),
    passes("Adam", only(bn=Cell("", bn_run(2, kind="Adam", lr=0.001)))),
    fails("never in train mode", only(bn=Cell("", bn_run(2, training=False))), "call train() every epoch", 0.5),
    fails(
        "validated in train mode",
        only(bn=Cell("", bn_run(2, validations=[validation(2, training=True)]))),
        "validation ran in train mode",
        0.5,
    ),
    passes("a loop that counts in Lab 1", work(a=Cell("", (*built(0), *run(0, training=False))))),
    fails("continued", only(bn=Cell("", CONTINUED)), "without re-initialising the model (cell 3: 40 steps of SGD", 0.5),
    fails(
        "without augmentation",
        only("augmented", bn=WITHOUT_AUGMENTATION),
        "trained without augmentation (cell 4",
        0.75,
    ),
    passes("none is augmented, which (a) asks for", only(bn=WITHOUT_AUGMENTATION)),
    fails("constructed, never called", only("a", bn=NEVER_CALLED), "no run trained SimpleNN with BN layers"),
    fails(
        "optimizer of the old net",
        only("a", bn=Cell("", (*built(2, "simplenn_bn"), *run(0, fed=2, earlier_steps=40)))),
        "in cell 4 the optimizer steps another network than the one that is called: make the optimizer after",
    ),
    fails("none", work(**LOST_BN), "no run trained SimpleNN with BN layers after its convolutions"),
    fails("none, and an import fails elsewhere", work(**LOST_BN, late=ELSEWHERE), "no run trained SimpleNN with BN"),
    stays_open("hindered", work(**LOST_BN, late=HINDERED), "cell 7 raised AssertionError"),
]

ACCURACY = [
    passes("at the goal", work()),
    fails("below it", only("a", a=printed("0.66")), "0.6600, expected 0.70", 0.5),
    fails("cleared", only("a", a=printed(""), answers=None), "were they cleared before handing in?"),
    stays_open("beyond reach", only("a", a=printed("0.83")), "the best known of Lab 2 is 0.741"),
]

LARGER_RATE = [
    fails(
        "continued", only(bn=Cell("", bn_run(2, lr=0.1, earlier_steps=90))), "without re-initialising the model", 0.5
    ),
    passes("0.1", work()),
    passes("in the sweep alone", only("rates")),
    passes("Adam", only(bn=Cell("", bn_run(2, kind="Adam", lr=0.01)))),
    fails("0.01", only("a", "bn"), "found 0.01 (cell 4)"),
    fails("0.1 in words alone", only("a", bn=Cell("lr = 0.1", bn_run(2))), "found 0.01 (cell 4)"),
    fails("without BN alone", only("a", "plain_large"), "no network with BN was trained at all"),
    stays_open("hindered", only("a", "bn", late=HINDERED), "cell 5 raised AssertionError"),
]

SWISH_LEFT_BEHIND = Cell("", (*built(3, "simplenn_bn_swish"), *run(4, rates=(0.1,), fed=3, earlier_steps=40)))
SIDE_BY_SIDE = Cell(
    "",
    (
        *built(3),
        *run(4, rates=(0.1,), fed=3, earlier_steps=40),
        validation(3, loader=0, split="train", training=True, grad=True, steps=40, nets=(3, 4)),
    ),
)
LEFT_BEHIND = Cell("", (*built(3), *run(4, rates=(0.1,), fed=3, earlier_steps=40)))
COMPARISON = [
    passes("another network left behind", only("bn", "bn_large", plain_large=SWISH_LEFT_BEHIND)),
    passes("side by side", only("bn", "bn_large", plain_large=SIDE_BY_SIDE)),
    fails(
        "the other network was never trained",
        only("bn", "bn_large", plain_large=LEFT_BEHIND),
        "cell 4: the network that BN is compared with was never trained: the optimizer steps another network",
    ),
    passes("done again", only("bn_large", "plain_large", bn=LEFT_BEHIND)),
    passes("with and without BN", only("a", "plain_large", "bn_large")),
    passes("BN at two rates", only("bn", "bn_large")),
    fails("one rate", only("a", "bn_large"), "nothing to compare: with BN the only learning rate is 0.1 (cell 4)"),
    fails("no BN", only("a", "plain_large"), "nothing to compare: no network with BN was trained"),
    stays_open("hindered", only("a", "bn_large", late=HINDERED), "cell 5 raised AssertionError"),
]

SILU = tuple(
    LayerRecord(type="SiLU") if layer.type == "Sigmoid" else layer for layer in without("simplenn_bn_swish", "Multiply")
)
BORROWED = Cell("", (*built(5, "simplenn_bn_swish", layers=SILU), *run(5, rates=(0.1,))))
AVERAGED = variant(
    "simplenn_bn",
    layers=tuple(
        layer.model_copy(update={"type": "AvgPool2d"}) if layer.type == "MaxPool2d" else layer
        for layer in layers_for("simplenn_bn_swish")
    ),
)
DETACHED = {"equal_in_values": ("simplenn_bn_swish",), "other_gradient": (0, 1, 2, 3, 4, 5)}
OTHER_GRADIENT = Cell("", (net(5, "simplenn_bn_swish"), differs(5, "simplenn_bn_swish", **DETACHED)))
HALF = variant("simplenn_bn", layers=layers_for("simplenn_bn_swish")[:4] + layers_for("simplenn_bn")[3:])
EXP = {"definitions": Cell(DEFINITIONS.replace("x * torch.sigmoid(x)", "x / (1 + torch.exp(-x))"))}
FUNCTIONAL_SILU = {"definitions": Cell(DEFINITIONS.replace("x * torch.sigmoid(x)", "F.silu(x)"))}


def of_type(layers: tuple[LayerRecord, ...], activation: str) -> tuple[LayerRecord, ...]:
    """The same operations with another activation in the place of ReLU."""
    return tuple(layer.model_copy(update={"type": activation}) if layer.type == "ReLU" else layer for layer in layers)


BN_LAST = Cell(
    "",
    (
        net(5, layers=layers_for("simplenn_bn_last_swish")),
        differs(5, "simplenn_bn_swish", deviations=("simplenn_bn_last_swish",)),
    ),
)
OWN_AND_ONE_BN = variant("simplenn_bn", layers=of_type(ONE_BN, "Exp"))
SWISH_ARCHITECTURE = [
    passes("BN behind the activation, which counts in its question", only(swish=BN_LAST)),
    passes("BN behind one convolution", only(swish=variant("simplenn_bn", layers=of_type(ONE_BN, "Swish")))),
    stays_open("by exp, BN behind one convolution", only(swish=OWN_AND_ONE_BN), "must be compared by a person"),
    fails(
        "GELU", only(swish=variant("simplenn_bn", layers=of_type(layers_for("simplenn_bn"), "GELU"))), "found GELU", 0.5
    ),
    passes("x * sigmoid(x)", work()),
    passes("by exp", work(**EXP)),
    passes("without BN", only(swish=Cell("", built(5, "simplenn_swish")))),
    passes("a class of one's own named SiLU", only(swish=BORROWED, definitions=Cell("class SiLU(nn.Module): sigmoid"))),
    fails("torch's", only(swish=BORROWED), "Swish is torch's own SiLU; the item asks to implement it on your own", 0.5),
    fails("torch's, in code alone", only("swish", **FUNCTIONAL_SILU), "Swish is torch's own SiLU", 0.5),
    fails("not in place of all", only(swish=HALF), "SimpleNN (cell 3) still has 3 ReLU activations", 0.25),
    fails("average pooling", only(swish=AVERAGED), "max pooling expected behind conv1; found average pooling", 0.5),
    fails(
        "another gradient",
        only(swish=OTHER_GRADIENT),
        "its outputs are right, but the gradients of conv1, bn1, conv2 and 3 more layers are not those of the function",
        0.5,
    ),
    fails("none", work(swish=None), "no network replaces the ReLUs of SimpleNN by x * sigmoid(x)"),
    fails("none, and an import fails elsewhere", work(swish=None, late=ELSEWHERE), "no network replaces the ReLUs"),
    stays_open("hindered", work(swish=raised(NO_GPU_HERE, "net = SimpleNN(Swish).cuda()")), "cell 8 raised Assertion"),
]

WITHOUT_BN = Cell("", (*built(5, "simplenn_swish"), *run(5, rates=(0.1,))))
SWISH_TRAINED = [
    passes("BN, 0.1", work()),
    passes("decayed from 0.1", only(swish=Cell("", (*built(5, "simplenn_bn_swish"), *run(5, rates=(0.1, 0.01)))))),
    passes(
        "an ELU in one place",
        only(swish=Cell("", (net(5, layers=layers_for("simplenn_bn_swish")), *run(5, rates=(0.1,))))),
    ),
    fails("0.01", only(swish=Cell("", bn_run(5, "simplenn_bn_swish"))), "lr=0.01 (cell 3); the item asks for 0.1", 0.5),
    fails("no BN", only("bn", swish=WITHOUT_BN), "without BN layers", 0.5),
    passes("none has BN, which (b) asks for", only(swish=WITHOUT_BN)),
    fails(
        "continued",
        only(swish=Cell("", bn_run(5, "simplenn_bn_swish", lr=0.1, earlier_steps=90))),
        "without re-initialising the model",
        0.5,
    ),
    fails("ReLU", work(swish=None), "no run trained a network with Swish"),
    stays_open("hindered", work(swish=None, late=HINDERED), "cell 12 raised AssertionError"),
]


EXAMPLES = {
    "lab2.a/augmentation": AUGMENTATION,
    "lab2.a/validation_unaugmented": VALIDATION_UNAUGMENTED,
    "lab2.a/observations": observations("lab2.a", "augmentation"),
    "lab2.b.bn/architecture": BN_ARCHITECTURE,
    "lab2.b.bn/trained": BN_TRAINED,
    "lab2.b.bn/validation_accuracy": ACCURACY,
    "lab2.b.bn/observations": observations("lab2.b.bn", "BN"),
    "lab2.b.lr/larger_rate_with_bn": LARGER_RATE,
    "lab2.b.lr/comparison": COMPARISON,
    "lab2.b.lr/observations": observations("lab2.b.lr", "the learning rate"),
    "lab2.b.swish/architecture": SWISH_ARCHITECTURE,
    "lab2.b.swish/trained": SWISH_TRAINED,
    "lab2.b.swish/observations": observations("lab2.b.swish", "Swish"),
}
