"""Files on disk, each written whole or not at all."""

from __future__ import annotations

import io
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEFT_S = 60.0  # no write takes that long


def write_atomic(path: Path, content: bytes | str) -> None:
    """Writes a whole file or nothing: beside it first, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)  # on a full disk half a file is in everybody's way
        raise


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Writes an array as .npy, whole or not at all."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    write_atomic(path, stream.getvalue())


def remove_unfinished(root: Path, pid: int) -> None:
    """Removes what `write_atomic` of a process that was ended has left half written below a folder."""
    for left in root.rglob(f".*.{pid}"):
        left.unlink(missing_ok=True)


def remove_left(root: Path) -> None:
    """Removes what `write_atomic` of processes that are gone has left half written below a folder.

    A folder may be shared: of a process on another machine only the age of what it writes can be seen.
    """
    for left in root.rglob(".*.*.*[0-9]"):  # all that it writes has an ending: .backup.2026 is someone's
        pid = left.name.rpartition(".")[2]
        with suppress(OSError):
            old = time.time() - left.stat().st_mtime > LEFT_S
            if pid.isdecimal() and old and left.is_file() and not Path(f"/proc/{pid}").exists():
                left.unlink()
