"""IDX files that are broken, compressed or not: an array or a DataError."""

from __future__ import annotations

import gzip
from pathlib import Path
from random import Random

import numpy as np

from lightning_modules.data.images import DataError
from lightning_modules.data.sources import idx
from tests.fuzz import mutations
from tests.fuzz.child import Case

CASES = 3000
SHAPES = ((), (0,), (60,), (12, 5, 4), (3, 28, 28), (2, 3, 4, 3))


def prepare(folder: Path) -> Case:
    """Files of random bytes in every shape that is usual."""
    drawn = np.random.default_rng(0)
    valid = [_encoded(drawn.integers(256, size=shape, dtype=np.uint8)) for shape in SHAPES]

    def case(random: Random) -> str:
        content, compressed = random.choice(valid), random.random() < 0.5
        inside = not compressed or random.random() < 0.6
        if inside:
            content = mutations.of_bytes(content, random)
        if compressed:
            content = gzip.compress(content, compresslevel=1, mtime=0)
        if not inside:
            content = mutations.of_bytes(content, random)
        if random.random() < 0.02:
            content = _bomb(random)
        path = folder / ("file.gz" if compressed else "file")
        path.write_bytes(content)
        try:
            idx.read(path)
        except DataError:
            return "refused"
        return "read"

    return case


def _encoded(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape) + values.tobytes()


def _bomb(random: Random) -> bytes:
    """Some kilobytes that unpack to gigabytes, announced or not."""
    header = bytes([0, 0, 8, 1]) + random.choice((5, 2**31, 2**32 - 1)).to_bytes(4, "big")
    member = gzip.compress(bytes(10**7), mtime=0)
    return gzip.compress(header, mtime=0) + member * 400
