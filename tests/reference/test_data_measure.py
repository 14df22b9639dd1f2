"""The measuring of the special preprocessing, on a tiny source; the real figures are in test_data_real.py."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import reference
from reference.data import DataError
from reference.data.build import build
from reference.data.course import load_course
from reference.data.layout import Sizes
from reference.data.measure import Measurement, PixelEffect, measure, render, summarise, to_json
from reference.data.source import Originals, read_originals


@pytest.fixture
def originals(image_folder: Path, tiny: Sizes) -> Originals:
    return read_originals(str(image_folder), tiny)


@pytest.fixture
def course(originals: Originals, tmp_path: Path, tiny: Sizes) -> tuple[Path, Path]:
    data, heldout = tmp_path / "data", tmp_path / "heldout.csv"
    build(originals, data, heldout, 11, tiny)
    return data, heldout


@pytest.fixture
def measurement(originals: Originals, course: tuple[Path, Path], tiny: Sizes) -> Measurement:
    return measure(originals, load_course(originals, *course, tiny), epochs=1, seeds=2)


def test_load_course_pairs_images_with_their_originals(
    originals: Originals, course: tuple[Path, Path], tiny: Sizes
) -> None:
    splits = load_course(originals, *course, tiny)
    assert list(splits) == ["train", "val", "test"]
    for split in splits.values():
        assert np.abs(split.images.astype(int) - originals.images[split.indices]).max() == 1
    assert len(splits["test"].labels) == 20


def test_measure_counts(originals: Originals, measurement: Measurement) -> None:
    assert measurement.image_matches == {"train": 0, "val": 0, "test": 0}
    assert measurement.row_matches == {"train": 0, "val": 0, "test": 0}
    shares, sizes = measurement.from_original_test, {"train": 30, "val": 10, "test": 20}
    assert sum(shares[name] * sizes[name] for name in sizes) == pytest.approx(10)
    assert 0 <= measurement.original_labels_accuracy <= 1
    assert len(measurement.pixel_effect.changed) == len(measurement.pixel_effect.unchanged) == 2


def test_measure_sees_an_unchanged_image(originals: Originals, course: tuple[Path, Path], tiny: Sizes) -> None:
    splits = load_course(originals, *course, tiny)
    splits["val"].images[0] = originals.images[5]
    found = measure(originals, splits, epochs=1, seeds=2)
    assert found.image_matches == {"train": 0, "val": 1, "test": 0}
    assert found.row_matches["val"] == 32
    assert not found.passed
    assert "MISS images with the bytes of an original" in render(found)


def test_summarise() -> None:
    effect = summarise([0.62, 0.60, 0.61], [0.60, 0.60, 0.60], [0.6, 0.6, 0.6], 10_000)
    assert effect.mean_difference == pytest.approx(0.01)
    assert effect.standard_error == pytest.approx((0.6 * 0.4 / 10_000) ** 0.5)
    assert effect.standard_error_of_difference == pytest.approx(0.01 / 3**0.5)
    assert not effect.within
    assert summarise([0.604, 0.6], [0.6, 0.6], [0.6, 0.6], 10_000).within


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"original_labels_accuracy": 0.11}, "MISS trained on all originals"),
        ({"image_matches": {"train": 0, "val": 0, "test": 1}}, "MISS images with the bytes"),
        ({"pixel_effect": summarise([0.5, 0.5], [0.6, 0.6], [0.6, 0.6], 10_000)}, "MISS accuracy on the held-out"),
    ],
)
def test_each_bar_can_be_missed(measurement: Measurement, change: dict[str, object], line: str) -> None:
    good = replace(
        measurement,
        original_labels_accuracy=0.03,
        pixel_effect=summarise([0.6, 0.6], [0.6, 0.6], [0.6, 0.6], 10_000),
    )
    assert good.passed
    assert "MISS" not in render(good)
    bad = replace(good, **change)
    assert not bad.passed
    assert line in render(bad)


def test_json_holds_every_figure(measurement: Measurement) -> None:
    figures = json.loads(to_json(measurement))
    assert figures["image_matches"] == {"train": 0, "val": 0, "test": 0}
    assert figures["pixel_effect"]["changed"] == measurement.pixel_effect.changed
    assert figures["passed"] == measurement.passed


def test_stored_figures_are_of_this_form_and_meet_every_bar(measurement: Measurement) -> None:
    stored = json.loads((Path(reference.__file__).parent / "results" / "data.json").read_text())
    fresh = json.loads(to_json(measurement))
    assert stored.keys() == fresh.keys()
    assert stored["pixel_effect"].keys() == fresh["pixel_effect"].keys()
    again = Measurement(
        **{key: stored[key] for key in stored.keys() - {"torch", "passed", "pixel_effect"}},
        pixel_effect=PixelEffect(**stored["pixel_effect"]),
    )
    assert again.passed
    assert stored["passed"]


def test_other_originals(originals: Originals, course: tuple[Path, Path], tiny: Sizes) -> None:
    other = replace(originals, images=255 - originals.images)
    with pytest.raises(DataError, match=r"expected the originals that .*data was built from .* found others"):
        load_course(other, *course, tiny)


def test_changed_file(originals: Originals, course: tuple[Path, Path], tiny: Sizes) -> None:
    path = course[0] / "val-labels-batch.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(DataError, match=r"val-labels-batch\.npy: expected SHA-256 [0-9a-f]{64} as in the manifest"):
        load_course(originals, *course, tiny)


def test_changed_labels(originals: Originals, course: tuple[Path, Path], tiny: Sizes) -> None:
    course[1].write_text("Id,Label\n0,1\n")
    with pytest.raises(DataError, match=r"heldout\.csv: expected SHA-256"):
        load_course(originals, *course, tiny)


def test_absent_file(originals: Originals, course: tuple[Path, Path], tiny: Sizes) -> None:
    (course[0] / "test-images-batch.npy").unlink()
    with pytest.raises(DataError, match=r"test-images-batch\.npy: expected a file of the course's data here"):
        load_course(originals, *course, tiny)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "No such file"), ("{", "found no JSON"), ("[]", "found other content"), ("{}", "found other content")],
)
def test_bad_manifest(
    originals: Originals, course: tuple[Path, Path], tiny: Sizes, content: str | None, complaint: str
) -> None:
    path = course[1].with_suffix(".manifest.json")
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=rf"heldout\.manifest\.json: expected the instructor's manifest.*{complaint}"):
        load_course(originals, *course, tiny)
