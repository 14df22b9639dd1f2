"""The command line that the three labs share: `python -m reference.labN [--data DIR] [--epochs N] [--out DIR]`."""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fixtures import embedded
from reference.data import DataError
from reference.experiment import Answers, Job, Meter, Plans, Runs, Setting, jobs, meter, total_cost, train_all
from reference.record import make_record, write_record
from reference.speed import choose_device, has_bfloat16, keep_freed_memory
from reference.training import Splits, load_splits


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
    result.add_argument("--resume", action="store_true", help="go on from the checkpoints of a killed run in --out")
    add_common_options(result)
    lab.add_options(result)
    return result


def add_common_options(parser: argparse.ArgumentParser, seeds: int = 1) -> None:
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: %(default)s)")
    parser.add_argument("--seeds", type=at_least_one, default=seeds, help="runs of each kind (default: %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        help="compute in bfloat16 (default: where the processor or GPU multiplies it in hardware)",
    )


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
    keep_freed_memory()
    choose_device(options.device)
    with ExitStack() as stack:
        data = options.data or stack.enter_context(embedded_data())
        setting = Setting(data, options.epochs, seeds_of(options), options.device, options.out, options.resume)
        splits = load_splits(data)
        complete(options, splits)
        setting.out.mkdir(parents=True, exist_ok=True)
        planned = jobs(lab.plans(options), setting.seeds)
        with meter(total_cost(planned), Console(stderr=True)) as shown:
            answers = run_lab(lab, planned, setting, splits, shown, command)
    show(answers, setting.out)


def complete(options: argparse.Namespace, splits: Splits) -> None:
    """Add to the options what depends on machine and data, for `Lab.plans`."""
    if options.bfloat16 is None:
        options.bfloat16 = has_bfloat16(choose_device(options.device))
    options.train_images = len(splits.train_labels)


def seeds_of(options: argparse.Namespace) -> tuple[int, ...]:
    return tuple(range(options.seed, options.seed + options.seeds))


@contextmanager
def embedded_data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        embedded.build(Path(folder) / "data", Path(folder) / "heldout.csv")
        yield Path(folder) / "data"


def run_lab(lab: Lab, planned: Sequence[Job], setting: Setting, splits: Splits, shown: Meter, command: str) -> Answers:
    """Train what was planned, and write record, plots and whatever else the lab's answers write to `setting.out`."""
    runs = train_all(planned, splits, setting, shown)
    answers = lab.answers(setting, splits, runs)
    record = make_record(lab.name, command, setting, splits, runs, answers)
    write_record(record, setting.out / f"{lab.name}.json")
    lab.plots(runs, setting.out)
    return answers


def show(answers: Answers, out: Path) -> None:
    console = Console(highlight=False)
    for question, figures in answers.items():
        console.print(f"[bold]{question}[/bold]  {figures['answer']}")
    console.print(f"Record, plots and checkpoints: {out}", soft_wrap=True)
