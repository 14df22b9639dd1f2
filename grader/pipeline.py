"""One submission from folder to evidence: find, execute, collect, load. Each stage is one call, in this order."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import tempfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import torch

from grader.evidence.collect import collect
from grader.evidence.evidence import Evidence, load_evidence
from grader.evidence.predictions import LabelsError, read_labels
from grader.execution.limits import Limits, option_of
from grader.execution.run import execute
from grader.execution.sandbox.server import fork_server
from grader.execution.sandbox.tiers import TIERS, Isolation, choose
from grader.execution.world import CourseDataError, build_world
from grader.submission.find import SubmissionError, find_submission

LINE = 96  # characters of a line of the header


class PipelineError(Exception):
    """The call itself is wrong (a path, an option); one sentence for whoever typed it."""


@dataclass(frozen=True)
class Options:
    """What was asked for; None stands for the sample submission, the embedded data set, and no labels."""

    submission: Path | None
    data: Path | None
    labels: Path | None
    device: str
    out: Path
    limits: Limits = field(default_factory=Limits)
    isolation: str = "auto"

    def validate(self) -> None:
        """Raises PipelineError for what would fail anyway, before anything is run."""
        for option, path in (("--submission", self.submission), ("--data", self.data), ("--labels", self.labels)):
            if path is not None and not path.exists():
                raise PipelineError(f"{option} {path}: there is no such file or folder (here: {Path.cwd()})")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise PipelineError("--device cuda: torch finds no GPU on this machine; use --device auto or cpu")
        for name, value in vars(self.limits).items():
            if not value > 0:
                raise PipelineError(f"{option_of(name)} {value:g}: expected a number above 0")
        if self.out.exists() and not self.out.is_dir():
            raise PipelineError(f"--out {self.out} is a file; it must be a folder")
        try:
            isolation = self.sandbox
        except LookupError as error:
            raise PipelineError(f"--isolation {self.isolation}: {error.args[0]}") from None
        if self.labels is not None and not isolation.keeps_labels:
            raise PipelineError(
                f"--labels: this machine cannot keep notebooks away from the labels ({isolation.describe()}). Install "
                f"bubblewrap, or accept the risk with --isolation {isolation.tier}"
            )
        if self.data is not None and self.labels is not None:
            _match(self.data / "manifest.json", self.labels.with_suffix(".manifest.json"))

    def make_out(self) -> None:
        """Make the folder for results. Raises PipelineError where nothing can be written to it."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.out):
                pass
        except OSError as error:
            raise PipelineError(f"--out {self.out}: nothing can be written there ({error.strerror})") from None

    @property
    def cuda(self) -> bool:
        """Whether the kernels see a GPU."""
        return self.device != "cpu" and torch.cuda.is_available()

    @property
    def sandbox(self) -> Isolation:
        """What kernels run in. Raises LookupError where the tier that was asked for cannot be had."""
        return choose(self.isolation)

    def describe(self) -> list[str]:
        """Lines for pytest's header."""
        return [
            f"submission: {self.submission or 'the sample submission'}",
            f"data: {self.data or 'the embedded data set'}   labels: {self.labels or self._default_labels()}",
            f"device: {'cuda' if self.cuda else 'cpu'}",
            *textwrap.wrap(f"isolation: {self.sandbox.describe()}", LINE, subsequent_indent="  "),
        ]

    def _default_labels(self) -> str:
        return "of the embedded data set" if self.submission is None and self.data is None else "none"

    def summary(self) -> dict[str, str]:
        """What results.json says of how it was made; no paths of the machine, no times."""
        return {
            "data": "course data" if self.data else "embedded data set",
            "labels": "given" if self.labels else self._default_labels(),
            "device": "cuda" if self.cuda else "cpu",
            "isolation": TIERS[self.sandbox.tier],
            "enforced": self.sandbox.enforced,
        }


def gather_evidence(options: Options) -> Evidence:
    """Execute the submission and leave everything that the checks may read in OUT/evidence.

    Raises PipelineError where submission, data or labels are not what they should be.
    """
    options.make_out()
    if options.sandbox.tier == "fork":
        fork_server.start()
    folder = options.out / "evidence"
    with tempfile.TemporaryDirectory(prefix="grader-") as temporary:
        scratch = Path(temporary)
        try:
            data, labels = _data_and_labels(options, scratch)
            truth = read_labels(labels) if labels is not None else None
            submission = find_submission(_submission_folder(options, scratch))
            world = build_world(data, scratch / "world", cuda=options.cuda)
        except (SubmissionError, CourseDataError, LabelsError) as error:
            raise PipelineError(str(error)) from None
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        private = tuple(path for path in (options.labels, options.out) if path is not None)
        asyncio.run(
            execute(
                submission,
                folder,
                scratch / "work",
                world,
                options.limits,
                options.sandbox,
                private=private,
                secret=_secret(labels),
            )
        )
        collect(submission, folder, options.data)
    return load_evidence(folder, truth)


def _secret(labels: Path | None) -> str:
    """What no student knows: a digest of the labels; of nothing where there are none to win points with."""
    return hashlib.sha256(labels.read_bytes()).hexdigest() if labels is not None else ""


def _match(of_data: Path, of_labels: Path) -> None:
    """Refuse labels of another build than the data, where both manifests are at hand to tell."""
    try:
        files = [json.loads(path.read_text(encoding="utf-8"))["files"] for path in (of_data, of_labels)]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if files[0] != files[1]:
        raise PipelineError(f"--labels belong to other course data than --data: compare {of_labels} with {of_data}")


def _data_and_labels(options: Options, scratch: Path) -> tuple[Path, Path | None]:
    if options.data is not None:
        return options.data, options.labels
    from fixtures import embedded

    embedded.build(scratch / "embedded", scratch / "heldout.csv")
    default = scratch / "heldout.csv" if options.submission is None else None
    return scratch / "embedded", options.labels or default


def _submission_folder(options: Options, scratch: Path) -> Path:
    if options.submission is not None:
        return options.submission
    try:
        from fixtures import submissions
    except ImportError:
        raise PipelineError("there is no sample submission here; say what to grade: --submission FOLDER") from None
    return submissions.make("complete", scratch / "sample-submission")
