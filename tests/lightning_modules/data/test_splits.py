"""The split: exact sizes, each class its share, nothing lost, nothing twice, and the seed decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.data.images import DataError, LabelledImages
from lightning_modules.data.sources import mnist
from lightning_modules.data.splits import UnseenClassError, split, stratified, without


def numbered(labels: list[int]) -> LabelledImages:
    """Images of 2 by 2 pixels that spell their own number, so that each can be told from all others."""
    number = np.arange(len(labels))
    pixels = np.stack([number % 256, number // 256, number % 7, number % 11], axis=1)
    return LabelledImages(pixels.astype(np.uint8).reshape(-1, 2, 2), np.array(labels))


def numbers(data: LabelledImages) -> list[int]:
    return (data.images[:, 0, 0] + 256 * data.images[:, 0, 1].astype(int)).tolist()


def test_mnist_splits_into_fifty_and_ten_thousand_with_each_class_its_share() -> None:
    data = mnist.load("train")
    parts = split(data, 10_000, seed=0)

    assert (len(parts.train), len(parts.validation), parts.num_classes) == (50_000, 10_000, 10)
    shares = np.bincount(data.labels) / 6
    assert np.abs(np.bincount(parts.validation.labels) - shares).max() < 1
    pixels = parts.train.images.astype(np.float64)
    assert (parts.pixel_mean, parts.pixel_std) == (pytest.approx(pixels.mean()), pytest.approx(pixels.std()))


@given(st.lists(st.integers(0, 6), min_size=2, max_size=300), st.data())
@settings(deadline=None, max_examples=80)
def test_any_size_is_met_exactly_and_each_class_within_one_image(labels: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(labels)))
    mask = stratified(np.array(labels), size, seed=0)
    counts, taken = (np.bincount(which, minlength=7) for which in (np.array(labels), np.array(labels)[mask]))

    assert mask.shape == (len(labels),)
    assert mask.sum() == size
    assert (np.abs(taken - counts * size / len(labels)) < 1).all()


def test_the_parts_are_disjoint_and_complete_and_keep_their_labels() -> None:
    labels = np.random.default_rng(0).integers(5, size=1000).tolist()
    parts = split(numbered(labels), 300, seed=3)
    train, validation = numbers(parts.train), numbers(parts.validation)

    assert sorted(train + validation) == list(range(1000))
    assert parts.train.labels.tolist() == [labels[number] for number in train]
    assert parts.validation.labels.tolist() == [labels[number] for number in validation]


def test_the_seed_alone_decides() -> None:
    labels = np.arange(500) % 5
    first, again, other = (stratified(labels, 100, seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_pixel_statistics_come_from_the_training_images_alone() -> None:
    data = numbered([0, 1] * 200)
    parts = split(data, 100, seed=0)

    assert parts.pixel_mean == pytest.approx(parts.train.images.mean())
    assert parts.pixel_std == pytest.approx(parts.train.images.std())
    assert parts.pixel_mean != pytest.approx(data.images.mean())


@pytest.mark.parametrize("size", [-1, 0, 20, 21])
def test_a_size_that_leaves_a_part_empty_is_refused(size: int) -> None:
    with pytest.raises(DataError, match=f"{size} validation images cannot be taken from 20 training images"):
        split(numbered([0, 1] * 10), size, seed=0)


@pytest.mark.parametrize(
    ("labels", "size", "message"),
    [
        ([0] * 18 + [1, 2], 2, r"validation has no image of class 1 \(2 such classes\)"),
        ([0] * 10 + [1], 10, r"train has no image of class 1 \(1 such classes\)"),
        ([0, 2] * 10, 4, "labels must be 0 … 2 without a gap, but no image has 1"),
    ],
)
def test_a_class_without_an_image_is_refused(labels: list[int], size: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(numbered(labels), size, seed=0)


def test_images_of_a_single_value_are_refused() -> None:
    with pytest.raises(DataError, match="all training pixels have the same value"):
        split(LabelledImages(np.full((20, 2, 2), 9, np.uint8), np.arange(20) % 2), 4, seed=0)


def test_images_without_pixels_are_refused() -> None:
    with pytest.raises(DataError, match="pixel"):
        split(LabelledImages(np.zeros((20, 0, 5), np.uint8), np.arange(20) % 2), 4, seed=0)


@given(st.lists(st.integers(0, 6), min_size=3, max_size=100).filter(lambda labels: len(set(labels)) > 2), st.data())
@settings(deadline=None, max_examples=80)
def test_the_others_remain_in_their_order_and_are_numbered_anew(labels: list[int], data: st.DataObject) -> None:
    there = sorted(set(labels))
    most = len(there) - 2
    left_out = data.draw(st.lists(st.sampled_from(there), min_size=1, max_size=most, unique=True))
    found = without(numbered(labels), left_out)

    assert numbers(found) == [number for number, label in enumerate(labels) if label not in left_out]
    kept = [label for label in there if label not in left_out]
    assert found.labels.tolist() == [kept.index(label) for label in labels if label not in left_out]
    assert (found.labels.dtype, found.images.dtype) == (np.int64, np.uint8)
    assert found.num_classes == len(kept)


def test_without_any_class_nothing_changes() -> None:
    data = numbered([0, 1, 3] * 4)
    assert without(data, []) is data


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([3], "no image is of class 3; there are 0 … 2"),
        ([0, 3, 7], "no image is of class 3"),
        ([-1], "no image is of class -1"),
        ([0, 2], "of 3 classes 1 would remain"),
        ([0, 1, 2], "of 3 classes 0 would remain"),
    ],
)
def test_classes_that_cannot_be_left_out_are_refused(classes: list[int], message: str) -> None:
    with pytest.raises(UnseenClassError, match=message):
        without(numbered([0, 1, 2] * 5), classes)


def test_unseen_digits_are_in_neither_part_and_move_no_pixel_statistic() -> None:
    data = mnist.load("train")
    parts = split(without(data, [8, 9]), 8000, seed=0)
    images = data.images[data.labels < 8]
    assert (parts.num_classes, len(parts.train) + len(parts.validation)) == (8, len(images))
    together = np.concatenate([parts.train.images, parts.validation.images])
    assert np.bincount(together.reshape(-1)).tolist() == np.bincount(images.reshape(-1)).tolist()
    assert parts.pixel_mean == pytest.approx(parts.train.images.mean())
