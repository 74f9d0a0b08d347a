"""Configurations of the search on fresh seeds, and which of a head's is the best. Pure; it knows no record."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from orchestrator.selection import statistics
from orchestrator.selection.statistics import Difference, MeanEstimate
from orchestrator.storage.event_log import Trial


@dataclass(frozen=True)
class Candidate:
    """A configuration of the search and its runs on fresh seeds."""

    trial: Trial
    runs: tuple[Trial, ...]

    @property
    def scores(self) -> dict[int, float]:
        """seed → objective, of the runs that reached their end."""
        return {run.seed: run.epochs[-1]["objective"] for run in self.runs if run.status == "completed" and run.epochs}

    @property
    def lost(self) -> int:
        """How many runs failed or diverged."""
        return sum(run.lost for run in self.runs)

    def mean_of(self, metric: str) -> float | None:
        """Another measure after the last epoch, on average over the runs that reached their end."""
        ended = (run.epochs[-1]["metrics"].get(metric) for run in self.runs if run.status == "completed")
        values = [value for value in ended if value is not None]
        return sum(values) / len(values) if values else None

    @cached_property
    def estimate(self) -> MeanEstimate | None:
        return MeanEstimate.of(self.scores.values()) if self.scores else None

    @property
    def merit(self) -> float:
        """Its mean as a number that is higher for the better; −∞ without any run."""
        return self.trial.judged_by.merit(self.estimate.mean) if self.estimate else -math.inf


@dataclass(frozen=True)
class Confirmed:
    """A head after confirmation: its candidates, the best first, and the best against each of the others."""

    head: str
    candidates: tuple[Candidate, ...]
    compared: tuple[Difference, ...] = ()

    @property
    def indistinguishable(self) -> list[Difference]:
        """Those that cannot be told apart from the best: they need not be as good."""
        return [each for each in self.compared if not each.significant]

    @property
    def ties(self) -> tuple[str, ...]:
        return tuple(each.second for each in self.indistinguishable)

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    @property
    def estimate(self) -> MeanEstimate:
        assert self.best.estimate is not None
        return self.best.estimate


def judge(head: str, candidates: Iterable[Candidate]) -> Confirmed | None:
    """The best mean wins, among those that lost no run and were not dropped in a race; None without any run."""
    found = [(candidate, candidate.merit) for candidate in candidates if candidate.estimate]
    if not found:
        return None
    found.sort(key=lambda pair: (pair[0].lost, -len(pair[0].scores), -pair[1]))
    ranked = [candidate for candidate, _ in found]
    scores = {candidate.trial.name: candidate.scores for candidate in ranked}
    best, *others = scores
    compared = statistics.differences(scores, [(best, other) for other in others], ranked[0].trial.judged_by)
    return Confirmed(head, tuple(ranked), tuple(compared))
