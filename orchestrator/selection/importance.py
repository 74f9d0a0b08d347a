"""How much each searched setting of a head influences its result, judged from its trials. Pure.

A quadratic response surface (Box & Wilson 1951): the trials' objectives, as normal scores of their ranks so that one
collapsed trial does not outweigh all others, are regressed on each setting and its square (on a logarithmic axis where
it was searched on one), or on which of its values a choice took. A setting's share is what it explains of the variance
that the other settings leave: partial ε² (Kelley 1935), its interval from the noncentral F distribution (Steiger 2004),
its p from the F test, corrected for all settings of the head (Holm). Settings that only matter together are not seen.
Trials are compared after the last epoch that all of them have reached: those that were stopped early have no later one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.selection.noncentral_f import noncentrality_at
from orchestrator.selection.statistics import CONFIDENCE, LEVEL, holm
from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Study
from search_spaces.configurations import Searched
from search_spaces.distributions import Parameter, Range

SPARE = 3  # how many more trials than coefficients it takes
SAME = 1e-9  # of the longest direction of a design: what is shorter is rounding, however a machine rounds
LEAST = 1e-6  # what a perfect fit is taken to leave of a variance of about 1
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """How much one setting explains of the variance that the others leave; p is corrected for all settings."""

    parameter: str
    share: float
    interval: tuple[float, float]
    p: float

    @property
    def told(self) -> bool:
        """Whether it is more than chance would do."""
        return self.p < LEVEL

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {"setting": self.parameter, "share": self.share, "interval_95": list(self.interval), "p": self.p}


@dataclass(frozen=True)
class Importances:
    """Of one head, the settings that matter most first; with a reason instead where nothing can be said.

    trials: how many were compared. epoch: after which. left_out: settings that only some of the trials had, or that
    did not differ between them.
    """

    head: str
    trials: int = 0
    epoch: int = 0
    parameters: tuple[Importance, ...] = ()
    left_out: tuple[str, ...] = ()
    reason: str = field(default="", kw_only=True)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "head": self.head,
            "trials": self.trials,
            "epoch": self.epoch,
            "settings": [each.as_dict() for each in self.parameters],
            "left_out": list(self.left_out),
            "reason": self.reason,
        }


def of_head(study: Study, classes: int, head: str, trials: Iterable[Trial]) -> Importances:
    """What each searched setting of a head matters among its trials that reported anything and did not fail."""
    if study.search.scheduler.changes_settings:
        return Importances(head, reason=f"{study.search.scheduler.title} changes settings while a trial trains")
    found = [trial for trial in trials if trial.head == head and _counts(trial)]
    if not found:
        return Importances(head, reason="no trial has ended with a result")
    epoch = min(trial.last_epoch for trial in found)
    found = [trial for trial in found if trial.objective_at(epoch) is not None]  # in a damaged record it may be missing
    objectives = np.array([trial.objective_at(epoch) for trial in found], float)
    columns, left_out = _columns(study.spaces(classes)[head], found)
    needed = 1 + sum(block.shape[1] for block in columns.values()) + SPARE
    if not columns:
        return Importances(head, len(found), epoch, (), left_out, reason="no setting differs between its trials")
    if len(found) < needed:
        settings = f"{len(columns)} settings need" if len(columns) > 1 else "1 setting needs"
        reason = f"{settings} at least {needed} trials with a result, and it has {len(found)}"
        return Importances(head, len(found), epoch, (), left_out, reason=reason)
    if len(set(objectives)) == 1:
        return Importances(head, len(found), epoch, (), left_out, reason="all its trials reached the same")
    return Importances(head, len(found), epoch, analysed(objectives, columns), left_out)


def analysed(objectives: Matrix, columns: Mapping[str, Matrix]) -> tuple[Importance, ...]:
    """The importance of each setting, most first. columns: (n, k) of each, what is regressed on."""
    from scipy.special import fdtrc

    n, scores = len(objectives), _normal_scores(objectives)
    whole = _design(n, columns.values())
    left, freedom = _unexplained(whole, scores)
    found = []
    for name in columns:
        without, more = _unexplained(_design(n, (block for other, block in columns.items() if other != name)), scores)
        own = more - freedom
        explained = max(0.0, without - left)  # of two equal sums rounding may leave less than nothing
        f = explained / own / max(left / freedom, LEAST) if own else 0.0
        p = float(fdtrc(own, freedom, f)) if own else 1.0  # it is a combination of the others
        share = max(0.0, (f - 1) * own / (f * own + freedom)) if own else 0.0
        found.append((name, share, _interval(f, own, freedom), p))
    corrected = holm([p for *_, p in found])
    every = [Importance(*each[:3], p) for each, p in zip(found, corrected, strict=True)]
    return tuple(sorted(every, key=lambda each: (-each.share, each.p)))


def _counts(trial: Trial) -> bool:
    return trial.status in ("completed", "stopped") and bool(trial.epochs)


def _columns(space: Mapping[str, Searched], trials: list[Trial]) -> tuple[dict[str, Matrix], tuple[str, ...]]:
    """Of each searched setting what is regressed on; and those of which nothing can be said."""
    columns, left_out = dict[str, Matrix](), list[str]()
    for name, item in space.items():
        if item.parameter.is_constant:
            continue
        values = [trial.params.get(name) for trial in trials]
        block = None if None in values else _block(item.parameter, values)
        if block is None or not block.shape[1]:
            left_out.append(name)
        else:
            columns[name] = block
    return columns, tuple(left_out)


def _block(parameter: Parameter, values: list[Any]) -> Matrix:
    """A range as itself and its square, from −1 to 1 over what the trials have; a choice as its values but one."""
    if isinstance(parameter, Range):
        numbers = np.array([math.log(value) if parameter.log else value for value in values], float)
        low, high = numbers.min(), numbers.max()
        if low == high:
            return np.empty((len(values), 0))
        unit = 2 * (numbers - low) / (high - low) - 1
        powers = (unit, unit**2) if len(set(unit)) > 2 else (unit,)
        return np.stack(powers, axis=1)
    taken = [value for value in parameter.values if value in values]
    return np.array([[float(value == each) for each in taken[1:]] for value in values]).reshape(len(values), -1)


def _normal_scores(values: Matrix) -> Matrix:
    """What a normal variable would have in the places of these (van der Waerden 1952); equal ones stay equal."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri(rankdata(values) / (len(values) + 1)))


def _design(n: int, blocks: Iterable[Matrix]) -> Matrix:
    return np.concatenate([np.ones((n, 1)), *blocks], axis=1)


def _unexplained(design: Matrix, scores: Matrix) -> tuple[float, int]:
    """The sum of squares that a regression leaves, and its degrees of freedom."""
    solution, _, rank, _ = np.linalg.lstsq(design, scores, rcond=SAME)
    return float(((scores - design @ solution) ** 2).sum()), len(scores) - int(rank)


def _interval(f: float, own: int, freedom: int) -> tuple[float, float]:
    """The 95% interval of a partial share: the noncentralities λ under which F is neither too high nor too low."""
    if not own:
        return 0.0, 1.0
    tail = (1 - CONFIDENCE) / 2
    low, high = (noncentrality_at(chance, f, own, freedom) for chance in (1 - tail, tail))  # P(F ≤ f) falls with λ
    return low / (low + own + freedom), high / (high + own + freedom)
