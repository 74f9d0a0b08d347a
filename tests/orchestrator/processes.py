"""The program in processes of its own, and the processes of a Ray that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator.storage.study_folder import StudyFolder
from tests.orchestrator.alone import SEARCH_ALONE

Found = TypeVar("Found")
PATIENCE_S = 800.0  # a guard against waiting for ever, and no measure: a busy neighbour makes everything slow
STARTED: list[subprocess.Popen[str]] = []
for ignored, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    # As in what a shell starts in the background, or nohup: a program that a test starts would not hear of it either.
    if signal.getsignal(ignored) == signal.SIG_IGN:
        signal.signal(ignored, usual)


@pytest.fixture(scope="module", autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """Ends what a test that failed has left at work."""
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def orchestrator(
    *words: object, program: str = SEARCH_ALONE, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """The program, at work."""
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    STARTED.append(subprocess.Popen([sys.executable, "-c", program, *map(str, words)], env=environment, **pipes))
    return STARTED[-1]


def wait_until(reached: Callable[[], Found], process: subprocess.Popen[str], seconds: float = PATIENCE_S) -> Found:
    """Looks again and again, as long as the program is at work, until there is something; gives what it is."""
    end = time.monotonic() + seconds
    while not (found := reached()):
        assert process.poll() is None, process.communicate()
        if time.monotonic() > end:
            process.kill()
            raise AssertionError("the search does not get that far")
        time.sleep(0.02)
    return found


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
