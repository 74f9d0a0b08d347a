"""Where temporary folders are made: as TMPDIR says, where that can be used by Ray too."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from orchestrator.errors import CannotRun, Problem
from orchestrator.files.disk import Spot

SHORT = 26  # bytes of a path that leave room for Ray's: it puts sockets below, whose whole paths have at most 107
USUAL = ("/tmp", "/var/tmp")
NEEDED_BYTES = 200_000_000  # by a Ray of our own: its session, and what its object store spills
FIX = f"set TMPDIR to a folder of at most {SHORT} bytes that can be written in"


def parent() -> Path:
    """Where scratch folders are made. Raises CannotRun where there is no such place."""
    for folder in (_system(), *USUAL):
        if folder and not _unfit(folder):
            return Path(folder)
    named = os.environ.get("TMPDIR") or USUAL[0]
    raise CannotRun([Problem("TMPDIR", "Ray needs a folder for temporary files", f"{named} {_unfit(named)}", FIX)])


def note() -> str:
    """Why temporary folders are not made where TMPDIR says; "" where they are, or where it says nothing."""
    named = os.environ.get("TMPDIR")
    if not named or Path(named := os.path.abspath(named)) == parent():
        return ""
    return f"TMPDIR: {named} {_unfit(named) or 'takes no file now'}; {parent()} is used"


def problem(needed_bytes: int) -> Problem | None:
    """What keeps a Ray of our own from having its temporary files here."""
    try:
        spot = Spot.of(parent())
    except CannotRun as error:
        return error.problems[0]
    if spot.free_bytes >= needed_bytes:
        return None
    value = f"{spot}, about {needed_bytes / 1e9:.1f} GB needed"
    return Problem("TMPDIR", "temporary files must have room", value, f"free some, or {FIX}")


def _system() -> str:
    """What Python takes: the first of TMPDIR's and others that can be written in now."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return ""


def _unfit(folder: str) -> str:
    spot = Spot.of(Path(folder))
    if spot.there != Path(folder):
        return "is not there"
    if spot.obstacle:
        return spot.obstacle.removeprefix(f"{spot.there} ")
    return "" if len(os.fsencode(folder)) <= SHORT else f"has more than {SHORT} bytes, too many for Ray's sockets below"
