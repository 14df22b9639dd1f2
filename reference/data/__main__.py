"""`python -m reference.data build` and `python -m reference.data measure`."""

import argparse
import secrets
import sys
from pathlib import Path

from reference.data.build import build, check_targets, instructor_manifest
from reference.data.layout import DataError
from reference.data.source import read_originals

SHORT_SEED = 1 << 64  # below this a seed can be found by trying


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status, 2 for input that cannot be used."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: expected to read or write here, but {error.strerror}.", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reference.data", description="Make and measure the course's data.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    source = (
        "torchvision (downloads), cifar-10-python.tar.gz, cifar-10-batches-py/, or a tar or folder of images by class"
    )

    command = commands.add_parser("build", help="write the student's data folder and the held-out labels")
    command.add_argument("--source", required=True, help=source)
    command.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the student's data folder, new or empty"
    )
    command.add_argument(
        "--heldout", required=True, type=Path, metavar="FILE", help="the instructor's labels (CSV, mode 0600)"
    )
    command.add_argument(
        "--seed", type=_seed, help="keep it secret; drawn at random and recorded beside the labels by default"
    )
    command.set_defaults(run=_build)
    return parser


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a non-negative integer, found {text!r}")
    return int(text)


def _build(arguments: argparse.Namespace) -> None:
    out, heldout = arguments.out, arguments.heldout
    check_targets(out, heldout)
    seed = secrets.randbits(128) if arguments.seed is None else arguments.seed
    originals = read_originals(arguments.source, progress=_progress)
    _progress("writing")
    build(originals, out, heldout, seed)
    _progress(None)
    print(f"{out}: the student's data, from {originals.kind}{' (lossy)' if originals.lossy else ''}")
    print(f"{heldout}: the held-out labels; keep them from students")
    print(f"{instructor_manifest(heldout)}: seed, class ids and checksums; keep it from students")
    if seed < SHORT_SEED:
        print("note: a seed this short can be found by trying; leave --seed out for data that students receive")


def _progress(line: str | None) -> None:
    """Rewrite one line of the terminal; None ends it. Silent where standard error is no terminal."""
    if sys.stderr.isatty():
        print("\r\x1b[K" if line is None else f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
