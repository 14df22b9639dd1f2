"""Lab 1: one notebook that is right, and what its cells can be changed into."""

from __future__ import annotations

from functools import partial
from textwrap import indent

from evidence_builders import (
    Cell,
    answer,
    built,
    dataset,
    evidence,
    fed,
    initial_loss,
    lab,
    loader,
    markdown,
    moved,
    run,
    saved,
)
from running import Example, fails, stays_open

from grader.evidence.evidence import Evidence, Lab

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


NO_GPU_HERE = "AssertionError: Torch not compiled with CUDA enabled"
NO_PACKAGE = "ModuleNotFoundError: No module named 'albumentations'"
OWN_MISTAKE = "TypeError: 'NoneType' object is not callable"
NOT_TRAINED = "no optimizer step on training images was seen"
PART = {"size": 128}
HELD_OUT = training(loader(0, "train", size=384), loader(1, "train", **PART), fed(), *run(validations=[]))


def unstarted() -> Evidence:
    """A notebook that the grader could not run."""
    return evidence(Lab("lab1", "lab1.ipynb", "the kernel did not start", "grader"))


def observations(item: str) -> list[Example]:
    """Examples of prose that a person judges."""
    letter = item[-1]
    return [
        stays_open("under its heading", work(), "for a person to judge"),
        stays_open("in a report", partial(reported, {item: "It overfits."}, answers=None), "for a person to judge"),
        fails(
            "no notebook", evidence, f"no written answer to Lab 1 ({letter}) was found: there is no notebook of Lab 1"
        ),
        stays_open("unread by the grader's fault", unstarted, "but the kernel did not start"),
        fails("none", work(answers=None), f"no written answer to Lab 1 ({letter})"),
        fails(
            "under another letter",
            work(answers=markdown("(a) Shapes fit, and 82,030 parameters.")),
            "no written answer",
        ),
    ]
