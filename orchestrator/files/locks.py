"""One process at a time: locks that go with the process that holds them, however it ends.

They are the system's, or links (`lock_links`) where a file system has none.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import ENOLCK, ENOSYS, EOPNOTSUPP
from functools import partial
from pathlib import Path
from typing import IO

from orchestrator.errors import CannotRun, Problem
from orchestrator.files import lock_links

AGAIN_S = 0.05
NO_LOCKS = (ENOLCK, ENOSYS, EOPNOTSUPP)


@contextmanager
def alone(path: Path, refusal: Problem, at_most_s: float = 0.0) -> Iterator[None]:
    """For as long as nobody else holds this lock. Raises CannotRun if someone still does after so long.

    Also where nobody can: in a folder that cannot be written in.
    """
    with _opened(path, refusal.place) as lock:
        end = time.monotonic() + at_most_s
        while (let_go := _taken(lock, path, refusal.place)) is None:
            if time.monotonic() >= end:
                raise CannotRun([_told(refusal, path)])
            time.sleep(AGAIN_S)
        try:
            yield
        finally:
            let_go()


def _opened(path: Path, place: str) -> IO[str]:
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        rule, fix = "whoever works in a folder must be able to write there", "make it writable, or copy it elsewhere"
        raise CannotRun([Problem(place, rule, f"{path}: {error.strerror}", fix)]) from error


def _taken(lock: IO[str], path: Path, place: str) -> Callable[[], None] | None:
    """What lets go of the lock that was taken; None where someone else holds it. Raises CannotRun."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None if lock_links.owner(path) else lock.close  # a machine without locks may be at work there
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        own = lock_links.take(path)
    except OSError as error:
        rule, fix = "one process at a time works in a folder, by its locks or links", "use another file system"
        raise CannotRun([Problem(place, rule, f"{path}: {error.strerror}", fix)]) from error
    return partial(_let_go, own) if own else None


def _let_go(own: Path) -> None:
    with suppress(OSError):  # the folder was removed meanwhile, or takes no link: the work in it is done all the same
        lock_links.release(own)


def _told(refusal: Problem, path: Path) -> Problem:
    """The refusal, with the owner that a link names: if he was killed on another machine, only people know."""
    if not (owner := lock_links.owner(path)):
        return refusal
    value = f"process {owner['pid']} on {owner['host']} holds it, as {path}.* say"
    fix = f"{refusal.fix}; only if that process is certainly gone, remove those"
    return Problem(refusal.place, refusal.rule, value, fix)


def free(path: Path) -> bool:
    """Whether nobody holds this lock now."""
    try:
        with open(path, encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return lock_links.owner(path) is None
