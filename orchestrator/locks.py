"""One process at a time: locks that go with the process that holds them, however it ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orchestrator.errors import CannotRun, Problem

AGAIN_S = 0.05


@contextmanager
def alone(path: Path, refusal: Problem, at_most_s: float = 0.0) -> Iterator[None]:
    """For as long as nobody else holds this lock. Raises CannotRun if someone still does after so long.

    Also where nobody can: in a folder that cannot be written in.
    """
    with _opened(path, refusal.place) as lock:
        if not _taken(lock, time.monotonic() + at_most_s):
            raise CannotRun([refusal])
        yield


def _opened(path: Path, place: str) -> IO[str]:
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        rule, fix = "whoever works in a folder must be able to write there", "make it writable, or copy it elsewhere"
        raise CannotRun([Problem(place, rule, f"{path}: {error.strerror}", fix)]) from error


def _taken(lock: IO[str], end: float) -> bool:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(AGAIN_S)


def free(path: Path) -> bool:
    """Whether nobody holds this lock now."""
    try:
        with open(path, encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
