"""What waits for the mirror: which trials have news, oldest first. Pure threading, knows no wandb.

The news themselves are in the trials' records, which are on disk: a trial waits here once, however much it has to
tell, so that a row can neither be lost nor pile up. Only pictures take time to make. Of them at most `room` wait; what
comes beyond is left out, and counted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from orchestrator.storage.event_log import Trial

ROOM = 64


@dataclass(frozen=True)
class News:
    """A trial that has something new in its record. undrawn: its epochs so far whose pictures were left out."""

    job: str
    trial: Trial
    undrawn: frozenset[int]


class Inbox:
    """Filled by who reads the record, which never waits; emptied by the mirror's thread, which does."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._changed: dict[str, tuple[str, Trial]] = {}  # in the order of their first news
        self._to_draw: dict[str, int] = {}  # pictures that each waiting trial still has coming
        self._undrawn: dict[str, set[int]] = {}
        self._closed = False
        self._news = threading.Condition()

    @property
    def left_out(self) -> int:
        """How many pictures were left out."""
        with self._news:
            return sum(map(len, self._undrawn.values()))

    def put(self, job: str, trial: Trial, epoch: int | None = None) -> None:
        """A trial has news; with `epoch`, one whose embedding is to be drawn, if there is room for it."""
        with self._news:
            self._changed.setdefault(trial.name, (job, trial))
            if epoch is not None:
                if sum(self._to_draw.values()) < self._room:
                    self._to_draw[trial.name] = self._to_draw.get(trial.name, 0) + 1
                else:
                    self._undrawn.setdefault(trial.name, set()).add(epoch)
            self._news.notify()

    def take(self) -> News | None:
        """The trial that has waited longest. Waits for one; None once the inbox is closed and empty."""
        with self._news:
            self._news.wait_for(lambda: self._changed or self._closed)
            if not self._changed:
                return None
            name = next(iter(self._changed))
            job, trial = self._changed.pop(name)
            self._to_draw.pop(name, None)
            return News(job, trial, frozenset(self._undrawn.get(name, ())))

    def close(self) -> None:
        """No more news will come."""
        with self._news:
            self._closed = True
            self._news.notify()
