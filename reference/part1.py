"""Part 1: the ten true/false problems, each with a verdict, its reasons, sources, and numbers where it can be computed.

    python -m reference.part1 [--time]

The text is in part1.toml. `--time` also measures problem 1.8's convolutions on this machine's CPU.
"""

import argparse
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from rich.console import Console

from reference import part1_evidence

APPROXIMATELY = 0.1  # a ratio counts as "approximately 9x" within this share of 9
Evidence = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """The answer to one problem.

    `lectures` is the verdict that the course's lectures take; `arguable` says what speaks for the other verdict, and is
    empty where nothing does. `evidence` holds the computed figures, and is empty where nothing can be computed.
    """

    item: str
    statement: str
    verdict: bool
    explanation: str
    sources: tuple[str, ...]
    lectures: bool
    arguable: str
    evidence: Evidence


def answers() -> dict[str, Answer]:
    """All ten answers, keyed "part1.1" to "part1.10" in order."""
    texts = tomllib.loads((files("reference") / "part1.toml").read_text(encoding="utf-8"))
    return {item: answer(item, text) for item, text in texts.items()}


def answer(item: str, text: dict[str, Any]) -> Answer:
    """Fill the computed figures into the text of one problem; the verdict follows from them where there are any."""
    if item in COMPUTED:
        verdict, evidence = COMPUTED[item]()
    else:
        verdict, evidence = text["verdict"], {}
    prose = {
        name: " ".join(text.get(name, "").format(**evidence).split())
        for name in ("statement", "explanation", "arguable")
    }
    return Answer(
        item=item,
        verdict=verdict,
        lectures=text["lectures"],
        sources=tuple(text["sources"]),
        evidence=evidence,
        **prose,
    )


def bn_outputs_have_zero_mean() -> tuple[bool, Evidence]:
    means = part1_evidence.bn_output_means()
    return means["mean_absolute_output_mean"] < 0.01, dict(means)


def pytorch_has_adam() -> tuple[bool, Evidence]:
    difference = part1_evidence.adam_difference()
    return difference < 1e-6, {"largest_difference_to_algorithm_1": difference}


def l1_is_sparser_than_l2() -> tuple[bool, Evidence]:
    shares = part1_evidence.sparsity()
    return shares["l1_subgradient"] > shares["l2"], dict(shares)


def separable_is_nine_times_faster() -> tuple[bool, Evidence]:
    """The verdict is that of ResNet-20, the ResNet of this homework."""
    nets = {"resnet20": part1_evidence.resnet20_convolutions(), "resnet18": part1_evidence.resnet18_convolutions()}
    total = {net: part1_evidence.total_ratio(convolutions) for net, convolutions in nets.items()}
    return abs(total["resnet20"] / 9 - 1) <= APPROXIMATELY, {
        "total": total,
        "by_width": {net: {c.out_channels: c.ratio for c in convolutions} for net, convolutions in nets.items()},
        "by_layer": {net: {c.name: c.ratio for c in convolutions} for net, convolutions in nets.items()},
    }


def squeezenet_computes_late() -> tuple[bool, Evidence]:
    """ "Most" is more than half of the multiply-adds, in the second half of the layers."""
    shares = part1_evidence.squeezenet_shares()
    return shares["share_of_second_half"] > 0.5, shares


COMPUTED: dict[str, Callable[[], tuple[bool, Evidence]]] = {
    "part1.1": bn_outputs_have_zero_mean,
    "part1.2": pytorch_has_adam,
    "part1.6": l1_is_sparser_than_l2,
    "part1.8": separable_is_nine_times_faster,
    "part1.9": squeezenet_computes_late,
}


def show(answer: Answer, console: Console) -> None:
    lectures = "" if answer.verdict == answer.lectures else f"  (the lectures take it for {answer.lectures})"
    console.print(f"[bold]Problem {answer.item.removeprefix('part')}  {answer.verdict}[/bold]{lectures}")
    console.print(answer.statement, style="italic", markup=False)
    console.print(answer.explanation, markup=False)
    if answer.arguable:
        console.print(f"Arguable: {answer.arguable}", markup=False)
    for name, value in answer.evidence.items():
        console.print(f"  {name}: {rounded(value)}", markup=False)
    console.print(f"Sources: {'; '.join(answer.sources)}\n", markup=False)


def rounded(value: Any) -> str:
    """Numbers to four significant digits, dictionaries in one line."""
    if isinstance(value, dict):
        items = [f"{key} {rounded(item)}" for key, item in value.items()]
        return "; ".join(f"({item})" if " " in item.partition(" ")[2] else item for item in items)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show_times(console: Console) -> None:
    console.print("Problem 1.8 in time: forward, a batch of 32, on this machine's CPU")
    for channels, size in ((16, 32), (32, 16), (64, 8), (64, 56), (128, 28), (256, 14), (512, 7)):
        times = part1_evidence.measured_speedup(channels, size)
        console.print(f"  {channels} channels, {size}x{size}: {rounded(times)}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m reference.part1", description="The ten true/false answers.")
    parser.add_argument("--time", action="store_true", help="measure problem 1.8's convolutions on this machine too")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    for each in answers().values():
        show(each, console)
    if options.time:
        show_times(console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
