"""One driver at a time on a study in a bucket, on whichever machine: a lease, renewed for as long as it works.

A bucket has no locks. Whoever wants the lease writes its name there, waits, and has it if its name still stands there.
All times are the bucket's, so machines' clocks need not agree. A driver that was suspended and comes back looks before
it writes; what is left is an instant between that look and the write.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning_modules.formats import json_text
from orchestrator.errors import CannotRun, Problem
from orchestrator.files import scratch
from orchestrator.storage.bucket_sync import LEASE, STOP, BucketSync
from orchestrator.system.commands import ours

LEASE_S = 60.0  # without a renewal it is anyone's
RENEW_S = 15.0
LOOK_S = 5.0
PUSH_S = 60.0
SETTLE_S = 2.0  # longer than a look and a write of someone else take

Driver = dict[str, Any]
Say = Callable[[str], None]


def holder(home: BucketSync, now_ns: int | None = None) -> Driver | None:
    """Who is at work on a study: process id, host, start, copy; None if nobody is. now_ns: by the bucket's clock."""
    written, content = home.bucket.written_ns(LEASE), home.bucket.read(LEASE)
    if written is None or content is None:
        return None
    driver = _named(content)
    return driver if (now_ns or time.time_ns()) - written <= LEASE_S * 1e9 else None


def _named(content: bytes) -> Driver:
    """The driver that a lease names; of one that is broken, somebody: it was written by whoever has it."""
    try:
        driver = json_text.parse(content)
    except ValueError:
        driver = None
    nobody = {"pid": "unknown", "host": "another machine", "started": "an unknown time", "copy": ""}
    return nobody | driver if isinstance(driver, dict) else nobody


def _since_boot_s() -> float:
    """A clock that nobody sets, and that goes on while the machine is suspended."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def ask_to_stop(home: BucketSync) -> None:
    """Leaves word for whoever is at work on a study."""
    home.bucket.write(STOP, b"")


class Lease:
    """What says in the bucket that this driver, and no other, is at work."""

    def __init__(self, home: BucketSync, driver: Driver, stop_file: Path, say: Say) -> None:
        self.home, self._stop_file, self._say = home, stop_file, say
        self._driver = {**driver, "copy": home.copy, "token": secrets.token_hex(8)}
        self._lost, self._renewed, self._lock = False, 0.0, threading.Lock()
        self._ending, self._over = threading.Event(), threading.Event()
        self._sending = threading.Thread(target=self._send, name="lease-send", daemon=True)
        self._keeping = threading.Thread(target=self._keep, name="lease", daemon=True)

    def take(self) -> None:
        """Raises CannotRun where someone else has it. One of this copy may be left by a driver that was killed."""
        known = holder(self.home, self._bucket_now())
        if known and (known["copy"] != self.home.copy or scratch.may_live(known)):
            self._outlast(known)
        self._write()
        time.sleep(SETTLE_S)
        if not self._is_ours():
            raise self._refused(holder(self.home) or {})
        self.home.bucket.delete(STOP)
        self.home.pull()

    def _outlast(self, known: Driver) -> None:
        """Waits until a lease is nobody's. Raises CannotRun once it is renewed: whoever has it is alive."""
        self._say(f"process {known['pid']} on {known['host']} has this study; waiting whether it is still at work")
        written = self.home.bucket.written_ns(LEASE)
        while holder(self.home, self._bucket_now()):
            if self.home.bucket.written_ns(LEASE) != written:
                raise self._refused(known)
            time.sleep(LOOK_S)

    def begin(self) -> None:
        """Keeps it from now on, looks for what the bucket asks, and sends what changes."""
        self._keeping.start()
        self._sending.start()

    def end(self) -> None:
        """Sends what has changed, and gives the lease back."""
        self._ending.set()
        self._sending.join()
        try:
            if not self._lost:
                self.home.push()
        finally:
            self._over.set()
            self._keeping.join()
        if not self._lost:
            self.home.bucket.delete(LEASE)

    def check(self) -> None:
        """Raises CannotRun if someone else has taken over, as after a machine was suspended. Before every record."""
        if _since_boot_s() - self._renewed > LEASE_S / 2:
            self._renew()
        if self._lost:
            rule, fix = "one driver at a time works on a study", ours("status", self.home.uri)
            raise CannotRun([Problem(self.home.uri, rule, "another one has taken over", fix)])

    def _keep(self) -> None:
        while not self._over.wait(LOOK_S):
            with suppress(CannotRun):  # it does not answer now; the record waits for it, and says so
                if self.home.bucket.written_ns(STOP) is not None:
                    self._stop_file.touch()
                if _since_boot_s() - self._renewed >= RENEW_S:
                    self._renew()

    def _send(self) -> None:
        while not self._ending.wait(PUSH_S):
            with suppress(CannotRun):
                if not self._lost:
                    self.home.push()

    def _renew(self) -> None:
        with self._lock:
            if self._is_ours():
                self._write()
            else:
                self._lost = True
                self._stop_file.touch()

    def _is_ours(self) -> bool:
        content = self.home.bucket.read(LEASE)
        return content is not None and _named(content).get("token") == self._driver["token"]

    def _write(self) -> None:
        self.home.bucket.write(LEASE, json.dumps(self._driver).encode())
        self._renewed = _since_boot_s()

    def _bucket_now(self) -> int | None:
        clock = f"clock-{self.home.copy}"
        self.home.bucket.write(clock, b"")
        now = self.home.bucket.written_ns(clock)
        self.home.bucket.delete(clock)
        return now

    def _refused(self, known: Driver) -> CannotRun:
        uri = self.home.uri
        value = f"process {known.get('pid')} on {known.get('host')} is at work, since {known.get('started')}"
        fix = f"watch it: {ours('status', uri)}, or end it: {ours('stop', uri)}"
        return CannotRun([Problem(uri, "one driver at a time works on a study", value, fix)])


@contextmanager
def held(home: BucketSync, driver: Driver, stop_file: Path, say: Say) -> Iterator[Lease]:
    """The lease, for as long as the context lasts. What changes in the copy goes up every minute, and at the end.

    stop_file: made when the bucket asks for a stop, or when the lease is lost. Raises CannotRun where another machine
    has it.
    """
    lease = Lease(home, driver, stop_file, say)
    lease.take()
    lease.begin()
    try:
        yield lease
    finally:
        lease.end()
