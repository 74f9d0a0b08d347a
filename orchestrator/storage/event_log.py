"""A study's record: what its lines mean, and how they are read.

`trials.jsonl` is the truth of a study; one line an event, only ever appended. A line counts once its newline is on
disk, so a crash at any byte loses at most the line that was being written, and never one that had been written.
`events` says what a line may say. The records of the runs after the search are written under the same lock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from lightning_modules import objectives
from lightning_modules.formats import json_text
from lightning_modules.objectives.base import Objective
from orchestrator.errors import CannotRun, Problem
from orchestrator.storage import events
from orchestrator.storage.events import Ended, Event

Status = Literal["running"] | Ended
MOST_BYTES = 2**24  # of a line: a traceback or a thousand configurations need far less
KNOWN_BY_BYTES = 128  # of the end of what was read: a line ends with its time
UNTOLD = "accuracy"  # what judges a trial where nobody says; a study whose objective is another says so
RULE = "every line of a record but an unfinished last one says what happened"
RESTORE = "put the file back from a copy; without one, to remove the line gives up what it said"


def now() -> str:
    """The present time in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Trial:
    """What the record says of one trial. status "running" also means interrupted: it has no end yet.

    reason: of its end, or of an interruption by the machine since its last epoch. judged_by: what its objective is.
    """

    name: str
    head: str
    index: int
    seed: int
    params: dict[str, Any]
    status: Status = "running"
    reason: str = ""
    epochs: list[Event] = field(default_factory=list)
    judged_by: Objective = field(default_factory=lambda: objectives.named(UNTOLD))

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

    @property
    def merit(self) -> float:
        """Its objective as a number that is higher for the better trial; −∞ before its first epoch."""
        return self.judged_by.merit(self.epochs[-1]["objective"]) if self.epochs else -math.inf

    @property
    def reached(self) -> str:
        """Its objective as people read it."""
        return self.judged_by.write(self.objective)

    def value_of(self, objective: Objective) -> float:
        """Another objective after the last epoch; the worst that it can be where it was not to be measured."""
        if objective == self.judged_by:
            return float(self.epochs[-1]["objective"])
        return float(self.epochs[-1]["metrics"].get(objective.metric, objective.worst))

    @property
    def best_epoch(self) -> Event | None:
        """The epoch with the best objective, the first of several; None before there is one."""
        return max(self.epochs, key=lambda row: self.judged_by.merit(row["objective"]), default=None)

    def objective_at(self, epoch: int) -> float | None:
        """The objective after an epoch; None where the record does not have it."""
        return next((float(row["objective"]) for row in self.epochs if row["epoch"] == epoch), None)


def apply(trials: dict[str, Trial], event: Event, objective: Objective | None = None) -> None:
    """Adds what one event tells to the trials that are known. A repeated event changes nothing.

    objective: what judges a trial that begins.
    """
    kind, name = event["event"], event["trial"]
    if kind == "start":
        known = {key: event[key] for key in ("head", "index", "seed", "params")}
        trials.setdefault(name, Trial(name, **known, judged_by=objective or objectives.named(UNTOLD)))
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


def replay(events: Iterable[Event], objective: Objective | None = None) -> dict[str, Trial]:
    """The trials that a record tells of, in order of their start."""
    trials: dict[str, Trial] = {}
    for event in events:
        if "trial" in event:
            apply(trials, event, objective)
    return trials


class Record:
    """What a record says so far: its events, and the trials that they tell of; each line checked against those before.

    It is read from where it was read to the last time; whoever appends to it keeps it current, without reading. The
    middle of a record is the truth: a line there that says nothing is never passed over in silence. It is named in
    `damage`, with the lines that rest on it, and only who wants to show what is left goes on without it. An unfinished
    last line is none: it was being written. search: the trials whose configurations the record repeats. objective: what
    the study is judged by.
    """

    def __init__(
        self, path: Path, search: Mapping[str, Trial] | None = None, objective: Objective | None = None
    ) -> None:
        self.path, self.damage = path, list[Problem]()
        self.events, self.trials = list[Event](), dict[str, Trial]()
        self._position = self._line = 0
        self._read_last = b""  # the end of what was read, by which it is known again
        self._search, self.objective = search, objective or objectives.named(UNTOLD)

    def news(self, end: int | None = None) -> Iterator[Event]:
        """The events that came since, up to a size of the file; each is applied to `trials` when it is handed out."""
        for line in self._new_lines(end):
            event, wrong = _event(line, self.objective)
            if event is not None and not (wrong := wrong or self._contradiction(event)):
                self._add(event)
                yield event
            elif wrong:
                self._damaged(wrong)

    def catch_up(self) -> None:
        """Reads what came since."""
        for _ in self.news():
            pass

    def appended(self, line: bytes) -> None:
        """Adds a line, without its end, that this process has just written below all that was read."""
        self._passed(line, len(line) + 1)
        self._add(json.loads(line))  # as whoever reads it has it

    def _add(self, event: Event) -> None:
        self.events.append(event)
        if "trial" in event:
            apply(self.trials, event, self.objective)

    def _passed(self, line: bytes, size: int) -> None:
        """A line of that size in the file is read."""
        self._position, self._line = self._position + size, self._line + 1
        self._read_last = (line + b"\n")[-KNOWN_BY_BYTES:] if len(line) < MOST_BYTES else b""

    def require_whole(self) -> None:
        """Raises CannotRun where a line says nothing: whoever writes, or decides, needs every one."""
        if self.damage:
            raise CannotRun(self.damage)

    def _new_lines(self, end: int | None) -> Iterator[bytes]:
        """Complete lines; of one that is too long its beginning. Nothing where there is no file."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._position - len(self._read_last))
                if file.read(len(self._read_last)) != self._read_last:
                    self._replaced()
                    return
                while (line := _line_of(file)) is not None and (end is None or file.tell() <= end):
                    self._passed(line, file.tell() - self._position)
                    yield line
        except FileNotFoundError:
            if self._position:
                self._replaced()
        except OSError as error:
            self.damage.append(Problem(str(self.path), "a record is a file to read", str(error.strerror), RESTORE))

    def _replaced(self) -> None:
        rule, value = "a record only grows", "what was read of it a moment ago is not there any more"
        self.damage.append(Problem(str(self.path), rule, value, "do the same again"))

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


def read_events(
    path: Path, search: Mapping[str, Trial] | None = None, objective: Objective | None = None
) -> list[Event]:
    """All events of a record. Raises CannotRun where one of its lines says nothing."""
    record = Record(path, search, objective)
    record.catch_up()
    record.require_whole()
    return record.events


def _line_of(file: IO[bytes]) -> bytes | None:
    """The next complete line, without its end; None where there is none. Never more of it than is sound in memory."""
    line = file.readline(MOST_BYTES)
    rest = line
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(MOST_BYTES)
    return line.removesuffix(b"\n") if rest else None


def _event(line: bytes, objective: Objective) -> tuple[Event | None, str]:
    """What a line says, and what is wrong with it. An empty one says nothing, and does no harm."""
    if not line:
        return None, ""
    if len(line) >= MOST_BYTES:
        return None, f"it is longer than {MOST_BYTES:,} bytes"
    try:
        event = json_text.parse(line)
    except ValueError as error:
        return None, str(error)
    return event, events.fault(event, objective)
