"""A thread for all that Ray does, so that the main one always answers: to signals, and where Ray is no more.

It lives as long as its Ray, because Linux ends Ray's daemons with the thread that has started them (PR_SET_PDEATHSIG).
Where a call of Ray's never returns, the thread is left behind, and the program ends without it.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, TypeVar

from orchestrator.system.streams import steadfast

NAME, EVERY_S = "ray", 0.2
Result = TypeVar("Result")


class RayThread:
    """Does one thing after another in its thread. look: called again and again meanwhile; what it raises gives up.

    broken: whether what the thread works with is gone. It changes nothing, for the thread itself may ask.
    """

    def __init__(self, look: Callable[[], None], broken: Callable[[], bool] = lambda: False) -> None:
        self.look, self.broken = look, broken
        self._given: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._last: Future[Any] = Future()
        self._last.set_result(None)
        self._thread = threading.Thread(target=self._work, name=NAME, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], Result]) -> Result:
        """What the work returns, or raises."""
        self._last = done = Future[Result]()
        self._given.put((work, done))
        while not self._done(EVERY_S):
            self.look()
        if done.exception() is not None:
            self.look()  # which may know the cause of it
        return done.result()

    def idle(self, within_s: float, in_vain: Callable[[], bool] = lambda: False) -> bool:
        """Whether the last thing is done, or will be in so many seconds. They are not waited for in vain."""
        end = time.monotonic() + within_s
        while not self._done(EVERY_S):
            if in_vain() or time.monotonic() > end:
                return False
        return True

    def last(self, work: Callable[[], object], within_s: float, in_vain: Callable[[], bool] = lambda: False) -> bool:
        """Does a last thing and ends the thread; whether it was done in so many seconds, as `idle` says."""
        self._last = Future()
        self._given.put((work, self._last))
        self.close()
        done = self.idle(within_s, in_vain)
        if done:
            self._thread.join()
        return done

    def close(self) -> None:
        """Ends the thread, after what it was given."""
        self._given.put(None)

    def _done(self, within_s: float) -> bool:
        try:
            self._last.exception(within_s)
        except NotYet:
            return False
        return True

    def _work(self) -> None:
        for work, done in iter(self._given.get, None):
            try:
                done.set_result(work())
            except BaseException as error:  # a SystemExit of Ray's, too
                done.set_exception(error)
            del work, done  # which may hold on to what Ray wants back


def at_work() -> bool:
    """Whether this process has such a thread, perhaps one that was left behind."""
    return any(thread.name == NAME for thread in threading.enumerate())


def leave(code: int) -> None:
    """Ends the program where a thread was left behind: at a usual exit Ray and Tune would wait for their GCS.

    Temporary folders, as of packages that Ray imports, are removed as at a usual exit.
    """
    if at_work():
        _leave(code)


def _leave(code: int) -> NoReturn:
    steadfast(sys.stderr).finish()
    with suppress(OSError):  # said before, where it matters
        sys.stdout.flush()
    for each in gc.get_objects():
        if issubclass(type(each), TemporaryDirectory):
            with suppress(OSError):
                each.cleanup()
    os._exit(code)
