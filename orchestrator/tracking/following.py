"""Who follows a study while it runs: the W&B mirror, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from orchestrator.records import StudyFolder, Trial
from orchestrator.study import Study


class Follower(Protocol):
    """What a study tells while it runs. Every call returns at once; all that there is to know is on record."""

    def stage(self, job: str) -> None: ...

    def started(self, trial: Trial) -> None: ...

    def epoch(self, trial: Trial) -> None: ...

    def ended(self, trial: Trial) -> None: ...


class Nobody:
    """Follows nothing."""

    def stage(self, job: str) -> None:
        """Another part of the study begins."""

    def started(self, trial: Trial) -> None:
        """A trial began, or went on."""

    def epoch(self, trial: Trial) -> None:
        """A trial has one more epoch on record."""

    def ended(self, trial: Trial) -> None:
        """A trial has ended."""


@contextmanager
def following(study: Study, folder: StudyFolder, say: Callable[[str], None]) -> Iterator[Follower]:
    """The study's follower, for as long as the study runs; it catches up at the end."""
    if study.tracking.mode == "off":
        yield Nobody()
        return
    from orchestrator.tracking.mirror import Mirror

    try:
        mirror = Mirror(folder, say)
    except Exception as error:
        say(f"nothing is kept for W&B: {type(error).__name__}: {error}")
        yield Nobody()
        return
    try:
        yield mirror
    except KeyboardInterrupt:  # the second one: at once
        mirror.close(at_most_s=0.0)
        raise
    finally:
        try:
            mirror.close()
        except Exception as error:  # a search that has ended is worth more than its mirror
            say(f"W&B: {type(error).__name__}: {error}")
