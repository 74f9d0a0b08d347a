"""The program in processes of its own, and the processes of a Ray that it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.records import StudyFolder
from tests.orchestrator.alone import SEARCH_ALONE


def orchestrator(
    *words: object, program: str = SEARCH_ALONE, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """The program, at work."""
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", program, *map(str, words)], env=environment, **pipes)


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Looks again and again, as long as the program is at work."""
    end = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None, process.communicate()
        if time.monotonic() > end:
            process.kill()
            raise AssertionError("the search does not get that far")
        time.sleep(0.05)


def epochs_on_record(folder: StudyFolder) -> int:
    """Of all trials of a search."""
    return sum(event["event"] == "epoch" for event in folder.events())


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
