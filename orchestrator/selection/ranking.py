"""Which configuration is the best of a head. Pure: records in, ranking out; no framework, no files.

Rank by the objective after the last epoch of trials that ran to their end. A trial that was stopped early, diverged
or failed is never chosen while a completed one exists: its model was not finished. Where a head is confirmed on fresh
seeds, their mean decides instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.storage.event_log import SEPARATION, Trial

if TYPE_CHECKING:
    from orchestrator.selection.confirmation import Confirmed


@dataclass(frozen=True)
class Standing:
    """One head in the leaderboard. best is None where no trial of it reported anything finite.

    ties: what reached exactly the same, or, once confirmed, what cannot be told apart from the best.
    """

    head: str
    best: Trial | None
    ties: tuple[str, ...]
    counts: dict[str, int]
    confirmed: Confirmed | None = None

    @property
    def objective(self) -> float:
        """The mean over fresh seeds where there is one, else what the best trial reached."""
        if self.confirmed:
            return self.confirmed.estimate.mean
        return self.best.objective or 0.0 if self.best else float("-inf")

    def interval(self, images: int) -> tuple[float, float] | None:
        """95%: over the seeds (Student's t) where it is confirmed, else over so many images alone (Wilson)."""
        if self.confirmed is None:
            return wilson(self.objective, images) if self.best else None
        ends = self.confirmed.estimate.interval
        return (max(0.0, ends[0]), min(1.0, ends[1])) if ends else None  # an accuracy, whatever t says

    @property
    def runs(self) -> str:
        """What the objective is the mean, or the best, of."""
        if self.confirmed:
            return f"{self.confirmed.estimate.n} fresh seeds"
        return f"1, best of {self.counts[self.best.status]}" if self.best else "0"


def rank(trials: Iterable[Trial]) -> list[Trial]:
    """Candidates, best first: completed before stopped early; equal objectives by the earlier start."""
    candidates = [trial for trial in trials if trial.status in ("completed", "stopped") and trial.epochs]
    return sorted(candidates, key=lambda trial: (trial.status != "completed", -(trial.objective or 0.0), trial.index))


def standing(head: str, trials: Iterable[Trial], confirmed: Confirmed | None = None) -> Standing:
    """The best configuration of one head, and those tied with it."""
    trials = list(trials)
    counts: dict[str, int] = dict(Counter(str(trial.status) for trial in trials))
    if confirmed:
        return Standing(head, confirmed.best.trial, confirmed.ties, counts, confirmed)
    ranked = rank(trials)
    best = ranked[0] if ranked else None
    ties = tuple(t.name for t in ranked[1:] if best and (t.status, t.objective) == (best.status, best.objective))
    return Standing(head, best, ties, counts)


def wilson(share: float, number: int) -> tuple[float, float]:
    """The 95% interval of a share of `number` independent images (Wilson 1927): which images there were by chance.

    It says nothing of what another seed would have given.
    """
    z = 1.959964
    middle = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    return max(0.0, middle - half), min(1.0, middle + half)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The numbers of the points that no other point equals or beats in both coordinates; equal ones once."""
    found: list[int] = []
    highest = float("-inf")
    for number in sorted(range(len(points)), key=lambda each: (-points[each][0], -points[each][1])):
        if points[number][1] > highest:
            highest = points[number][1]
            found.append(number)
    return found


Fronts = dict[str, list[tuple[Trial, tuple[float, float]]]]


def ended(trial: Trial) -> bool:
    """Whether a trial ran to its end, with a result."""
    return trial.status == "completed" and bool(trial.epochs)


def both(trial: Trial) -> tuple[float, float]:
    """Accuracy and separation after the last epoch."""
    return trial.objective or 0.0, float(trial.epochs[-1]["metrics"].get(SEPARATION, 0.0))


def fronts(heads: Iterable[str], trials: Iterable[Trial]) -> Fronts:
    """Of each head its finished trials that no other beats in accuracy and separation, with both figures."""
    trials, found = list(trials), Fronts()
    for head in heads:
        own = [trial for trial in trials if trial.head == head and ended(trial)]
        points = [both(trial) for trial in own]
        if points:
            found[head] = [(own[number], points[number]) for number in front(points)]
    return found


def leaderboard(
    heads: Iterable[str], trials: Iterable[Trial], confirmed: Mapping[str, Confirmed] | None = None
) -> list[Standing]:
    """All heads, the best first; a confirmed mean stands above the luck of one run."""
    trials, confirmed = list(trials), confirmed or {}
    standings = [
        standing(head, (trial for trial in trials if trial.head == head), confirmed.get(head)) for head in heads
    ]
    return sorted(standings, key=lambda row: (row.confirmed is None, -row.objective))
