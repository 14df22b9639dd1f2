"""Lab 2: augmentation, batch normalization, Swish, learning rates, L2 and L1. Answers (a) to (c) with numbers.

    python -m reference.lab2 --data data --epochs 30

Runs that two questions share (BN at learning rate 0.01, for instance) are trained once.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reference import cli, plots
from reference.experiment import Answers, Plan, Run, Runs, Setting, best, gap, last, last_training
from reference.models import SimpleNN, Swish
from reference.summary import Summary, compare, summary
from reference.training import Recipe, Splits

BAR = 0.70  # validation accuracy that the assignment asks for
LEARNING_RATES = (1.0, 0.1, 0.05, 0.01, 0.005, 0.001)
LARGER_RATES = (1.0, 0.1, 0.05)  # than the course's 0.01; trained with BN and without
L2_STRENGTHS = (1e-2, 1e-3, 1e-4, 1e-5, 0.0)
L1_STRENGTHS = (1e-4, 1e-5)
USABLE_LOSS = 0.05  # accuracy that a learning rate may cost and still count as one that trains the net
NEAR_ZERO = 1e-3  # absolute value below which a weight counts as near zero
HISTOGRAM_RANGE = 0.2  # of weights, to both sides of zero
HISTOGRAM_BINS = 81
# Time of an epoch, as a multiple of SimpleNN's without BN.
BN_COST = 2.0
SWISH_COST = 5.0


def with_bn() -> nn.Module:
    return SimpleNN(batch_norm=True)


def with_bn_and_swish() -> nn.Module:
    return SimpleNN(batch_norm=True, activation=Swish)


def plans(options: Namespace) -> dict[str, Plan]:
    """Every run of the lab. A name says what sets the run apart from BN, augmentation, learning rate 0.01, L2 1e-4."""
    plain = Recipe(epochs=options.epochs, channels_last=True, bfloat16=options.bfloat16)
    recipe = replace(plain, augment=True)
    result = {"no-augmentation": Plan(SimpleNN, plain)}
    for lr in (0.01, *LARGER_RATES):
        result[f"no-bn-lr-{lr:g}"] = Plan(SimpleNN, replace(recipe, lr=lr), group="no-bn")
    normalised = {rate_run(lr): replace(recipe, lr=lr) for lr in LEARNING_RATES}
    normalised |= {l2_run(strength): replace(recipe, weight_decay=strength) for strength in L2_STRENGTHS}
    normalised |= {l1_run(strength): replace(recipe, weight_decay=0.0, l1=strength) for strength in L1_STRENGTHS}
    for name, its_recipe in normalised.items():
        result[name] = Plan(with_bn, its_recipe, group="bn", cost=BN_COST)
    result["swish-lr-0.1"] = Plan(with_bn_and_swish, replace(recipe, lr=0.1), cost=SWISH_COST)
    return result


def rate_run(lr: float) -> str:
    return f"bn-lr-{lr:g}"


def l2_run(strength: float) -> str:
    """Name of the run with BN at learning rate 0.01; the course's own 1e-4 is that of the sweep of learning rates."""
    return rate_run(0.01) if strength == Recipe().weight_decay else f"l2-{strength:g}"


def l1_run(strength: float) -> str:
    return f"l1-{strength:g}"


def answers(setting: Setting, splits: Splits, runs: Runs) -> Answers:
    count = len(splits.val_labels)
    return {
        "lab2.a": augmentation(runs, count),
        "lab2.b.bn": batch_norm(runs, count),
        "lab2.b.lr": larger_rates(runs),
        "lab2.b.swish": swish(runs, count),
        "lab2.c.lr": rate_sweep(runs, count),
        "lab2.c.l2": l2_sweep(runs, count),
        "lab2.c.l1": weight_distributions(runs),
    }


def pair(runs: Runs, changed: str, base: str, count: int) -> dict[str, Any]:
    """Figures that every comparison of two runs reports; the verdict is that of `changed` against `base`."""
    return {
        "best_val_accuracy": {name: best(runs[name]) for name in (changed, base)},
        "gap": {name: gap(runs[name]) for name in (changed, base)},
        "verdict": compare(best(runs[changed]), best(runs[base]), count),
    }


def augmentation(runs: Runs, count: int) -> dict[str, Any]:
    figures = pair(runs, "no-bn-lr-0.01", "no-augmentation", count)
    augmented, plain = runs["no-bn-lr-0.01"], runs["no-augmentation"]
    sentence = (
        f"With random crops and flips the best validation accuracy is {best(augmented)}, without {best(plain)} "
        f"({figures['verdict']}); the gap between training and validation accuracy at the end is "
        f"{100 * gap(augmented).mean:.1f} points against {100 * gap(plain).mean:.1f}."
    )
    return {"answer": sentence, **figures}


def batch_norm(runs: Runs, count: int) -> dict[str, Any]:
    figures = pair(runs, "bn-lr-0.01", "no-bn-lr-0.01", count)
    sentence = (
        f"With BN after each convolution the best validation accuracy is {best(runs['bn-lr-0.01'])}, without "
        f"{best(runs['no-bn-lr-0.01'])} ({figures['verdict']}), both at learning rate 0.01."
    )
    return {"answer": sentence, **figures}


def larger_rates(runs: Runs) -> dict[str, Any]:
    table = [
        {
            "lr": lr,
            "bn": best(runs[rate_run(lr)]),
            "no_bn": best(runs[f"no-bn-lr-{lr:g}"]),
            "bn_first_epoch": first(runs[rate_run(lr)]),
            "no_bn_first_epoch": first(runs[f"no-bn-lr-{lr:g}"]),
        }
        for lr in (*LARGER_RATES, 0.01)
    ]
    largest = {net: largest_usable_rate(runs, net) for net in ("bn", "no-bn")}
    rows = "; ".join(f"{row['lr']:g}: {row['bn']} with BN, {row['no_bn']} without" for row in table)
    sentence = (
        f"Best validation accuracy by learning rate: {rows}. The largest rate that costs at most "
        f"{100 * USABLE_LOSS:.0f} points against the same net at 0.01 is {largest['bn']:g} with BN and "
        f"{largest['no-bn']:g} without."
    )
    return {"answer": sentence, "table": table, "largest_usable_lr": largest}


def largest_usable_rate(runs: Runs, net: str) -> float:
    """The largest rate at which the best accuracy of `net` falls at most USABLE_LOSS below its own at 0.01."""
    enough = best(runs[f"{net}-lr-0.01"]).mean - USABLE_LOSS
    return max(lr for lr in (*LARGER_RATES, 0.01) if best(runs[f"{net}-lr-{lr:g}"]).mean >= enough)


def first(runs: Sequence[Run]) -> Summary:
    """Validation accuracy of each seed after the first epoch."""
    return summary([run.history.val_accuracy[0] for run in runs])


def swish(runs: Runs, count: int) -> dict[str, Any]:
    figures = pair(runs, "swish-lr-0.1", "bn-lr-0.1", count)
    sentence = (
        f"With BN and learning rate 0.1 Swish reaches {best(runs['swish-lr-0.1'])}, ReLU "
        f"{best(runs['bn-lr-0.1'])} ({figures['verdict']})."
    )
    return {"answer": sentence, **figures}


def sweep(
    runs: Runs, values: tuple[float, ...], run_name: Callable[[float], str], key: str
) -> tuple[list[dict[str, Any]], float]:
    """One row of figures for each value, and the value of the best validation accuracy."""
    table = [
        {
            key: value,
            "best_val_accuracy": best(runs[run_name(value)]),
            "last_val_accuracy": last(runs[run_name(value)]),
            "last_train_accuracy": last_training(runs[run_name(value)]),
            "gap": gap(runs[run_name(value)]),
        }
        for value in values
    ]
    return table, max(values, key=lambda value: best(runs[run_name(value)]).mean)


def rate_sweep(runs: Runs, count: int) -> dict[str, Any]:
    table, winner = sweep(runs, LEARNING_RATES, rate_run, "lr")
    top = best(runs[rate_run(winner)])
    verdicts = {lr: compare(best(runs[rate_run(lr)]), top, count) for lr in LEARNING_RATES if lr != winner}
    told = "; ".join(f"{lr:g} is {verdict}" for lr, verdict in verdicts.items())
    rows = ", ".join(f"{row['lr']:g}: {row['best_val_accuracy']}" for row in table)
    sentence = f"Best validation accuracy by learning rate: {rows}. The best rate is {winner:g}; against it {told}."
    return {
        "answer": sentence,
        "table": table,
        "best_lr": winner,
        "verdicts": {f"{lr:g}": verdict for lr, verdict in verdicts.items()},
        "bar": BAR,
        "bar_met": top.mean >= BAR,
    }


def l2_sweep(runs: Runs, count: int) -> dict[str, Any]:
    table, winner = sweep(runs, L2_STRENGTHS, l2_run, "weight_decay")
    top = best(runs[l2_run(winner)])
    alike = [s for s in L2_STRENGTHS if compare(best(runs[l2_run(s)]), top, count) == "not told apart"]
    rows = ", ".join(f"{row['weight_decay']:g}: {row['best_val_accuracy']}" for row in table)
    sentence = (
        f"Best validation accuracy by L2 strength at learning rate 0.01: {rows}. The best is {winner:g}; not told "
        f"apart from it: {', '.join(f'{strength:g}' for strength in alike if strength != winner) or 'none'}."
    )
    return {"answer": sentence, "table": table, "best_weight_decay": winner, "within_noise_of_best": alike}


def weights(net: nn.Module) -> Tensor:
    """All weights of convolutions and fully-connected layers, flat, float32; biases and BN are left out."""
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters() if parameter.ndim > 1])


def distribution(runs: Sequence[Run]) -> dict[str, Any]:
    """Share of weights near zero, spread, and histogram (of all seeds together) of the last epoch's weights."""
    values = [weights(run.net) for run in runs]
    histogram = torch.histc(torch.cat(values), bins=HISTOGRAM_BINS, min=-HISTOGRAM_RANGE, max=HISTOGRAM_RANGE)
    return {
        "near_zero": summary([(each.abs() < NEAR_ZERO).float().mean().item() for each in values]),
        "std": summary([each.std().item() for each in values]),
        "largest": summary([each.abs().max().item() for each in values]),
        "histogram": histogram.int().tolist(),
        "best_val_accuracy": best(runs),
    }


def weight_distributions(runs: Runs) -> dict[str, Any]:
    names = [*map(l1_run, L1_STRENGTHS), *map(l2_run, L2_STRENGTHS)]
    by_run = {name: distribution(runs[name]) for name in names}
    l1, l2, none = by_run[l1_run(1e-4)], by_run[l2_run(1e-4)], by_run[l2_run(0.0)]
    sentence = (
        f"At strength 1e-4 L1 leaves {l1['near_zero']} of the weights within {NEAR_ZERO:g} of zero, L2 "
        f"{l2['near_zero']}, no penalty {none['near_zero']}; the standard deviation of the weights is "
        f"{l1['std'].mean:.3f}, {l2['std'].mean:.3f} and {none['std'].mean:.3f}. Best validation accuracy: "
        f"{l1['best_val_accuracy']}, {l2['best_val_accuracy']} and {none['best_val_accuracy']}."
    )
    return {
        "answer": sentence,
        "near_zero_below": NEAR_ZERO,
        "histogram_range": [-HISTOGRAM_RANGE, HISTOGRAM_RANGE],
        "runs": by_run,
    }


def draw(runs: Runs, out: Path) -> None:
    figure, panels = plots.new_figure(3)
    labels = {"no-augmentation": "no augmentation", "no-bn-lr-0.01": "augmentation", "bn-lr-0.01": "augmentation + BN"}
    title = "(a), (b) Validation, learning rate 0.01"
    plots.accuracy_curves(panels[0], plots.validation(runs, labels), title, bar=BAR)
    title = "(b) Validation, larger learning rates"
    for net, label, style in (("bn", "BN", "-"), ("no-bn", "no BN", "--")):
        names = {f"{net}-lr-{lr:g}": f"{label}, learning rate {lr:g}" for lr in LARGER_RATES}
        plots.accuracy_curves(panels[1], plots.validation(runs, names), title, linestyle=style)
    activations = {"swish-lr-0.1": "BN + Swish", "bn-lr-0.1": "BN + ReLU"}
    plots.accuracy_curves(panels[2], plots.validation(runs, activations), "(b) Validation, learning rate 0.1", bar=BAR)
    plots.save(figure, out / "lab2-design.png")

    figure, panels = plots.new_figure(3)
    rates = {f"{lr:g}": best(runs[rate_run(lr)]) for lr in LEARNING_RATES}
    plots.bars(panels[0], rates, "(c)", "learning rate")
    strengths = {f"{strength:g}": best(runs[l2_run(strength)]) for strength in L2_STRENGTHS}
    plots.bars(panels[1], strengths, "(c)", "L2 strength")
    named = {"L1, 1e-4": l1_run(1e-4), "L2, 1e-4": l2_run(1e-4), "no penalty": l2_run(0.0)}
    values = {label: weights(runs[name][0].net).tolist() for label, name in named.items()}
    plots.histograms(panels[2], values, HISTOGRAM_RANGE)
    plots.save(figure, out / "lab2-hyperparameters.png")


LAB = cli.Lab("lab2", "Lab 2: improving the training pipeline.", 30, plans, answers, draw)


def main(arguments: list[str] | None = None) -> int:
    return cli.main(LAB, arguments)


if __name__ == "__main__":
    sys.exit(main())
