"""The IDX reader: whole files are read, gzip-compressed or not, and damaged ones refused with a DataError."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightning_modules.data.images import DataError
from lightning_modules.data.sources import idx

Encode = Callable[[np.ndarray], bytes]
CUBE = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (2, 3), (2, 3, 4), (0, 28, 28), (2, 3, 4, 3), ()])
@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "gzip"])
def test_reads_back_any_array_of_bytes(
    shape: tuple[int, ...], compressed: bool, tmp_path: Path, idx_bytes: Encode
) -> None:
    values = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    path = tmp_path / ("file.gz" if compressed else "file")
    content = idx_bytes(np.asarray(values))
    path.write_bytes(gzip.compress(content) if compressed else content)
    found = idx.read(path)

    assert found.dtype == np.uint8
    assert found.shape == shape
    np.testing.assert_array_equal(found, values)


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, idx_bytes: Encode) -> None:
    content, path = idx_bytes(CUBE), tmp_path / "file"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=str(path)):
            idx.read(path)


def test_a_compressed_file_cut_short_anywhere_is_refused(tmp_path: Path, idx_bytes: Encode) -> None:
    content, path = gzip.compress(idx_bytes(CUBE)), tmp_path / "file.gz"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=str(path)):
            idx.read(path)


def test_a_compressed_file_with_any_flipped_byte_is_refused_or_read_right(tmp_path: Path, idx_bytes: Encode) -> None:
    content, path = gzip.compress(idx_bytes(CUBE), mtime=0), tmp_path / "file.gz"
    refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(bytes(damaged))
        try:
            np.testing.assert_array_equal(idx.read(path), CUBE)  # a byte of gzip's header that says nothing
        except DataError:
            refused += 1
    assert refused > len(content) / 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08", "begins with 000008"),
        (b"\x01\0\x08\x01\0\0\0\x01\x05", "begins with 01000801"),
        (b"\0\x01\x08\x01\0\0\0\x01\x05", "begins with 00010801"),
        (
            b"\0\0\x0d\x01\0\0\0\x01\x05\x05\x05\x05",
            "not an IDX file of unsigned bytes: it begins with 00000d01",
        ),
        (b"\0\0\x09\x01\0\0\0\x01\x05", "begins with 00000901"),
        (b"\0\0\x08\xff\0\0\0\x01\x05", "ends inside its header"),
        (b"\0\0\x08\x01\0\0\0\x02\x05", r"announces \(2,\) bytes, but 1 follow"),
        (b"\0\0\x08\x01\0\0\0\x01\x05\x06", r"announces \(1,\) bytes, but 2 follow"),
        (b"\0\0\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff\x05", "but 1 follow: the file is damaged"),
    ],
)
def test_what_is_no_idx_file_is_refused_with_the_reason(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        idx.read(path)


@pytest.mark.parametrize(
    "sizes", [(1,) * 65, (0, 2**32 - 1, 2**32 - 1)], ids=["too many dimensions", "dimensions too long"]
)
def test_sizes_that_no_array_can_have_are_refused(sizes: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "file"
    header = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)
    path.write_bytes(header + bytes(math.prod(sizes)))
    with pytest.raises(DataError, match=str(path)):
        idx.read(path)


@pytest.mark.parametrize("announced", [5, 2**30, 2**32 - 1])
def test_a_file_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(announced: int, tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    header = bytes([0, 0, 8, 1]) + struct.pack(">I", announced)
    path.write_bytes(gzip.compress(header) + gzip.compress(bytes(2**22)) * 256)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"announces \(\d+,\) bytes, but (more follow|its .* times as many)"):
            idx.read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*directory"):
        idx.read(tmp_path)


@pytest.mark.parametrize("content", [b"plain text, not gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03 broken stream"])
def test_a_broken_gzip_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"file\.gz cannot be read"):
        idx.read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent cannot be read"):
        idx.read(tmp_path / "absent")


@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "gzip"])
def test_the_hash_is_of_the_uncompressed_content(compressed: bool, tmp_path: Path, idx_bytes: Encode) -> None:
    content = idx_bytes(CUBE)
    path = tmp_path / ("file.gz" if compressed else "file")
    path.write_bytes(gzip.compress(content) if compressed else content)

    np.testing.assert_array_equal(idx.read(path, hashlib.sha256(content).hexdigest()), CUBE)
    wrong = hashlib.sha256(content[:-1] + b"\xff").hexdigest()
    with pytest.raises(DataError, match=f"not the file it should be.* {wrong}"):
        idx.read(path, wrong)


@pytest.mark.parametrize(("part", "number"), [("train", 12), ("t10k", 6)])
def test_a_folder_of_four_files_is_a_dataset(part: str, number: int, dataset: Path) -> None:
    data = idx.load(dataset, part)

    assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(data.images.reshape(-1), np.arange(number * 20))
    np.testing.assert_array_equal(data.labels, np.arange(number) % 3)


@pytest.mark.parametrize("name", ["t10k-images.idx3-ubyte", "t10k-images.idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"])
def test_files_are_found_under_each_name_they_are_published_by(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert idx.find(tmp_path, "t10k", "images") == tmp_path / name


def test_the_hashes_of_both_files_are_checked(dataset: Path, idx_bytes: Encode) -> None:
    images, labels = (idx.read(idx.find(dataset, "t10k", kind)) for kind in ("images", "labels"))
    right = {
        "images": hashlib.sha256(idx_bytes(images)).hexdigest(),
        "labels": hashlib.sha256(idx_bytes(labels)).hexdigest(),
    }
    assert len(idx.load(dataset, "t10k", right)) == 6
    for kind in right:
        with pytest.raises(DataError, match=f"{kind}.* is not the file it should be"):
            idx.load(dataset, "t10k", {**right, kind: "0" * 64})


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
@pytest.mark.parametrize("part", ["train", "t10k"])
def test_a_missing_part_is_named(part: str, kind: str, dataset: Path) -> None:
    for path in dataset.glob(f"{part}-{kind}*"):
        path.unlink()
    with pytest.raises(DataError, match=rf"holds no {part}-{kind}-ubyte\.gz"):
        idx.load(dataset, part)


def test_what_is_not_a_folder_is_refused(dataset: Path) -> None:
    for path in (dataset / "absent", dataset / "t10k-labels-idx1-ubyte"):
        with pytest.raises(DataError, match=f"{path} is not a folder"):
            idx.load(path, "train")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("labels-idx1", np.zeros(5, np.uint8), r"holds \(5,\) labels for 6 images"),
        ("labels-idx1", np.zeros(7, np.uint8), r"holds \(7,\) labels for 6 images"),
        ("labels-idx1", np.zeros((6, 1), np.uint8), r"holds \(6, 1\) labels for 6 images"),
        ("images-idx3", np.zeros((6, 20), np.uint8), r"should hold \(images, rows, columns\).*\(6, 20\)"),
        ("images-idx3", np.zeros((5, 4, 5), np.uint8), "labels for 5 images"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(
    kind: str, values: np.ndarray, message: str, dataset: Path, idx_bytes: Encode
) -> None:
    (dataset / f"t10k-{kind}-ubyte").write_bytes(idx_bytes(values))
    with pytest.raises(DataError, match=message):
        idx.load(dataset, "t10k")
