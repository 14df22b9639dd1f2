"""Claims in the saved outputs of notebooks, in every wording seen, and under piles of warnings."""

import time
from dataclasses import asdict

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from grader.evidence.record import Claim, EpochClaim, max_validation_accuracy, read_record

WARNING = (
    "/usr/lib/python3/site-packages/torch/utils/data/dataloader.py:557: UserWarning: num_workers is 4, slow, freeze\n"
)
QUICK = settings(max_examples=100, deadline=None, database=None)


def printed(text: str | list[str], name: str = "stdout") -> dict:
    return {"output_type": "stream", "name": name, "text": text}


def notebook(*outputs: dict) -> dict:
    return {"cells": [{"cell_type": "code", "source": "train()", "outputs": list(outputs)}]}


def epochs(text: str) -> list[tuple]:
    claims = read_record(notebook(printed(text))).epochs
    return [(c.epoch, c.train_loss, c.train_accuracy, c.val_loss, c.val_accuracy) for c in claims]


def best(text: str) -> list[float]:
    return [claim.value for claim in read_record(notebook(printed(text))).best]


COURSE = """Epoch 0:
===============================
Training loss: 1.8000, Training accuracy: 0.3300
Validation loss: 1.5000, Validation accuracy: 0.4500
Saving ...
Epoch 1:
===============================
Training loss: 1.4000, Training accuracy: 0.4800
Validation loss: 1.3000, Validation accuracy: 0.5300
Saving ...
===> Optimization finished
Best validation accuracy: 0.5300
"""


def test_the_course_s_own_print_out():
    book = new_notebook(cells=[new_markdown_cell("Lab 1"), new_code_cell("train()", outputs=[])])
    book.cells[1].outputs = [new_output("stream", name="stdout", text=COURSE)]
    record = read_record(book)
    assert record.epochs == (EpochClaim(1, 0, 1.8, 0.33, 1.5, 0.45), EpochClaim(1, 1, 1.4, 0.48, 1.3, 0.53))
    assert record.best == (Claim(1, 0.53, "Best validation accuracy: 0.5300"),)
    assert max_validation_accuracy(record) == 0.53
    assert asdict(record)["epochs"][0]["train_loss"] == 1.8
    assert read_record(nbformat.from_dict(book)) == record


@pytest.mark.parametrize(
    ("text", "claims"),
    [  # (epoch, training loss, training accuracy, validation loss, validation accuracy)
        ("Epoch 3/30: train_loss=1.2 train_acc=0.5 val_loss=1.1 val_acc=55.3%", [(3, 1.2, 0.5, 1.1, 0.553)]),
        ("Epoch: 01 | Train Loss: 1.2 | Train Acc: 45% | Val. Loss: 1.3 | Val. Acc: 4%", [(1, 1.2, 0.45, 1.3, 0.04)]),
        ("[Epoch 3] loss: 1.23 acc: 0.5", [(3, 1.23, 0.5, None, None)]),
        ("352/352 - loss: 1.2 - accuracy: 0.55 - val_loss: 1.1 - val_accuracy: 0.6", [(None, 1.2, 0.55, 1.1, 0.6)]),
        ("Validation Accuracy = 71.2%", [(None, None, None, None, 0.712)]),
        ("val acc 71.2", [(None, None, None, None, 0.712)]),
        ("Validation Acc@1 68.2", [(None, None, None, None, 0.682)]),
        ("val Acc@1 68.200 Acc@5 97.100", [(None, None, None, None, 0.682)]),
        ("Top-1 accuracy on validation: 68.2%, top-5 accuracy: 97.1%", [(None, None, None, None, 0.682)]),
        ("val_loss 1.1 val top5_acc 0.97", [(None, None, None, 1.1, None)]),
        ("epoch 3 | train 55.1% | val 61.0%", [(3, None, 0.551, None, 0.61)]),
        ("accuracy: train 55.1%, val 61.0 %", [(None, None, 0.551, None, 0.61)]),
        ("epoch 3 train loss 1.2 val 61%", [(3, 1.2, None, None, 0.61)]),
        ("Validation: 61%|██████    | 24/40", []),
        ("Validation 61% 24/40", []),
        ("Training: 100%", []),
        ("train/val split: train 90%, val 10%", []),
        ("Validation: 10% of the images", []),
        ("Goal: validation accuracy 90%", []),
        ("target validation accuracy > 0.90", []),
        ("Validation accuracy should be at least 90%", []),
        ("A validation accuracy of 65% is expected", []),
        ("val acc 0.90 (target)", []),
        ("Expected: 0.65, found: validation accuracy 0.66", [(None, None, None, None, 0.66)]),
        ("Validation accuracy 0.66 (expected 0.65)", [(None, None, None, None, 0.66)]),
        ("Validation accuracy: 0.66 | target: 0.65", [(None, None, None, None, 0.66)]),
        ("Target reached, validation accuracy: 0.91", [(None, None, None, None, 0.91)]),
        ("Validation accuracy 0.91, as expected", [(None, None, None, None, 0.91)]),
        ("test_acc: 0.7", [(None, None, None, None, 0.7)]),
        ("trainLoss 1.2 valAcc 0.5", [(None, 1.2, None, None, 0.5)]),
        ("train loss 1.5e-3", [(None, 0.0015, None, None, None)]),
        ("Accuracy of the network on the 5000 validation images: 71 %", [(None, None, None, None, 0.71)]),
        ("Test set: Average loss: 0.9, Accuracy: 7123/10000 (71%)", [(None, None, None, 0.9, 0.7123)]),
        ("Accuracy with lr 0.01 on validation: 0.65", [(None, None, None, None, 0.65)]),
        ("Validation accuracy after 30 epochs: 0.71", [(None, None, None, None, 0.71)]),
        ("Validation accuracy at epoch 7/30: 0.71", [(7, None, None, None, 0.71)]),
        ("Validation:\nloss 1.2, acc 0.5\nTraining:\nloss 1.1", [(None, 1.1, None, 1.2, 0.5)]),
        ("Training loss: nan, Training accuracy: 0.1000", [(None, None, 0.1, None, None)]),
        ("epoch 1 train loss tensor(1.25, device='cuda:0', grad_fn=<x>)", [(1, 1.25, None, None, None)]),
        ("\x1b[31mEpoch 2\x1b[0m val acc \x1b[1m0.5\x1b[0m", [(2, None, None, None, 0.5)]),
        ("Epoch 1: 10% loss=2, acc=.2\rEpoch 1: 9/9 [00:03, loss=1.2, acc=.45]\r\n", [(1, 1.2, 0.45, None, None)]),
        ("Epoch 1: 50% loss=2\nEpoch 1: loss=1.5\nEpoch 2: loss=1", [(1, 1.5, *3 * [None]), (2, 1.0, *3 * [None])]),
        ("train loss: 2\ntrain loss: 1", [(None, 2.0, None, None, None), (None, 1.0, None, None, None)]),
        ("Epoch 4\nEpoch 5", []),
        ("Validation accuracy: 101", []),
        ("Validation accuracy: -0.5", []),
        ("Validation accuracy: 5/0", []),
        ("Validation accuracy, see below", []),
        ("validation set: 5000 images, batch 100", []),
        ("accuracy" + " " * 90 + "0.5", []),
        ("access 0.5, glossary 0.7, according to 0.3", []),
        ("Best training accuracy: 0.99", []),
        ("", []),
    ],
)  # fmt: skip
def test_wordings_of_epochs(text, claims):
    assert epochs(text) == claims


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Best validation accuracy: 0.7123", 0.7123),
        ("Best val acc: 71.23 %", 0.7123),
        ("The best validation accuracy is 0.7123.", 0.7123),
        ("best_val_acc: tensor(0.7123, device='cuda:0')", 0.7123),
        ("best accuracy 71.23", 0.7123),
        ("best acc = 0.7123 %", 0.7123),
        ("Highest test accuracy = 0.7123", 0.7123),
        ("Best validation accuracy after 30 epochs: 0.7123", 0.7123),
        ("Best validation accuracy: 0.7123 at epoch 23", 0.7123),
        ("Best epoch: 23, val acc: 0.7123", 0.7123),
        ("Best val loss 0.9, acc 0.7123", 0.7123),
        ("Best val 71.23% (epoch 7)", 0.7123),
        ("best Acc@1 71.23", 0.7123),
    ],
)
def test_wordings_of_the_best(text, value):
    record = read_record(notebook(printed(text)))
    assert record.best == (Claim(0, value, text),)
    assert [claim.val_accuracy for claim in record.epochs] == []


def test_best_beside_the_epoch():
    record = read_record(notebook(printed("Epoch 5, val acc 0.70, best 0.72")))
    assert record.epochs == (EpochClaim(0, 5, val_accuracy=0.7),)
    assert [claim.value for claim in record.best] == [0.72]


@QUICK
@given(
    values=st.lists(
        st.tuples(st.floats(0.01, 9), st.floats(0.1, 0.99), st.floats(0.01, 9), st.floats(0.1, 0.99)),
        min_size=1,
        max_size=9,
    ),
    style=st.sampled_from(["fraction", "percent", "one line"]),
    noise=st.sampled_from(["", WARNING, "batch 3 done\n", "lr 0.01, 3.5s\n", "\n"]),
)
def test_what_is_printed_is_read_back(values, style, noise):
    text = ""
    for epoch, (train_loss, train_accuracy, val_loss, val_accuracy) in enumerate(values):
        shown = [f"{v * 100:.2f} %" if style == "percent" else f"{v:.4f}" for v in (train_accuracy, val_accuracy)]
        end = ", " if style == "one line" else "\n"
        text += f"Epoch {epoch}{end}Training loss: {train_loss:.4f}, Training accuracy: {shown[0]}{end}"
        text += f"Validation loss: {val_loss:.4f}, Validation accuracy: {shown[1]}\n{noise}"
    found = epochs(text)
    assert [claim[0] for claim in found] == list(range(len(values)))
    for claim, value in zip(found, values, strict=True):
        assert claim[1:] == pytest.approx(value, abs=1e-4)


def test_claims_between_warnings_and_in_pieces():
    outputs = [printed(["Epoch 0:\n", "Training loss: 1.8"]), printed(WARNING * 1_100, "stderr")]
    outputs += [printed("000, Training accuracy: 0.33\nValidation loss: 1.5, Validation "), printed(WARNING, "stderr")]
    outputs += [printed("accuracy: 0.45\n")]
    assert len(WARNING) * 1_100 > 120_000
    assert read_record(notebook(*outputs)).epochs == (EpochClaim(0, 0, 1.8, 0.33, 1.5, 0.45),)


def test_claims_on_stderr_and_in_results():
    results = [
        {"output_type": "execute_result", "data": {"text/plain": ["Best validation ", "accuracy: 0.71"]}},
        {"output_type": "display_data", "data": {"text/plain": "best acc 0.72", "text/html": "<b>best acc 0.99</b>"}},
    ]
    record = read_record(notebook(printed("INFO best val acc 0.70\n", "stderr"), *results))
    assert sorted(claim.value for claim in record.best) == [0.70, 0.71, 0.72]


def test_cells_are_told_apart_and_pictures_found():
    picture = {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": "<Figure>"}}
    cells = [
        {"cell_type": "markdown", "source": "Best validation accuracy: 0.99"},
        {"cell_type": "code", "outputs": [printed("Epoch 1 train loss 2")]},
        {"cell_type": "code", "outputs": [printed("val loss 3"), picture]},
    ]
    record = read_record({"cells": cells})
    assert record.epochs == (EpochClaim(1, 1, train_loss=2.0), EpochClaim(2, val_loss=3.0))
    assert record.images == (2,)
    assert record.best == ()
    assert max_validation_accuracy(record) is None


def test_highest_of_epochs_and_best():
    assert (
        max_validation_accuracy(read_record(notebook(printed("val acc 0.6\nval acc 0.65\nbest val acc 0.64")))) == 0.65
    )


def test_text_of_a_claim_is_short_and_harmless():
    (claim,) = read_record(notebook(printed("\x07best \ud800acc 0.7 " + "x" * 900))).best
    assert claim.text.startswith("best acc 0.7 xx")
    assert len(claim.text) == 200


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=9) | st.just("Best validation accuracy: 0.5"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["cells", "outputs", "data", "text", "text/plain", "name", "source", "cell_type", "output_type"]
            )
            | st.integers(),
            inner | st.sampled_from(["code", "stream", "stdout", "display_data"]),
            max_size=5,
        )
    ),
    max_leaves=30,
)


@QUICK
@given(ANYTHING, ANYTHING)
def test_broken_notebooks_never_raise(book, cells):
    read_record(book)
    read_record({"cells": cells})
    read_record({"cells": [cells]})
    read_record({"cells": [{"cell_type": "code", "outputs": [cells]}]})


PILES = {
    "warnings": WARNING * (5_000_000 // len(WARNING)),
    "warnings that speak of accuracy": ("UserWarning: loss of accuracy 3 in " + WARNING) * 33_000,
    "one line": "acc " * 1_250_000,
    "one long word": "a" * 5_000_000,
    "one long number": "acc " + "1" * 5_000_000,
    "redrawn bar": "epoch 3 acc 0.5\r" * 300_000,
    "dots": "acc" + "." * 5_000_000,
    "colours": "\x1b[0" * 1_600_000 + "acc",
    "empty names": "acc\n" * 1_250_000,
    "long lines of names": ("train acc " * 390 + "\n") * 1_250,
    "long lines of numbers": ("acc 1 " * 660 + "\n") * 1_250,
}


@pytest.mark.parametrize("pile", PILES)
def test_five_megabytes_are_read_quickly(pile):
    start = time.process_time()
    record = read_record(notebook(printed(PILES[pile], "stderr"), printed("Best validation accuracy: 0.7\n")))
    assert time.process_time() - start < (1 if pile == "warnings" else 4)
    assert [claim.value for claim in record.best] == [0.7]


def test_claims_are_bounded():
    record = read_record(notebook(printed("train loss 1\nbest acc 0.5\n" * 20_000)))
    assert len(record.epochs) <= 5_000
    assert len(record.best) == 5_000
