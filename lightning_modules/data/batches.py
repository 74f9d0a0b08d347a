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

from lightning_modules.data.images import LabelledImages
from lightning_modules.data.splits import TrialData

Batch = tuple[torch.Tensor, torch.Tensor]
VALIDATION_BATCH = 1000


def shuffled(labels: NDArray[np.int64], batch_size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """A random order (batches, batch_size); the images left over at the end rest for this epoch."""
    number = len(labels) // batch_size
    return rng.permutation(len(labels))[: number * batch_size].reshape(number, batch_size)


def balanced(
    labels: NDArray[np.int64], batch_size: int, images_per_class: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """A random order (batches, batch_size) in which each class of a batch has `images_per_class` images.

    Every class is shuffled and cut into groups; round r takes the r-th group of every class, in random order, so
    a batch meets as many different classes as it has groups.
    """
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by class, random inside each
    counts = np.bincount(labels)
    within = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    usable = within < np.repeat(counts - counts % images_per_class, counts)
    groups = order[usable].reshape(-1, images_per_class)
    rounds = within[usable].reshape(-1, images_per_class)[:, 0]
    groups = groups[np.lexsort((rng.random(len(groups)), rounds))]
    per_batch = batch_size // images_per_class
    number = len(groups) // per_batch
    return groups[: number * per_batch].reshape(number, per_batch * images_per_class)


class IndexedBatches:
    """Iterates (images uint8, labels int64) over an order (batches, batch_size) of image numbers."""

    def __init__(self, data: LabelledImages, order: list[NDArray[np.intp]] | NDArray[np.intp]) -> None:
        self.data, self.order = data, order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        for index in self.order:  # indexing copies, so a read-only array in shared memory is never aliased
            yield torch.from_numpy(self.data.images[index]), torch.from_numpy(self.data.labels[index])


class ImageBatches(pl.LightningDataModule):
    """Feeds a fit from a TrialData; `balance` asks for class-balanced batches (for triplets)."""

    def __init__(self, data: TrialData, batch_size: int, seed: int, balance: int | None = None) -> None:
        super().__init__()
        self.data, self.batch_size, self.seed, self.balance = data, batch_size, seed, balance

    def train_dataloader(self) -> Any:
        """The batches of the trainer's current epoch; the trainer must reload them every epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        rng = np.random.default_rng([self.seed, epoch])
        labels = self.data.train.labels
        if self.balance is None:
            return IndexedBatches(self.data.train, shuffled(labels, self.batch_size, rng))
        return IndexedBatches(self.data.train, balanced(labels, self.batch_size, self.balance, rng))

    def val_dataloader(self) -> Any:
        """All validation images in their own order."""
        size = len(self.data.validation)
        chunks = np.array_split(np.arange(size), math.ceil(size / VALIDATION_BATCH))
        return IndexedBatches(self.data.validation, chunks)
