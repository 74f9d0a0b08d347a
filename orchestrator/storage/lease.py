"""One driver at a time on a study in a bucket, on whichever machine: a lease, renewed for as long as it works.

A bucket has no locks, but it writes an object on the condition that it still is the one that was read. Whoever takes
or renews the lease writes so, so that of two who want it at once the bucket refuses one. All times are the bucket's, so
machines' clocks need not agree. A driver that was suspended and comes back has lost the lease, and is refused.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_modules.formats import json_text
from orchestrator.errors import CannotRun, Problem
from orchestrator.files import scratch
from orchestrator.storage import conditional_writes
from orchestrator.storage.bucket import Bucket, Version
from orchestrator.storage.bucket_sync import LEASE, STOP, BucketSync
from orchestrator.system.commands import ours

LEASE_S = 60.0  # without a renewal it is anyone's
RENEW_S = 15.0
LOOK_S = 5.0
PUSH_S = 60.0

Driver = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Standing:
    """The lease as it stands in the bucket: whose it is, which version, and when that was written."""

    driver: Driver
    version: Version
    written_ns: int

    def holds(self, now_ns: int) -> bool:
        """Whether its driver may be at work: it has neither given the lease back nor let it run out."""
        return not self.driver.get("released") and now_ns - self.written_ns <= LEASE_S * 1e9


def holder(home: BucketSync) -> Driver | None:
    """Who is at work on a study: process id, host, start, copy; None if nobody is."""
    known = _standing(home.bucket)
    return known.driver if known and known.holds(time.time_ns()) else None


def _standing(bucket: Bucket) -> Standing | None:
    """The lease that stands in a bucket; None where there is none."""
    known = bucket.read_version(LEASE)
    return Standing(_named(known.content), known.version, known.written_ns) if known else None


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
        self._clock = f".clock-{self._driver['token']}"  # an object that only this driver writes
        self._version: Version | None = None
        self._writes = 0
        self._lost, self._renewed, self._lock = False, 0.0, threading.Lock()
        self._ending, self._over = threading.Event(), threading.Event()
        self._sending = threading.Thread(target=self._send, name="lease-send", daemon=True)
        self._keeping = threading.Thread(target=self._keep, name="lease", daemon=True)

    def take(self) -> None:
        """Raises CannotRun where someone else has it. One of this copy may be left by a driver that was killed."""
        conditional_writes.require(self.home.bucket, self._clock)
        known = _standing(self.home.bucket)
        if known and (known.driver["copy"] != self.home.copy or scratch.may_live(known.driver)):
            known = self._outlast(known)
        self._version = known.version if known else None
        if not self._write():
            raise self._refused(holder(self.home) or {})
        self.home.bucket.delete(STOP)
        self.home.pull()

    def _outlast(self, first: Standing) -> Standing | None:
        """The lease once it is nobody's. Raises CannotRun if it is renewed until then: whoever has it is alive."""
        if not first.holds(self._bucket_now()):
            return first
        who = f"process {first.driver['pid']} on {first.driver['host']}"
        self._say(f"{who} has this study; waiting whether it is still at work")
        known: Standing | None = first
        while known and known.holds(self._bucket_now()):
            if known.version != first.version:
                raise self._refused(known.driver)
            time.sleep(LOOK_S)
            known = _standing(self.home.bucket)
        return known

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
            with self._lock:
                self._driver["released"] = True
                self._write()  # a deletion has no condition, and might hit the lease of somebody else

    def check(self, sure: bool = False) -> None:
        """Raises CannotRun if someone else has taken over, as after a machine was suspended. Before every record.

        sure: asks the bucket, however short a time ago it was asked.
        """
        if sure or _since_boot_s() - self._renewed > LEASE_S / 2:
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
            if not self._write():
                self._lost = True
                self._stop_file.touch()

    def _write(self) -> bool:
        """Takes or renews the lease; False where it is somebody else's."""
        began = _since_boot_s()
        self._writes += 1  # no two versions hold the same, for a bucket may tell them apart by what they hold
        content = json.dumps({**self._driver, "writes": self._writes}).encode()
        version = self.home.bucket.write_over(LEASE, content, self._version)
        if version is None:
            known = _standing(self.home.bucket)
            if known and known.driver.get("token") == self._driver["token"]:  # the answer to our last write was lost
                version = self.home.bucket.write_over(LEASE, content, known.version)
        if version is not None:
            self._version, self._renewed = version, began
        return version is not None

    def _bucket_now(self) -> int:
        self.home.bucket.write(self._clock, b"")
        now = self.home.bucket.written_ns(self._clock)
        self.home.bucket.delete(self._clock)
        return time.time_ns() if now is None else now

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
