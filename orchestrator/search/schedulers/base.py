"""What a scheduler must give: its options in a study's `search` section, what it does to trials, and Tune's scheduler.

A new scheduler is one file in this package with a subclass of `Scheduler`. Its fields are its options, each with a
default. `tests/orchestrator/search/test_contract.py` holds it to what is said here. Knows no study; Ray is imported
where `for_tune` is called, and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from lightning_modules.registry import Options
from orchestrator.errors import Problem
from search_spaces.configurations import Space


class Scheduler(Options, ABC):
    """What becomes of trials while they train. A subclass states its name as a literal `scheduler`.

    title: its name in a sentence. kept_checkpoints: of each trial, at a time. epochs_share: of all epochs, about how
    many trials train on average; the confirmation is sized by it.
    """

    scheduler: str
    title: ClassVar[str]
    ends_early: ClassVar[bool] = False  # trials may end before their last epoch
    changes_settings: ClassVar[bool] = False  # settings of a trial may change while it trains
    takes_population: ClassVar[bool] = False  # it needs all trials from the start, of a sampler that is independent
    needs_record: ClassVar[bool] = False  # after a resume it must hear of every epoch that is on record, by trial name
    several_workers: ClassVar[bool] = True  # it can deal with trials that several workers train
    kept_checkpoints: ClassVar[int] = 2
    epochs_share: ClassVar[float] = 1.0

    @abstractmethod
    def said(self, epochs: int) -> str:
        """What it does to trials of so many epochs, in a few words."""

    @abstractmethod
    def for_tune(self, space: Space, epochs: int) -> Any:
        """Ray Tune's scheduler for the trials of one head, or of all heads of a joint search, whose space is empty.

        It is told of `report_keys`' EPOCH and OBJECTIVE after each epoch; higher objectives are better.
        """

    def rungs(self, epochs: int) -> list[int]:
        """The epochs after which it compares trials and may stop some."""
        return []

    def problems(self, epochs: int, trials: int) -> Iterable[Problem]:
        """What is wrong with it for so many trials of a head, of so many epochs."""
        return ()

    def simulated_epochs(self, scores: Sequence[float], epochs: int) -> list[int]:
        """How many epochs trials get that have these scores all along, one after the other: for the cost of a study."""
        return [epochs] * len(scores)

    @classmethod
    def leaves_alone(cls) -> bool:
        """Whether every trial trains to its end with the settings that it began with."""
        return not (cls.ends_early or cls.changes_settings)
