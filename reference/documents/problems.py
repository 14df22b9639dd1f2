"""Part 1 of ANSWERS.md: the ten problems, each with verdict, reasons, evidence and sources."""

from typing import Any

from reference.documents.records import Record
from reference.documents.tables import table

LABELS = {
    "mean_absolute_beta": "mean of |beta| over the channels",
    "mean_absolute_output_mean": "mean of |output mean| over the channels, training",
    "largest_difference_to_beta": "largest difference of output mean and beta",
    "mean_absolute_output_mean_in_evaluation_with_beta_0": "mean of |output mean|, evaluation, beta = 0",
    "largest_difference_to_algorithm_1": "largest difference of torch.optim.Adam to the published algorithm",
    "l1_proximal": "weights near zero, L1 by proximal steps, %",
    "l1_subgradient": "weights near zero, L1 by subgradient steps, %",
    "l2": "weights near zero, L2, %",
    "no_penalty": "weights near zero, no penalty, %",
    "truth": "weights that are truly zero, %",
    "total": "ratio of multiply-adds, all 3×3 layers",
    "by_width": "ratio of multiply-adds by channels",
    "multiply_adds": "multiply-adds of SqueezeNet",
    "weights": "weights of SqueezeNet",
    "share_by_stage": "multiply-adds by layer, %",
    "share_by_map_size": "multiply-adds by size of the map, %",
    "share_of_second_half": "multiply-adds in the second half of the layers, %",
    "share_of_weights_in_second_half": "weights in the second half of the layers, %",
}
LEFT_OUT = ("by_layer",)  # too long to read, and told by width


def part1(answers: Record) -> str:
    return "\n\n".join(["## Part 1: true or false", verdicts(answers), *(problem(*item) for item in answers.items())])


def verdicts(answers: Record) -> str:
    rows = [
        [
            item.removeprefix("part"),
            str(answer["verdict"]),
            str(answer["lectures"]),
            "yes" if answer["arguable"] else "",
        ]
        for item, answer in answers.items()
    ]
    return table(["problem", "verdict", "lectures", "arguable"], rows, left=4)


def problem(item: str, answer: Record) -> str:
    parts = [
        f"### Problem {item.removeprefix('part')}: {answer['verdict']}",
        f"> {answer['statement']}",
        f"**{answer['verdict']}.** {answer['explanation']}",
    ]
    if answer["verdict"] != answer["lectures"]:
        parts.append(f"The lectures take it for {str(answer['lectures']).lower()}.")
    if answer["arguable"]:
        parts.append(f"*Arguable:* {answer['arguable']}")
    rows = [row for name, value in answer["evidence"].items() if name not in LEFT_OUT for row in evidence(name, value)]
    if rows:
        parts.append(table(["computed", "value"], rows))
    return "\n\n".join([*parts, f"Sources: {'; '.join(answer['sources'])}."])


def evidence(name: str, value: Any) -> list[list[str]]:
    """Rows of a figure; one for each value of a dictionary, however deep."""
    return [[": ".join([LABELS.get(name, name), *keys]), figure(name, leaf)] for keys, leaf in leaves(value)]


def leaves(value: Any) -> list[tuple[list[str], Any]]:
    if not isinstance(value, dict):
        return [([], value)]
    return [([str(key), *keys], leaf) for key, item in value.items() for keys, leaf in leaves(item)]


def figure(name: str, value: Any) -> str:
    if LABELS.get(name, name).endswith("%"):
        return f"{100 * value:.1f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
