"""A record in a bucket, in parts: a bucket cannot append.

The last part is written again, whole, with every event, until it has PART_BYTES.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import CannotRun, Problem
from orchestrator.storage.lease import Lease
from orchestrator.system.commands import ours

PART_BYTES = 64 * 1024


class Parts:
    """A record in its bucket, appended to. It equals the copy's record when it is opened."""

    def __init__(self, lease: Lease, record: Path) -> None:
        self._lease, self._bucket, self._stem = lease, lease.home.bucket, record.stem
        there = sorted(self._bucket.objects(self._stem).items())
        self._number, self._tail = len(there), b""
        if there and there[-1][1].size < PART_BYTES:
            self._number -= 1
            self._tail = record.read_bytes()[-there[-1][1].size :]

    def append(self, line: bytes) -> None:
        """The line is in the bucket when this returns. Raises CannotRun if the bucket does not answer for minutes."""
        self._lease.check()
        tail = self._tail + line
        try:
            self._bucket.write(f"{self._stem}/{self._number:05d}.jsonl", tail, patient=True)
        except CannotRun as error:
            uri, rule = self._bucket.uri, "an event is in the bucket before a search goes on"
            safe = Problem(uri, rule, "it was not taken", f"what is recorded is safe; {ours('resume', uri)} goes on")
            raise CannotRun([*error.problems, safe]) from error
        full = len(tail) >= PART_BYTES
        self._number, self._tail = (self._number + 1, b"") if full else (self._number, tail)
