"""The command line: `grader grade` is `pytest grader` from anywhere, `grader score` scores one predictions.csv.

`grader bank` grades the bank of mutants and variants, `grader attacks` the hostile suite, `grader calibrate` measures
what the checks of learning expect.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from grader.evidence.label_table import TableError
from grader.evidence.predictions import Score, read_labels, read_predictions, score
from grader.execution.sandbox.tiers import TIERS

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; bad input is one line on standard error and exit code 2."""
    parser = argparse.ArgumentParser(prog="grader", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("grade", add_help=False, help="grade one submission; the options are those of `pytest grader`")
    scoring = commands.add_parser("score", help="check predictions.csv and, given the labels, score it")
    scoring.add_argument("predictions", type=Path)
    scoring.add_argument("--labels", type=Path, help="heldout.csv; without it only the format is checked")
    bank = commands.add_parser("bank", help="grade the mutants and variants of fixtures/ and print the matrix")
    bank.add_argument(
        "pattern", nargs="?", default="", type=_pattern, help="regular expression: only cases whose names match"
    )
    bank.add_argument("--jobs", type=_positive, default=2, help="cases graded side by side (2)")
    bank.add_argument("--every", type=_positive, default=1, help="only each N-th mutant and each N-th variant (1)")
    bank.add_argument("--effort", type=float, help="share of a notebook's allowance of computation (a case's own)")
    bank.add_argument("--base", type=Path, help="folder that keeps the complete submission's evidence between calls")
    bank.add_argument("--verbose", action="store_true", help="print every reason")
    attacking = commands.add_parser("attacks", help="grade the attacks of fixtures/hostile and print what happened")
    attacking.add_argument(
        "pattern", nargs="?", default="", type=_pattern, help="regular expression: only attacks whose names match"
    )
    attacking.add_argument("--jobs", type=_positive, default=1, help="attacks graded side by side (1)")
    attacking.add_argument(
        "--isolation", choices=("auto", *TIERS), default="auto", help="sandbox of the notebooks (the best that works)"
    )
    attacking.add_argument("--verbose", action="store_true", help="print every attack in full")
    calibrating = commands.add_parser("calibrate", help="measure the thresholds that the checks of learning use")
    calibrating.add_argument("--data", type=Path, help="the course's data folder (the embedded data set)")
    calibrating.add_argument("--seeds", type=int, default=20, help="trainings of each lab (20)")
    calibrating.add_argument("--labs", nargs="+", choices=("lab1", "lab2", "lab3"), help="these alone")
    calibrating.add_argument(
        "--out", type=Path, default=Path("grader/calibration.json"), help="file to write or update"
    )
    options, rest = parser.parse_known_args(arguments)
    if options.command == "grade":
        return int(pytest.main([str(Path(__file__).parent), *rest]))
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if options.command == "bank":
        try:
            from grader import bank as bank_of_cases
        except ImportError:
            parser.error("the bank of mutants and variants is not part of this copy")
        cases = bank_of_cases.chosen(options.pattern, options.every)
        if not cases:
            parser.error(f"no case of the bank has a name that matches {options.pattern!r}")
        return bank_of_cases.main(cases, options.jobs, options.verbose, options.base, options.effort)
    if options.command == "attacks":
        return _attacks(parser, options)
    if options.command == "calibrate":
        if importlib.util.find_spec("fixtures.submissions") is None:
            parser.error("the reference's submission, which is measured, is not part of this copy")
        return _calibrate(options.data, options.seeds, options.out, options.labs)
    return _score(options.predictions, options.labels)


def _attacks(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    try:
        from grader import attacks as hostile_suite
    except ImportError:
        parser.error("the hostile suite is not part of this copy")
    attacks = hostile_suite.chosen(options.pattern)
    if not attacks:
        parser.error(f"no attack has a name that matches {options.pattern!r}")
    return hostile_suite.main(attacks, options.jobs, options.isolation, options.verbose)


def _calibrate(data: Path | None, seeds: int, out: Path, labs: Sequence[str] | None) -> int:
    from grader.calibrate import RECIPES, CalibrationError, calibrate  # what it needs is not handed out to students
    from grader.execution.world import CourseDataError

    if seeds < 2:
        print("--seeds: a standard deviation needs two or more", file=sys.stderr)
        return USAGE_ERROR
    try:
        calibrate(data, seeds, out, labs or tuple(RECIPES))
    except (CalibrationError, CourseDataError) as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    return 0


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return int(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def _score(predictions: Path, labels: Path | None) -> int:
    try:
        predicted = read_predictions(predictions)
        truth = read_labels(labels) if labels is not None else None
    except TableError as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    if truth is None:
        print(f"{predictions.name}: the format is right. No labels were given, so nothing was scored.")
    else:
        print("\n".join(describe(score(truth, predicted))))
    return 0


def describe(result: Score) -> list[str]:
    """Accuracy with its 95 % interval, and recall by class."""
    low, high = result.interval
    recall = "  ".join(f"{label}: {'-' if r is None else f'{r:.3f}'}" for label, r in enumerate(result.recall))
    return [
        f"accuracy {result.accuracy:.4f} ({result.correct} of {result.n}), 95 % interval {low:.4f} to {high:.4f}",
        f"recall by class  {recall}",
    ]


if __name__ == "__main__":
    sys.exit(main())
