"""The pytest face of the grader: `pytest grader --submission PATH [--data DIR] [--labels FILE] [--out DIR]`.

One submission is executed once, its evidence is written to OUT/evidence, and every check reads that.
"""

from __future__ import annotations

import sys

from grader.execution.sandbox.server import fork_server

WITHOUT_KERNELS = {"-h", "--help", "--version", "--isolation", "--collect-only", "--co", "--fixtures", "--markers"}
if sys.platform == "linux" and WITHOUT_KERNELS.isdisjoint(word.split("=")[0] for word in sys.argv):
    fork_server.start()  # it imports torch, as do the lines below: side by side they take half the time

# isort: split
import signal
import threading
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import pytest

from grader.checks.outcome import CouldNotCheck, Failed
from grader.checks.registry import Check, verdict_of, verify
from grader.checks.support import runnable
from grader.checks.verdict import Verdict
from grader.evidence.evidence import Evidence, Lab
from grader.execution.limits import Limits, described, option_of
from grader.execution.sandbox.tiers import TIERS
from grader.grade import grade
from grader.pipeline import Options, PipelineError, gather_evidence
from grader.report.results_json import write_results
from grader.report.terminal import summary_lines
from grader.rubric import Rubric, RubricError, load_answer_key, load_rubric

OPTIONS = pytest.StashKey[Options]()
RUBRIC = pytest.StashKey[Rubric]()
VERDICTS = pytest.StashKey[dict[str, Verdict]]()
ERRORS = pytest.StashKey[list[str]]()
OUTCOMES: dict[str, Literal["passed", "failed", "skipped"]] = {
    "passed": "passed",
    "failed": "failed",
    "could_not_check": "skipped",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("grader", "grading a submission")
    group.addoption("--submission", type=Path, help="folder with the notebooks; default: the sample submission")
    group.addoption("--data", type=Path, help="the course's data folder; default: the embedded data set")
    group.addoption("--labels", type=Path, help="heldout.csv, for instructors; without it only the format is checked")
    group.addoption("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where notebooks run (auto)")
    group.addoption("--out", type=Path, default=Path("out"), help="folder for results.json and the evidence (out)")
    group.addoption(
        "--isolation",
        choices=("auto", *TIERS),
        default="auto",
        help="sandbox of the notebooks; auto: the best that works here, beside --labels bubblewrap at least (auto)",
    )
    for name, (kind, default, what) in described().items():
        group.addoption(option_of(name), type=kind, default=default, dest=f"limit_{name}", help=what)


def _end(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def pytest_configure(config: pytest.Config) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)  # as Ctrl-C does: labels must not stay in a temporary folder
    config.option.tbstyle = "no"  # reasons are in the table; a traceback would tell a student nothing
    config.option.reportchars = ""
    config.stash[VERDICTS] = {}
    config.stash[ERRORS] = []
    value = config.getoption
    config.stash[OPTIONS] = Options(
        submission=value("--submission"),
        data=value("--data"),
        labels=value("--labels"),
        device=value("--device"),
        out=value("--out"),
        limits=Limits(**{name: value(f"limit_{name}") for name in described()}),
        isolation=value("--isolation"),
    )
    try:
        config.stash[RUBRIC] = load_rubric()
        verify(config.stash[RUBRIC])
        load_answer_key()
        config.stash[OPTIONS].validate()
    except (RubricError, PipelineError) as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> list[str]:
    return config.stash[OPTIONS].describe()


# -- evidence for the checks -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def evidence(pytestconfig: pytest.Config) -> Evidence:
    """Everything known about the submission; executing it is the first check's set-up."""
    try:
        return gather_evidence(pytestconfig.stash[OPTIONS])
    except PipelineError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def rubric(pytestconfig: pytest.Config) -> Rubric:
    """The rubric."""
    return pytestconfig.stash[RUBRIC]


@pytest.fixture(scope="session")
def key() -> dict[str, tuple[bool, ...]]:
    """Accepted verdicts of part 1 by item."""
    return load_answer_key()


@pytest.fixture
def lab1(evidence: Evidence) -> Lab:
    """Lab 1's notebook; its checks fail where there is none to run."""
    return runnable(evidence, "lab1")


@pytest.fixture
def lab2(evidence: Evidence) -> Lab:
    """Lab 2's notebook."""
    return runnable(evidence, "lab2")


@pytest.fixture
def lab3(evidence: Evidence) -> Lab:
    """Lab 3's notebook."""
    return runnable(evidence, "lab3")


# -- from outcomes to verdicts ---------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    marker = item.get_closest_marker("check")
    if marker is None or report.when == "teardown" or (report.when == "setup" and call.excinfo is None):
        return report
    verdict = _verdict(item, marker, call)
    item.config.stash[VERDICTS][item.nodeid] = verdict
    report.when = "call"  # what a check's set-up found is the check's outcome
    report.outcome = OUTCOMES[verdict.outcome]
    report.longrepr = None if verdict.outcome == "passed" else (item.nodeid, 0, verdict.reason)
    return report


def _verdict(item: pytest.Item, marker: pytest.Mark, call: pytest.CallInfo[None]) -> Verdict:
    check = Check(
        item=marker.kwargs["item"] or item.callspec.params["item"],  # type: ignore[attr-defined]
        name=marker.kwargs["name"],
        evidence=marker.kwargs["evidence"],
        function=item.function,  # type: ignore[attr-defined]
    )
    error = call.excinfo.value if call.excinfo is not None else None
    if error is not None and not isinstance(error, (Failed, CouldNotCheck)):  # the details are for the maintainers
        item.config.stash[ERRORS].append("".join(traceback.format_exception(error)))
    # What the check recorded with pytest's `record_property` stands in `user_properties`.
    return verdict_of(check, error, item.user_properties, item.config.stash[RUBRIC])


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if report.when != "teardown" and report.skipped:
        return "open", "?", "OPEN"
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    verdicts = config.stash[VERDICTS]
    if not verdicts:
        return
    options = config.stash[OPTIONS]
    write_results(options.out / "results.json", grade(config.stash[RUBRIC], verdicts.values()), options.summary())
    errors = config.stash[ERRORS]
    if errors:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        (options.out / "grader-errors.log").write_text("\n".join(errors))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    verdicts = config.stash[VERDICTS]
    if not verdicts:
        return
    result = grade(config.stash[RUBRIC], verdicts.values())
    terminalreporter.ensure_newline()
    screen = config.get_terminal_writer()
    if config.stash[ERRORS]:
        log = config.stash[OPTIONS].out / "grader-errors.log"
        terminalreporter.write_line(f"The grader met errors of its own; no point was lost to them. Details: {log}")
    for line in summary_lines(result, config.stash[OPTIONS].out, screen.fullwidth, screen.hasmarkup):
        terminalreporter.write_line(line)
