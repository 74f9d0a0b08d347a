"""Whose an end is: the trial's own, or the machine's. What a machine did says nothing of what a trial is worth.

A full or failing disk, memory that is short, a process that was killed, a lost device, node or network: a trial that
ended so goes on later, from its checkpoint. Its own are a loss that is no number, an error in its code, a crash of its
process that comes again, and a GPU's memory that its configuration does not fit into. Pure; knows no Ray.
"""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator import cgroups, temporary
from orchestrator.commands import ours
from orchestrator.disk import Spot
from orchestrator.errors import Interrupted

if TYPE_CHECKING:
    from orchestrator.records import StudyFolder

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
CRASHES = re.compile(r"^\*\*\* (SIGSEGV|SIGFPE|SIGILL) received", re.MULTILINE)
SIGNALLED = re.compile(r"^\*\*\* (SIG[A-Z]+) received", re.MULTILINE)


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


class Deaths:
    """Finds out what ended the processes of a session.

    here: the folder of the Ray that they belong to, if it is on this machine. memory: in words, what is asked for and
    what is there.
    """

    def __init__(self, here: Path | None, memory: str) -> None:
        self._here, self._memory = here, memory
        self._oom_kills = cgroups.oom_kills()

    def of(self, text: str) -> Cause:
        """What is known of a process, with Ray's error that tells of its death."""
        before, self._oom_kills = self._oom_kills, cgroups.oom_kills()
        return death(
            text, _last_words(text, self._here), self._here is not None and self._oom_kills > before, self._memory
        )

    def crash(self, text: str) -> str:
        """The signal by which a process ended itself, as by a fault in a library; empty where others ended it."""
        return found[1] if (found := CRASHES.search(_last_words(text, self._here))) else ""


def death(text: str, last_words: str, oom_killed: bool, memory: str) -> Cause:
    """What is known of a process that died.

    text: of Ray's error. last_words: in the process's own log. oom_killed: whether the kernel has just ended one.
    """
    if "ray.kill" in text:
        return Cause("process", "it had reported nothing for so long that its process was ended")
    if "killed due to the node running low on memory" in text or "OutOfMemoryError" in text:
        return Cause("memory", f"its process was ended because memory was short; {memory}")
    if oom_killed:
        return Cause("memory", f"its process was ended by the kernel because memory was short (oom_kill); {memory}")
    if re.search(r"node (?:has )?died|node was (?:terminated|preempted)|NodeDied", text):
        return Cause("process", "its node was lost")
    if found := SIGNALLED.search(last_words):
        return Cause("process", f"its process ended by {found[1]}")
    code = re.search(r"exit code[ =:]+(-?\d+)", text)
    known = f" with exit code {code[1]}" if code else ", without a word of its own, as by SIGKILL"
    return Cause("process", f"its process died{known}")


def _last_words(text: str, folder: Path | None) -> str:
    """What a process that died wrote to its log, found by its process id in Ray's error."""
    pid = re.search(r"pid[:=] ?(\d+)", text)
    if not pid or folder is None:
        return ""
    try:
        return "\n".join(
            path.read_text(encoding="utf-8", errors="replace") for path in folder.glob(f"**/logs/worker-*-{pid[1]}.err")
        )
    except OSError:
        return ""


@contextmanager
def broken_off(folder: StudyFolder, verb: str) -> Iterator[None]:
    """Says of what the machine has done to a study what is safe and which verb goes on with it, by Interrupted."""
    try:
        yield
    except Interrupted as error:
        raise Interrupted(_sentence(str(error), folder, verb)) from error
    except (OSError, MemoryError) as error:
        cause = of(error)
        if cause is None or cause.kind not in ("disk", "memory"):
            raise
        raise Interrupted(_sentence(cause.said, folder, verb)) from error


def _sentence(reason: str, folder: StudyFolder, verb: str) -> str:
    """What happened, where room is short now, what is safe, and how to go on."""
    spots = map(Spot.of, (folder.root, Path(tempfile.gettempdir())))
    short = [str(spot) for spot in spots if not spot.obstacle and spot.free_bytes < temporary.NEEDED_BYTES]
    reason = "; ".join(dict.fromkeys((reason, *short)))
    safe = f"what is recorded is safe; go on with: {ours(verb, folder)}"
    return f"{reason}\n{safe if folder.exists() else 'nothing was begun; launch it again'}"
