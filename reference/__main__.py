"""All results of the reference: `python -m reference all`, `repeat` for one row of them, `documents` for the text.

python -m reference all --data course-data --heldout heldout.csv
python -m reference repeat lab2 bn-lr-0.05 --data course-data --seed 7
python -m reference documents [--check]
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from grader.evidence.predictions import LabelsError
from reference import cli, documents, reproduce
from reference.data import DataError

RESULTS = Path(__file__).parent / "results"


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m reference", description="All results of the reference.")
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    everything = commands.add_parser("all", help="train all that the labs ask for, and write records and documents")
    add_data(everything)
    everything.add_argument("--out", type=Path, metavar="DIR", default=Path("runs/all"), help="default: %(default)s")
    everything.add_argument("--results", type=Path, metavar="DIR", help="records, plots, text (default: OUT/results)")
    everything.add_argument("--heldout", type=Path, metavar="FILE", help="labels to score predictions.csv against")
    everything.add_argument("--labs", nargs="+", choices=reproduce.LABS, default=list(reproduce.LABS), metavar="LAB")
    everything.add_argument("--epochs", type=cli.at_least_one, default=30, help="of labs 1 and 2 (%(default)s)")
    everything.add_argument("--resnet-epochs", type=cli.at_least_one, default=100, help="of lab 3 (%(default)s)")
    everything.add_argument(
        "--compare", type=cli.at_least_one, default=3, metavar="N", help="epochs of each change in lab 3 (%(default)s)"
    )
    cli.add_common_options(everything, seeds=3)
    repeat = commands.add_parser("repeat", help="train one row of the results again; status 1 beyond two deviations")
    repeat.add_argument("lab", choices=reproduce.LABS)
    repeat.add_argument("run", help="its name, as the record has it")
    add_data(repeat)
    repeat.add_argument("--results", type=Path, metavar="DIR", default=RESULTS, help="records (default: %(default)s)")
    repeat.add_argument("--seed", type=int, default=100, help="other than those of the record (default: %(default)s)")
    repeat.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    text = commands.add_parser("documents", help="write README.md and ANSWERS.md from the records")
    text.add_argument("--results", type=Path, metavar="DIR", default=RESULTS, help="records (default: %(default)s)")
    text.add_argument("--check", action="store_true", help="compare with what is there and write nothing")
    return result


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="course data folder (default: the embedded data)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status.

    1 where a row lies beyond two standard deviations or a document differs, 2 for bad input, 130 when interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    console = Console(highlight=False, soft_wrap=True)
    try:
        if options.command == "all":
            reproduce.everything(options, shlex.join(["python", "-m", "reference", *words]), console)
            return 0
        if options.command == "repeat":
            return 0 if reproduce.repeat(options, console) else 1
        return write_documents(options.results, options.check, console)
    except (DataError, LabelsError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "goes on from the last epoch" if options.command == "all" else "starts anew"
        print(f"error: interrupted; the same command {again}", file=sys.stderr)
        return 130


def write_documents(results: Path, check: bool, console: Console) -> int:
    if not check:
        console.print("\n".join(str(path) for path in documents.write(results)))
        return 0
    found = documents.differences(results)
    console.print("\n".join(found) or f"{results}: the documents are up to date")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
