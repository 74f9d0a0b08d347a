"""Keeps `report.html` up to date while a search runs: from a process of its own, at the lowest priority."""

from __future__ import annotations

import threading
from pathlib import Path

from orchestrator.files.atomic import remove_unfinished
from orchestrator.system import background

EVERY_S = 300.0


class Refresher:
    """Writes a study's report every few minutes as long as the context lasts; never two at a time."""

    def __init__(self, folder: Path, every_s: float = EVERY_S) -> None:
        self._folder, self._every_s = folder.absolute(), every_s  # a name like -rf would be an option
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="report-refresh", daemon=True)

    def __enter__(self) -> Refresher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(self._every_s):
            self._refresh()

    def _refresh(self) -> None:
        try:
            child = background.start("orchestrator", "report", self._folder)
        except OSError:  # no memory for it now; the search matters more
            return
        while child.poll() is None:
            if self._over.wait(0.2):  # the search has ended and will write the last report itself
                child.terminate()
                child.wait()
        if child.returncode:
            remove_unfinished(self._folder, child.pid)
