"""`python -m reference.data build` and `python -m reference.data measure`."""

import argparse
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reference.data.build import build, verify_targets
from reference.data.course import instructor_manifest, load_course
from reference.data.layout import DataError, Sizes
from reference.data.source import read_originals

SHORT_SEED = 1 << 64  # below this a seed can be found by trying


def main(argv: Sequence[str] | None = None, sizes: Sizes | None = None) -> int:
    """Run one command on a source of `sizes` images per class, CIFAR-10's own by default.

    Returns the exit status: 2 for input that cannot be used, 1 for a figure that misses its bar.
    """
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments, sizes or Sizes())
    except DataError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: expected to read or write here, but {error.strerror}.")
    return status


def _fail(sentence: str) -> int:
    _progress("")
    print(f"error: {sentence}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reference.data", description="Make and measure the course's data.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("build", help="write the student's data folder and the held-out labels")
    _add_paths(command, "--out")
    secret = "keep it secret; by default drawn at random and recorded beside the labels"
    command.add_argument("--seed", type=_at_least(0), help=secret)
    command.set_defaults(run=_build)

    command = commands.add_parser(
        "measure", help="measure what the special preprocessing does to cheating and accuracy"
    )
    _add_paths(command, "--data")
    command.add_argument("--epochs", type=_at_least(1), default=4, help="of each SimpleNN (default: %(default)s)")
    command.add_argument(
        "--seeds", type=_at_least(2), default=5, help="pairs of nets, 2 or more (default: %(default)s)"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    command.set_defaults(run=_measure)
    return parser


def _add_paths(command: argparse.ArgumentParser, folder: str) -> None:
    kinds = (
        "torchvision (downloads), cifar-10-python.tar.gz, cifar-10-batches-py/, or images by class in a tar or folder"
    )
    command.add_argument("--source", required=True, help=kinds)
    command.add_argument(folder, required=True, type=Path, metavar="DIR", help="the student's data folder", dest="data")
    command.add_argument("--heldout", required=True, type=Path, metavar="FILE", help="the instructor's labels, a CSV")


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, found {text!r}")
        return int(text)

    return parse


def _build(arguments: argparse.Namespace, sizes: Sizes) -> int:
    data, heldout = arguments.data, arguments.heldout
    verify_targets(data, heldout)
    seed = secrets.randbits(128) if arguments.seed is None else arguments.seed
    originals = read_originals(arguments.source, sizes, progress=_progress)
    _progress("changing pixels and writing")
    build(originals, data, heldout, seed, sizes)
    _progress("")
    print(f"{data}: the student's data, from {originals.kind}{' (lossy)' if originals.lossy else ''}")
    print(f"{heldout}: the held-out labels; keep them from students")
    print(f"{instructor_manifest(heldout)}: seed, class ids and checksums; keep it from students")
    if seed < SHORT_SEED:
        print("note: a seed this short can be found by trying; leave --seed out for data that students receive")
    return 0


def _measure(arguments: argparse.Namespace, sizes: Sizes) -> int:
    from reference.data.measure import measure, render, to_json  # torch takes seconds to import

    originals = read_originals(arguments.source, sizes, progress=_progress)
    splits = load_course(originals, arguments.data, arguments.heldout, sizes)
    measurement = measure(originals, splits, epochs=arguments.epochs, seeds=arguments.seeds, progress=_progress)
    _progress("")
    print(render(measurement))
    if arguments.json:
        arguments.json.write_text(to_json(measurement), encoding="utf-8")
    return 0 if measurement.passed else 1


def _progress(line: str) -> None:
    """Rewrite the terminal's last line; silent where standard error is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
