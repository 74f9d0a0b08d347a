"""Which configuration is the best of a head. Pure: records in, ranking out; no framework, no files.

Rank by the objective after the last epoch of trials that ran to their end. A trial that was stopped early, diverged
or failed is never chosen while a completed one exists: its model was not finished. Where a head is confirmed on fresh
seeds, their mean decides instead.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lightning_modules.objectives.base import Objective, Support
from orchestrator.selection.candidates import Confirmed
from orchestrator.storage.event_log import Trial


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
        return float(self.best.epochs[-1]["objective"]) if self.best else math.nan

    @property
    def merit(self) -> float:
        """The objective as a number that is higher for the better head; −∞ where there is none."""
        return self.best.judged_by.merit(self.objective) if self.best else -math.inf

    @property
    def reached(self) -> str:
        """The objective as people read it."""
        return self.best.judged_by.write(self.objective) if self.best else "–"

    def interval(self, support: Support) -> tuple[float, float] | None:
        """95%: over the seeds (Student's t) where it is confirmed, else what the objective knows of one run."""
        if self.best is None:
            return None
        if self.confirmed is None:
            return run_interval(self.best, support)
        ends = self.confirmed.estimate.interval
        return self.best.judged_by.clipped(ends) if ends else None

    @property
    def runs(self) -> str:
        """What the objective is the mean, or the best, of."""
        if self.confirmed:
            return f"{self.confirmed.estimate.n} fresh seeds"
        return f"1, best of {self.counts[self.best.status]}" if self.best else "0"


def run_interval(trial: Trial, support: Support) -> tuple[float, float] | None:
    """The 95% interval of a single run, over what it was measured on; None where its objective has none."""
    known = trial.judged_by.interval
    return known.ends(float(trial.epochs[-1]["objective"]), support) if known and trial.epochs else None


def rank(trials: Iterable[Trial]) -> list[Trial]:
    """Candidates, best first: completed before stopped early; equal objectives by the earlier start."""
    candidates = [trial for trial in trials if trial.status in ("completed", "stopped") and trial.epochs]
    return sorted(candidates, key=lambda trial: (trial.status != "completed", -trial.merit, trial.index))


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


def front(points: Sequence[tuple[float, ...]]) -> list[int]:
    """The numbers of the points that no other point equals or beats in every coordinate; equal ones once."""
    found: list[int] = []
    for number in sorted(range(len(points)), key=lambda each: [-value for value in points[each]]):
        known = (points[each] for each in found)
        if not any(all(map(operator.ge, other, points[number])) for other in known):
            found.append(number)
    return found


Fronts = dict[str, list[tuple[Trial, tuple[float, ...]]]]


def ended(trial: Trial) -> bool:
    """Whether a trial ran to its end, with a result."""
    return trial.status == "completed" and bool(trial.epochs)


def values(trial: Trial, objectives: Iterable[Objective]) -> tuple[float, ...]:
    """What a trial has reached in each of the objectives."""
    return tuple(map(trial.value_of, objectives))


def fronts(heads: Iterable[str], trials: Iterable[Trial], objectives: Sequence[Objective]) -> Fronts:
    """Of each head its finished trials that no other beats in every objective, with what they reached."""
    trials, found = list(trials), Fronts()
    for head in heads:
        own = [trial for trial in trials if trial.head == head and ended(trial)]
        points = [values(trial, objectives) for trial in own]
        merits = [tuple(each.merit(value) for each, value in zip(objectives, point, strict=True)) for point in points]
        if points:
            found[head] = [(own[number], points[number]) for number in front(merits)]
    return found


def leaderboard(
    heads: Iterable[str], trials: Iterable[Trial], confirmed: Mapping[str, Confirmed] | None = None
) -> list[Standing]:
    """All heads, the best first; a confirmed mean stands above the luck of one run."""
    trials, confirmed = list(trials), confirmed or {}
    standings = [
        standing(head, (trial for trial in trials if trial.head == head), confirmed.get(head)) for head in heads
    ]
    return sorted(standings, key=lambda row: (row.confirmed is None, -row.merit))
