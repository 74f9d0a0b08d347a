"""Reads image datasets in the IDX format of MNIST: four files, gzip-compressed or not. Numpy only.

Format: two zero bytes, a type code (0x08: unsigned byte), the number of dimensions, each size as a big-endian
32-bit integer, then the values (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lightning_modules.data.images import DataError, LabelledImages, Metadata
from lightning_modules.data.sources.base import FolderSource
from lightning_modules.registry import FilePath

UNSIGNED_BYTE = 0x08
SMALL_BYTES = 64 * 2**20  # as many as this may be unpacked from any file
MOST_TIMES_SMALLER = 100  # than its content is a compressed file of images; gzip makes zeros a thousand times smaller
BLOCK_BYTES = 2**20
SIP_BYTES = 64  # of a compressed file, where only its header is wanted


class Readable(Protocol):
    """An open file, compressed or not."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; fewer at the end."""


class Idx(FolderSource):
    """A folder with the four files of a dataset in the IDX format, gzip-compressed or not."""

    source: Literal["idx"] = "idx"
    path: Annotated[FilePath, Field(description="the folder with its four files")]

    def metadata(self, part: str) -> Metadata:
        return metadata(self.folder, part)

    def images(self, part: str) -> NDArray[np.uint8]:
        return images(self.folder, part)


def find(folder: Path, part: str, kind: str) -> Path:
    """The file of `part` ("train" or "t10k") and `kind` ("images" or "labels"), compressed or not."""
    if not os.path.isdir(folder):  # also of a name that is too long
        raise DataError(f"{folder} is not a folder; it should hold the four IDX files of a dataset")
    dimensions = {"images": 3, "labels": 1}[kind]
    names = [f"{part}-{kind}{dash}idx{dimensions}-ubyte{end}" for dash in "-." for end in (".gz", "")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} holds no {names[0]} (nor the same without .gz)")


def read(path: Path, sha256: str | None = None) -> NDArray[np.uint8]:
    """The array of one IDX file of unsigned bytes; raises DataError for anything that is not one, whole.

    No more is unpacked than the header announces. `sha256`, where given, is what the uncompressed content must hash to.
    """
    try:
        with gzip.GzipFile(path) if path.suffix == ".gz" else open(path, "rb") as file:
            header, shape = _header(file, path)
            _check_size(path, len(header), shape)
            values = np.empty(math.prod(shape), np.uint8)
            found = _fill(values, file)
            if found < len(values) or file.read(1):
                raise _damaged(path, shape, "more" if found == len(values) else str(found))
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}") from error
    if sha256 is not None and hashlib.sha256(header + values.data).hexdigest() != sha256:
        raise DataError(f"{path} is not the file it should be: the SHA-256 of its content is not {sha256}")
    try:
        return values.reshape(shape)
    except ValueError as error:
        raise DataError(f"{path} announces a shape that no array can have: {error}") from error


def metadata(folder: Path, part: str, sha256: Mapping[str, str] | None = None) -> Metadata:
    """What the header of the image file and the labels tell of a part; of the images' file no more is read than that.

    Raises DataError where they do not fit each other. `sha256` may hold the hash of "labels".
    """
    images_path, labels_path = find(folder, part, "images"), find(folder, part, "labels")
    shape, labels = shape_of(images_path), read(labels_path, (sha256 or {}).get("labels"))
    _check_parts(images_path, shape, labels_path, labels.shape)
    return Metadata((shape[1], shape[2], 1), labels.astype(np.int64))


def images(folder: Path, part: str, sha256: Mapping[str, str] | None = None) -> NDArray[np.uint8]:
    """All images (N, H, W) of a part. `sha256` may hold the hash of "images". Raises DataError."""
    return read(find(folder, part, "images"), (sha256 or {}).get("images"))


def load(folder: Path, part: str, sha256: Mapping[str, str] | None = None) -> LabelledImages:
    """Images and labels of a part, in memory. Raises DataError where they do not fit each other."""
    return LabelledImages(images(folder, part, sha256), metadata(folder, part, sha256).labels)


def shape_of(path: Path) -> tuple[int, ...]:
    """The shape that an IDX file announces, if its size says that it is all there; the values are not read."""
    try:
        with open(path, "rb", buffering=0) as file:
            header, shape = _header(_Sips(file) if path.suffix == ".gz" else file, path)
            _check_size(path, len(header), shape)
            if path.suffix == ".gz":
                file.seek(-4, os.SEEK_END)
                if struct.unpack("<I", file.read(4))[0] != (len(header) + math.prod(shape)) % 2**32:
                    rule = "its last bytes tell of another size"
                    raise DataError(f"{path} announces {shape} bytes, but {rule}: it is cut short, or unpack it")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}") from error
    return shape


class _Sips:
    """The beginning of a compressed file, of which hardly more is read, and no more unpacked, than is asked for."""

    def __init__(self, file: Readable) -> None:
        self._file, self._unpacking = file, zlib.decompressobj(zlib.MAX_WBITS | 16)

    def read(self, size: int, /) -> bytes:
        found = b""
        while len(found) < size and not self._unpacking.eof:
            packed = self._unpacking.unconsumed_tail or self._file.read(SIP_BYTES)
            if not packed:
                raise EOFError("it ends before its content does")
            found += self._unpacking.decompress(packed, size - len(found))
        return found


def _header(file: Readable, path: Path) -> tuple[bytes, tuple[int, ...]]:
    """The header of an IDX file as it stands there, and the shape that it announces."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != UNSIGNED_BYTE:
        raise DataError(f"{path} is not an IDX file of unsigned bytes: it begins with {magic.hex() or 'nothing'}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{path} ends inside its header")
    return magic + sizes, struct.unpack(f">{magic[3]}I", sizes)


def _check_size(path: Path, header_bytes: int, shape: tuple[int, ...]) -> None:
    """Refuses, before anything is unpacked, sizes that cannot be in this file or could only be there to do harm."""
    on_disk, announced = path.stat().st_size, math.prod(shape)
    if path.suffix != ".gz":
        if announced != on_disk - header_bytes:
            raise _damaged(path, shape, str(on_disk - header_bytes))
    elif announced > max(SMALL_BYTES, MOST_TIMES_SMALLER * on_disk):
        rule = f"its {on_disk:,} bytes are taken to hold at most {MOST_TIMES_SMALLER} times as many"
        raise DataError(f"{path} announces {shape} bytes, but {rule}: the file is damaged, or compress it less")


def _damaged(path: Path, shape: tuple[int, ...], follow: str) -> DataError:
    return DataError(f"{path} announces {shape} bytes, but {follow} follow: the file is damaged")


def _fill(values: NDArray[np.uint8], file: Readable) -> int:
    """Reads values until there are enough or no more; returns how many."""
    filled = 0
    while filled < len(values) and (block := file.read(min(BLOCK_BYTES, len(values) - filled))):
        values[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
        filled += len(block)
    return filled


def _check_parts(images_path: Path, images: tuple[int, ...], labels_path: Path, labels: tuple[int, ...]) -> None:
    if len(images) != 3:
        raise DataError(f"{images_path} should hold (images, rows, columns), but its shape is {images}")
    if len(labels) != 1 or labels[0] != images[0]:
        raise DataError(f"{labels_path} holds {labels} labels for {images[0]} images")
