"""Carves validation out of train, so that the test set stays sealed. Numpy only.

Which images go where is decided by labels alone, before an image is read. What a trial receives is a TrialData: it
holds no test image and no way to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_modules.data.images import DataError, LabelledImages, Metadata
from lightning_modules.data.sources.base import Images


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


@dataclass(frozen=True)
class Split:
    """Which images of a part are trained and validated on, by their numbers there, with their labels (new ones).

    known: of all images of the part.
    """

    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    train_labels: NDArray[np.int64]
    validation_labels: NDArray[np.int64]
    num_classes: int
    known: Metadata

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of an image."""
        return self.known.image_shape

    @property
    def train_bytes(self) -> int:
        """What the images to train on take in memory."""
        return len(self.train) * self.known.image_bytes

    @property
    def validation_bytes(self) -> int:
        """What the images to validate on take in memory."""
        return len(self.validation) * self.known.image_bytes

    def take(self, images: Images) -> TrialData:
        """The images themselves, with the statistics of the pixels to train on. Raises DataError."""
        train = LabelledImages(images[self.train], self.train_labels)
        validation = LabelledImages(images[self.validation], self.validation_labels)
        mean, std = train.pixel_statistics()
        if std == 0:
            raise DataError("all training pixels have the same value: there is nothing to learn from")
        return TrialData(train, validation, self.num_classes, mean, std)


class UnseenClassError(DataError):
    """Classes that cannot be left out; the message says which and why."""


class SplitError(DataError):
    """A number of validation images that cannot be taken; the message says why."""


def without(data: LabelledImages, classes: Iterable[int]) -> LabelledImages:
    """The images of all other classes, in their order; those get the labels 0, 1, 2, … in the order of their old ones.

    Raises UnseenClassError for a class that the data do not have, or if fewer than two others remain.
    """
    numbers, labels = _seen(data.labels, classes)
    return LabelledImages(data.images[numbers], labels) if len(numbers) < len(data) else data


def _seen(labels: NDArray[np.int64], unseen: Iterable[int]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """The numbers of the images of all classes but the unseen ones, and their new labels."""
    left_out, there = np.unique(np.array([*unseen], np.int64)), np.unique(labels)
    if not len(left_out):
        return np.arange(len(labels)), labels
    unknown = np.setdiff1d(left_out, there)
    if len(unknown):
        raise UnseenClassError(f"no image is of class {unknown[0]}; there are {there.min()} … {there.max()}")
    kept = np.setdiff1d(there, left_out)
    if len(kept) < 2:
        raise UnseenClassError(f"of {len(there)} classes {len(kept)} would remain, and two at least are told apart")
    numbers = np.flatnonzero(np.isin(labels, kept))
    return numbers, np.searchsorted(kept, labels[numbers]).astype(np.int64)


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


def divide(known: Metadata, validation_images: int, seed: int, unseen_classes: Iterable[int] = ()) -> Split:
    """Which images the trials train and validate on; those of unseen classes are in neither.

    Raises DataError if a class would be left without an image to train or to validate on.
    """
    numbers, labels = _seen(known.labels, unseen_classes)
    if not 0 < validation_images < len(labels):
        raise SplitError(f"{validation_images} validation images cannot be taken from {len(labels)} training images")
    if not known.image_bytes:
        raise DataError(f"the images have no pixels: {' × '.join(map(str, known.image_shape))}")
    classes = np.arange(int(labels.max()) + 1)
    absent = np.setdiff1d(classes, labels)
    if len(absent):
        raise DataError(f"labels must be 0 … {len(classes) - 1} without a gap, but no image has {absent[0]}")
    mask = stratified(labels, validation_images, seed)
    for name, part in (("train", labels[~mask]), ("validation", labels[mask])):
        missing = np.setdiff1d(classes, part)
        if len(missing):
            raise SplitError(f"after the split {name} has no image of class {missing[0]} ({len(missing)} such classes)")
    return Split(numbers[~mask], numbers[mask], labels[~mask], labels[mask], len(classes), known)


def split(data: LabelledImages, validation_images: int, seed: int) -> TrialData:
    """Train and validation of images that are in memory. Raises DataError as `divide` and `Split.take` do."""
    return divide(Metadata(data.image_shape, data.labels), validation_images, seed).take(data.images)
