"""Lab 3: ResNet-20. Checks the architecture, trains it, and writes predictions.csv for the test images.

    python -m reference.lab3 --data data --epochs 200

Two recipes. "course" is the paper's (arXiv:1512.03385, Section 4.2: SGD, batch 128, learning rate 0.1, momentum 0.9,
weight decay 1e-4, crops and flips) with the learning rate divided by ten after every 40 % of the epochs; the paper
divides after 50 % and 75 %, the course's pipeline knows one period. "best" changes it step by step, as CHANGES says.
`--compare N` also trains each of these steps for N epochs, to show what it gives.
"""

import copy
import math
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from reference import checkpoints, cli, plots
from reference.data import load_split
from reference.experiment import Answers, Plan, Run, Runs, Setting, checkpoint_path, last_training, state_path
from reference.layers import layers
from reference.models import ResNet20, count_parameters
from reference.speed import can_compile, choose_device
from reference.summary import Summary, standard_error, summary
from reference.training import Recipe, Splits, evaluate, plain_weights, predict

BAR = 0.90  # validation accuracy that the assignment asks to exceed
PREDICTIONS = "predictions.csv"
WEIGHTS = "resnet20.safetensors"
LONG = "resnet20"  # the run that the predictions come from
# What each step changes in the one before. The last two change only what is validated after the same training.
CHANGES: dict[str, dict[str, Any]] = {
    "step decay": {},
    "one-cycle": {"schedule": "one_cycle", "decay_epochs": None},
    "Nesterov, weight decay 5e-4": {"nesterov": True, "weight_decay": 5e-4},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "averaged weights": {},  # see `averaging`
    "flip at test time": {"flip_test": True},
}
VALIDATED_APART = ("label smoothing 0.1", "averaged weights", "flip at test time")
COST = 25.0  # time of an epoch, as a multiple of SimpleNN's
COMPARED_SEEDS = 2
AVERAGED_SHARE = 0.0284  # of the run's steps that the average reaches back over: 1,000 of the 35,200 of 100 epochs
# Images: compiling takes as long as it saves on so many; measured 95,000 on one thread, 210,000 on two.
COMPILING_PAYS_BACK = 130_000


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--option", choices=("A", "B"), default="A", help="shortcuts (default: %(default)s)")
    parser.add_argument("--recipe", choices=("best", "course"), default="best", help="default: %(default)s")
    parser.add_argument(
        "--compare", type=cli.at_least_one, metavar="N", help="train each change of the recipe for N epochs too"
    )


def recipes(options: Namespace, epochs: int) -> dict[str, Recipe]:
    """The course's recipe and each change of it, ending in the best, for so many epochs."""
    device = choose_device(options.device)
    recipe = Recipe(
        epochs=epochs,
        lr=0.1,
        augment=True,
        decay_epochs=max(1, round(epochs * 0.4)),
        channels_last=True,
        bfloat16=options.bfloat16,
        compiled=epochs * options.train_images >= COMPILING_PAYS_BACK and can_compile(device),
    )
    result = {}
    for name, change in CHANGES.items():
        if name == "averaged weights":
            change = {"average": averaging(recipe, options.train_images)}
        recipe = replace(recipe, **change)
        result[name] = recipe
    return result


def averaging(recipe: Recipe, train_images: int) -> float:
    """Decay per step of an average that reaches back over the last AVERAGED_SHARE of a run.

    A fixed decay would hold, in a short run, the untrained weights of its start.
    """
    steps = recipe.epochs * math.ceil(train_images / recipe.batch_size)
    return 1 - 1 / max(2, round(AVERAGED_SHARE * steps))


def plans(options: Namespace) -> dict[str, Plan]:
    def make_net() -> nn.Module:
        return ResNet20(options.option)

    result = {}
    if options.compare:
        compared = recipes(options, options.compare)
        # One training serves all that differs only in what is validated.
        for name in [name for name in compared if name not in VALIDATED_APART] + [list(compared)[-1]]:
            result[name] = Plan(make_net, compared[name], cost=COST, seeds=COMPARED_SEEDS)
    long = recipes(options, options.epochs)["step decay" if options.recipe == "course" else list(CHANGES)[-1]]
    return {LONG: Plan(make_net, long, cost=COST, seeds=1)} | result


def answers(setting: Setting, splits: Splits, runs: Runs) -> Answers:
    (run,) = runs[LONG]
    net = copy.deepcopy(run.net)  # `run.net` stays that of the last epoch
    epoch = checkpoints.load_best(net, checkpoint_path(setting, LONG, run.recipe.seed))
    images, _ = load_split(setting.data, "test")
    write_predictions(predict(net, torch.from_numpy(images), run.recipe), setting.out / PREDICTIONS)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, setting.out / WEIGHTS)
    return {"lab3.a": architecture(net), "lab3.b": training(setting, splits, runs, epoch)}


def architecture(net: nn.Module) -> dict[str, Any]:
    rows = layers(net)
    convolutions = [layer for layer in rows if layer.kind == "Conv2d"]
    expected = {option: count_parameters(ResNet20(option)) for option in ("A", "B")}
    total = count_parameters(net)
    multiply_adds = sum(layer.multiply_adds for layer in rows)
    sentence = (
        f"{len(convolutions)} convolutions and one fully-connected layer, {total:,} parameters (option A "
        f"{expected['A']:,}, option B {expected['B']:,}), {multiply_adds:,} multiply-adds; a dummy batch "
        f"(2, 3, 32, 32) gives logits {tuple(net.eval()(torch.zeros(2, 3, 32, 32)).shape)}."
    )
    return {
        "answer": sentence,
        "parameters": total,
        "parameters_by_option": expected,
        "multiply_adds": multiply_adds,
        "layers": [asdict(layer) for layer in rows],
    }


def training(setting: Setting, splits: Splits, runs: Runs, epoch: int) -> dict[str, Any]:
    (run,) = runs[LONG]
    best_accuracy = run.history.best_val_accuracy
    error = standard_error(best_accuracy, len(splits.val_labels))
    sentence = (
        f"Best validation accuracy {best_accuracy:.1%} ± {error:.1%} after epoch {epoch + 1} of {run.history.epochs}, "
        f"in {run.history.seconds / 60:.1f} minutes; training accuracy ends at {last_training([run])}. The bar of "
        f"{BAR:.0%} is {'met' if best_accuracy > BAR else 'not met'}. {PREDICTIONS} holds that net's predictions."
    )
    return {
        "answer": sentence,
        "best_val_accuracy": best_accuracy,
        "best_val_accuracy_standard_error": error,
        "last_val_accuracy": validated_apart(setting, splits, runs[LONG], LONG) if run.recipe.average else {},
        "epochs": run.history.epochs,
        "seconds": run.history.seconds,
        "bar": BAR,
        "bar_met": best_accuracy > BAR,
        "changes": changes(setting, splits, runs),
    }


def changes(setting: Setting, splits: Splits, runs: Runs) -> list[dict[str, Any]]:
    """Validation accuracy after the last epoch of each step from the course's recipe to the best, where compared."""
    compared = {name: seeds for name, seeds in runs.items() if name != LONG}
    rows: dict[str, Summary] = {}
    for name, seeds in compared.items():
        if name in VALIDATED_APART:
            rows |= validated_apart(setting, splits, seeds, name)
        else:
            rows[name] = summary([run.history.val_accuracy[-1] for run in seeds])
    return [
        {"change": name, "val_accuracy": row, "epochs": next(iter(compared.values()))[0].recipe.epochs}
        for name, row in rows.items()
    ]


def validated_apart(setting: Setting, splits: Splits, runs: Sequence[Run], name: str) -> dict[str, Summary]:
    """Accuracies after the last epoch: of the trained weights, of their average, and of that with flips."""
    rows: dict[str, list[float]] = {}
    for run in runs:
        net = copy.deepcopy(run.net)
        net.load_state_dict(plain_weights(state_path(setting, name, run.recipe.seed)))
        cases = {"label smoothing 0.1": (net, False), "averaged weights": (run.net, False)}
        if run.recipe.flip_test:
            cases["flip at test time"] = (run.net, True)
        for case, (validated, flip) in cases.items():
            recipe = replace(run.recipe, flip_test=flip)
            rows.setdefault(case, []).append(evaluate(validated, splits.val_images, splits.val_labels, recipe)[1])
    return {case: summary(values) for case, values in rows.items()}


def write_predictions(labels: Tensor, path: Path) -> None:
    """Write class ids (N,) as the course's predictions.csv: the header Id,Label, then a row for each image in order."""
    rows = [f"{number},{label}" for number, label in enumerate(labels.tolist())]
    part = path.with_name(path.name + ".part")
    part.write_text("\n".join(["Id,Label", *rows]) + "\n", encoding="ascii")
    os.replace(part, path)


def draw(runs: Runs, out: Path) -> None:
    compared = {name: name for name in runs if name != LONG}
    figure, panels = plots.new_figure(2 if compared else 1, width=7)
    curves = {"training": plots.mean_training(runs[LONG]), "validation": plots.mean_validation(runs[LONG])}
    plots.accuracy_curves(panels[0], curves, "(b) ResNet-20", bar=BAR)
    if compared:
        title = "(b) Validation of shorter runs, by recipe"
        plots.accuracy_curves(panels[1], plots.validation(runs, compared), title)
    plots.save(figure, out / "lab3.png")


LAB = cli.Lab("lab3", "Lab 3: ResNet-20.", 200, plans, answers, draw, add_options)


def main(arguments: list[str] | None = None) -> int:
    return cli.main(LAB, arguments)


if __name__ == "__main__":
    sys.exit(main())
