"""The special preprocessing: derangement, stratified and mixed splits, changed pixels, look-up by hash."""

import numpy as np
import pytest

from reference.data.layout import Sizes
from reference.data.transform import assign, change_pixels, derangement, hash_matches, make_splits, row_matches


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)


def test_derangement_is_a_permutation_without_fixed_point() -> None:
    mappings = [derangement(seed) for seed in range(200)]
    for mapping in mappings:
        assert sorted(mapping.tolist()) == list(range(10))
        assert not np.any(mapping == np.arange(10))
    assert len({tuple(mapping) for mapping in mappings}) > 190


def test_derangement_of_the_public_seed_never_changes() -> None:
    # Stored results were measured on this mapping.
    assert derangement(661).tolist() == [3, 5, 0, 9, 2, 4, 8, 6, 1, 7]


def test_assign_is_stratified_complete_and_shuffled() -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 60)
    sizes = Sizes(source_train=50, source_test=10, train=40, val=5, test=15)
    parts = assign(1, labels, sizes)
    for split, expected in (("train", 40), ("val", 5), ("test", 15)):
        assert np.bincount(labels[parts[split]], minlength=10).tolist() == [expected] * 10
        assert not np.array_equal(labels[parts[split]], np.sort(labels[parts[split]]))
    together = np.concatenate(list(parts.values()))
    assert np.array_equal(np.sort(together), np.arange(600))


def test_assign_mixes_the_source_splits() -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 600)
    from_test = np.tile(np.arange(600) >= 500, 10)
    parts = assign(2, labels, Sizes(source_train=500, source_test=100, train=450, val=50, test=100))
    for indices in parts.values():
        share, deviation = from_test[indices].mean(), np.sqrt(5 / 36 / len(indices))
        assert abs(share - 1 / 6) < 4 * deviation


def test_seeds_differ() -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 6)
    sizes = Sizes(source_train=5, source_test=1, train=3, val=1, test=2)
    assert not np.array_equal(assign(1, labels, sizes)["train"], assign(2, labels, sizes)["train"])


def test_every_value_moves_by_at_most_one_each_way_equally_often(images: np.ndarray) -> None:
    indices = np.arange(60)[::-1]
    changed = change_pixels(3, images, indices)
    assert (changed.shape, changed.dtype) == (images.shape, np.uint8)
    step = changed.astype(int) - images[indices]
    inner = (images[indices] > 0) & (images[indices] < 255)
    assert set(np.unique(step)) == {-1, 0, 1}
    for value in (-1, 0, 1):
        assert abs((step[inner] == value).mean() - 1 / 3) < 0.005
    assert np.abs(step.mean(axis=(1, 2, 3))).max() < 0.1  # brightness stays


def test_black_and_white_images_change_too_and_never_wrap() -> None:
    images = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    images[1] = 255
    changed = change_pixels(4, images, np.arange(2))
    assert set(np.unique(changed[0])) == {0, 1}
    assert set(np.unique(changed[1])) == {254, 255}


def test_change_depends_on_the_image_alone(images: np.ndarray) -> None:
    assert np.array_equal(change_pixels(5, images, np.array([7, 3]))[1], change_pixels(5, images, np.array([3]))[0])
    assert not np.array_equal(change_pixels(5, images, np.array([3])), change_pixels(6, images, np.array([3])))


def test_make_splits_keeps_image_and_label_together(images: np.ndarray) -> None:
    labels = np.tile(np.arange(10, dtype=np.uint8), 6)
    for split in make_splits(8, images, labels, Sizes(5, 1, 3, 1, 2)).values():
        assert np.abs(split.images.astype(int) - images[split.indices]).max() == 1
        assert np.array_equal(split.labels, derangement(8)[labels[split.indices]])


def test_hash_matches_finds_originals_and_mirrored_ones(images: np.ndarray) -> None:
    course = change_pixels(9, images, np.arange(60))
    assert hash_matches(course, images) == 0
    course[3] = images[10]
    course[4] = images[11, :, ::-1]
    assert hash_matches(course, images) == 2


def test_row_matches_finds_rows_and_mirrored_ones(images: np.ndarray) -> None:
    course = change_pixels(9, images, np.arange(60))
    assert row_matches(course, images) == 0
    course[3, 0] = images[10, 5]
    course[4, 1] = images[11, 6, ::-1]
    assert row_matches(course, images) == 2
