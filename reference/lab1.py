"""Lab 1: SimpleNN and the training pipeline. Answers questions (a) to (h) with numbers.

python -m reference.lab1 --data data --epochs 30
"""

import math
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from reference import cli, plots
from reference.experiment import Answers, Plan, Run, Runs, Setting, best, checkpoint_path, gap, last, last_training
from reference.layers import layers
from reference.models import CLASSES, SimpleNN, count_parameters
from reference.preprocessing import normalise
from reference.summary import compare, standard_error, summary
from reference.training import Recipe, Splits, choose_device

BAR = 0.65  # validation accuracy that the assignment expects
VAL_BATCH_SIZE = 100
# Table 1 of the assignment: weights plus biases, from kernel size, input and output channels or units.
EXPECTED_PARAMETERS = {
    "conv1": 5 * 5 * 3 * 8 + 8,
    "conv2": 3 * 3 * 8 * 16 + 16,
    "fc1": 16 * 6 * 6 * 120 + 120,
    "fc2": 120 * 84 + 84,
    "fc3": 84 * 10 + 10,
}


def plans(options: Namespace) -> dict[str, Plan]:
    """The course's recipe, and the same with the learning rate divided by ten after each third of the epochs."""
    recipe = Recipe(epochs=options.epochs, channels_last=True, bfloat16=options.bfloat16)
    decay_epochs = max(1, round(options.epochs / 3))
    return {
        "constant": Plan(SimpleNN, recipe, group="plain"),
        "decay": Plan(SimpleNN, replace(recipe, decay_epochs=decay_epochs, decay=0.1), group="plain"),
    }


def answers(setting: Setting, splits: Splits, runs: Runs) -> Answers:
    return {
        "lab1.a": model_check(),
        "lab1.b": preprocessing_check(splits),
        "lab1.c": loader_check(splits, runs["constant"][0].recipe),
        "lab1.d": device_check(setting),
        "lab1.e": objective(runs["constant"][0].recipe),
        "lab1.f": pipeline(setting, runs["constant"]),
        "lab1.g": training(splits, runs["constant"]),
        "lab1.h": decay(splits, runs["constant"], runs["decay"]),
    }


def model_check() -> dict[str, Any]:
    net = SimpleNN()
    output = tuple(net(torch.zeros(2, 3, 32, 32)).shape)
    rows = layers(net)
    counted = {layer.name: layer.parameters for layer in rows if layer.parameters}
    total = count_parameters(net)
    agree = counted == EXPECTED_PARAMETERS and total == sum(EXPECTED_PARAMETERS.values())
    sentence = (
        f"A dummy batch (2, 3, 32, 32) gives logits {output}; the parameters of each layer "
        f"{'equal' if agree else 'differ from'} the count by hand from Table 1, {total:,} in all."
    )
    return {"answer": sentence, "parameters": total, "agree": agree, "layers": [asdict(layer) for layer in rows]}


def preprocessing_check(splits: Splits) -> dict[str, Any]:
    pixels = splits.train_images.flatten(0, 2).double() / 255  # (N * 32 * 32, 3)
    raw_mean, raw_std = pixels.mean(dim=0).tolist(), pixels.std(dim=0).tolist()
    sums = torch.zeros(2, 3, dtype=torch.float64)
    for start in range(0, len(splits.train_images), 1000):
        batch = normalise(splits.train_images[start : start + 1000]).double()
        sums += torch.stack([batch.sum(dim=(0, 2, 3)), batch.square().sum(dim=(0, 2, 3))])
    mean, square = sums / len(pixels)
    std = (square - mean.square()).sqrt()
    sentence = (
        "Scaling to [0, 1] and normalising each channel takes mean and standard deviation from "
        f"{triple(raw_mean)} and {triple(raw_std)} to {triple(mean.tolist())} and {triple(std.tolist())}: "
        "channels of about one scale around zero, on which one learning rate suits all first-layer weights."
    )
    return {
        "answer": sentence,
        "raw_mean": raw_mean,
        "raw_std": raw_std,
        "mean": mean.tolist(),
        "std": std.tolist(),
    }


def triple(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in values) + ")"


def loader_check(splits: Splits, recipe: Recipe) -> dict[str, Any]:
    train_count, val_count = len(splits.train_labels), len(splits.val_labels)
    train_batches, val_batches = math.ceil(train_count / recipe.batch_size), math.ceil(val_count / VAL_BATCH_SIZE)
    last = train_count - (train_batches - 1) * recipe.batch_size
    shape = tuple(normalise(splits.train_images[: recipe.batch_size]).shape)
    sentence = (
        f"{train_count:,} training images make {train_batches} shuffled batches of {shape} (the last holds {last}); "
        f"{val_count:,} validation images make {val_batches} batches of {VAL_BATCH_SIZE} in fixed order."
    )
    return {
        "answer": sentence,
        "train_batches": train_batches,
        "last_train_batch": last,
        "val_batches": val_batches,
        "batch_shape": shape,
        "train_images_per_class": torch.bincount(splits.train_labels, minlength=CLASSES).tolist(),
    }


def device_check(setting: Setting) -> dict[str, Any]:
    device = choose_device(setting.device)
    net = SimpleNN().to(device)
    found = sorted({str(parameter.device) for parameter in net.parameters()})
    on_gpu = device.type == "cuda"
    allocated = torch.cuda.memory_allocated(device) if on_gpu else 0
    gpu = f"the GPU {torch.cuda.get_device_name(device)}" if on_gpu else "no GPU that PyTorch can use"
    sentence = (
        f"next(net.parameters()).device is {found[0]} ({gpu} here; {allocated:,} bytes of GPU memory allocated). On a "
        "GPU, nvidia-smi lists the process and its memory too."
    )
    return {"answer": sentence, "parameter_devices": found, "gpu_bytes_allocated": allocated}


def objective(recipe: Recipe) -> dict[str, Any]:
    sentence = (
        f"Cross-entropy on logits; SGD with learning rate {recipe.lr}, momentum {recipe.momentum} and weight decay "
        f"{recipe.weight_decay} (L2)."
    )
    return {"answer": sentence, "loss": "cross_entropy", "optimizer": "SGD", "recipe": asdict(recipe)}


def pipeline(setting: Setting, runs: Sequence[Run]) -> dict[str, Any]:
    run = runs[0]
    checkpoint = checkpoint_path(setting, "constant", run.recipe.seed)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    per_epoch = run.history.seconds / run.history.epochs
    sentence = (
        "Each epoch trains in training mode (zero_grad, backward, step), validates in evaluation mode without "
        f"gradients, and saves {', '.join(state)} of the best epoch (here epoch {state['epoch'] + 1}); "
        f"{per_epoch:.1f} s per epoch, its share of the time of nets that train together."
    )
    return {"answer": sentence, "checkpoint_keys": list(state), "seconds_per_epoch": per_epoch}


def training(splits: Splits, runs: Sequence[Run]) -> dict[str, Any]:
    initial = summary([run.history.initial_loss for run in runs])
    lowest = summary([min(run.history.val_loss) for run in runs])
    final = summary([run.history.val_loss[-1] for run in runs])
    epochs = [run.history.val_loss.index(min(run.history.val_loss)) + 1 for run in runs]
    sentence = (
        f"The initial loss is {initial.mean:.4f}, beside ln({CLASSES}) = {math.log(CLASSES):.4f} for ten classes taken "
        f"for equally likely. After {runs[0].history.epochs} epochs training accuracy is {last_training(runs)}, "
        f"validation accuracy {last(runs)} (best {best(runs)}), a gap of {100 * gap(runs).mean:.1f} points; validation "
        f"loss is lowest, {lowest.mean:.3f}, after epoch {spoken(epochs)} and {final.mean:.3f} at the end: the net "
        f"{'overfits' if gap(runs).mean > 0.03 else 'does not overfit yet'}."
    )
    return {
        "answer": sentence,
        "initial_loss": initial,
        "ln_classes": math.log(CLASSES),
        "train_accuracy": last_training(runs),
        "val_accuracy": last(runs),
        "best_val_accuracy": best(runs),
        "standard_error_of_one_run": standard_error(best(runs).mean, len(splits.val_labels)),
        "gap": gap(runs),
        "epochs_of_lowest_val_loss": epochs,
        "bar": BAR,
        "bar_met": best(runs).mean >= BAR,
    }


def spoken(epochs: Sequence[int]) -> str:
    """ "9", or "9 to 12" where the seeds differ."""
    return f"{min(epochs)}" if min(epochs) == max(epochs) else f"{min(epochs)} to {max(epochs)}"


def decay(splits: Splits, constant: Sequence[Run], decayed: Sequence[Run]) -> dict[str, Any]:
    named = {"constant": constant, "decay": decayed}
    after = decayed[0].recipe.decay_epochs or 0
    moves = {
        name: summary([mean_change(run.history.val_accuracy[after:]) for run in runs]) for name, runs in named.items()
    }
    verdict = compare(best(decayed), best(constant), len(splits.val_labels))
    last_verdict = compare(last(decayed), last(constant), len(splits.val_labels))
    sentence = (
        f"With the learning rate divided by ten after every {after} epochs the best validation accuracy is "
        f"{best(decayed)} against {best(constant)} without ({verdict}), the last {last(decayed)} against "
        f"{last(constant)} ({last_verdict}); from the first decay on it moves by {100 * moves['decay'].mean:.2f} "
        f"points from epoch to epoch against {100 * moves['constant'].mean:.2f}, and training accuracy ends at "
        f"{last_training(decayed)} against {last_training(constant)}."
    )
    return {
        "answer": sentence,
        "best_val_accuracy": {name: best(runs) for name, runs in named.items()},
        "last_val_accuracy": {name: last(runs) for name, runs in named.items()},
        "mean_change_per_epoch_after_decay": moves,
        "decay_epochs": after,
        "decay": decayed[0].recipe.decay,
        "verdict": verdict,
        "last_verdict": last_verdict,
        "bar": BAR,
        "bar_met": best(decayed).mean >= BAR,
    }


def mean_change(accuracies: list[float]) -> float:
    """Mean absolute change from one epoch to the next; 0 for fewer than two epochs."""
    changes = [abs(after - before) for before, after in pairwise(accuracies)]
    return sum(changes) / len(changes) if changes else 0.0


def draw(runs: Runs, out: Path) -> None:
    figure, (left, right) = plots.new_figure(2)
    curves = {"training": plots.mean_training(runs["constant"]), "validation": plots.mean_validation(runs["constant"])}
    plots.accuracy_curves(left, curves, "(g) Constant learning rate", bar=BAR)
    labels = {"constant": "constant learning rate", "decay": "divided by ten after each third"}
    plots.accuracy_curves(right, plots.validation(runs, labels), "(h) Validation with and without decay", bar=BAR)
    plots.save(figure, out / "lab1.png")


LAB = cli.Lab("lab1", "Lab 1: SimpleNN and the training pipeline.", 30, plans, answers, draw)


def main(arguments: list[str] | None = None) -> int:
    return cli.main(LAB, arguments)


if __name__ == "__main__":
    sys.exit(main())
