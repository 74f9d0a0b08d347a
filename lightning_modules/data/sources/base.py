"""What a source gives: its options; what is known of its images without reading one; and later the images. Numpy only.

Parts are "train", which a search splits into train and validation, and "t10k", the sealed test.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_modules.data.images import DataError, LabelledImages, Metadata
from lightning_modules.registry import FilePath, Options

PARTS = ("train", "t10k")


class Images(Protocol):
    """Images (N, H, W) or (N, H, W, channels) by their numbers: an array in memory, mapped, or read when asked for."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, numbers: NDArray[np.intp], /) -> NDArray[np.uint8]:
        """Copies of some of them, in the order of `numbers`."""


class Source(Options, ABC):
    """A source and its options, which are the fields of the subclass: `Idx(path="faces").metadata("train")`.

    A subclass states its name as a literal with itself as default.
    """

    source: str

    @abstractmethod
    def metadata(self, part: str) -> Metadata:
        """What is known of a part without reading a pixel; plans need no more. Raises DataError."""

    @abstractmethod
    def images(self, part: str) -> Images:
        """The images of a part, as many as `metadata` says, in the order of its labels. Raises DataError."""

    def load(self, part: str) -> LabelledImages:
        """All images of a part, in memory. Raises DataError."""
        known = self.metadata(part)
        return LabelledImages(self.images(part)[np.arange(known.images)], known.labels)


class FolderSource(Source):
    """A source that lies in a folder. path: where, relative to the study's file."""

    path: FilePath

    @property
    def folder(self) -> Path:
        """The folder, there or not; ~ is home. Raises DataError for what no folder can be called."""
        try:
            return Path(self.path).expanduser()
        except (RuntimeError, ValueError) as error:
            raise DataError(f"{self.path!r} is no folder's name: {error}") from error
