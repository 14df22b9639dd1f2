"""Lab 2: one notebook that is right, and what its cells become in other hands."""

from __future__ import annotations

from functools import partial

from evidence_builders import (
    AUGMENTED,
    FLIPPED,
    L2_PENALTY,
    PLAIN,
    Cell,
    built,
    dataset,
    differs,
    evidence,
    fed,
    lab,
    layers_for,
    loader,
    markdown,
    net,
    penalty,
    raised,
    run,
)
from running import Example, fails, passes, stays_open

from grader.evidence.evidence import Evidence, Lab
from grader.execution.trace_events import LayerRecord

DEFINITIONS = """
class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)

def train(net, lr, reg=1e-4):
    optimizer = optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=reg)
    for epoch in range(EPOCHS):
        for images, labels in augmented_loader:
            optimizer.step()

def show(net):
    plt.hist(weights(net), bins=50)
"""
ANSWERS = """
(a) With augmentation the validation accuracy is 0.71, without it 0.67.

(b) Batch normalization raises the best validation accuracy by 3 %.

- A learning rate of 0.1 works with BN alone.

- Swish outperforms ReLU by a little.

(c) The learning rate of 0.05 is best, 1.0 is too large.

- L2: 1e-3 is best.

- L1 makes most weights zero.
"""
AUGMENTING = loader(0, "train", transform=AUGMENTED)
RATES = (1.0, 0.1, 0.05, 0.01, 0.005, 0.001)
STRENGTHS = (1e-2, 1e-3, 1e-4, 1e-5, 0.0)


def bn_run(number: int, architecture: str = "simplenn_bn", *, lr: float = 0.01, **fields: object) -> tuple[object, ...]:
    """A new net with BN and its training."""
    return (*built(number, architecture), *run(number, rates=(lr,), **fields))


def sweep_of_rates(*rates: float, first: int = 20, **fields: object) -> tuple[object, ...]:
    """A training with each learning rate; the nets are numbered from `first` on."""
    return tuple(e for k, rate in enumerate(rates) for e in bn_run(first + k, lr=rate, **fields))


def sweep_of_strengths(*strengths: float, **fields: object) -> tuple[object, ...]:
    """A training with each L2 strength."""
    return tuple(e for k, s in enumerate(strengths) for e in bn_run(40 + k, weight_decay=s, **fields))


def log(count: int) -> str:
    """What the trainings of a sweep print."""
    return "Best validation accuracy: 0.7012\n" * count


CELLS: dict[str, Cell] = {
    "definitions": Cell(DEFINITIONS),
    "data": Cell("CIFAR10(mode='train')", (dataset("train"), dataset("val"), AUGMENTING, loader(1, "val"))),
    "a": Cell("train(SimpleNN(), 0.01)", (*built(0), *run(0, loader=9)), printed=log(1)),
    "augmented": Cell("train(SimpleNN(), 0.01)", (*built(1), *run(1)), printed=log(1)),
    "bn": Cell("train(SimpleNN(bn=True), 0.01)", bn_run(2), printed=log(1)),
    "plain_large": Cell("train(SimpleNN(), 0.1)", (*built(3), *run(3, rates=(0.1,))), printed=log(1)),
    "bn_large": Cell("train(SimpleNN(bn=True), 0.1)", bn_run(4, lr=0.1), printed=log(1)),
    "swish": Cell("train(SimpleNN(Swish), 0.1)", bn_run(5, "simplenn_bn_swish", lr=0.1), printed=log(1)),
    "rates": Cell("for lr in rates:\n    train(SimpleNN(bn=True), lr)", sweep_of_rates(*RATES), printed=log(6)),
    "l2": Cell("for s in strengths:\n    train(net, 0.01, s)", sweep_of_strengths(*STRENGTHS), printed=log(5)),
    "l1": Cell(
        "train(net, 0.01, 0.0)", (*built(60, "simplenn_bn"), penalty(60), *run(60, weight_decay=0.0)), printed=log(1)
    ),
    "distribution": Cell("show(l1_net)", image=True),
    "answers": markdown(ANSWERS),
}
TRAININGS = ("a", "augmented", "bn", "plain_large", "bn_large", "swish", "rates", "l2", "l1")
NO_TRAINING: dict[str, Cell | None] = dict.fromkeys((*TRAININGS, "distribution"))


def lab2(**changes: Cell | None) -> Evidence:
    """The right notebook with other cells; None leaves one out, a new name adds one before the answers."""
    return evidence(notebook(changes))


def notebook(changes: dict[str, Cell | None]) -> Lab:
    """The cells in order."""
    cells = CELLS | changes
    answers = cells.pop("answers")
    return lab("lab2", [*cells.values(), answers])


def reported(passages: dict[str, str], **changes: Cell | None) -> Evidence:
    """The same with a report and no answers in the notebook."""
    return evidence(notebook({"answers": None} | changes), passages=passages, read=("report.pdf",))


def work(**changes: Cell | None) -> partial[Evidence]:
    """The right notebook with other cells, to be built later."""
    return partial(lab2, **changes)


def only(*names: str, **changes: Cell | None) -> partial[Evidence]:
    """The notebook with these trainings alone."""
    return work(**(NO_TRAINING | {name: CELLS[name] for name in names} | changes))


NO_GPU_HERE = "AssertionError: Torch not compiled with CUDA enabled"
HINDERED = raised(NO_GPU_HERE, "train(net.cuda(), 0.1)")
ELSEWHERE = raised("ModuleNotFoundError: No module named 'albumentations'", "import albumentations")
NOT_TRAINED = "no optimizer step on training images was seen"


def data(transform: object) -> Cell:
    """Training images that another transform changed."""
    return Cell("", (dataset("train"), loader(0, "train", transform=transform), loader(1, "val")))


SHIFTED = AUGMENTED.model_copy(update={"max_shift": 2})
CROPPED = AUGMENTED.model_copy(update={"flips": False})
IN_THE_LOOP = Cell("", (*built(1), fed(1, seen=AUGMENTED), *run(1)))
AUGMENTATION = [
    passes("crop and flip", work()),
    passes("of batches, in the loop", only(augmented=IN_THE_LOOP, data=data(PLAIN))),
    fails("flips alone", work(data=data(FLIPPED)), "nothing is cropped, with flips", 0.5),
    fails("crops alone", work(data=data(CROPPED)), "the largest shift is 4 pixels, without flips", 0.5),
    fails("another padding", work(data=data(SHIFTED)), "a padding of 4 and random flips; the largest shift is 2", 0.5),
    fails("made, but not handed on", work(data=data(PLAIN)), "every image reached the network the same way"),
    fails(
        "an import fails elsewhere", work(data=data(PLAIN), late=ELSEWHERE), "every image reached the network the same"
    ),
    fails("never trained", work(**NO_TRAINING), NOT_TRAINED),
    stays_open("hindered", work(**NO_TRAINING, late=HINDERED), "cell 3 raised AssertionError"),
]

VALIDATION_UNAUGMENTED = [
    passes("plain", work()),
    fails(
        "augmented", work(late=Cell("", (loader(2, "val", transform=AUGMENTED),))), "cell 13: validation images are aug"
    ),
    fails("none", work(data=None), "no DataLoader over the validation split was iterated"),
    stays_open("hindered", work(data=raised(NO_GPU_HERE, "DataLoader(val_set)")), "cell 2 raised AssertionError"),
]


def variant(name: str, *, unused: int = 0, **changes: object) -> Cell:
    """A training of a net that is not quite what was asked for."""
    return Cell(DEFINITIONS, (net(2, name, unused=unused, **changes), differs(2, name), *run(2)))


def without(architecture: str, kind: str) -> tuple[LayerRecord, ...]:
    """The layers of an architecture but those of one type."""
    return tuple(layer for layer in layers_for(architecture) if layer.type != kind)


def bn_after_activation() -> tuple[LayerRecord, ...]:
    """conv -> ReLU -> BN."""
    layers = list(layers_for("simplenn_bn"))
    for first in (1, 4):
        layers[first], layers[first + 1] = layers[first + 1], layers[first]
    return tuple(layers)


NEVER_CALLED = Cell("self.bn1 = nn.BatchNorm2d(8)", (net(2, unused=48), *run(2)))
FC_TOO = (*layers_for("simplenn_bn"), LayerRecord(type="BatchNorm1d", weight=(84,)))
LOST_BN = {"bn": None, "bn_large": None, "swish": None, "rates": None, "l2": None, "l1": None}
BN_ARCHITECTURE = [
    passes("conv -> BN -> ReLU", work()),
    passes("with Swish already", only("swish")),
    fails(
        "behind the activation", only(bn=variant("simplenn_bn", layers=bn_after_activation())), "behind the act", 0.5
    ),
    fails(
        "pooling first", only(bn=variant("simplenn_bn")), "SimpleNN (cell 3) has a BN layer for each convolution", 0.5
    ),
    fails("after FC layers too", only(bn=variant("simplenn_bn", layers=FC_TOO)), "behind FC layers", 0.75),
    fails(
        "after one convolution",
        only(bn=variant("simplenn_bn", layers=layers_for("simplenn_bn")[:3] + layers_for("simplenn")[2:])),
        "the order in SimpleNN (cell 3) is conv -> bn -> conv; expected conv -> bn -> conv -> bn",
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
BN_TRAINED = [
    passes("fresh", work()),
    passes("one of several", work(bn=Cell("", CONTINUED))),
    passes("weights drawn again", only(bn=REDRAWN)),
    passes("BN behind the activation", only(bn=variant("simplenn_bn", layers=bn_after_activation()))),
    passes("Adam", only(bn=Cell("", bn_run(2, kind="Adam", lr=0.001)))),
    fails("continued", only(bn=Cell("", CONTINUED)), "without re-initialising the model (cell 3: 40 steps of SGD", 0.5),
    fails("without augmentation", only(bn=WITHOUT_AUGMENTATION), "trained without augmentation (cell 3", 0.75),
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

LARGER_RATE = [
    fails(
        "continued", only(bn=Cell("", bn_run(2, lr=0.1, earlier_steps=90))), "without re-initialising the model", 0.5
    ),
    passes("0.1", work()),
    passes("in the sweep alone", only("rates")),
    passes("Adam", only(bn=Cell("", bn_run(2, kind="Adam", lr=0.01)))),
    fails("0.01", only("a", "bn"), "found 0.01 (cell 4)"),
    fails("0.1 in words alone", only("a", bn=Cell("lr = 0.1", bn_run(2))), "found 0.01 (cell 4)"),
    fails("without BN alone", only("a", "plain_large"), "no network with BN was trained with a larger learning rate"),
    stays_open("hindered", only("a", "bn", late=HINDERED), "cell 5 raised AssertionError"),
]

COMPARISON = [
    passes("with and without BN", only("a", "plain_large", "bn_large")),
    passes("BN at two rates", only("bn", "bn_large")),
    fails("one rate", only("a", "bn_large"), "nothing to compare: learning rates with BN are 0.1 (cell 4)"),
    fails("no BN", only("a", "plain_large"), "nothing to compare"),
    stays_open("hindered", only("a", "bn_large", late=HINDERED), "cell 5 raised AssertionError"),
]

SILU = tuple(
    LayerRecord(type="SiLU") if layer.type == "Sigmoid" else layer for layer in without("simplenn_bn_swish", "Multiply")
)
BORROWED = Cell("", (*built(5, "simplenn_bn_swish", layers=SILU), *run(5, rates=(0.1,))))
NO_RELU = variant("simplenn_bn", layers=layers_for("simplenn_bn_swish"))
HALF = variant("simplenn_bn", layers=layers_for("simplenn_bn_swish")[:4] + layers_for("simplenn_bn")[3:])
EXP = {"definitions": Cell(DEFINITIONS.replace("x * torch.sigmoid(x)", "x / (1 + torch.exp(-x))"))}
FUNCTIONAL_SILU = {"definitions": Cell(DEFINITIONS.replace("x * torch.sigmoid(x)", "F.silu(x)"))}
SWISH_ARCHITECTURE = [
    passes("x * sigmoid(x)", work()),
    passes("by exp", work(**EXP)),
    passes("without BN", only(swish=Cell("", built(5, "simplenn_swish")))),
    passes("a class of one's own named SiLU", only(swish=BORROWED, definitions=Cell("class SiLU(nn.Module): sigmoid"))),
    fails("torch's", only(swish=BORROWED), "Swish is torch's own SiLU; the item asks to implement it on your own", 0.5),
    fails("torch's, in code alone", only("swish", **FUNCTIONAL_SILU), "Swish is torch's own SiLU", 0.5),
    fails("not in place of all", only(swish=HALF), "SimpleNN (cell 3) still has 3 ReLU activations", 0.25),
    fails("another function", only(swish=NO_RELU), "has no ReLU, but is not SimpleNN with x * sigmoid(x)", 0.5),
    fails("none", work(swish=None), "no network replaces the ReLUs of SimpleNN by x * sigmoid(x)"),
    fails("none, and an import fails elsewhere", work(swish=None, late=ELSEWHERE), "no network replaces the ReLUs"),
    stays_open("hindered", work(swish=raised(NO_GPU_HERE, "net = SimpleNN(Swish).cuda()")), "cell 8 raised Assertion"),
]

SWISH_TRAINED = [
    passes("BN, 0.1", work()),
    passes("decayed from 0.1", only(swish=Cell("", (*built(5, "simplenn_bn_swish"), *run(5, rates=(0.1, 0.01)))))),
    passes(
        "an ELU in one place",
        only(swish=Cell("", (net(5, layers=layers_for("simplenn_bn_swish")), *run(5, rates=(0.1,))))),
    ),
    fails("0.01", only(swish=Cell("", bn_run(5, "simplenn_bn_swish"))), "lr=0.01 (cell 3); the item asks for 0.1", 0.5),
    fails(
        "no BN", only(swish=Cell("", (*built(5, "simplenn_swish"), *run(5, rates=(0.1,))))), "without BN layers", 0.5
    ),
    fails(
        "continued",
        only(swish=Cell("", bn_run(5, "simplenn_bn_swish", lr=0.1, earlier_steps=90))),
        "without re-initialising the model",
        0.5,
    ),
    fails("ReLU", work(swish=None), "no run trained a network with Swish"),
    stays_open("hindered", work(swish=None, late=HINDERED), "cell 12 raised AssertionError"),
]


def rates(*values: float, **fields: object) -> Cell:
    """The sweep with these learning rates."""
    return Cell("for lr in rates:\n    train(net, lr)", sweep_of_rates(*values, **fields), printed=log(len(values)))


REPORTED_RATES = {"lab2.c.lr": "Accuracies: 1.0: 0.1000, 0.1: 0.70, .05: 71.1 %, 0.01: 0.69, 5e-3: 0.68, 10^{-3}: 0.60"}
RATES_TRAINED = [
    passes("all six", only("rates")),
    passes("one cell each", only(**{f"lr{k}": rates(value, first=20 + k) for k, value in enumerate(RATES)})),
    passes("0.1 and 0.01 from (b)", only("bn", "bn_large", rates=rates(1.0, 0.05, 0.005, 0.001))),
    passes("Adam", only(rates=rates(*RATES, kind="Adam"))),
    fails(
        "one left out",
        only(rates=rates(*RATES[:5])),
        "no run was trained with learning rate 0.001; found 1 (cell 3), 0.1 (cell 3)",
        5 / 6,
    ),
    fails(
        "none but those of (b)",
        only("bn", "bn_large"),
        "learning rate 1, 0.05, 0.005, 0.001; found 0.1 (cell 4), 0.01 (cell 3)",
    ),
    fails(
        "one optimizer for all", only(rates=rates(*[0.01] * 6)), "no run was trained with learning rate 1, 0.1, 0.05"
    ),
    fails(
        "continued",
        only(rates=rates(*RATES, earlier_steps=90)),
        "learning rate 1 was trained without re-initialising the model (cell 3); 0.1 was",
        0.5,
    ),
    fails("no augmentation", only(rates=rates(*RATES, loader=9)), "1 was trained without augmentation (cell 3)", 0.75),
    fails(
        "no BN",
        only(rates=Cell("", tuple(e for k, r in enumerate(RATES) for e in bn_run(20 + k, "simplenn", lr=r)))),
        "without BN layers",
        0.5,
    ),
    fails("none", only(), NOT_TRAINED),
    fails(
        "an import fails elsewhere",
        only(rates=rates(*RATES[:5]), late=ELSEWHERE),
        "no run was trained with learning rate 0.001; found 1 (cell 3), 0.1 (cell 3)",
        5 / 6,
    ),
    stays_open("hindered", only(rates=rates(*RATES[:5]), late=HINDERED), "cell 4 raised AssertionError"),
    stays_open(
        "one cell that was overwritten, results in the report",
        partial(reported, REPORTED_RATES, **(NO_TRAINING | {"rates": rates(0.1)})),
        "no run was trained with learning rate 1, 0.05, 0.01, 0.005, 0.001, but the answer reports it",
    ),
]

LR_TABLE = "lr 1.0: 0.1000\nlr 0.1: 0.7012\nlr 0.05: 0.7101\nlr 0.01: 0.69\nlr 0.005: 0.68\nlr 0.001: 0.60\n"
EPOCHS_LOG = "Epoch 1: Validation accuracy: 0.51\nEpoch 2: Validation accuracy: 0.60\n"
SILENT = Cell("", sweep_of_rates(*RATES))
RATES_REPORTED = [
    passes("a best accuracy of each", only("rates")),
    passes("logs of epochs", only(rates=Cell("", sweep_of_rates(*RATES), printed=EPOCHS_LOG * 6))),
    passes("a table below", only(rates=SILENT, table=Cell("table(results)", printed=LR_TABLE))),
    passes("in a report", partial(reported, REPORTED_RATES, rates=SILENT)),
    passes("two of them in (b)", only("bn", "bn_large", rates=rates(1.0, 0.05, 0.005, 0.001))),
    fails(
        "settings are no results",
        partial(reported, {"lab2.c.lr": "Tried: 1.0, 0.1, 0.05, 0.01, 0.005, 0.001"}, rates=SILENT),
        "results for 2 of 6 values",  # those of (b)
        2 / 6,
    ),
    fails(
        "four of six", only(rates=Cell("", sweep_of_rates(*RATES), printed=log(4))), "results for 4 of 6 values", 4 / 6
    ),
    fails(
        "one log for all", only(rates=Cell("", sweep_of_rates(*RATES), printed=EPOCHS_LOG)), "results for 1 of 6", 1 / 6
    ),
    fails("results of other questions", work(rates=SILENT, bn=None, bn_large=None, swish=None), "0 of 6"),
    fails("never trained", only(answers=None), NOT_TRAINED),
    stays_open("a plot", only(rates=SILENT, table=Cell("plot()", image=True)), "others may stand in a picture"),
    stays_open(
        "a report that is pictures",
        partial(evidence, lab("lab2", [CELLS["data"], SILENT]), problems=("report.pdf: expected text, found none",)),
        "in a report that could not be read",
    ),
]


def strengths(*values: float, **fields: object) -> Cell:
    """The sweep with these L2 strengths."""
    cells = sweep_of_strengths(*values, **fields)
    return Cell("for s in strengths:\n    train(net, 0.01, s)", cells, printed=log(len(values)))


def in_the_loss(factor: float) -> Cell:
    """L2 as a term of the loss, `factor` times the strength along w."""
    events: list[object] = []
    for k, strength in enumerate(STRENGTHS):
        fit = L2_PENALTY | {"l2": (factor * strength, 0.0)}
        added = (penalty(40 + k, **fit),) if strength else ()
        events += [*built(40 + k, "simplenn_bn"), *added, *run(40 + k, weight_decay=0.0)]
    return Cell("", tuple(events), printed=log(5))


REPORTED_STRENGTHS = {"lab2.c.l2": "1e-2: 0.61, 1e-3: 0.70, 1e-4: 0.71, 1e-5: 0.70, 0.0: 0.70"}
STRENGTHS_TRAINED = [
    passes("all five", only("l2")),
    passes("1e-4 from (b)", only("bn", l2=strengths(1e-2, 1e-3, 1e-5, 0.0))),
    passes("lambda / 2 |w|^2 in the loss", only(l2=in_the_loss(1.0))),
    passes("lambda |w|^2 in the loss", only(l2=in_the_loss(2.0))),
    fails(
        "weight decay never passed",
        only(l2=strengths(*[1e-4] * 5)),
        "no run was trained with L2 strength 0.01, 0.001, 1e-05, 0; found 0.0001",
    ),
    fails(
        "one left out", only(l2=strengths(*STRENGTHS[1:])), "no run was trained with L2 strength 0.01; found 0.001", 0.8
    ),
    fails(
        "at 0.1",
        only(l2=strengths(*STRENGTHS, lr=0.1)),
        "L2 strength 0.01 was trained with another learning rate (cell 3)",
        0.5,
    ),
    fails(
        "continued",
        only(l2=strengths(*STRENGTHS, earlier_steps=9)),
        "0 was trained without re-initialising the model",
        0.5,
    ),
    fails("that of (b) alone", only("bn"), "no run was trained with L2 strength 0.01, 0.001, 1e-05, 0; found 0.0001"),
    fails(
        "the L1 run is no run without L2",
        only("l1", l2=strengths(*STRENGTHS[:4])),
        "no run was trained with L2 strength 0; found 0.01",
        0.8,
    ),
    stays_open("hindered", only("bn", late=HINDERED), "cell 4 raised AssertionError"),
    stays_open(
        "results in the report", partial(reported, REPORTED_STRENGTHS, **NO_TRAINING, b=CELLS["bn"]), "reports it"
    ),
]

STRENGTHS_REPORTED = [
    passes("a best accuracy of each", only("l2")),
    passes("in a report", partial(reported, REPORTED_STRENGTHS, l2=Cell("", sweep_of_strengths(*STRENGTHS)))),
    fails("cleared", only(l2=Cell("", sweep_of_strengths(*STRENGTHS)), answers=None), "results for 0 of 5 values"),
    fails("never trained", only(answers=None), NOT_TRAINED),
    stays_open(
        "a plot", only(l2=Cell("", sweep_of_strengths(*STRENGTHS), image=True)), "others may stand in a picture"
    ),
]


def l1(*, weight_decay: float = 0.0, **fields: object) -> Cell:
    """A training with another penalty in its loss."""
    return Cell("", (*built(60, "simplenn_bn"), penalty(60, **fields), *run(60, weight_decay=weight_decay)))


LATER = (*built(61, "simplenn_bn"), *run(61, weight_decay=0.0))
PENALTY = [
    passes("L1", work()),
    passes("small", only(l1=l1(l1=(1e-6, 0.0)))),
    passes("without the last layer", only(l1=l1(covers=0.98))),
    fails("weight decay left on", only(l1=l1(weight_decay=1e-4)), "cell 3: weight_decay=0.0001 is still on", 0.75),
    fails("of convolutions alone", only(l1=l1(covers=0.02)), "L1 acts on 2% of the weights", 0.75),
    fails("of .data", only(l1=l1(l1=(0.0, 1.0), l2=(0.0, 1.0), norm=0.0)), "adds 0.2 to the loss but has no gradient"),
    fails("factor 0", only(l1=l1(l1=(0.0, 1.0), l2=(0.0, 1.0), norm=0.0, value=0.0)), "or its factor is 0"),
    fails("L2", only(l1=l1(**L2_PENALTY)), "the penalty in the loss is L2"),
    fails("subtracted", only(l1=l1(l1=(-1e-4, 0.0))), "it rewards large weights", 0.25),
    fails(
        "of the net before", only(l1=Cell("", (*LATER, penalty(61)))), "no run had an L1 penalty as a part of its loss"
    ),
    fails("none", work(l1=None), "no run had an L1 penalty as a part of its loss"),
    fails("none, and an import fails elsewhere", work(l1=None, late=ELSEWHERE), "no run had an L1 penalty"),
    stays_open("another", only(l1=l1(l1=(1e-4, 0.6), l2=(1e-4, 0.6))), "neither L1 nor L2 of all weights"),
    stays_open("hindered", work(l1=None, late=HINDERED), "cell 12 raised AssertionError"),
]

DISTRIBUTION = [
    passes("a histogram by a function", work()),
    passes("seaborn", work(distribution=Cell("sns.kdeplot(weights)", image=True))),
    fails(
        "no plot of weights", work(distribution=Cell("plt.plot(losses)", image=True)), "no plot of the distributions"
    ),
    fails("not shown", work(distribution=Cell("show(l1_net)")), "no plot of the distributions"),
    stays_open(
        "in a report",
        partial(reported, {"lab2.c.l1": "The histogram of L1 has a peak at 0."}, distribution=None),
        "the answer speaks of the distributions",
    ),
    stays_open(
        "hindered", work(distribution=raised(NO_GPU_HERE, "show(l1_net.cuda())")), "cell 12 raised AssertionError"
    ),
]


def observations(item: str, words: str) -> list[Example]:
    """Examples of prose that a person judges."""
    free = markdown(f"## Results\n\nIn our experiments {words} made a difference that we did not expect.")
    return [
        stays_open("under its heading", work(), "for a person to judge"),
        stays_open("in a report", partial(reported, {item: "It is better."}), "for a person to judge"),
        stays_open("without a heading", work(answers=free), "text that may be the answer: a person must look"),
        fails("none", work(answers=None), f"no written answer to Lab 2 ({item.split('.')[1]})"),
        fails(
            "a title alone", work(answers=markdown(f"## {words}, which we look at below in more detail")), "no written"
        ),
    ]


EXAMPLES = {
    "lab2.a/augmentation": AUGMENTATION,
    "lab2.a/validation_unaugmented": VALIDATION_UNAUGMENTED,
    "lab2.a/observations": observations("lab2.a", "augmentation"),
    "lab2.b.bn/architecture": BN_ARCHITECTURE,
    "lab2.b.bn/trained": BN_TRAINED,
    "lab2.b.bn/observations": observations("lab2.b.bn", "BN"),
    "lab2.b.lr/larger_rate_with_bn": LARGER_RATE,
    "lab2.b.lr/comparison": COMPARISON,
    "lab2.b.lr/observations": observations("lab2.b.lr", "the learning rate"),
    "lab2.b.swish/architecture": SWISH_ARCHITECTURE,
    "lab2.b.swish/trained": SWISH_TRAINED,
    "lab2.b.swish/observations": observations("lab2.b.swish", "Swish"),
    "lab2.c.lr/trained": RATES_TRAINED,
    "lab2.c.lr/reported": RATES_REPORTED,
    "lab2.c.lr/observations": observations("lab2.c.lr", "the learning rate"),
    "lab2.c.l2/trained": STRENGTHS_TRAINED,
    "lab2.c.l2/reported": STRENGTHS_REPORTED,
    "lab2.c.l2/observations": observations("lab2.c.l2", "weight decay"),
    "lab2.c.l1/penalty": PENALTY,
    "lab2.c.l1/distribution": DISTRIBUTION,
    "lab2.c.l1/observations": observations("lab2.c.l1", "the L1 penalty"),
}
