"""Labelled images in memory, and what may go wrong with them. Numpy only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class DataError(ValueError):
    """A dataset that is missing, damaged, or unfit for training; the message says which file and why."""


@dataclass(frozen=True)
class Metadata:
    """What is known of images without reading one.

    labels: (N,) int64, the class or identity of each. digest: a hash of all of it, where it is known beforehand.
    """

    image_shape: tuple[int, int, int]  # rows, columns, channels
    labels: NDArray[np.int64]
    dtype: str = "uint8"
    digest: str | None = None

    @property
    def images(self) -> int:
        """How many there are."""
        return len(self.labels)

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How many there are of each label."""
        labels, counts = np.unique(self.labels, return_counts=True)
        return dict(zip(labels.tolist(), counts.tolist(), strict=True))

    @property
    def image_bytes(self) -> int:
        """What one image takes in memory."""
        return math.prod(self.image_shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class LabelledImages:
    """Images (N, H, W) or (N, H, W, channels) as uint8, with labels (N,) as int64 in 0 … classes − 1."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.intp]) -> LabelledImages:
        return LabelledImages(self.images[index], self.labels[index])

    @property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1 if len(self) else 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(rows, columns, channels) of one image."""
        rows, columns, *channels = self.images.shape[1:]
        return rows, columns, channels[0] if channels else 1

    def pixel_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of all pixels, on the scale 0 … 255, from their exact histogram."""
        counts = np.bincount(self.images.reshape(-1), minlength=256).astype(np.float64)
        shares, levels = counts / counts.sum(), np.arange(256.0)
        mean = float(shares @ levels)
        return mean, float(np.sqrt(shares @ (levels - mean) ** 2))

    def digest(self) -> str:
        """A hash of every pixel, of the images' shape and of the labels."""
        found = hashlib.blake2b(f"{self.images.shape} {self.images.dtype}".encode(), digest_size=16)
        found.update(np.ascontiguousarray(self.images).data.cast("B"))
        found.update(self.labels.astype("<i8").tobytes())
        return found.hexdigest()
