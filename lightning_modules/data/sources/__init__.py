"""A source's name to its images. Numpy only.

A source returns "train" (which the search splits into train and validation) or "t10k" (the sealed test).
"""

from __future__ import annotations

from pathlib import Path

from lightning_modules.data.images import DataError, LabelledImages, Metadata
from lightning_modules.data.sources import idx, mnist

SOURCES = ("mnist", "idx")


def load(source: str, path: Path | None, part: str) -> LabelledImages:
    """The images of one part; `path` is the folder of an `idx` source. Raises DataError."""
    if source == "mnist":
        return mnist.load(part)
    if source == "idx":
        return idx.load(_given(path), part)
    raise DataError(f"unknown source {source!r}; there are {', '.join(SOURCES)}")


def describe(source: str, path: Path | None, part: str) -> Metadata:
    """What is known of one part without reading an image of it. Raises DataError."""
    if source == "mnist":
        return mnist.describe(part)
    if source == "idx":
        return idx.describe(_given(path), part)
    raise DataError(f"unknown source {source!r}; there are {', '.join(SOURCES)}")


def _given(path: Path | None) -> Path:
    if path is None:
        raise DataError("an idx source needs a path: the folder with the four files")
    return path
