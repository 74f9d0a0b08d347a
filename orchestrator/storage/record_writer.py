"""Appends to a study's record: one line an event, on disk before anyone acts on it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from orchestrator.storage import events
from orchestrator.storage.event_log import Record, Trial, now
from orchestrator.storage.events import Event
from orchestrator.storage.lease import Lease
from orchestrator.storage.log_parts import Parts
from orchestrator.storage.study_state import StudyState

BLOCK_BYTES = 2**16


class Writer:
    """Appends events to a record. scratch: a temporary folder of this driver's own.

    An event is on disk when `append` returns; of a study in a bucket, it is in the bucket, and after that on disk. One
    that could not be written whole is cut away again, and no other follows it: it might tell of what came later. state:
    how far the study is; an event is added to it once it is on disk.
    """

    def __init__(
        self,
        state: StudyState,
        record: Record,
        scratch: Path,
        file: IO[bytes],
        lease: Lease | None,
    ) -> None:
        self.state, self.scratch = state, scratch
        self._record, self._file, self._lease = record, file, lease
        self._parts = Parts(lease, Path(file.name)) if lease else None
        self._refused: OSError | None = None
        if self._parts:
            self._put_on_disk(self._parts.begin())
            record.catch_up()  # it may have come down anew
            record.require_whole()

    @classmethod
    @contextmanager
    def on(cls, state: StudyState, record: Record, scratch: Path, lease: Lease | None) -> Iterator[Writer]:
        """Opens a record to append to."""
        with open(record.path, "ab+", buffering=0) as file:  # a buffer would write the rest of a line when it is closed
            _cut_unfinished(file)
            yield cls(state, record, scratch, file, lease)

    def beside(self, record: Record) -> AbstractContextManager[Writer]:
        """Appends to another record of the same study, one of `state`'s, under the same lock."""
        return Writer.on(self.state, record, self.scratch, self._lease)

    @property
    def trials(self) -> dict[str, Trial]:
        """Those that the record tells of, always current."""
        return self._record.trials

    def append(self, event: Event) -> None:
        """Writes one line. Raises OSError where the disk does not take it, from then on at every call."""
        if self._refused:
            raise self._refused
        event = {**event, "time": now()}
        line = json.dumps(event, allow_nan=False).encode()
        if wrong := events.fault(event, self._record.objective):
            raise ValueError(f"this would be unreadable: {wrong}")
        if self._parts:
            self._parts.append(line + b"\n")
        self._put_on_disk(line + b"\n")
        self._record.appended(line)

    def _put_on_disk(self, line: bytes) -> None:
        """Puts a line on disk, or nothing of it."""
        end = os.fstat(self._file.fileno()).st_size
        try:
            _write(self._file.fileno(), line)
        except OSError as error:
            self._refused = OSError(error.errno, error.strerror, self._file.name)
            with suppress(OSError):  # a line without its end is no line to anyone, and the next writer cuts it
                os.ftruncate(self._file.fileno(), end)
            raise self._refused from error


def _write(file: int, content: bytes) -> None:
    """On disk, all of it, when this returns."""
    while content:
        content = content[os.write(file, content) :]
    os.fsync(file)


def _cut_unfinished(file: IO[bytes]) -> None:
    """Removes a last line that a crash left without its end, so that the next one begins on a line of its own."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - BLOCK_BYTES)
        file.seek(begin)
        if found := file.read(end - begin).rfind(b"\n") + 1:
            end = begin + found
            break
        end = begin
    file.truncate(end)
