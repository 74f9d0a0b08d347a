"""MNIST, from the files inside this package, checked against the SHA-256 of their content. Numpy only."""

from __future__ import annotations

from pathlib import Path

from lightning_modules.data.images import LabelledImages, Metadata
from lightning_modules.data.sources import idx

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


def load(part: str) -> LabelledImages:
    """The 60,000 training images (part "train") or the 10,000 test images ("t10k")."""
    return idx.load(FOLDER, part, SHA256[part])


def describe(part: str) -> Metadata:
    """What is known of a part without reading an image."""
    return idx.describe(FOLDER, part, SHA256[part])
