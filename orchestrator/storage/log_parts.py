"""A record in a bucket, in parts: a bucket cannot append.

The last part is written again, whole, with every event, until it has PART_BYTES; and only over the version that this
driver has written or read. A new driver begins with an empty line, which says nothing: it makes a new version, so that
a driver from before, which wakes in the middle of a write, is refused by the bucket.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import CannotRun, Problem
from orchestrator.storage.bucket import Version
from orchestrator.storage.lease import Lease
from orchestrator.system.commands import ours

PART_BYTES = 64 * 1024
SEAL = b"\n"
TRIES = 5  # to begin: each driver from before can come in between once


class Parts:
    """A record in its bucket, appended to."""

    def __init__(self, lease: Lease, record: Path) -> None:
        self._lease, self._bucket, self._record, self._stem = lease, lease.home.bucket, record, record.stem
        self._number, self._tail = 0, b""
        self._version: Version | None = None

    def begin(self) -> bytes:
        """Makes the copy's record what the bucket has, and the bucket's this driver's. Returns what it has appended."""
        for _ in range(TRIES):
            self._lease.check(sure=True)
            if self._read_last() and self._put(SEAL):
                return SEAL
            self._lease.home.pull_record(self._stem)
        raise self._changed()

    def _read_last(self) -> bool:
        """Reads the last part; False where the copy does not end with it."""
        names = sorted(self._bucket.objects(self._stem))
        last = self._bucket.read_version(names[-1]) if names else None
        self._number, self._tail, self._version = len(names), b"", None
        if last and len(last.content) < PART_BYTES:
            self._number, self._tail, self._version = len(names) - 1, last.content, last.version
        return not last or self._record.read_bytes().endswith(last.content)

    def append(self, line: bytes) -> None:
        """The line is in the bucket when this returns. Raises CannotRun if the bucket does not answer for minutes."""
        self._lease.check()
        try:
            written = self._put(line)
        except CannotRun as error:
            raise CannotRun([*error.problems, self._not_taken("it was not taken")]) from error
        if not written:
            self._lease.check(sure=True)
            raise self._changed()

    def _put(self, line: bytes) -> bool:
        """Writes the last part with one line more; False where somebody else has written it."""
        tail = self._tail + line
        version = self._bucket.write_over(f"{self._stem}/{self._number:05d}.jsonl", tail, self._version, patient=True)
        if version is None:
            return False
        full = len(tail) >= PART_BYTES
        self._number, self._tail, self._version = (
            (self._number + 1, b"", None) if full else (self._number, tail, version)
        )
        return True

    def _changed(self) -> CannotRun:
        return CannotRun([self._not_taken("someone else has written into the record there")])

    def _not_taken(self, value: str) -> Problem:
        uri, rule = self._bucket.uri, "an event is in the bucket before a search goes on"
        return Problem(uri, rule, value, f"what is recorded is safe; {ours('resume', uri)} goes on")
