"""Batches by index: an order of image numbers per epoch, sliced out of one uint8 array; no per-item Python.

The order depends on (seed, epoch) alone, so a run that resumes at epoch 3 sees the batches it would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from lightning_modules.data.augmentation import shifted
from lightning_modules.data.images import LabelledImages
from lightning_modules.data.splits import TrialData
from lightning_modules.distributed import gather

Batch = tuple[torch.Tensor, torch.Tensor]
VALIDATION_BATCH = 1000


def shuffled(labels: NDArray[np.int64], batch_size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """A random order (batches, batch_size); the images left over at the end rest for this epoch."""
    number = len(labels) // batch_size
    return rng.permutation(len(labels))[: number * batch_size].reshape(number, batch_size)


def balanced(
    labels: NDArray[np.int64], batch_size: int, images_per_class: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """A random order (batches, at most batch_size) in which all classes of a batch have equally many images.

    A batch holds every class where at least `images_per_class` of each fit in, otherwise as many different classes
    as fit with that many. Every class is shuffled and cut into groups; round r takes the r-th group of every class
    and deals them out in random order. What does not fill a batch rests for this epoch. A smallest class with fewer
    images makes the groups smaller, down to 2.
    """
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by class, random inside each
    counts = np.bincount(labels)
    classes, smallest = np.count_nonzero(counts), counts[counts > 0].min()
    size = min(max(images_per_class, batch_size // classes), max(2, smallest))
    per_batch = min(batch_size // size, classes)

    within = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    whole = within < np.repeat(counts - counts % size, counts)
    groups, rounds = order[whole].reshape(-1, size), within[whole][::size] // size
    dealt = np.lexsort((rng.random(len(groups)), rounds))
    groups, rounds = groups[dealt], rounds[dealt]
    in_round = np.bincount(rounds)
    position = np.arange(len(groups)) - np.repeat(np.cumsum(in_round) - in_round, in_round)
    kept = position < np.repeat(in_round - in_round % per_batch, in_round)
    batches: NDArray[np.intp] = groups[kept].reshape(-1, per_batch * size)
    return rng.permutation(batches)


class IndexedBatches:
    """Iterates (images uint8, labels int64) over an order (batches, batch_size) of image numbers.

    offsets: by which each image is moved (batches, batch_size, 2), in px. rank, workers: of a batch that several share,
    each gets every `workers`-th image from its rank on, and all labels.
    """

    def __init__(
        self,
        data: LabelledImages,
        order: list[NDArray[np.intp]] | NDArray[np.intp],
        offsets: NDArray[np.int8] | None = None,
        rank: int = 0,
        workers: int = 1,
    ) -> None:
        self.data, self.order, self.offsets, self.rank, self.workers = data, order, offsets, rank, workers

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        most_px = 0 if self.offsets is None else int(np.abs(self.offsets).max(initial=0))
        for number, index in enumerate(self.order):
            own = slice(self.rank, None, self.workers)
            images = self.data.images[index[own]]  # a copy: a read-only array in shared memory is never aliased
            if self.offsets is not None and most_px:
                images = shifted(images, self.offsets[number, own], most_px)
            yield torch.from_numpy(images), torch.from_numpy(self.data.labels[index])


class ImageBatches(pl.LightningDataModule):
    """Feeds a fit from a TrialData.

    balance: asks for class-balanced batches (for triplets). shift_px: by how much training images are moved at most.
    """

    def __init__(
        self, data: TrialData, batch_size: int, seed: int, balance: int | None = None, shift_px: int = 0
    ) -> None:
        super().__init__()
        self.data, self.batch_size, self.seed, self.balance = data, batch_size, seed, balance
        self.shift_px = shift_px

    def train_dataloader(self) -> Any:
        """The batches of the trainer's current epoch; the trainer must reload them every epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        rng = np.random.default_rng([self.seed, epoch])
        labels = self.data.train.labels
        if self.balance is None:
            order = shuffled(labels, self.batch_size, rng)
        else:
            order = balanced(labels, self.batch_size, self.balance, rng)
        offsets = rng.integers(-self.shift_px, self.shift_px, (*order.shape, 2), np.int8, endpoint=True)
        return self._shared(self.data.train, order, offsets)

    def val_dataloader(self) -> Any:
        """All validation images in their own order."""
        size = len(self.data.validation)
        chunks = np.array_split(np.arange(size), math.ceil(size / VALIDATION_BATCH))
        return self._shared(self.data.validation, chunks)

    def _shared(self, data: LabelledImages, order: Any, offsets: NDArray[np.int8] | None = None) -> IndexedBatches:
        """This worker's part of every batch, where there are several."""
        return IndexedBatches(data, order, offsets, gather.rank(), gather.workers())
