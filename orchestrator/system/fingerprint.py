"""What code trains: a hash of its sources, the same wherever they lie.

A folder with another `orchestrator` in it may stand in front of a process's path, a cluster's node may have another
version installed, and files may be changed while a search runs. Numbers come from the code that trains a model, so
each trial compares its own with the driver's, and provenance keeps it.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]  # the folder that this code's packages are imported from
PACKAGES = ("lightning_modules", "search_spaces")
MODULES = tuple(
    f"orchestrator/{name}.py"
    for name in (
        "system/fingerprint",
        "system/interruptions",
        "trials/trainable",
        "trials/trial",
        "trials/data_parallel",
    )
)
DIGITS = 16


@cache
def of_code() -> str:
    """The fingerprint of the code that trains in this process, as it was when this was first asked."""
    return of(HOME)


def search_path() -> list[str]:
    """What stands in front of another process's path so that it imports this code; nothing where Python finds it."""
    installed = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    return [] if str(HOME) in installed else [str(HOME)]


def differs(drivers: str) -> str:
    """Why this process must not train for a driver whose code has that fingerprint; "" where it may."""
    return "" if of_code() == drivers else f"{HOME} has {of_code()}, the driver {drivers}"


def of(home: Path) -> str:
    """The fingerprint of what trains, among the packages in a folder."""
    digest = hashlib.sha256()
    for name in sorted(_names(home)):
        content = (home / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:DIGITS]


def _names(home: Path) -> Iterator[str]:
    """Of all files with code but hidden ones: an editor's, which nothing imports."""
    yield from MODULES
    for package in PACKAGES:
        names = (path.relative_to(home) for path in (home / package).rglob("*.py"))
        yield from (name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))
