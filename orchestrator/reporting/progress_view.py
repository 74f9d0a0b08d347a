"""Shows a search while it runs, on stderr: a live table on a terminal, one line an event elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO, cast

from rich.table import Table

from orchestrator.reporting import tables
from orchestrator.search.allocation import ANY
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from orchestrator.system.streams import steadfast
from orchestrator.trials.progress import Progress

FURTHER = "\n    "  # before all lines of a message but the first: whatever is told in it looks like no other message


class Silent:
    """Shows nothing; also the base that knows how far a search is."""

    def begin(self, name: str, heads: Mapping[str, int], trials: Mapping[str, Trial], epochs: int, slots: int) -> None:
        self.name, self.heads, self.trials, self.epochs, self.slots = name, heads, trials, epochs, slots
        self.began = time.monotonic()
        self.done_before = sum(trial.last_epoch for trial in trials.values())

    def started(self, trial: Trial) -> None:
        """A trial began, or went on."""

    def epoch(self, trial: Trial, row: Event) -> None:
        """A trial reported."""

    def ended(self, trial: Trial) -> None:
        """A trial ended."""

    def say(self, message: str) -> None:
        """Something worth a line."""

    def close(self) -> None:
        """The search is over."""

    def left(self) -> str:
        """About how long it will still take, from the epochs so far and how many a trial has needed on average."""
        elapsed = time.monotonic() - self.began
        done = sum(trial.last_epoch for trial in self.trials.values())
        if done == self.done_before:
            return "time left: known after the first epochs"
        ended = [trial.last_epoch for trial in self.trials.values() if trial.status != "running"]
        usual = sum(ended) / len(ended) if ended else self.epochs
        to_come = sum(self.heads.values()) - len(self.trials)
        running = sum(max(0.0, usual - t.last_epoch) for t in self.trials.values() if t.status == "running")
        if not to_come and not any(trial.status == "running" for trial in self.trials.values()):
            return f"{tables.duration(elapsed)} in all"
        left_s = (usual * to_come + running) * elapsed / (done - self.done_before)
        return f"{tables.duration(elapsed)} so far, about {tables.duration(left_s)} left"


class EventLines(Silent):
    """One line an event, for logs and pipes."""

    def __init__(self) -> None:
        self._stream = steadfast(sys.stderr)

    def begin(self, name: str, heads: Mapping[str, int], trials: Mapping[str, Trial], epochs: int, slots: int) -> None:
        super().begin(name, heads, trials, epochs, slots)
        planned, number = sum(heads.values()), len(heads.keys() - {ANY})
        known = f", {len(trials)} known" if trials else ""
        self.say(f"{name}: {planned} trials of {number} heads, {slots} at a time{known}")

    def started(self, trial: Trial) -> None:
        verb = "goes on" if trial.epochs else "starts"
        self.say(f"{trial.name} {verb}: {tables.settings(trial.params)}")

    def epoch(self, trial: Trial, row: Event) -> None:
        self.say(f"{trial.name} epoch {row['epoch']}/{self.epochs}: {trial.judged_by.write(row['objective'])}")

    def ended(self, trial: Trial) -> None:
        ended = sum(other.status != "running" for other in self.trials.values())
        reason = f": {trial.reason}" if trial.reason else ""
        self.say(f"{trial.name} {trial.status}{reason} ({ended}/{sum(self.heads.values())} trials; {self.left()})")

    def say(self, message: str) -> None:
        self._stream.write(f"{time.strftime('%H:%M:%S')} {FURTHER.join(message.splitlines())}\n")


class LiveTable(Silent):
    """A table that keeps itself up to date on a terminal."""

    def __init__(self) -> None:
        self._console = tables.console_on(cast(TextIO, steadfast(sys.stderr)))

    def begin(self, name: str, heads: Mapping[str, int], trials: Mapping[str, Trial], epochs: int, slots: int) -> None:
        from rich.live import Live

        super().begin(name, heads, trials, epochs, slots)
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=2)
        self._live.start()

    def _table(self) -> Table:
        trials = dict(self.trials)  # the search adds to it in its own thread
        return tables.progress(self.heads, trials, f"{self.name}: {self.slots} trials at a time", self.left())

    def say(self, message: str) -> None:
        for line in FURTHER.join(message.splitlines()).split("\n"):
            self._console.print(line, soft_wrap=True)  # a command can be copied whole

    def close(self) -> None:
        self._live.stop()


def for_this_terminal() -> Progress:
    """A live table where stderr is a terminal, lines elsewhere."""
    return LiveTable() if sys.stderr.isatty() else EventLines()
