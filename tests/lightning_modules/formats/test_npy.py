"""Arrays that were cut, changed, or never were any: one ValueError, and no more memory than the file has bytes."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_modules.formats import npy


def saved(array: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **how)
    return stream.getvalue()


@pytest.mark.parametrize(
    "array",
    [np.zeros((0, 3)), np.arange(6, dtype=np.float16).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array(7)],
    ids=["empty", "half", "fortran", "number"],
)
def test_what_numpy_saves_is_read(array: Any, tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    np.save(path, array)
    for again in (npy.read(path), npy.decode(path.read_bytes())):
        np.testing.assert_array_equal(again, array)
        assert (again.dtype, again.flags.writeable) == (array.dtype, True)


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    content, path = saved(np.arange(6.0)), tmp_path / "array.npy"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="it "):
            npy.read(path)


def headed(header: bytes) -> bytes:
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + b"values"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        saved(np.array([{}], object), allow_pickle=True),
        headed(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}\n"),
        headed(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}\n"),
        headed(b"{'descr': '|V0', 'fortran_order': False, 'shape': (6,)}\n"),
        headed(b"{'descr': ('<u1', (2,)), 'fortran_order': False, 'shape': (3,)}\n"),
        headed(b"(" * 9000),
        headed(b"{'descr': '<u1', 'fortran_order': False, 'shape': (" + b"1," * 40 + b"6,)}\n"),
    ],
    ids=["empty", "text", "pickle", "terabytes", "negative", "nothing", "arrays", "nested", "dimensions"],
)
def test_what_is_no_array_of_numbers_is_refused_and_takes_no_memory(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        for reader, given in ((npy.read, path), (npy.decode, content)):
            with pytest.raises(ValueError, match="it "):
                reader(given)  # type: ignore[operator]
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
