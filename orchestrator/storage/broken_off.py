"""What is said where a study is broken off: what happened, what is safe, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from orchestrator.errors import CannotRun, Interrupted
from orchestrator.files import temporary
from orchestrator.files.disk import Spot
from orchestrator.system import interruptions
from orchestrator.system.commands import ours


class Folder(Protocol):
    """A study's folder, as far as it matters here; as text it is where people find it."""

    root: Path

    def exists(self) -> bool: ...


@contextmanager
def broken_off(folder: Folder, verb: str) -> Iterator[None]:
    """Says of what the machine has done to a study what is safe and which verb goes on with it, by Interrupted."""
    try:
        yield
    except Interrupted as error:
        raise Interrupted(_sentence(str(error), folder, verb)) from error
    except (OSError, MemoryError) as error:
        cause = interruptions.of(error)
        if cause is None or cause.kind not in ("disk", "memory"):
            raise
        raise Interrupted(_sentence(cause.said, folder, verb)) from error


def _sentence(reason: str, folder: Folder, verb: str) -> str:
    """What happened, where room is short now, what is safe, and how to go on."""
    spots = map(Spot.of, _places(folder))
    short = [str(spot) for spot in spots if not spot.obstacle and spot.free_bytes < temporary.NEEDED_BYTES]
    reason = "; ".join(dict.fromkeys((reason, *short)))
    return f"{reason}\n{safe(folder, verb)}"


def safe(folder: Folder, verb: str) -> str:
    """What an end leaves now, and how to go on."""
    if not folder.exists():
        return "nothing was begun; launch it again"
    return f"what is recorded is safe; go on with: {ours(verb, folder)}"


def _places(folder: Folder) -> Iterator[Path]:
    """Where a study that runs has its files."""
    yield folder.root
    with suppress(CannotRun):
        yield temporary.parent()
