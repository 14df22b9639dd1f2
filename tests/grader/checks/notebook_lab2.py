"""Lab 2: one notebook that is right, and what its cells can be changed into."""

from __future__ import annotations

from functools import partial

from evidence_builders import AUGMENTED, Cell, built, dataset, evidence, lab, loader, markdown, penalty, raised, run
from running import Example, fails, stays_open

from grader.evidence.evidence import Evidence, Lab

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
