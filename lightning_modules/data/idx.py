"""Reads image datasets in the IDX format of MNIST: four files, gzip-compressed or not. Numpy only.

Format: two zero bytes, a type code (0x08: unsigned byte), the number of dimensions, each size as a big-endian
32-bit integer, then the values (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_modules.data.images import DataError, LabelledImages

UNSIGNED_BYTE = 0x08


def find(folder: Path, part: str, kind: str) -> Path:
    """The file of `part` ("train" or "t10k") and `kind` ("images" or "labels"), compressed or not."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it should hold the four IDX files of a dataset")
    dimensions = {"images": 3, "labels": 1}[kind]
    names = [f"{part}-{kind}{dash}idx{dimensions}-ubyte{end}" for dash in "-." for end in (".gz", "")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} holds no {names[0]} (nor the same without .gz)")


def read(path: Path, sha256: str | None = None) -> NDArray[np.uint8]:
    """The array of one IDX file of unsigned bytes; raises DataError for anything that is not one, whole.

    `sha256`, where given, is what the uncompressed content must hash to.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path} is not the file it should be: the SHA-256 of its content is not {sha256}")
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise DataError(f"{path} is not an IDX file of unsigned bytes: it begins with {content[:4].hex() or 'nothing'}")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path} ends inside its header")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DataError(f"{path} announces {shape} bytes, but {len(content) - start} follow: the file is damaged")
    try:
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    except ValueError as error:
        raise DataError(f"{path} announces a shape that no array can have: {error}") from error


def load(folder: Path, part: str, sha256: Mapping[str, str] | None = None) -> LabelledImages:
    """Images and labels of one part of the dataset; raises DataError where they do not fit each other.

    `sha256`, where given, maps "images" and "labels" to the hashes of their uncompressed files.
    """
    sha256 = sha256 or {}
    images_path, labels_path = find(folder, part, "images"), find(folder, part, "labels")
    images, labels = read(images_path, sha256.get("images")), read(labels_path, sha256.get("labels"))
    if images.ndim != 3:
        raise DataError(f"{images_path} should hold (images, rows, columns), but its shape is {images.shape}")
    if labels.ndim != 1 or len(labels) != len(images):
        raise DataError(f"{labels_path} holds {labels.shape} labels for {len(images)} images")
    return LabelledImages(images, labels.astype(np.int64))
