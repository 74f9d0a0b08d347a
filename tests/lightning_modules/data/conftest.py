"""What the tests of data share: a writer of IDX files."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    """The IDX form of a uint8 array."""

    def encode(values: np.ndarray) -> bytes:
        return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()

    return encode


@pytest.fixture
def dataset(tmp_path: Path, idx_bytes: Callable[[np.ndarray], bytes]) -> Path:
    """A folder of four small IDX files: gzip-compressed for train, as they are for t10k."""
    for part, number in (("train", 12), ("t10k", 6)):
        images = np.arange(number * 20, dtype=np.uint8).reshape(number, 4, 5)
        labels = (np.arange(number) % 3).astype(np.uint8)
        for kind, dimensions, values in (("images", 3, images), ("labels", 1, labels)):
            content, name = idx_bytes(values), f"{part}-{kind}-idx{dimensions}-ubyte"
            if part == "train":
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (tmp_path / name).write_bytes(content)
    return tmp_path
