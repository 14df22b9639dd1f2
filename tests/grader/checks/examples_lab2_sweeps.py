"""Lab 2 (c): the sweeps and the L1 penalty, right and wrong."""

from __future__ import annotations

from functools import partial

from evidence_builders import L2_PENALTY, Cell, built, evidence, lab, markdown, penalty, raised, run
from notebook_lab2 import (
    CELLS,
    ELSEWHERE,
    HINDERED,
    NO_GPU_HERE,
    NO_TRAINING,
    NOT_TRAINED,
    RATES,
    STRENGTHS,
    bn_run,
    log,
    observations,
    only,
    reported,
    sweep_of_rates,
    sweep_of_strengths,
    work,
)
from running import fails, passes, stays_open


def rates(*values: float, **fields: object) -> Cell:
    """The sweep with these learning rates."""
    return Cell("for lr in rates:\n    train(net, lr)", sweep_of_rates(*values, **fields), printed=log(len(values)))


REPORTED_RATES = {"lab2.c.lr": "Accuracies: 1.0: 0.1000, 0.1: 0.70, .05: 71.1 %, 0.01: 0.69, 5e-3: 0.68, 10^{-3}: 0.60"}
WITHOUT_BN = Cell("", tuple(e for k, r in enumerate(RATES) for e in bn_run(20 + k, "simplenn", lr=r)))
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
        "one optimizer for all, whatever the report says",
        partial(reported, REPORTED_RATES, **(NO_TRAINING | {"rates": rates(*[0.01] * 6)})),
        "no run was trained with learning rate 1, 0.1, 0.05",
    ),
    fails(
        "continued",
        only(rates=rates(*RATES, earlier_steps=90)),
        "learning rate 1 was trained without re-initialising the model (cell 3); 0.1 was",
        0.5,
    ),
    fails(
        "no augmentation",
        only("augmented", rates=rates(*RATES, loader=9)),
        "1 was trained without augmentation (cell 4)",
        0.75,
    ),
    passes("none is augmented, which (a) asks for", only(rates=rates(*RATES, loader=9))),
    fails(
        "no BN",
        only("bn", rates=WITHOUT_BN),
        "without BN layers",
        0.5 + 0.5 / 6,
    ),
    passes("none has BN, which (b) asks for", only(rates=WITHOUT_BN)),
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
LR_WORDS = "Learning rates: 0.1000, 0.7012, 0.7101"
THREE = {"lab2.c.lr": LR_WORDS}
OTHER_THREE = {"lab2.c.lr": "Learning rates: 69.0 %, 68.1 %, 60.2 %"}
RATES_REPORTED = [
    passes("a best accuracy of each", only("rates")),
    passes("logs of epochs", only(rates=Cell("", sweep_of_rates(*RATES), printed=EPOCHS_LOG * 6))),
    passes("a table below", only(rates=SILENT, table=Cell("table(results)", printed=LR_TABLE))),
    passes("in a report", partial(reported, REPORTED_RATES, rates=SILENT)),
    passes("two of them in (b)", only("bn", "bn_large", rates=rates(1.0, 0.05, 0.005, 0.001))),
    fails(
        "settings are no results",
        partial(reported, {"lab2.c.lr": "Tried: 1.0, 0.1, 0.05, 0.01, 0.005, 0.001"}, rates=SILENT),
        "results for 0 of 6 values",
    ),
    fails(
        "the same three in notebook and report",
        partial(reported, THREE, rates=SILENT, bn=None, bn_large=None, swish=None, answers=markdown(f"(c) {LR_WORDS}")),
        "results for 3 of 6 values",
        0.5,
    ),
    passes(
        "three in the notebook, three in the report",
        partial(reported, OTHER_THREE, rates=SILENT, answers=markdown(f"(c) {LR_WORDS}")),
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
    stays_open(
        "beside a loss of one's own",
        only(l1=Cell("loss = own(logits, y) + l1 * p.abs().sum()", bn_run(60, weight_decay=0.0, loss_kind=None))),
        "the loss is none of torch's",
    ),
    stays_open(
        "of a net that has diverged",
        only(l1=Cell("", bn_run(60, weight_decay=0.0, loss=None, cross_entropy=None))),
        "cell 3: the loss of this run is not a number",
    ),
    fails("weight decay left on", only(l1=l1(weight_decay=1e-4)), "cell 3: weight_decay=0.0001 is still on", 0.75),
    fails("of convolutions alone", only(l1=l1(covers=0.02)), "L1 acts on 2% of the weights", 0.75),
    fails(
        "of .data",
        only(l1=l1(l1=(0.0, 1.0), l2=(0.0, 1.0), norm=0.0)),
        "adds 0.2 to the loss but no gradient to the weights",
    ),
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
    passes(
        "of values that another cell collected",
        work(
            distribution=Cell("values = [p.flatten() for p in net.parameters()]"),
            late=Cell("import matplotlib.pyplot as plt\nplt.hist(values)", image=True),
        ),
    ),
    stays_open(
        "of a literal",
        work(distribution=Cell("plt.hist([1, 2, 3])", image=True)),
        "cell 12 draws a distribution, but perhaps not of weights: a person must look",
    ),
    stays_open(
        "of losses",
        work(distribution=Cell("losses = [2.3, 1.9]  # weights"), late=Cell("plt.hist(losses)", image=True)),
        "perhaps not of weights",
    ),
    fails(
        "a history",
        work(distribution=Cell("hist = train(net.parameters())\nplt.plot(hist['loss'])", image=True)),
        "no plot of the distributions",
    ),
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


EXAMPLES = {
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
