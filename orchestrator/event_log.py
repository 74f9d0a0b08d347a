"""A study's record: what its lines mean, how they are read, and how one more is written.

`trials.jsonl` is the truth of a study; one line an event, only ever appended. A line counts once its newline is on
disk, so a crash at any byte loses at most the line that was being written, and never one that had been written.

    {"event": "start", "trial": "arcface-003", "head": …, "index": …, "seed": …, "params": {…}, "time": …}
    {"event": "epoch", "trial": …, "epoch": 1, "objective": …, "metrics": {…}, "time": …}
    {"event": "placed", "trial": …, "node": …, "node_id": …}       on a cluster: where it runs from now on
    {"event": "params", "trial": …, "epoch": 2, "params": {…}}     where PBT changed them after that epoch
    {"event": "end", "trial": …, "status": "completed", "reason": "", "time": …}

`confirmation.jsonl` and `test.jsonl` tell of the runs after the search in the same way, under the same lock. What
they say beside that, such as what was asked for, has no "trial".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from orchestrator.storage.lease import Lease
from orchestrator.storage.parts import Parts

if TYPE_CHECKING:
    from orchestrator.records import StudyFolder

Event = dict[str, Any]
Status = Literal["running", "completed", "stopped", "diverged", "failed"]


def now() -> str:
    """The present time in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Trial:
    """What the record says of one trial. status "running" also means interrupted: it has no end yet."""

    name: str
    head: str
    index: int
    seed: int
    params: dict[str, Any]
    status: Status = "running"
    reason: str = ""
    epochs: list[Event] = field(default_factory=list)

    @property
    def last_epoch(self) -> int:
        return int(self.epochs[-1]["epoch"]) if self.epochs else 0

    @property
    def lost(self) -> bool:
        """Whether it ended without a model that is worth anything."""
        return self.status in ("failed", "diverged")

    @property
    def objective(self) -> float | None:
        """The objective after the last epoch: what the trial's model is worth, not its luckiest moment."""
        return self.epochs[-1]["objective"] if self.epochs else None


def apply(trials: dict[str, Trial], event: Event) -> None:
    """Adds what one event tells to the trials that are known. A repeated event changes nothing."""
    kind, name = event["event"], event["trial"]
    if kind == "start":
        known = {key: event[key] for key in ("head", "index", "seed", "params")}
        trials.setdefault(name, Trial(name, **known))
    elif kind == "epoch" and event["epoch"] > trials[name].last_epoch:
        trials[name].epochs.append(event)
    elif kind == "params":
        trials[name].params = event["params"]
    elif kind == "end":
        trials[name].reason = event["reason"]  # first: another thread looks at the status
        trials[name].status = event["status"]


def replay(events: list[Event]) -> dict[str, Trial]:
    """The trials that a record tells of, in order of their start."""
    trials: dict[str, Trial] = {}
    for event in events:
        if "trial" in event:
            apply(trials, event)
    return trials


def read_lines(path: Path) -> list[Event]:
    """All complete lines of a JSON-lines file; an unfinished last one was never written."""
    return whole_lines(path, 0)[0]


def whole_lines(path: Path, start: int, end: int | None = None) -> tuple[list[Event], int]:
    """The complete lines of a JSON-lines file between two positions, and where the last of them ends."""
    if not path.exists():
        return [], start
    with open(path, "rb") as file:
        file.seek(start)
        content = file.read(-1 if end is None else max(0, end - start))
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line], start + len(whole)


class Writer:
    """Appends events to a record. scratch: a temporary folder of this driver's own.

    An event is on disk when `append` returns; of a study in a bucket, it is in the bucket, and after that on disk.
    """

    def __init__(self, folder: StudyFolder, scratch: Path, file: IO[bytes], lease: Lease | None) -> None:
        self.folder, self.scratch, self._file, self._lease = folder, scratch, file, lease
        self._parts = Parts(lease, Path(file.name)) if lease else None

    @classmethod
    @contextmanager
    def on(cls, record: Path, folder: StudyFolder, scratch: Path, lease: Lease | None) -> Iterator[Writer]:
        """Opens a record to append to."""
        with open(record, "ab") as file:
            _cut_unfinished(file, record)
            yield cls(folder, scratch, file, lease)

    def beside(self, record: Path) -> AbstractContextManager[Writer]:
        """Appends to another record of the same study, under the same lock."""
        return Writer.on(record, self.folder, self.scratch, self._lease)

    def append(self, event: Event) -> None:
        line = json.dumps({**event, "time": now()}, allow_nan=False).encode() + b"\n"
        if self._parts:
            self._parts.append(line)
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())


def _cut_unfinished(file: IO[bytes], path: Path) -> None:
    """Removes a last line that a crash left without its end, so that the next one begins on a line of its own."""
    content = path.read_bytes()
    file.truncate(content.rfind(b"\n") + 1)
