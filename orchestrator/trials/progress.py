"""What a search tells whoever shows it while it runs. How that looks is `reporting.progress_view`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event


class Progress(Protocol):
    """What a search tells while it runs. `trials` is the record so far and is kept up to date by the caller."""

    def begin(
        self, name: str, heads: Mapping[str, int], trials: Mapping[str, Trial], epochs: int, slots: int
    ) -> None: ...

    def started(self, trial: Trial) -> None: ...

    def epoch(self, trial: Trial, row: Event) -> None: ...

    def ended(self, trial: Trial) -> None: ...

    def say(self, message: str) -> None: ...

    def close(self) -> None: ...
