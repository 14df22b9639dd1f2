"""Plots of the labs as PNG files, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reference.experiment import Run, Runs
from reference.summary import Summary

# A palette that readers with colour blindness can tell apart: Okabe, Ito, "Color universal design", 2008.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_figure(panels: int, width: float = 6.0, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """A figure with `panels` panels side by side; width and height in inches, of one panel."""
    figure = Figure(figsize=(width * panels, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, number + 1) for number in range(panels)]
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def accuracy_curves(
    panel: Axes,
    curves: Mapping[str, Sequence[float]],
    title: str,
    *,
    bar: float | None = None,
    linestyle: str = "-",
) -> None:
    """Accuracy in percent against epochs from 1, one line for each curve of fractions; `bar` draws the bar to pass.

    A second call on the same panel, with another line style, starts again with the first color.
    """
    for color, (label, accuracies) in zip(COLORS, curves.items(), strict=False):
        epochs = range(1, len(accuracies) + 1)
        percent = [100 * value for value in accuracies]
        panel.plot(epochs, percent, color=color, label=label, linestyle=linestyle, marker=mark(accuracies))
    if bar is not None:
        panel.axhline(100 * bar, color="black", linewidth=1, linestyle=":", label=f"bar of {bar:.0%}")
    panel.set_title(title)
    panel.set_xlabel("epoch")
    panel.set_ylabel("accuracy, %")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(panel)


def legend_below(panel: Axes) -> None:
    """Under the panel, where it hides no curve."""
    panel.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def mark(values: Sequence[float]) -> str:
    """A curve of one epoch has no line, so it gets a dot."""
    return "o" if len(values) == 1 else ""


def mean_validation(runs: Sequence[Run]) -> list[float]:
    """Validation accuracy by epoch, mean over the seeds."""
    return [fmean(values) for values in zip(*(run.history.val_accuracy for run in runs), strict=True)]


def mean_training(runs: Sequence[Run]) -> list[float]:
    """Training accuracy by epoch, mean over the seeds."""
    return [fmean(values) for values in zip(*(run.history.train_accuracy for run in runs), strict=True)]


def validation(runs: Runs, names: Mapping[str, str]) -> dict[str, list[float]]:
    """Mean validation accuracy of the runs named: label -> fractions by epoch, from run's name -> label."""
    return {label: mean_validation(runs[name]) for name, label in names.items()}


def bars(panel: Axes, accuracies: Mapping[str, Summary], question: str, setting: str) -> None:
    """Best validation accuracy in percent, one bar for each value of `setting`, with its mean and deviation."""
    heights = [100 * value.mean for value in accuracies.values()]
    errors = [100 * value.std for value in accuracies.values()]
    drawn = panel.bar(list(accuracies), heights, yerr=errors, capsize=3, color=COLORS[0])
    panel.bar_label(drawn, fmt="%.1f", padding=2)
    panel.margins(y=0.12)  # room for the figures below the title
    panel.set_title(f"{question} Best validation accuracy by {setting}")
    panel.set_xlabel(setting)
    panel.set_ylabel("accuracy, %")


def histograms(panel: Axes, weights: Mapping[str, Sequence[float]], limit: float) -> None:
    """Density of weights within `limit` of zero, on a logarithmic axis, one outline for each label."""
    for color, (label, values) in zip(COLORS, weights.items(), strict=False):
        panel.hist(values, bins=81, range=(-limit, limit), density=True, histtype="step", color=color, label=label)
    panel.set_yscale("log")
    panel.set_title("(c) Weights after the last epoch, first seed")
    panel.set_xlabel("weight")
    panel.set_ylabel("density")
    legend_below(panel)
