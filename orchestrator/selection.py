"""Which configuration is the best of a head. Pure: records in, ranking out; no framework, no files.

Rank by the objective after the last epoch of trials that ran to their end. A trial that was stopped early, diverged
or failed is never chosen while a completed one exists: its model was not finished.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.records import Trial


@dataclass(frozen=True)
class Standing:
    """One head in the leaderboard. best is None where no trial of it reported anything finite."""

    head: str
    best: Trial | None
    ties: tuple[str, ...]
    counts: dict[str, int]

    @property
    def objective(self) -> float:
        return self.best.objective or 0.0 if self.best else float("-inf")


def rank(trials: Iterable[Trial]) -> list[Trial]:
    """Candidates, best first: completed before stopped early; equal objectives by the earlier start."""
    candidates = [trial for trial in trials if trial.status in ("completed", "stopped") and trial.epochs]
    return sorted(candidates, key=lambda trial: (trial.status != "completed", -(trial.objective or 0.0), trial.index))


def standing(head: str, trials: Iterable[Trial]) -> Standing:
    """The best trial of one head, and those that reached exactly the same objective."""
    trials = list(trials)
    ranked = rank(trials)
    best = ranked[0] if ranked else None
    ties = tuple(t.name for t in ranked[1:] if best and (t.status, t.objective) == (best.status, best.objective))
    return Standing(head, best, ties, dict(Counter(trial.status for trial in trials)))


def wilson(share: float, number: int) -> tuple[float, float]:
    """The 95% interval of a share of `number` independent images (Wilson 1927): which images there were by chance.

    It says nothing of what another seed would have given.
    """
    z = 1.959964
    middle = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    return max(0.0, middle - half), min(1.0, middle + half)


def leaderboard(heads: Iterable[str], trials: Iterable[Trial]) -> list[Standing]:
    """All heads, the best first."""
    trials = list(trials)
    standings = [standing(head, (trial for trial in trials if trial.head == head)) for head in heads]
    return sorted(standings, key=lambda row: -row.objective)
