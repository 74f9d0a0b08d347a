"""One process at a time where a file system refuses locks, as Lustre and NFS do where they are mounted without.

A symbolic link is made by one process alone there too, and says at once whose it is: `.lock.1`, `.lock.2`, … The one
with the highest number counts. Whoever finds that its owner has let go, or is certainly gone, makes the next; none is
taken away before there is a higher one, so that no two processes can both believe that they were first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator import scratch

FREE = "free"


def take(lock: Path) -> Path | None:
    """The link that says that this process has the lock; None where someone else does. Raises OSError.

    Of an owner on another machine it cannot be known that he is gone.
    """
    while True:
        number, owner = _highest(lock)
        if owner is not None and not _gone(owner, lock):
            return None
        own = lock.with_name(f"{lock.name}.{number + 1}")
        try:
            os.symlink(json.dumps(scratch.this_process() | {"folder": _folder(lock)}), own)
        except FileExistsError:
            continue
        if _highest(lock)[0] == number + 1:
            for lower in range(number + 1):
                lock.with_name(f"{lock.name}.{lower}").unlink(missing_ok=True)
            return own
        own.unlink()  # someone who looked at the same time was further


def release(own: Path) -> None:
    """Lets go of a lock that was taken."""
    beside = own.with_name(f"{own.name}.{os.getpid()}")
    os.symlink(FREE, beside)
    os.replace(beside, own)


def owner(lock: Path) -> Mapping[str, Any] | None:
    """Who has the lock, as far as links tell; None where nobody does."""
    known = _highest(lock)[1]
    return None if known is None or _gone(known, lock) else known


def _highest(lock: Path) -> tuple[int, Mapping[str, Any] | None]:
    """The number of the link that counts, 0 without any, and whose it is."""
    pattern = re.compile(rf"{re.escape(lock.name)}\.(\d+)")
    numbers = [int(found[1]) for name in os.listdir(lock.parent) if (found := pattern.fullmatch(name))]
    if not numbers:
        return 0, None
    try:
        said = os.readlink(lock.with_name(f"{lock.name}.{max(numbers)}"))
    except FileNotFoundError:  # there is a higher one by now
        return _highest(lock)
    if said == FREE:
        return max(numbers), None
    known = json.loads(said)
    return max(numbers), known


def _gone(known: Mapping[str, Any], lock: Path) -> bool:
    """Whether a link's owner is no more, or has another folder, of which this one is a copy."""
    return known["folder"] != _folder(lock) or not scratch.may_live(known)


def _folder(lock: Path) -> int:
    return os.stat(lock.parent).st_ino
