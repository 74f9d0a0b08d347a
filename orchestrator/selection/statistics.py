"""What a few noisy runs are evidence of: means with intervals, differences paired by seed, verdicts in words. Pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lightning_modules.objectives.base import Objective

CONFIDENCE, LEVEL = 0.95, 0.05


@dataclass(frozen=True)
class MeanEstimate:
    """The mean of `n` independent runs. The interval is Student's t at 95%; with one run there is none."""

    n: int
    mean: float
    standard_error: float | None
    half_width: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> MeanEstimate:
        """Raises ValueError for no values."""
        values = list(values)
        if not values:
            raise ValueError("an estimate needs at least one value, but got none")
        mean = statistics.fmean(values)
        if len(values) == 1:
            return cls(1, mean, None, None)
        error = statistics.stdev(values) / math.sqrt(len(values))
        return cls(len(values), mean, error, _t_quantile(len(values) - 1) * error)

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.half_width is None else (self.mean - self.half_width, self.mean + self.half_width)

    def written(self, objective: Objective) -> str:
        """The mean with its interval and n, for people."""
        spread = "" if self.half_width is None else f" ± {objective.write(self.half_width)}"
        return f"{objective.write(self.mean)}{spread} (n = {self.n})"


def _t_quantile(freedom: int) -> float:
    """How many standard errors a 95% interval reaches to each side (Student 1908)."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def paired_p(differences: Sequence[float]) -> float:
    """How likely so large a mean difference is by chance alone (Student's paired t test, two-sided); 1 below two."""
    if len(differences) < 2:
        return 1.0
    mean, spread = statistics.fmean(differences), statistics.stdev(differences)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.special import stdtr

    return float(2 * stdtr(len(differences) - 1, -abs(mean) / (spread / math.sqrt(len(differences)))))


def holm(chances: Sequence[float]) -> list[float]:
    """p values, corrected for being many (Holm 1979): each may be compared with 0.05 as if it were the only one."""
    adjusted = [0.0] * len(chances)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(chances)), key=lambda index: chances[index])):
        highest = max(highest, min(1.0, chances[index] * (len(chances) - place)))
        adjusted[index] = highest
    return adjusted


@dataclass(frozen=True)
class Difference:
    """`first` minus `second`, seed by seed; p is corrected for all the pairs that were compared with this one.

    objective: what was measured.
    """

    first: str
    second: str
    estimate: MeanEstimate
    p: float
    objective: Objective

    @property
    def significant(self) -> bool:
        return self.p < LEVEL

    @property
    def of_second(self) -> str:
        """How much better or worse the second is: "arcface-001 (−0.0170 ± 0.0150)"."""
        width = self.estimate.half_width
        spread = "" if width is None else f" ± {self.objective.write(width)}"
        return f"{self.second} ({self.objective.write_signed(-self.estimate.mean)}{spread})".replace("(-", "(−")

    @property
    def first_leads(self) -> bool:
        """Whether the first is better on average."""
        return self.objective.merit(self.estimate.mean) > 0

    @property
    def gap(self) -> str:
        """How far apart they are, as people read it."""
        return self.objective.write(abs(self.estimate.mean))

    def __str__(self) -> str:
        n = self.estimate.n
        if not self.significant:
            return f"{self.first} and {self.second} cannot be told apart at n = {n} (p = {self.p:.2g})"
        better, worse = (self.first, self.second) if self.first_leads else (self.second, self.first)
        return f"{better} is better than {worse} by {self.gap} at n = {n} (p = {self.p:.2g})"


def differences(
    scores: Mapping[str, Mapping[int, float]], pairs: Iterable[tuple[str, str]], objective: Objective
) -> list[Difference]:
    """Each pair of names compared on the seeds that both have, Holm-corrected over all pairs; scores: seed → value."""
    found = []
    for first, second in pairs:
        common = [seed for seed in scores[first] if seed in scores[second]]
        if common:
            found.append((first, second, [scores[first][seed] - scores[second][seed] for seed in common]))
    corrected = holm([paired_p(values) for *_, values in found])
    return [
        Difference(first, second, MeanEstimate.of(values), p, objective)
        for (first, second, values), p in zip(found, corrected, strict=True)
    ]


def all_differences(scores: Mapping[str, Mapping[int, float]], objective: Objective) -> list[Difference]:
    """Every name against every other."""
    return differences(scores, itertools.combinations(scores, 2), objective)


def verdicts(compared: Sequence[Difference]) -> list[str]:
    """What all the differences say, a sentence each: those that are there, then that there are no others."""
    said = [str(difference) for difference in compared if difference.significant]
    alike = [difference for difference in compared if not difference.significant]
    if len(alike) < 2:
        return [*said, *map(str, alike)]
    n = min(difference.estimate.n for difference in alike)
    return [*said, f"no {'other ' if said else ''}two of them can be told apart at n = {n}"]
