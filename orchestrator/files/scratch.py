"""The temporary folder of a driver, and whose it is: nothing of a process that may still be at work is ever removed.

A process id alone names several processes, one after another. With the moment of its start, the machine and that
machine's boot it names one. Knows no study: a study's folder says where the scratch of its last driver was.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_modules.formats import json_text
from orchestrator.files.atomic import write_atomic
from orchestrator.files.temporary import parent

PREFIX = "heads-"
MARK = "driver.json"  # in a scratch: the driver that made it


def this_process() -> dict[str, Any]:
    """What tells this process from every other: ids, start in clock ticks, machine, and boot of the machine."""
    pid = os.getpid()
    return {"pid": pid, "born": _born(pid), "host": os.uname().nodename, "boot": _boot(), "pids": _pids()}


def may_live(driver: Mapping[str, Any]) -> bool:
    """Whether the process of a driver may still be at work; of one that cannot be seen from here, it always may."""
    if driver["host"] != os.uname().nodename:
        return True
    if driver.get("boot") != _boot() and None not in (driver.get("boot"), _boot()):
        return False
    if driver.get("pids") != _pids() and None not in (driver.get("pids"), _pids()):
        return True  # in another container, perhaps
    if not Path("/proc/self/stat").exists():
        return _answers(driver["pid"])
    born = _born(driver["pid"])
    return born is not None and driver.get("born") in (None, born)


def make(driver: Mapping[str, Any]) -> Path:
    """A new scratch folder, which only its user may enter, with the mark of its driver."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent()))
    try:
        write_atomic(folder / MARK, json.dumps(driver))
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)  # nobody would know whose it is
        raise
    return folder


def remove_left(known: Mapping[str, Any]) -> None:
    """Removes the scratch that a study's folder names, if its driver made it and is certainly gone.

    The study's folder may be a copy of one that is at work, or come from anyone.
    """
    scratch = Path(str(known.get("scratch", "")))
    driver = read(scratch / MARK)
    ours = driver is not None and all(known.get(key) == value for key, value in driver.items())
    if driver and ours and scratch.name.startswith(PREFIX) and not scratch.is_symlink() and not may_live(driver):
        shutil.rmtree(scratch, ignore_errors=True)


def read(path: Path) -> dict[str, Any] | None:
    """The driver that a file names; None where there is none, or none that can be read."""
    try:
        return named(path.read_bytes())
    except (OSError, ValueError):  # of a path with a NUL
        return None


def named(content: bytes) -> dict[str, Any] | None:
    """The process that a text names, as `this_process` does; None where it names none."""
    try:
        known = json_text.parse(content)
    except ValueError:
        return None
    whole = isinstance(known, dict) and type(known.get("pid")) is int and isinstance(known.get("host"), str)
    return known | {"started": str(known.get("started", "an unknown time"))} if whole else None


def _born(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot; None for one that has ended, or where nothing tells."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return None
    return None if state in "ZX" else int(fields[18])


def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _pids() -> int | None:
    """Which process ids count: those of this container."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
