"""How far a study is: what its records say, in memory.

The records are the truth. A process that works on a study reads each of them once; from then on its writer adds every
line that it has put on disk, and nobody reads them again. Who only looks, from another process, reads them for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lightning_modules.objectives.base import Objective
from orchestrator.storage.event_log import Record


class StudyState:
    """The records of a study: of its search, its confirmation and its test. records: their files, in this order.

    objective: what the study is judged by.
    """

    def __init__(self, records: Mapping[str, Path], objective: Objective | None = None) -> None:
        search, confirmation, test = records.values()
        self.search = Record(search, objective=objective)
        self.confirmation = Record(confirmation, self.search.trials, objective)
        self.test = Record(test, self.search.trials, objective)

    @property
    def all(self) -> tuple[Record, ...]:
        """The records, each after those that it rests on."""
        return self.search, self.confirmation, self.test

    @property
    def size(self) -> int:
        """How many events there are: it grows whenever anything is known that was not."""
        return sum(len(record.events) for record in self.all)

    def catch_up(self) -> StudyState:
        """Reads what came since, or everything the first time; returns itself."""
        for record in self.all:
            record.catch_up()
        return self

    def require_whole(self) -> None:
        """Raises CannotRun where a line of a record says nothing."""
        for record in self.all:
            record.require_whole()
