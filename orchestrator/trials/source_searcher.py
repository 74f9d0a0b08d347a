"""Where Tune gets its trials from: a searcher that hands out what a contest or a confirmation wants next. Knows Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ray.tune.search import Searcher

from orchestrator.search.allocation import Assignment
from orchestrator.search.report_keys import OBJECTIVE
from orchestrator.storage.events import Event
from orchestrator.trials.driver_only import DriverOnly


def trial_config(assignment: Assignment, checkpoint: str | None = None) -> dict[str, Any]:
    """What a trial receives; checkpoint: where an interrupted one goes on."""
    return {"trial": {**vars(assignment), "checkpoint": checkpoint}}


class Source(Protocol):
    """Where trials come from: a Contest, or the Replicates of known configurations."""

    @property
    def remaining(self) -> int: ...

    def next(self) -> Assignment | None: ...

    def epoch(self, name: str, row: Event) -> None: ...

    def end(self, name: str, status: str) -> None: ...


class SourceSearcher(DriverOnly, Searcher):
    """Tune's searcher: hands out a source's assignments. The source learns from the recorder."""

    def __init__(self, source: Source, checkpoints: Mapping[str, str]) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        self.source, self.checkpoints = source, checkpoints

    def suggest(self, trial_id: str) -> Any:
        assignment = self.source.next()
        if assignment is None:
            return Searcher.FINISHED
        return trial_config(assignment, self.checkpoints.get(assignment.name))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The recorder has told the contest already, with the trial's real status."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a search resumes from trials.jsonl."""

    restore = save
