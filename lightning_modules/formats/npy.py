"""Reads arrays in numpy's .npy format that may be broken: an array, or one ValueError that says what is wrong.

Nothing is unpickled, and no more memory is taken than the file has bytes, whatever its header announces.
"""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

# what a header may end in
BROKEN = (ValueError, SyntaxError, TokenError, TypeError, RecursionError, MemoryError, OverflowError)


def read(path: Path) -> NDArray[Any]:
    """The array in a file. Raises ValueError where it is broken, OSError where there is no file to read."""
    with open(path, "rb") as file:
        shape, order, dtype = _header(file, os.fstat(file.fileno()).st_size)
        return np.fromfile(file, dtype).reshape(shape, order=order)


def decode(content: bytes) -> NDArray[Any]:
    """The array that the bytes of such a file hold. Raises ValueError."""
    stream = io.BytesIO(content)
    shape, order, dtype = _header(stream, len(content))
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape, order=order).copy()


def _header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], Any, np.dtype[Any]]:
    """What a header announces, if exactly that follows it."""
    try:
        version = npy.read_magic(file)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = reader(file)
    except BROKEN as error:
        raise ValueError(f"it is no .npy file: {' '.join(str(error).split())[:200]}") from None
    if dtype.hasobject or not dtype.itemsize or dtype.shape or not all(0 <= length < 2**40 for length in shape):
        raise ValueError(f"it holds {dtype} of shape {shape}, not numbers")
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"it announces {dtype} of shape {shape}, but {size - file.tell():,} bytes follow")
    if len(shape) > 32:
        raise ValueError(f"it has {len(shape)} dimensions")
    return shape, "F" if fortran else "C", dtype
