"""Whose an end is: the trial's own, or the machine's. What a machine did says nothing of what a trial is worth.

A full or failing disk, memory that is short, a process that was killed, a lost device, node or network: a trial that
ended so goes on later, from its checkpoint. Its own are a loss that is no number, an error in its code, a crash of its
process that comes again, and a GPU's memory that its configuration does not fit into. Pure; knows no Ray.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["disk", "memory", "device", "process", "other"]
DISK = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.ESTALE, errno.ENOTCONN, errno.ENODEV)
)
SHORT = frozenset((errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN))
# Libraries in other languages raise errors of their own, with the operating system's words or with theirs.
IN_WORDS: dict[Kind, re.Pattern[str]] = {
    "disk": re.compile(
        r"no space left on device|disk quota exceeded|input/output error|read-only file system|file too large"
        r"|PytorchStreamWriter failed writing|inline_container.*unexpected pos|local disk is full",
        re.IGNORECASE,
    ),
    "memory": re.compile(
        r"(?:can't|cannot) allocate memory|DefaultCPUAllocator: not enough memory|std::bad_alloc|ObjectStoreFullError",
        re.IGNORECASE,
    ),
    "device": re.compile(
        r"CUDA.*(?:ECC error|busy or unavailable|no CUDA-capable device|unknown error|initialization error|hardware)"
        r"|(?:NVLink|fallen off the bus)",
        re.IGNORECASE,
    ),
}


@dataclass(frozen=True)
class Cause:
    """What a machine did. said: the rest of a sentence."""

    kind: Kind
    said: str

    @property
    def comes_again(self) -> bool:
        """Whether it is of no use to try again at once: what one trial could not write, no other can."""
        return self.kind == "disk"


def of(error: BaseException) -> Cause | None:
    """What the machine did, if an error tells of that; None for one that the program itself has made."""
    for each in _chain(error):
        if kind := _kind(each):
            return Cause(kind, _said(each))
    return None


def _kind(error: BaseException) -> Kind | None:
    if isinstance(error, OSError) and error.errno in DISK:
        return "disk"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORT):
        return "memory"
    other: Kind | None = "other" if isinstance(error, OSError) else None  # no configuration is wrong in such a way
    return next((kind for kind, words in IN_WORDS.items() if words.search(str(error))), other)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it came from."""
    waiting: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or any(each is known for known in seen):
            continue
        seen.append(each)
        yield each
        waiting += [getattr(each, "cause", None), each.__cause__, each.__context__]


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
