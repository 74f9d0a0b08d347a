"""Labelled images: what is derived from them."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_modules.data.images import LabelledImages


def labelled(*shape: int) -> LabelledImages:
    rng = np.random.default_rng(0)
    return LabelledImages(rng.integers(256, size=shape, dtype=np.uint8), rng.integers(4, size=shape[0]))


@pytest.mark.parametrize("shape", [(50, 6, 7), (50, 6, 7, 3), (1, 2, 2)])
def test_pixel_statistics_are_numpys(shape: tuple[int, ...]) -> None:
    data = labelled(*shape)
    assert data.pixel_statistics() == (pytest.approx(data.images.mean()), pytest.approx(data.images.std()))


def test_pixel_statistics_of_equal_pixels_have_no_spread() -> None:
    data = LabelledImages(np.full((3, 2, 2), 77, np.uint8), np.zeros(3, np.int64))
    assert data.pixel_statistics() == (77, 0)


@pytest.mark.parametrize(("shape", "expected"), [((2, 6, 7), (6, 7, 1)), ((2, 6, 7, 3), (6, 7, 3))])
def test_image_shape_counts_channels(shape: tuple[int, ...], expected: tuple[int, int, int]) -> None:
    assert labelled(*shape).image_shape == expected


def test_classes_are_counted_up_to_the_highest_label() -> None:
    images = np.zeros((3, 2, 2), np.uint8)
    assert LabelledImages(images, np.array([0, 5, 2])).num_classes == 6
    assert LabelledImages(images[:0], np.array([], np.int64)).num_classes == 0


def test_take_keeps_images_and_labels_together() -> None:
    data = labelled(10, 2, 2)
    taken = data.take(np.array([7, 0, 7]))

    assert len(taken) == 3
    np.testing.assert_array_equal(taken.images, data.images[[7, 0, 7]])
    np.testing.assert_array_equal(taken.labels, data.labels[[7, 0, 7]])
