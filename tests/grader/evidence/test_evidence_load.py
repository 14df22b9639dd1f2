"""An evidence folder read back, as execution and collection left it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grader.evidence.evidence import Evidence, Lab, load_evidence

CODE = {"cell_type": "code", "source": "net = SimpleNN()  # the model\n", "outputs": [], "execution_count": None}
TEXT = {"cell_type": "markdown", "source": "(g) The loss is about ln 10."}


def code(**fields: Any) -> dict[str, Any]:
    return CODE | fields


def stdout(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


PICTURE = {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {}}
ERROR = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
NET = {
    "event": "net",
    "cell": 0,
    "net": 0,
    "cls": "SimpleNN",
    "origin": "called",
    "layers": [{"type": "Conv2d", "weight": [8, 3, 5, 5]}],
    "used": 82030,
    "unused": 0,
    "copied": True,
}
MOVED = {"event": "moved", "cell": 1, "net": 0, "cls": "SimpleNN", "device": "cuda"}
CHALLENGE = {"net": 0, "equal": ["simplenn"], "differences": {"simplenn": [0.0, 0.0]}, "problem": None}


def folder(
    tmp_path: Path,
    cells: list[dict[str, Any]],
    *,
    trace: str | None = None,
    ended: list[tuple[int, str, str]] | None = None,
    **notebook: Any,
) -> Path:
    """The evidence of a submission that is Lab 1 alone."""
    lab = tmp_path / "lab1"
    lab.mkdir(parents=True)
    run = [index for index, cell in enumerate(cells) if cell["cell_type"] == "code"]
    outcome = ended or [(index, "ok", "") for index in run]
    summary = {
        "cells": [{"index": i, "status": status, "error": error, "seconds": 0.5} for i, status, error in outcome],
        "executed": run,
        "problem": None,
    }
    write(lab / "submitted.ipynb", {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells} | notebook)
    write(lab / "executed.ipynb", {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    write(lab / "cells.json", summary)
    write(lab / "challenges.json", [CHALLENGE])
    if trace is not None:
        (lab / "trace.jsonl").write_text(trace, encoding="utf-8")
    found = {"file": "simplenn-cifar10.ipynb", "why": "its name", "problem": None}
    write(tmp_path / "submission.json", {"notebooks": {"lab1": found}, "aside": []})
    write(tmp_path / "predictions.json", {"file": None, "labels": None, "problem": "not handed in", "line": None})
    write(tmp_path / "answers.json", {"answers": {}, "passages": {}, "problems": [], "read": []})
    write(tmp_path / "data.json", {"lossy": True, "source": "embedded"})
    return tmp_path


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def lines(*events: Any) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def lab1(evidence: Path) -> Lab:
    return load_evidence(evidence, None).labs["lab1"]


def test_a_whole_submission(tmp_path: Path) -> None:
    evidence = load_evidence(folder(tmp_path, [TEXT, CODE], trace=lines(NET)), (1, 2))
    assert isinstance(evidence, Evidence)
    assert (evidence.lossy, evidence.truth) == (True, (1, 2))
    assert evidence.predictions.problem == "not handed in"
    lab = evidence.labs["lab1"]
    assert (lab.title, lab.file, lab.problem) == ("Lab 1", "simplenn-cifar10.ipynb", None)
    assert [net.cls for net in lab.nets_equal_to("simplenn", "simplenn_bn")] == ["SimpleNN"]
    assert lab.nets_equal_to("simplenn_bn") == ()
    assert lab.written["lab1.g"].text == "The loss is about ln 10."
    assert lab.added == "(g) The loss is about ln 10."
    assert lab.source.rstrip() == "net = SimpleNN()"


def test_events_name_cells_as_a_reader_counts(tmp_path: Path) -> None:
    lab = lab1(folder(tmp_path, [TEXT, CODE, TEXT, CODE], trace=lines(NET, MOVED, MOVED | {"cell": 7})))
    assert [lab.where(event) for event in lab.events] == ["cell 2", "cell 4", "a cell"]


def test_a_lab_that_was_not_handed_in(tmp_path: Path) -> None:
    lab = load_evidence(folder(tmp_path, [CODE]), None).labs["lab3"]
    assert (lab.at_fault, lab.problem) == ("student", "no notebook of Lab 3 was found in the submission")


def test_files_set_aside_are_named_where_a_lab_is_missing(tmp_path: Path) -> None:
    path = folder(tmp_path, [CODE])
    aside = [["hw2.zip", "an archive; hand in the files themselves"], ["hw1.ipynb", "its code does not train"]]
    write(path / "submission.json", {"notebooks": {}, "aside": aside})
    assert lab1(path).problem == (
        "no notebook of Lab 1 was found in the submission; set aside: hw1.ipynb (its code does not train), "
        "hw2.zip (an archive; hand in the files themselves)"
    )


def test_few_of_many_files_set_aside_are_named_and_shortly(tmp_path: Path) -> None:
    path = folder(tmp_path, [CODE])
    aside = [[f"{number}\n\x1b{'x' * 200}.ipynb", "y" * 400] for number in range(5)]
    write(path / "submission.json", {"notebooks": {}, "aside": aside})
    problem = lab1(path).problem
    assert problem is not None
    assert problem.count("…") == 2 * 3
    assert problem.endswith(", and 2 more")
    assert problem.isprintable()
    assert len(problem) < 600


def test_a_notebook_that_cannot_be_read(tmp_path: Path) -> None:
    found = {
        "file": "simplenn-cifar10.ipynb",
        "why": "its name",
        "problem": "simplenn-cifar10.ipynb is empty (0 bytes)",
    }
    path = folder(tmp_path, [CODE])
    write(path / "submission.json", {"notebooks": {"lab1": found}, "aside": []})
    lab = lab1(path)
    assert (lab.at_fault, lab.problem) == ("student", "simplenn-cifar10.ipynb is empty (0 bytes)")


def test_a_kernel_that_did_not_start_is_the_graders_fault(tmp_path: Path) -> None:
    path = folder(tmp_path, [CODE])
    write(path / "lab1" / "grader-fault.json", {"reason": "the kernel did not start: no memory"})
    lab = lab1(path)
    assert (lab.at_fault, lab.problem) == ("grader", "the kernel did not start: no memory")


def test_a_notebook_without_a_trace(tmp_path: Path) -> None:
    lab = lab1(folder(tmp_path, [CODE]))
    assert (lab.events, lab.runs, lab.nets) == ((), (), ())


def test_lines_that_are_no_events_are_left_out(tmp_path: Path) -> None:
    hostile = (
        "}{\n"
        + lines([], {"event": "net"}, {"event": "points", "cell": 0}, MOVED | {"net": "all"})
        + "[" * 9_000
        + "\n"
    )
    lab = lab1(folder(tmp_path, [CODE], trace=hostile + lines(NET)))
    assert [event.event for event in lab.events] == ["net"]


def test_a_notebook_of_format_3(tmp_path: Path) -> None:
    old = [{"cell_type": "code", "input": "x = 1", "outputs": [], "prompt_number": 1, "language": "python"}]
    path = folder(tmp_path, [CODE])
    write(
        path / "lab1" / "submitted.ipynb",
        {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": old}]},
    )
    lab = lab1(path)
    assert lab.source == "x = 1"
    assert lab.cells[0].earlier == "ran"


def test_a_byte_order_mark(tmp_path: Path) -> None:
    path = folder(tmp_path, [CODE])
    submitted = path / "lab1" / "submitted.ipynb"
    submitted.write_bytes(b"\xef\xbb\xbf" + submitted.read_bytes())
    assert lab1(path).source.startswith("net")


@pytest.mark.parametrize(
    ("cell", "earlier"),
    [
        (code(), None),
        (code(outputs={}), None),
        (code(execution_count=3), "ran"),
        (code(outputs=[stdout("0.66")]), "ran"),
        (code(execution_count=3, outputs=[stdout("0.66"), ERROR]), "raised"),
    ],
)
def test_how_a_cell_ended_at_the_students(tmp_path: Path, cell: dict[str, Any], earlier: str | None) -> None:
    assert lab1(folder(tmp_path, [cell])).cells[0].earlier == earlier


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        ("error", "NameError: name 'net'\n is not defined", "cell 2 raised NameError: name 'net' is not defined"),
        ("timeout", "still running after 120 s", "cell 2 stopped: still running after 120 s"),
        ("not run", "the kernel was gone", "cell 2 was not run: the kernel was gone"),
    ],
)
def test_how_a_cell_ended_here(tmp_path: Path, status: str, error: str, said: str) -> None:
    lab = lab1(folder(tmp_path, [TEXT, CODE], ended=[(1, status, error)]))
    assert lab.cells[0].describe() == said


def test_outputs_of_the_student_and_of_the_grader(tmp_path: Path) -> None:
    lab = lab1(folder(tmp_path, [code(outputs=[stdout("Validation accuracy: 0.66"), PICTURE])]))
    assert list(lab.texts()) == ["Validation accuracy: 0.66\n\n"] * 2
    assert [cell.index for cell in lab.plots] == [0, 0]
    assert lab.record.epochs[0].val_accuracy == 0.66


def test_a_lab_says_how_much_of_a_flood_of_text_is_looked_at(tmp_path: Path) -> None:
    flood = {"cell_type": "markdown", "source": "\n" * 30_000}
    lab = load_evidence(folder(tmp_path / "flood", [TEXT, CODE, flood]), None).labs["lab1"]
    assert lab.looked_at == "the first 20,000 lines or 500,000 characters of the text in simplenn-cifar10.ipynb"
    assert len(lab.markdown) == 20_000
    assert lab.markdown[0].source == "simplenn-cifar10.ipynb, cell 1"
    assert lab.written["lab1.g"].text == "The loss is about ln 10."
    assert load_evidence(folder(tmp_path, [TEXT]), None).labs["lab1"].looked_at == "simplenn-cifar10.ipynb"
