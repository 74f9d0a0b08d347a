"""What a margin leaves to a class: one currency for the margins of every angular head. Pure floats.

Angular slack: the half-angle ρ around its centre that a class may occupy while its logit still wins against a
neighbour at angle α. It solves target(ρ) = cos(α − ρ): α/2 without a margin, and 0 where no arrangement of the classes
can satisfy the loss. α comes from `class_separation.separation`. Which margin leaves how much is each head's own, and
stands in search_spaces/heads/<head>.py; nothing here knows a head.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from search_spaces.distributions import Value

SLACK_KEPT = 0.1  # the share of the slack without a margin that a default upper bound leaves
HALVINGS = 60
LEAST_RAD = 1e-12  # a slack below this is none


class AngularMargin(ABC):
    """The geometry of a head's margin.

    A head states its names and `slack_rad`; where it has closed forms, also `leaving` and `at_another_angle`, which are
    otherwise found by halving intervals. Angles are in rad.
    """

    setting: ClassVar[str]  # the head's setting that holds the margin, such as "margin_rad"
    no_margin: ClassVar[float] = 0.0  # the value of that setting which is no margin at all
    bends_at: ClassVar[tuple[str, ...]] = ()  # further settings, angles in rad, that the slack depends on
    vanishes_at_centre: ClassVar[bool] = False  # whether every margin, however large, leaves some slack

    @abstractmethod
    def slack_rad(self, margin: float, apart_rad: float, *bends: float) -> float:
        """ρ, from 0 to α/2, beside a neighbour at the angle `apart_rad`; bends: the values of `bends_at`."""

    def leaving(self, share: float, apart_rad: float, *bends: float) -> float:
        """The margin that leaves this share of α/2, the smallest where several do."""
        target = max(share * apart_rad / 2, LEAST_RAD)
        low, step = self.no_margin, 1.0
        while self.slack_rad(low + step, apart_rad, *bends) > target:
            step *= 2
            if step > 2.0**HALVINGS:
                return math.inf
        high = low + step
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.slack_rad(middle, apart_rad, *bends) > target else (low, middle)
        return high if share < 1 else self.no_margin

    def at_another_angle(self, margin: float, here_rad: float, there_rad: float, *bends: float) -> float:
        """The margin that leaves, between centres `there_rad` apart, the share that `margin` leaves `here_rad` apart.

        bends: the values of `bends_at` here, which are carried as their shares of the angle. An infeasible margin
        keeps its ratio to the smallest infeasible one.
        """
        ratio = margin / self.infeasible_from(here_rad)
        if ratio >= 1:
            return ratio * self.infeasible_from(there_rad)
        share = self.slack_rad(margin, here_rad, *bends) / (here_rad / 2)
        return self.leaving(share, there_rad, *(bend * there_rad / here_rad for bend in bends))

    def infeasible_from(self, apart_rad: float) -> float:
        """The margin from which on no slack is left; inf where it vanishes at the class centre."""
        return math.inf if self.vanishes_at_centre else self.leaving(0.0, _checked(apart_rad))

    def slack(self, params: Mapping[str, Value], apart_rad: float) -> float:
        """ρ (rad) with the margin in `params`, which also hold what is in `bends_at`.

        Raises ValueError for a missing setting, and for α outside (0, π].
        """
        return self.slack_rad(_number(params, self.setting), _checked(apart_rad), *self.bends(params))

    def share(self, params: Mapping[str, Value], apart_rad: float) -> float:
        """The slack as a share of the slack without a margin, α/2: from 1 (no margin) to 0 (infeasible)."""
        return self.slack(params, apart_rad) / (apart_rad / 2)

    def margin_at(self, share: float, apart_rad: float, params: Mapping[str, Value] | None = None) -> float:
        """The margin that leaves this share of α/2, in the setting's own unit; the inverse of `share`.

        params: what is in `bends_at`. inf for a share of 0 where the margin vanishes at the class centre. Raises
        ValueError as `slack` does, and for a share outside [0, 1].
        """
        apart_rad = _checked(apart_rad)
        if not 0 <= share <= 1:
            raise ValueError(f"share of the slack must be from 0 to 1, but got {share:g}; 1 is no margin at all")
        if share == 0:
            return self.infeasible_from(apart_rad)
        return self.leaving(share, apart_rad, *self.bends(params or {}))

    def bends(self, params: Mapping[str, Value]) -> tuple[float, ...]:
        """The values of `bends_at`. Raises ValueError where one is missing."""
        return tuple(_number(params, name) for name in self.bends_at)


def farthest(wins: Callable[[float], bool], apart_rad: float) -> float:
    """The largest angle up to α/2 at which a point still wins; `wins` must be true first and then false."""
    low, high = 0.0, apart_rad / 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if wins(middle) else (low, middle)
    return (low + high) / 2


def _number(params: Mapping[str, Value], name: str) -> float:
    value = params.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the angular slack needs {name} as a number, but got {name}={value!r}")
    return float(value)


def _checked(apart_rad: float) -> float:
    if not 0 < apart_rad <= math.pi + 1e-12:
        raise ValueError(f"the angle between centres must be above 0 and at most π rad, but got {apart_rad:g}")
    return apart_rad
