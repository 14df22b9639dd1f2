"""Files that are read rather than run: from the submission into the evidence folder, and back into types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate

from fixtures import submissions
from grader.evidence.collect import collect
from grader.evidence.evidence import Evidence, load_evidence
from grader.rubric import load_rubric
from grader.submission.find import find_submission


def gather(folder: Path, data: Path | None = None) -> Evidence:
    """Collect a submission that has no notebooks and load what was written."""
    evidence = folder.parent / "evidence"
    evidence.mkdir()
    collect(find_submission(folder), evidence, data or folder)
    return load_evidence(evidence, None)


def write_report(path: Path, verdicts: dict[int, str]) -> None:
    """A PDF with the statements of part 1, each followed by the text given, and an answer to Lab 1 (g)."""
    style = getSampleStyleSheet()["BodyText"]
    parts = ["1 True/False Questions"]
    for number, text in verdicts.items():
        parts += [f"Problem 1.{number}", load_rubric().items[f"part1.{number}"].text, text]
    parts += ["2 Lab (1)", "(g) The initial loss is 2.31, close to ln 10, since all classes are equally likely."]
    SimpleDocTemplate(str(path)).build([Paragraph(part, style) for part in parts])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "submission"
    path.mkdir()
    return path


def test_part_1_is_read_from_a_report(folder: Path) -> None:
    write_report(folder / "report.pdf", {1: "False. Gamma and beta move the mean.", 2: "True, autograd does it."})
    answers = gather(folder).answers
    assert {item: answer.verdict for item, answer in answers.answers.items()} == {"part1.1": False, "part1.2": True}
    assert "Gamma and beta" in answers.answers["part1.1"].explanation
    assert "report.pdf, page 1" in answers.answers["part1.1"].source
    assert "2.31" in answers.passages["lab1.g"].text
    assert answers.read == ("report.pdf",)


def test_part_1_and_passages_are_read_from_a_markdown_file(folder: Path) -> None:
    statement = load_rubric().items["part1.1"].text
    text = f"## Problem 1.1\n\n{statement}\n\n**False.** Beta moves the mean.\n\n# Lab 1\n\n(g) It starts at 2.31."
    (folder / "report.md").write_text(text)
    (folder / "requirements.txt").write_text("torch\n(see the course page)\n")
    answers = gather(folder).answers
    assert answers.answers["part1.1"].verdict is False
    assert answers.answers["part1.1"].source == "report.md"
    assert "2.31" in answers.passages["lab1.g"].text
    assert answers.read == ("report.md",)


def test_a_report_of_a_word_processor_is_for_a_person(folder: Path) -> None:
    (folder / "report.docx").write_bytes(b"PK")
    answers = gather(folder).answers
    assert answers.problems == ("report.docx is not read here: hand in a PDF, or a person must read it.",)


def test_an_untouched_answers_yaml_does_not_hide_the_report(folder: Path) -> None:
    shutil.copyfile(submissions.TEMPLATE / "answers.yaml", folder / "answers.yaml")
    write_report(folder / "report.pdf", {1: "False. Gamma and beta move the mean."})
    answers = gather(folder).answers
    assert answers.answers["part1.1"].verdict is False


def test_a_contradiction_of_both_is_no_verdict(folder: Path) -> None:
    (folder / "answers.yaml").write_text("part1.1: {verdict: true, explanation: the mean is subtracted}")
    write_report(folder / "report.pdf", {1: "False. Gamma and beta move the mean."})
    answer = gather(folder).answers.answers["part1.1"]
    assert answer.verdict is None
    assert answer.problem is not None
    assert "answered both" in answer.problem


def test_a_file_that_is_no_pdf_is_a_problem_by_name(folder: Path) -> None:
    (folder / "report.pdf").write_text("not a PDF")
    (problem,) = gather(folder).answers.problems
    assert problem.startswith("report.pdf: expected a PDF")


def test_an_unreadable_answers_yaml_is_a_problem_by_name(folder: Path) -> None:
    (folder / "answers.yaml").write_bytes(b"\xff\xfe\x00broken")
    (problem,) = gather(folder).answers.problems
    assert problem.startswith("answers.yaml")


def test_missing_predictions_are_named(folder: Path) -> None:
    predictions = gather(folder).predictions
    assert (predictions.file, predictions.labels, predictions.problem) == (
        None,
        None,
        "predictions.csv was not handed in",
    )


def test_predictions_come_back_as_labels_or_as_a_problem_with_its_line(folder: Path) -> None:
    rows = [f"{image},{image % 10}" for image in range(10_000)]
    (folder / "predictions.csv").write_text("\n".join(["Id,Label", *rows]))
    assert gather(folder).predictions.labels == tuple(image % 10 for image in range(10_000))


def test_the_first_offending_line_of_predictions_is_kept(folder: Path) -> None:
    rows = [f"{image},{image % 10}" for image in range(10_000)]
    rows[6] = "6,cat"
    (folder / "predictions.csv").write_text("\n".join(["Id,Label", *rows]))
    predictions = gather(folder).predictions
    assert predictions.labels is None
    assert predictions.line == 8
    assert predictions.problem is not None
    assert "line 8" in predictions.problem


@pytest.mark.parametrize(("manifest", "lossy"), [({"lossy": True}, True), ({"lossy": False}, False), ([], False)])
def test_lossy_images_are_known_from_the_datas_manifest(folder: Path, manifest: object, lossy: bool) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert gather(folder).lossy is lossy


def test_without_course_data_students_get_the_benefit_of_the_doubt(folder: Path, tmp_path: Path) -> None:
    collect(find_submission(folder), tmp_path, None)
    assert load_evidence(tmp_path, None).lossy is True


def test_data_without_a_manifest_are_not_lossy(folder: Path) -> None:
    assert gather(folder).lossy is False
