"""A study's record: what its lines mean, how they are read, and how one more is written.

`trials.jsonl` is the truth of a study; one line an event, only ever appended. A line counts once its newline is on
disk, so a crash at any byte loses at most the line that was being written, and never one that had been written.
`events` says what a line may say. The records of the runs after the search are written under the same lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from lightning_modules.formats import json_text
from orchestrator.errors import CannotRun, Problem
from orchestrator.storage import events
from orchestrator.storage.events import Ended, Event
from orchestrator.storage.lease import Lease
from orchestrator.storage.log_parts import Parts

if TYPE_CHECKING:
    from orchestrator.storage.study_folder import StudyFolder

Status = Literal["running"] | Ended
MOST_BYTES = 2**24  # of a line: a traceback or a thousand configurations need far less
BLOCK_BYTES = 2**16
SEPARATION = "val/separation"
RULE = "every line of a record but an unfinished last one says what happened"
RESTORE = "put the file back from a copy; without one, to remove the line gives up what it said"


def now() -> str:
    """The present time in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Trial:
    """What the record says of one trial. status "running" also means interrupted: it has no end yet.

    reason: of its end, or of an interruption by the machine since its last epoch.
    """

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
    def interrupted(self) -> bool:
        """Whether the machine has broken it off since its last epoch."""
        return self.status == "running" and bool(self.reason)

    @property
    def stopping(self) -> bool:
        """Whether a scheduler has stopped it, and its end is not on record: the driver ended in between."""
        return self.status == "running" and bool(self.epochs) and bool(self.epochs[-1].get("stops"))

    @property
    def stopped_because(self) -> str:
        """The reason of an end by a scheduler."""
        return f"not among the best of its head after epoch {self.last_epoch}"

    @property
    def objective(self) -> float | None:
        """The objective after the last epoch: what the trial's model is worth, not its luckiest moment."""
        return self.epochs[-1]["objective"] if self.epochs else None

    def objective_at(self, epoch: int) -> float | None:
        """The objective after an epoch; None where the record does not have it."""
        return next((float(row["objective"]) for row in self.epochs if row["epoch"] == epoch), None)


def apply(trials: dict[str, Trial], event: Event) -> None:
    """Adds what one event tells to the trials that are known. A repeated event changes nothing."""
    kind, name = event["event"], event["trial"]
    if kind == "start":
        known = {key: event[key] for key in ("head", "index", "seed", "params")}
        trials.setdefault(name, Trial(name, **known))
    elif kind == "epoch" and event["epoch"] > trials[name].last_epoch:
        trials[name].epochs.append(event)
        trials[name].reason = ""
    elif kind == "params":
        trials[name].params = event["params"]
    elif kind == "interrupted":
        trials[name].reason = event["reason"]
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


class Reader:
    """Reads a record, from where it stopped the last time, and checks each line against those before it.

    The middle of a record is the truth: a line there that says nothing is never passed over in silence. It is named
    in `damage`, with the lines that rest on it, and only who wants to show what is left goes on without it. An
    unfinished last line is none: it was being written. search: the trials whose configurations the record repeats.
    """

    def __init__(self, path: Path, search: Mapping[str, Trial] | None = None) -> None:
        self.path, self.trials, self.damage = path, dict[str, Trial](), list[Problem]()
        self._position = self._line = 0
        self._search = search

    def news(self, end: int | None = None) -> Iterator[Event]:
        """The events that came since, up to a size of the file; each is applied to `trials` when it is handed out."""
        for line in self._new_lines(end):
            event, wrong = _event(line)
            if event is not None and not (wrong := wrong or self._contradiction(event)):
                if "trial" in event:
                    apply(self.trials, event)
                yield event
            elif wrong:
                self._damaged(wrong)

    def require_whole(self) -> None:
        """Raises CannotRun where a line says nothing: whoever writes, or decides, needs every one."""
        if self.damage:
            raise CannotRun(self.damage)

    def _new_lines(self, end: int | None) -> Iterator[bytes]:
        """Complete lines; of one that is too long its beginning. Nothing where there is no file."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._position)
                while (line := _line_of(file)) is not None and (end is None or file.tell() <= end):
                    self._position, self._line = file.tell(), self._line + 1
                    yield line
        except FileNotFoundError:
            return
        except OSError as error:
            self.damage.append(Problem(str(self.path), "a record is a file to read", str(error.strerror), RESTORE))

    def _contradiction(self, event: Event) -> str:
        """How an event does not fit those before it."""
        name = str(event.get("trial", event.get("run", "")))
        known = self.trials.get(name)
        if event["event"] == "start":
            same = known is None or all(event[key] == getattr(known, key) for key in ("head", "index", "seed"))
            return "" if same else f"{name} has started before, as another"
        if name and known is None:
            return f"no line before it says that {name} has started"
        if known and event.get("status") in ("completed", "stopped") and not known.epochs:
            return f"no line before it says what {name} has reached"
        return self._unknown(event.get("configurations", [event["configuration"]] if "configuration" in event else []))

    def _unknown(self, configurations: Iterable[str]) -> str:
        """Which configuration the search has no result of, in words."""
        if self._search is None:
            return ""
        known = {name for name, trial in self._search.items() if trial.epochs}
        missing = [each for each in configurations if each not in known]
        return f"the search has no result of a trial {missing[0]}" if missing else ""

    def _damaged(self, wrong: str) -> None:
        self.damage.append(Problem(f"{self.path}:{self._line}", RULE, wrong, RESTORE))


def read_events(path: Path, search: Mapping[str, Trial] | None = None) -> list[Event]:
    """All events of a record. Raises CannotRun where one of its lines says nothing."""
    reader = Reader(path, search)
    events = list(reader.news())
    reader.require_whole()
    return events


def _line_of(file: IO[bytes]) -> bytes | None:
    """The next complete line, without its end; None where there is none. Never more of it than is sound in memory."""
    line = file.readline(MOST_BYTES)
    rest = line
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(MOST_BYTES)
    return line.removesuffix(b"\n") if rest else None


def _event(line: bytes) -> tuple[Event | None, str]:
    """What a line says, and what is wrong with it. An empty one says nothing, and does no harm."""
    if not line:
        return None, ""
    if len(line) >= MOST_BYTES:
        return None, f"it is longer than {MOST_BYTES:,} bytes"
    try:
        event = json_text.parse(line)
    except ValueError as error:
        return None, str(error)
    return event, events.fault(event)


class Writer:
    """Appends events to a record. scratch: a temporary folder of this driver's own.

    An event is on disk when `append` returns; of a study in a bucket, it is in the bucket, and after that on disk. One
    that could not be written whole is cut away again, and no other follows it: it might tell of what came later.
    """

    def __init__(self, folder: StudyFolder, scratch: Path, file: IO[bytes], lease: Lease | None) -> None:
        self.folder, self.scratch, self._file, self._lease = folder, scratch, file, lease
        self._parts = Parts(lease, Path(file.name)) if lease else None
        self._refused: OSError | None = None

    @classmethod
    @contextmanager
    def on(cls, record: Path, folder: StudyFolder, scratch: Path, lease: Lease | None) -> Iterator[Writer]:
        """Opens a record to append to."""
        with open(record, "ab+", buffering=0) as file:  # a buffer would write the rest of a line when it is closed
            _cut_unfinished(file)
            yield cls(folder, scratch, file, lease)

    def beside(self, record: Path) -> AbstractContextManager[Writer]:
        """Appends to another record of the same study, under the same lock."""
        return Writer.on(record, self.folder, self.scratch, self._lease)

    def append(self, event: Event) -> None:
        """Writes one line. Raises OSError where the disk does not take it, from then on at every call."""
        if self._refused:
            raise self._refused
        line = json.dumps({**event, "time": now()}, allow_nan=False).encode() + b"\n"
        if wrong := events.fault(event | {"time": now()}):
            raise ValueError(f"this would be unreadable: {wrong}")
        if self._parts:
            self._parts.append(line)
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
