"""Whether a folder can be made, or written in, and how much room it has: asked before anything is."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import CannotRun, Problem


@dataclass(frozen=True)
class Spot:
    """Where a folder is, or would be made. there: itself, or its nearest parent that is there.

    obstacle: why nothing can be written there, "" where it can.
    """

    there: Path
    free_bytes: int
    obstacle: str

    @classmethod
    def of(cls, folder: Path) -> Spot:
        there = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
        if not there.exists():
            return cls(there, 0, f"{there} is a link to {os.readlink(there)}, which is not there")
        if not there.is_dir():
            return cls(there, 0, f"{there} is a file")
        writable = os.access(there, os.W_OK | os.X_OK)
        return cls(there, shutil.disk_usage(there).free, "" if writable else f"{there} is not writable")

    def __str__(self) -> str:
        return self.obstacle or f"{self.free_bytes / 1e9:.1f} GB free at {self.there}"


def used_bytes(folder: Path) -> int:
    """How much the files in a folder take, as far as they can be looked at."""
    taken = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # removed meanwhile
            found = path.lstat()
            taken += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return taken


def make(folder: Path) -> None:
    """The folder is there when this returns. Raises CannotRun where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        rule, fix = "a study's folder is made where one can be", "use --results elsewhere"
        raise CannotRun([Problem("results", rule, f"{folder}: {error.strerror}", fix)]) from error
