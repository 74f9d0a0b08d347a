"""For objects that Tune wants to save and restore, but that live and die with the driver."""

from __future__ import annotations

from typing import Any, Self


class DriverOnly:
    """Keeps Tune from pickling or copying it: a search resumes from trials.jsonl, never from Tune's snapshots."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
