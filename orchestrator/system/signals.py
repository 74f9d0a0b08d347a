"""How a running study is asked to end: Ctrl-C, SIGTERM, and the SIGHUP of a terminal that goes away.

While trials train, the first sets `stop`, and the search ends as soon as Tune can; a second Ctrl-C ends it at once, as
does the first where Ray no longer answers. At all other times the first one does. What was to be ignored when the
program began, as under nohup, stays so.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE_S = 5.0  # for trials to end; Slurm and systemd give 30 s and more to all that there is to end
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ignore() -> None:
    """From now on no signal asks: the program is at its end."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)


class StopSignals:
    """The signals of a driver. safe: says what an end leaves now, and how to go on.

    stop: set where an end is asked for, by a signal or otherwise. asked: whether a signal has. Signals belong to
    the main thread: in a notebook's or a server's thread none is heard. One that a host program of Python's has taken
    before stays with that.
    """

    def __init__(self, safe: Callable[[], str]) -> None:
        self.safe, self.stop, self.asked = safe, threading.Event(), False
        self._gently, self._over, self._at_most = False, False, math.inf
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in NUMBERS}
            self._before = {number: handler for number, handler in handlers.items() if handler is not None}
            self.listen()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Takes the signals; again, where someone else may have taken them meanwhile."""
        for number, handler in self._before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, self._request)

    @contextmanager
    def gently(self) -> Iterator[None]:
        """As long as it lasts a signal sets `stop`, and someone looks at it."""
        self._gently = True
        try:
            yield
        finally:
            self._gently = False

    def end_if_asked(self) -> None:
        """Ends the study here, where a signal came too late for whoever looks at `stop`."""
        if self.asked:
            self._end()

    def end_if_late(self) -> None:
        """Ends the study here, where a signal has asked for that and those who looked at `stop` take too long."""
        if time.monotonic() > self._at_most:
            self._end()

    def _request(self, number: int, frame: Any) -> None:
        if self._over:  # whoever is ending is not disturbed: it takes some seconds at most
            return
        again, self.asked = self.asked, True
        self._at_most = min(self._at_most, time.monotonic() + PATIENCE_S)
        self.stop.set()
        if not self._gently or (again and number == signal.SIGINT):
            self._end()

    def _end(self) -> None:
        self._over = True
        raise KeyboardInterrupt(f"ended at once; {self.safe()}")
