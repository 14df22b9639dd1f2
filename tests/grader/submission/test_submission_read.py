"""Notebook files that may be anything: a notebook of format 4 comes back, or one sentence that names file and place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grader.submission.read import MAX_NOTEBOOK_BYTES, NotebookError, read_notebook


def notebook(*cells: dict[str, Any], **top: Any) -> str:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **top})


def nested(levels: int) -> Any:
    return {"a": nested(levels - 1)} if levels > 1 else []


CODE = {"cell_type": "code", "source": ["x = 1\n", "y = 2"], "outputs": [], "metadata": {}, "execution_count": None}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "lab.ipynb"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\n\n  "])
def test_sources_are_joined_and_the_rest_is_kept(written: Callable[[bytes], Path], prefix: bytes) -> None:
    read = read_notebook(written(prefix + notebook(CODE, {"cell_type": "markdown", "source": "# Title"}).encode()))
    assert [cell["source"] for cell in read["cells"]] == ["x = 1\ny = 2", "# Title"]
    assert read["cells"][0]["outputs"] == []


def test_invalid_outputs_and_missing_ids_do_not_matter(written: Callable[[str], Path]) -> None:
    read = read_notebook(written(notebook({"cell_type": "code", "source": "x", "outputs": 7, "id": 3}, metadata=None)))
    assert read["cells"][0]["source"] == "x"


@pytest.mark.parametrize("version", [3, 2])
def test_older_formats_are_brought_to_format_4(written: Callable[[str], Path], version: int) -> None:
    cells = [
        {"cell_type": "heading", "level": 1, "source": ["Lab"]},
        {"cell_type": "code", "input": ["x = 1"], "language": "python", "outputs": [], "prompt_number": 1},
    ]
    old = {"nbformat": version, "nbformat_minor": 0, "metadata": {"name": "lab"}, "worksheets": [{"cells": cells}]}
    read = read_notebook(written(json.dumps(old)))
    assert [(cell["cell_type"], cell["source"]) for cell in read["cells"]][1] == ("code", "x = 1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lab.ipynb is empty (0 bytes)"),
        (" \n", "lab.ipynb is empty (2 bytes)"),
        ('{"cells": [\n  {"source" "x"}]}', "lab.ipynb is not valid JSON (line 2, column 13: Expecting ':' delimiter)"),
        ("<html>", "lab.ipynb is not valid JSON (line 1, column 1: Expecting value)"),
        ("[" * 100_000, "lab.ipynb is nested too deeply to be a notebook"),
        (notebook(metadata=nested(201)), "lab.ipynb is nested too deeply to be a notebook: more than 200 levels"),
        (notebook(metadata=nested(900)), "lab.ipynb is nested too deeply to be a notebook: more than 200 levels"),
        ('{"a": 1' + "0" * 5_000 + "}", "lab.ipynb is not valid JSON: Exceeds the limit"),
        ("[1, 2]", "lab.ipynb holds a JSON list, not a notebook"),
        ("{}", "lab.ipynb is JSON but not a notebook: it has no number under 'nbformat'"),
        (notebook(nbformat=True), "lab.ipynb is JSON but not a notebook: it has no number under 'nbformat'"),
        (notebook(nbformat=5), "lab.ipynb says it is of notebook format 5; formats 1 to 4 can be read"),
        (notebook(nbformat=3), "lab.ipynb is a notebook of format 3 that cannot be brought to format 4"),
        (notebook(cells=None), "lab.ipynb has no list of cells, so it is not a notebook of format 4"),
        (notebook(CODE, "x"), "lab.ipynb, cell 2: expected an object, found str"),  # type: ignore[arg-type]
        (notebook(CODE, {"cell_type": "sql", "source": ""}), "lab.ipynb, cell 2: cell_type is 'sql', expected one of"),
        (notebook({"cell_type": "code"}), "lab.ipynb, cell 1: source is NoneType, expected text"),
        (notebook({"cell_type": "code", "source": ["x", 1]}), "lab.ipynb, cell 1: source is list, expected text"),
        (b'{"cells": [\n"\xff\xfe"]}', "lab.ipynb is not UTF-8 text (line 2, byte 13)"),
        (notebook(CODE).encode("utf-16"), "lab.ipynb is not UTF-8 text (line 1, byte 0)"),
    ],
)
def test_what_is_no_notebook_gets_one_sentence(
    written: Callable[[str | bytes], Path], content: str | bytes, message: str
) -> None:
    with pytest.raises(NotebookError) as raised:
        read_notebook(written(content))
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_what_is_read_can_be_written_again(written: Callable[[str], Path]) -> None:
    read = read_notebook(written(notebook(CODE, metadata=nested(199))))
    assert json.loads(json.dumps(read, indent=1)) == read


def test_a_flood_of_lists_is_not_parsed(written: Callable[[str], Path]) -> None:
    with pytest.raises(NotebookError) as raised:
        read_notebook(written(notebook(CODE, metadata={"a": 0}).replace("0", "[" + "[]," * 2_500_000 + "[]]")))
    assert str(raised.value) == "lab.ipynb has more than 5,000,000 commas and brackets; clear its outputs"


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "lab.ipynb"
    with path.open("wb") as file:
        file.truncate(MAX_NOTEBOOK_BYTES + 1)
    with pytest.raises(NotebookError, match=r"lab.ipynb has 64 MB; clear its outputs to get below 64 MB"):
        read_notebook(path)


def test_links_pipes_and_folders_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "real.ipynb").write_text(notebook(CODE))
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "real.ipynb")
    os.mkfifo(tmp_path / "pipe.ipynb")
    for name, message in (
        ("link.ipynb", "link.ipynb cannot be read: Too many levels of symbolic links"),
        ("pipe.ipynb", "pipe.ipynb is not a regular file"),
        ("none.ipynb", "none.ipynb cannot be read: No such file or directory"),
    ):
        with pytest.raises(NotebookError) as raised:
            read_notebook(tmp_path / name)
        assert str(raised.value) == message
