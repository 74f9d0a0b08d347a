"""A small dataset and a small study, for tests that run a whole search in seconds."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lightning_modules.data import mnist
from orchestrator.study import Study

TRAIN, TEST = 3000, 500


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An IDX folder with the first images of MNIST."""
    folder = tmp_path_factory.mktemp("small-mnist")
    for part, number in (("train", TRAIN), ("t10k", TEST)):
        data = mnist.load(part)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", data.images[:number])
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", data.labels[:number].astype(np.uint8))
    return folder


@pytest.fixture
def small_study(small_mnist: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a study of the small dataset; keyword arguments replace lines of it."""

    def write(**lines: str) -> Path:
        known = {
            "name": "small",
            "data": f"{{source: idx, path: {small_mnist}, validation_images: 1000}}",
            "body": "{width: 4}",
            "training": "{epochs: 2, batch_size: 64}",
            "search": "{trials_per_head: 2}",
            "heads": "{arcface: , cosface: }",
        }
        path = tmp_path / "small.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in (known | lines).items()))
        return path

    return write


@pytest.fixture
def load_small(small_study: Callable[..., Path]) -> Callable[..., Study]:
    return lambda **lines: Study.load(small_study(**lines))
