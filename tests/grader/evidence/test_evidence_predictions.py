"""predictions.csv and heldout.csv: what is accepted, each refusal by its own message, and the score."""

import codecs
import os
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grader.evidence.predictions import (
    LabelsError,
    PredictionsError,
    read_labels,
    read_predictions,
    score,
    wilson_interval,
)

LABELS = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8)
ROW_CORRUPTIONS = (
    *("{0},{1},", "{0}", "{0},", ",{1}", "{0};{1}", "{0},-{1}", "{0},{1}.0", "{0},1{1}", "{0},x", "{0},nan", "{0},+1"),
    *(
        "{0}.0,{1}",
        "99,{1}",
        "-1,{1}",
        "x,{1}",
        "",
        "{0},{1}\n{0},{1}",
        '"{0},{1}',
        "{0},{1}\0",
        "{0},\u0663",
        "{0},1_0",
    ),
)
QUICK = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def table(rows: list[str], header: str = "Id,Label", end: str = "\n") -> str:
    return end.join([header, *rows]) + end


def plain(labels: tuple[int, ...] = LABELS) -> list[str]:
    return [f"{image},{label}" for image, label in enumerate(labels)]


def read(folder: Path, content: str | bytes, rows: int = len(LABELS)) -> tuple[int, ...]:
    path = folder / "predictions.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_predictions(path, rows=rows)


def refusal(folder: Path, content: str | bytes, rows: int = len(LABELS)) -> tuple[str, int | None]:
    with pytest.raises(PredictionsError) as error:
        read(folder, content, rows)
    assert str(error.value) == error.value.message
    return error.value.message, error.value.line


@QUICK
@given(
    labels=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    seed=st.randoms(use_true_random=False),
    end=st.sampled_from(["\n", "\r\n", "\r", "\r\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"]),
    cell=st.sampled_from(["{}", " {}", "{} ", '"{}"', ' "{}" ', "\t{}", "00{}"]),
    blank=st.sampled_from(["", "\n", "\n\n\r\n", "  \n", ",\n"]),
)
def test_any_order_and_format_gives_the_same_labels(tmp_path, labels, seed, end, encoding, cell, blank):
    rows = [f"{cell.format(image)},{cell.format(label)}" for image, label in enumerate(labels)]
    seed.shuffle(rows)
    text = table(rows, header='"Id", Label' if '"' in cell else "Id,Label", end=end) + blank
    bom = {"utf-16-le-bom": codecs.BOM_UTF16_LE, "utf-16-be-bom": codecs.BOM_UTF16_BE}.get(encoding, b"")
    content = bom + text.encode(encoding.removesuffix("-bom"))
    assert read(tmp_path, content, rows=len(labels)) == tuple(labels)


@QUICK
@given(
    row=st.integers(0, len(LABELS) - 1),
    change=st.sampled_from(ROW_CORRUPTIONS),
)
def test_any_single_corruption_is_refused(tmp_path, row, change):
    rows = plain()
    rows[row] = change.format(row, LABELS[row])
    message, _ = refusal(tmp_path, table(rows))
    assert message.startswith("predictions.csv")
    assert message.endswith(".")


CORRUPTIONS = {
    "header of another case": (table(plain(), "id,label"), 1, "capital and small letters must be as in the example"),
    "columns swapped": (table(plain(), "Label,Id"), 1, "the columns are in the wrong order"),
    "pandas index": (table([f"{i},{i},3" for i in range(12)], ",Id,Label"), 1, "without its index (index=False)"),
    "other names": (table(plain(), "image,class"), 1, "found 'image,class'; write exactly these two column names"),
    "further column": (table(plain(), "Id,Label,Score"), 1, "write exactly these two column names"),
    "semicolons": (table(plain(), "Id;Label"), 1, "separated by semicolons; separate them by commas"),
    "tabs": (table(plain(), "Id\tLabel"), 1, "separated by tabs; separate them by commas"),
    "no header": (table(plain()[1:], plain()[0]), 1, "found '0,3': the header line is missing"),
    "header after blank lines": ("\n\n" + table(plain(), "a,b"), 3, "expected the header Id,Label"),
    "no rows": ("Id,Label\n", None, "there is no prediction below the header; expected 12 rows"),
    "blank lines only": ("\n \n", None, "only blank lines"),
    "one missing": (table(plain()[:5] + plain()[6:]), None, "too few rows: 1 of the 12 Ids are missing (5)"),
    "many missing": (table(plain()[:3]), None, "9 of the 12 Ids are missing (3, 4, 5, 6, 7, …)"),
    "one too many": (table([*plain(), "12,0"]), 14, "Id 12 is too many; the Ids of the 12 test images are 0 to 11."),
    "from one": (table([f"{i},0" for i in range(1, 13)]), 13, "0 to 11 (Ids start at 0, not at 1)"),
    "huge Id": (table(["9" * 5000 + ",1"]), 2, "Id of ten digits or more is too many"),
    "twice": (table([*plain()[:4], "2,7", *plain()[4:]]), 6, "Id 2 appears a second time; it stands on line 4 already"),
    "float": (
        table(["0,3.0", *plain()[1:]]),
        2,
        "the Label 3.0 is a decimal number; expected a whole number from 0 to 9",
    ),
    "exponent": (table(["0,3e0", *plain()[1:]]), 2, "(convert with astype(int))"),
    "float Id": (table(["0.0,3", *plain()[1:]]), 2, "the Id 0.0 is a decimal number"),
    "negative": (table(["0,3", "1,-1", *plain()[2:]]), 3, "the Label -1 is negative"),
    "negative Id": (table(["-1,3"]), 2, "the Id -1 is negative"),
    "not a number": (table(["0,NaN", *plain()[1:]]), 2, "the Label is 'NaN', not a number"),
    "empty label": (table(["0,", *plain()[1:]]), 2, "the Label is empty"),
    "empty Id": (table([",3", *plain()[1:]]), 2, "the Id is empty"),
    "name of a class": (
        table(["0,cat", *plain()[1:]]),
        2,
        "the Label 'cat' is the name of a class; expected its number",
    ),
    "text": (table(["0,tensor(3)", *plain()[1:]]), 2, "the Label 'tensor(3)' is text"),
    "above nine": (table([*plain()[:11], "11,10"]), 13, "the Label 10 is above 9"),
    "far above nine": (table(["0," + "7" * 4000]), 2, "the Label of ten digits or more is above 9"),
    "one cell": (table(["0", *plain()[1:]]), 2, "expected two cells, Id and Label, found 1: '0'"),
    "three cells": (table(["0,1,2", *plain()[1:]]), 2, "found 3: '0,1,2'"),
    "open quote": (table(['0,"3', *plain()[1:]]), 2, "a quoted cell that begins on this line is not closed"),
    "text after quote": (table(['0,"3"4', *plain()[1:]]), 2, "text follows its closing quote"),
    "not UTF-8": (table(plain()[:3]).encode() + b"3,\xe9\n", 5, "bytes that are no text"),
    "odd UTF-16": (codecs.BOM_UTF16_LE + table(plain()).encode("utf-16-le") + b"x", None, "bytes that are no text"),
    "zero byte": (table([plain()[0], "1,\0"]), 3, "a zero byte"),
    "random bytes": (bytes(range(256)) * 40, None, "bytes that are no text"),
    "workbook": (b"PK\x03\x04" + b"\0" * 90, None, "found an Excel workbook or a zip; save the predictions as CSV"),
    "array": (b"\x93NUMPY\x01\0", None, "found a NumPy array"),
    "huge cell": (table(["0," + "x" * 200_000]), 2, "a quoted cell that begins on this line is not closed"),
    "terminal codes": (table(["0,\x1b[2J" + "z" * 90]), 2, "the Label '?[2J" + "z" * 36 + "…' is text"),
}


@pytest.mark.parametrize(("content", "line", "words"), CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_each_refusal_says_what_and_where(tmp_path, content, line, words):
    message, found = refusal(tmp_path, content)
    place = "predictions.csv: " if found is None else f"predictions.csv, line {found}: "
    assert words in message
    assert message.startswith(place)
    assert "\n" not in message
    if line is not None:
        assert found == line


def test_the_first_offending_line_is_named(tmp_path):
    assert refusal(tmp_path, table(["0,3", "1,x", "2,y"]))[1] == 3


def test_missing_file(tmp_path):
    with pytest.raises(PredictionsError, match=r"^predictions.csv: there is no such file in the submission\.$"):
        read_predictions(tmp_path / "predictions.csv")


def test_file_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(PredictionsError, match="there is no such file"):
        read_predictions(tmp_path / "file" / "predictions.csv")


def test_name_the_system_refuses(tmp_path):
    with pytest.raises(PredictionsError, match=r"the file cannot be read \(not a valid file name\)"):
        read_predictions(tmp_path / "a\0b")
    with pytest.raises(PredictionsError, match=r"the file cannot be read \(File name too long\)"):
        read_predictions(tmp_path / ("a" * 5000))


def test_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "predictions.csv").mkdir()
    with pytest.raises(PredictionsError, match="expected a file, found a folder of that name"):
        read_predictions(tmp_path / "predictions.csv")


def test_empty_file(tmp_path):
    assert refusal(tmp_path, b"") == ("predictions.csv: the file is empty.", None)


def test_link_is_refused_whatever_it_points_to(tmp_path):
    (tmp_path / "secret.csv").write_text(table(plain()))
    link = tmp_path / "predictions.csv"
    link.symlink_to(tmp_path / "secret.csv")
    with pytest.raises(PredictionsError, match="found a link; hand in the file itself"):
        read_predictions(link, rows=12)


def test_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "predictions.csv")
    with pytest.raises(PredictionsError, match="expected a regular file, found a pipe, socket or device"):
        read_predictions(tmp_path / "predictions.csv")


def test_file_of_a_gigabyte_is_refused_unread(tmp_path):
    path = tmp_path / "predictions.csv"
    with path.open("wb") as stream:
        stream.truncate(1_000_000_000)
    start = time.perf_counter()
    with pytest.raises(
        PredictionsError, match=r"has 1,000,000,000 bytes, expected at most 2,000,000; it was not read\."
    ):
        read_predictions(path)
    assert time.perf_counter() - start < 0.5


def test_ten_thousand_rows_are_read_quickly(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text(table(plain(LABELS * 833 + LABELS[:4])))
    times = []
    for _ in range(5):
        start = time.process_time()
        labels = read_predictions(path)
        times.append(time.process_time() - start)
    assert len(labels) == 10_000
    assert min(times) < 0.05


def test_labels_are_read_in_the_same_format_through_a_link(tmp_path):
    (tmp_path / "private.csv").write_text(table(plain()))
    (tmp_path / "heldout.csv").symlink_to(tmp_path / "private.csv")
    assert read_labels(tmp_path / "heldout.csv", rows=12) == LABELS


def test_faulty_labels_are_no_fault_of_the_student(tmp_path):
    (tmp_path / "heldout.csv").write_text(table(["0,x"]))
    with pytest.raises(LabelsError, match=r"held-out labels: heldout.csv, line 2: the Label 'x' is text") as error:
        read_labels(tmp_path / "heldout.csv")
    assert error.value.line == 2
    assert not isinstance(error.value, PredictionsError)


def test_score_equals_what_pandas_says(tmp_path):
    labels = [image * 7 % 9 for image in range(500)]
    predicted = [(label + (image % 5 == 0)) % 10 for image, label in enumerate(labels)]
    result = score(labels, predicted)
    frame = pd.DataFrame({"label": labels, "predicted": predicted})
    right = frame.label == frame.predicted
    assert result.accuracy == pytest.approx(right.mean())
    assert (result.correct, result.n) == (int(right.sum()), 500)
    assert result.recall[:9] == pytest.approx(tuple(right.groupby(frame.label).mean()))
    assert result.recall[9] is None
    crossed = pd.crosstab(frame.label, frame.predicted)
    assert all(result.confusion[i][j] == crossed.get(j, {}).get(i, 0) for i in range(10) for j in range(10))
    assert asdict(result)["n"] == 500


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, Table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_equals_published_values(correct, n, low, high):
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)


@QUICK
@given(st.integers(1, 10_000), st.data())
def test_interval_ends_where_the_accuracy_is_z_standard_errors_away(n, data):
    correct = data.draw(st.integers(0, n))
    for end in wilson_interval(correct, n):
        assert 0 <= end <= 1
        assert abs(correct / n - end) == pytest.approx(1.959964 * (end * (1 - end) / n) ** 0.5, abs=1e-6)


@pytest.mark.parametrize(("labels", "predicted"), [([], []), ([1], [1, 2]), ([10], [1]), ([1], [-1])])
def test_score_refuses_what_cannot_be_compared(labels, predicted):
    with pytest.raises(ValueError, match="expected"):
        score(labels, predicted)
