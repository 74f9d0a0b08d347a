"""The process that works on a study: what launching, going on, confirming and testing have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property

from orchestrator.cluster.run_options import RunOptions
from orchestrator.planning.plan import Plan
from orchestrator.selection.results import Results
from orchestrator.storage.broken_off import safe
from orchestrator.storage.record_writer import Writer
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.storage.study_state import StudyState
from orchestrator.system.signals import StopSignals
from orchestrator.trials import tuner
from orchestrator.trials.progress import Progress


@dataclass(frozen=True)
class Driver:
    """This process, as long as it is the one that may write to a study."""

    planned: Plan
    writer: Writer
    signals: StopSignals
    progress: Progress
    terms: RunOptions

    @cached_property
    def results(self) -> Results:
        """How far the study is, always current. There are none before its study.yaml is written."""
        return Results(self.folder.root, state=self.writer.state)

    @property
    def folder(self) -> StudyFolder:
        return self.planned.folder

    def session(self) -> AbstractContextManager[tuner.Session]:
        """Ray, for whatever of the study is to train."""
        return tuner.session(self.planned, self.writer, self.progress, self.signals, self.terms.left_s)


@contextmanager
def driving(
    planned: Plan, progress: Progress, terms: RunOptions, known: StudyState | None = None, goes_on: str = "resume"
) -> Iterator[Driver]:
    """Takes the study for this process, and gives it back.

    known: what was read of it before. goes_on: the verb that goes on where it ends too early. Raises CannotRun where
    another process is at work on it, and Interrupted where the machine breaks it off.
    """
    with (
        StopSignals(lambda: safe(planned.folder, goes_on)) as signals,
        planned.folder.writer(progress.say, goes_on, known or planned.folder.state(planned.study.objective)) as writer,
    ):
        yield Driver(planned, writer, signals, progress, terms)
