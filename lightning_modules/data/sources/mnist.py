"""MNIST, from the files inside this package, checked against the SHA-256 of their content. Numpy only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightning_modules.data.images import LabelledImages, Metadata
from lightning_modules.data.sources import idx
from lightning_modules.data.sources.base import Source

FOLDER = Path(__file__).parents[1] / "mnist"
SHA256 = {
    "train": {
        "images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    "t10k": {
        "images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
}


class Mnist(Source):
    """The 60,000 training images and the 10,000 test images of handwritten digits."""

    source: Literal["mnist"] = "mnist"

    def metadata(self, part: str) -> Metadata:
        return replace(idx.metadata(FOLDER, part, SHA256[part]), digest="-".join(SHA256[part].values()))

    def images(self, part: str) -> NDArray[np.uint8]:
        return idx.images(FOLDER, part, SHA256[part])


def load(part: str) -> LabelledImages:
    """All images of a part ("train" or "t10k")."""
    return Mnist().load(part)
