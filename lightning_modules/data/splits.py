"""Carves validation out of train, so that the test set stays sealed. Numpy only.

What a trial receives is a TrialData: it holds no test image and no way to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_modules.data.images import DataError, LabelledImages


@dataclass(frozen=True)
class TrialData:
    """All that a trial may see: train and validation images, and what normalises their pixels."""

    train: LabelledImages
    validation: LabelledImages
    num_classes: int
    pixel_mean: float
    pixel_std: float

    def digest(self) -> str:
        """A hash of all images and labels, and of which of them are for validation."""
        return f"{self.train.digest()}-{self.validation.digest()}"


class UnseenClassError(DataError):
    """Classes that cannot be left out; the message says which and why."""


class SplitError(DataError):
    """A number of validation images that cannot be taken; the message says why."""


def without(data: LabelledImages, classes: Iterable[int]) -> LabelledImages:
    """The images of all other classes, in their order; those get the labels 0, 1, 2, … in the order of their old ones.

    Raises UnseenClassError for a class that the data do not have, or if fewer than two others remain.
    """
    left_out, there = np.unique(np.array([*classes], np.int64)), np.unique(data.labels)
    if not len(left_out):
        return data
    unknown = np.setdiff1d(left_out, there)
    if len(unknown):
        raise UnseenClassError(f"no image is of class {unknown[0]}; there are {there.min()} … {there.max()}")
    kept = np.setdiff1d(there, left_out)
    if len(kept) < 2:
        raise UnseenClassError(f"of {len(there)} classes {len(kept)} would remain, and two at least are told apart")
    return numbered(data, kept.tolist())


def numbered(data: LabelledImages, classes: Sequence[int]) -> LabelledImages:
    """The images of these classes, in their order; a class gets its place in `classes`, in rising order, as its label.

    Test images get the numbers of the training images with it, also where they lack a class.
    """
    chosen = data.take(np.flatnonzero(np.isin(data.labels, classes)))
    return LabelledImages(chosen.images, np.searchsorted(classes, chosen.labels).astype(np.int64))


def stratified(labels: NDArray[np.int64], size: int, seed: int) -> NDArray[np.bool_]:
    """A mask (N,) of exactly `size` items, of each class its share (largest remainders first)."""
    classes, counts = np.unique(labels, return_counts=True)
    quotas = counts * (size / len(labels))
    take = np.floor(quotas).astype(np.int64)
    for position in np.argsort(take - quotas, kind="stable")[: size - int(take.sum())]:
        take[position] += 1
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), bool)
    for label, number in zip(classes, take, strict=True):
        mask[rng.choice(np.flatnonzero(labels == label), number, replace=False)] = True
    return mask


def split(data: LabelledImages, validation_images: int, seed: int) -> TrialData:
    """Train and validation for the trials; pixel statistics come from the train part alone.

    Raises DataError if a class would be left without an image to train or to validate on.
    """
    if not 0 < validation_images < len(data):
        raise SplitError(f"{validation_images} validation images cannot be taken from {len(data)} training images")
    if not data.images.size:
        raise DataError(f"the images have no pixels: their shape is {data.images.shape}")
    classes = np.arange(data.num_classes)
    absent = np.setdiff1d(classes, data.labels)
    if len(absent):
        raise DataError(f"labels must be 0 … {data.num_classes - 1} without a gap, but no image has {absent[0]}")
    mask = stratified(data.labels, validation_images, seed)
    train, validation = data.take(np.flatnonzero(~mask)), data.take(np.flatnonzero(mask))
    for name, part in (("train", train), ("validation", validation)):
        missing = np.setdiff1d(classes, part.labels)
        if len(missing):
            raise SplitError(f"after the split {name} has no image of class {missing[0]} ({len(missing)} such classes)")
    mean, std = train.pixel_statistics()
    if std == 0:
        raise DataError("all training pixels have the same value: there is nothing to learn from")
    return TrialData(train, validation, data.num_classes, mean, std)
