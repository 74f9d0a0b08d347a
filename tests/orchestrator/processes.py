"""Processes of this machine, as tests find those of a Ray that they started."""

from __future__ import annotations

import os
from pathlib import Path


def below(ancestor: int | None = None, title: str = "") -> list[int]:
    """The processes that descend from one, this one unless given, and have `title` in their command line."""
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
    top = os.getpid() if ancestor is None else ancestor

    def belongs(pid: int) -> bool:
        return pid in parents and (parents[pid] == top or (parents[pid] > 1 and belongs(parents[pid])))

    return [pid for pid, name in titles.items() if title in name and belongs(pid)]
