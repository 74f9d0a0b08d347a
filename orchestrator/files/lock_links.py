"""One process at a time where a file system refuses locks, as Lustre and NFS do where they are mounted without.

A symbolic link is made by one process alone there too, and says at once whose it is: `.lock.1`, `.lock.2`, … The one
with the highest number counts. Whoever finds that its owner has let go, or is certainly gone, makes the next. None is
removed before there is a higher one, so that no two processes can both believe that they were first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.files import scratch

FREE = "free"  # what the link says whose owner has let go


def take(lock: Path) -> Path | None:
    """The link by which this process has the lock now; None where someone else has it. Raises OSError.

    An owner on another machine has it until he lets go: whether he is gone cannot be known here.
    """
    while True:
        before = _numbers(lock)  # one look: a link counts as free by the number that the next one has
        number = max(before, default=0) + 1
        if before and _owner(lock, number - 1):
            return None
        own = _link(lock, number)
        try:
            os.symlink(json.dumps(scratch.this_process() | {"folder": _folder(lock)}), own)
        except FileExistsError:
            continue
        if max(_numbers(lock), default=0) == number:
            for lower in before:
                _link(lock, lower).unlink(missing_ok=True)
            return own
        own.unlink(missing_ok=True)  # of a number that was free again: others had gone further


def release(own: Path) -> None:
    """Lets go of a lock that was taken. Raises OSError, as of a full disk: it goes with this process then."""
    beside = own.with_name(f"{own.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)  # left by one of the same number that was killed
    os.symlink(FREE, beside)
    os.replace(beside, own)


def owner(lock: Path) -> Mapping[str, Any] | None:
    """The process that has the lock, as far as links tell; None where there is none, or certainly no more.

    What is called like a link and names no process is nobody's.
    """
    numbers = _numbers(lock)
    return _owner(lock, max(numbers)) if numbers else None


def _owner(lock: Path, number: int) -> Mapping[str, Any] | None:
    try:
        said = os.readlink(_link(lock, number))
    except FileNotFoundError:  # there is a higher one by now
        return owner(lock)
    except OSError:  # it is a file
        return None
    known = scratch.named(os.fsencode(said))  # nobody, where it is free
    if known is None or known.get("folder") != _folder(lock):  # copied with a folder in which someone is at work
        return None
    return known if scratch.may_live(known) else None


def unlinked(folder: Path) -> Iterator[Path]:
    """What else a folder holds than such links."""
    return (path for path in folder.iterdir() if not re.fullmatch(r"\..*lock\.\d+", path.name))


def _numbers(lock: Path) -> list[int]:
    pattern = re.compile(rf"{re.escape(lock.name)}\.(\d+)")
    return [int(found[1]) for name in os.listdir(lock.parent) if (found := pattern.fullmatch(name))]


def _link(lock: Path, number: int) -> Path:
    return lock.with_name(f"{lock.name}.{number}")


def _folder(lock: Path) -> int:
    return os.stat(lock.parent).st_ino
