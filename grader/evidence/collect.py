"""Files of the submission that are read rather than run, parsed once and left in the evidence folder as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grader.evidence.answers import Answer, AnswersError, merge, read_answers
from grader.evidence.checkpoint import measure_checkpoint
from grader.evidence.predictions import PredictionsError, read_predictions
from grader.evidence.report import ReportError, read_report
from grader.execution.challenge import read_challenges
from grader.execution.trace_events import read_events
from grader.rubric import load_rubric
from grader.submission.find import Found, Submission

UNREAD = (".docx", ".doc", ".odt", ".rtf", ".pages")  # reports in formats of word processors


def collect(submission: Submission, evidence: Path, data: Path | None) -> None:
    """Write what is read from files into `evidence` as JSON; `data` is the course's folder.

    The files are submission.json, predictions.json, answers.json, data.json and checkpoint.json.
    """
    predictions = _predictions(submission)
    _write(evidence / "submission.json", _describe(submission))
    _write(evidence / "predictions.json", predictions)
    _write(evidence / "checkpoint.json", _checkpoint(submission, evidence / "lab3", data, predictions["labels"]))
    _write(evidence / "answers.json", _answers(submission))
    _write(evidence / "data.json", _describe_data(data))


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1))


def _describe(submission: Submission) -> dict[str, Any]:
    def notebook(found: Found) -> dict[str, Any]:
        relative = found.path.relative_to(submission.root)
        return {"file": str(relative), "why": found.why, "problem": found.problem}

    return {
        "notebooks": {role: notebook(found) for role, found in sorted(submission.notebooks.items())},
        "aside": [list(pair) for pair in submission.aside],
    }


def _predictions(submission: Submission) -> dict[str, Any]:
    path = submission.predictions
    if path is None:
        return {"file": None, "labels": None, "problem": "predictions.csv was not handed in", "line": None}
    name = str(path.relative_to(submission.root))
    try:
        return {"file": name, "labels": list(read_predictions(path)), "problem": None, "line": None}
    except PredictionsError as error:
        return {"file": name, "labels": None, "problem": error.message, "line": error.line}


def _checkpoint(
    submission: Submission, lab3: Path, data: Path | None, predicted: list[int] | None
) -> dict[str, Any] | None:
    """What a checkpoint reaches on the course's images; nothing without those, or without a run of the notebook."""
    if data is None or not (lab3 / "challenges.json").is_file():
        return None
    events, answered = read_events(lab3 / "trace.jsonl")[0], read_challenges(lab3 / "challenges.json")
    score = measure_checkpoint(submission.files, submission.root, data, events, answered, predicted)
    return None if score is None else asdict(score)


def _answers(submission: Submission) -> dict[str, Any]:
    """Part 1 from answers.yaml and the reports, whichever holds a verdict; passages of the labs from the reports."""
    answers: list[Answer] = []
    passages: dict[str, Any] = {}
    problems: list[str] = []
    statements = {name: item.text for name, item in load_rubric().items.items() if name.startswith("part1.")}
    for path in submission.reports:
        try:
            report = read_report(path, statements)
        except ReportError as error:
            problems.append(error.message)
            continue
        answers.extend(report.answers.values())
        passages.update({item: asdict(passage) for item, passage in report.passages.items()})
        problems.extend(report.problems)
    if submission.answers is not None:
        try:
            answers.extend(read_answers(submission.answers).values())
        except AnswersError as error:
            problems.append(error.message)
    unread = [path.name for path in submission.files if path.suffix.lower() in UNREAD]
    problems += [f"{name} is not read here: hand in a PDF, or a person must read it." for name in unread]
    return {
        "answers": {item: asdict(answer) for item, answer in merge(answers).items()},
        "passages": passages,
        "problems": problems,
        "read": [path.name for path in (*submission.reports, submission.answers) if path is not None],
    }


def _describe_data(data: Path | None) -> dict[str, Any]:
    """Whether the course's images went through a lossy format, as the data's manifest says or nothing tells."""
    if data is None:
        return {"lossy": True, "source": "embedded"}
    try:
        manifest = json.loads((data / "manifest.json").read_text())
    except (OSError, ValueError):
        manifest = None
    known = manifest if isinstance(manifest, dict) else {}
    source = "embedded" if known.get("source") == "embedded" else "course"
    return {"lossy": known.get("lossy") is True, "source": source}
