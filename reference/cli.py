"""The command line that the three labs share: `python -m reference.labN [--data DIR] [--epochs N] [--out DIR]`."""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fixtures import embedded
from reference.data import DataError
from reference.experiment import Answers, Plans, Runs, Setting, train_all, write_record
from reference.training import Splits, choose_device, load_splits


@dataclass(frozen=True)
class Lab:
    """One lab: what to train, and how the lettered questions follow from it.

    `plans` gets the parsed options; `answers` may write files into the setting's `out`; `plots` writes PNG files there.
    """

    name: str
    description: str
    epochs: int
    plans: Callable[[argparse.Namespace], Plans]
    answers: Callable[[Setting, Splits, Runs], Answers]
    plots: Callable[[Runs, Path], None]
    add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None


def at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text}")
    return value


def parser(lab: Lab) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog=f"python -m reference.{lab.name}", description=lab.description)
    result.add_argument("--data", type=Path, metavar="DIR", help="course data folder (default: the embedded data)")
    result.add_argument("--epochs", type=at_least_one, default=lab.epochs, help="of each run (default: %(default)s)")
    out = Path("runs") / lab.name
    result.add_argument("--out", type=Path, metavar="DIR", default=out, help="results (default: %(default)s)")
    result.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: %(default)s)")
    result.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    result.add_argument("--resume", action="store_true", help="go on from the checkpoints of a killed run in --out")
    lab.add_options(result)
    return result


def main(lab: Lab, arguments: Sequence[str] | None = None) -> int:
    """Run `lab`; print its answers, write record, plots and checkpoints.

    Returns the exit status: 2 for bad input, 130 (the shell's for an interrupt) when stopped by the keyboard.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser(lab).parse_args(words)
    try:
        run(lab, options, shlex.join(["python", "-m", f"reference.{lab.name}", *words]))
    except (DataError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; the same command with --resume goes on from the last epoch", file=sys.stderr)
        return 130
    return 0


def run(lab: Lab, options: argparse.Namespace, command: str) -> None:
    with ExitStack() as stack:
        data = options.data
        if data is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            data = folder / "data"
            embedded.build(data, folder / "heldout.csv")
        setting = Setting(data, options.epochs, options.seed, options.device, options.out, options.resume)
        choose_device(setting.device)
        splits = load_splits(setting.data)
        setting.out.mkdir(parents=True, exist_ok=True)
        runs = train_all(lab.plans(options), splits, setting, Console(stderr=True))
        answers = lab.answers(setting, splits, runs)
    record = setting.out / f"{lab.name}.json"
    write_record(record, lab.name, command, setting, splits, runs, answers)
    lab.plots(runs, setting.out)
    show(answers, record)


def show(answers: Answers, record: Path) -> None:
    console = Console(highlight=False)
    for question, figures in answers.items():
        console.print(f"[bold]{question}[/bold]  {figures['answer']}")
    console.print(f"Record, plots and checkpoints: {record.parent}", soft_wrap=True)
