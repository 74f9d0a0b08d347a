"""What a margin leaves to a class: one currency for the margins of every angular head. Pure floats.

Room: the half-angle ρ around its centre that a class may occupy while its logit still wins against a neighbour at
angle α. It solves target(ρ) = cos(α − ρ): α/2 without a margin, and 0 where no arrangement of the classes can
satisfy the loss. α comes from `class_separation.separation`; the heads' formulas stand in
lightning_modules/heads/<head>.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from search_spaces.distributions import Value

MARGINS = {"arcface": "margin_rad", "cosface": "margin_cos", "sphereface": "margin_mult", "hybrid": "margin_rad"}
ROOM_KEPT = 0.1  # the share of the room without a margin that a default upper bound leaves
HALVINGS = 60


def room(head: str, params: Mapping[str, Value], angle_rad: float) -> float:
    """ρ (rad) between 0 and α/2 with the head's margin in `params`, the hybrid's crossover_rad as well.

    Raises ValueError for a head without an angular margin, a missing setting, or α outside (0, π].
    """
    margin = _number(head, params, _margin_name(head))
    apart = _checked(angle_rad)
    if head == "arcface":
        return max(0.0, (apart - margin) / 2)
    if head == "cosface":
        sine = min(1.0, margin / (2 * math.sin(apart / 2)))
        return max(0.0, apart / 2 - math.asin(sine))
    if head == "sphereface":
        return apart / (margin + 1)
    return _hybrid_room(margin, _number(head, params, "crossover_rad"), apart)


def share_of_room(head: str, params: Mapping[str, Value], angle_rad: float) -> float:
    """The room as a share of the room without a margin, α/2: from 1 (no margin) to 0 (infeasible)."""
    return room(head, params, angle_rad) / (angle_rad / 2)


def margin_at(head: str, share: float, angle_rad: float, params: Mapping[str, Value] | None = None) -> float:
    """The margin that leaves this share of α/2, in the head's own unit; the inverse of `share_of_room`.

    params: the hybrid's crossover_rad. inf for a share of 0 of sphereface and hybrid, which always leave some room.
    Raises ValueError as `room` does, and for a share outside [0, 1].
    """
    _margin_name(head)
    apart = _checked(angle_rad)
    if not 0 <= share <= 1:
        raise ValueError(f"share of the room must be from 0 to 1, but got {share:g}; 1 is no margin at all")
    if head == "arcface":
        return (1 - share) * apart
    if head == "cosface":
        return 2 * math.sin(apart / 2) * math.sin((1 - share) * apart / 2)
    if share == 0:
        return math.inf
    if head == "sphereface":
        return 2 / share - 1
    bend = math.tanh(share * apart / 2 / _number(head, params or {}, "crossover_rad"))
    return (1 - share) * apart / bend if bend > 0 else math.inf


def infeasible_from(head: str, angle_rad: float) -> float:
    """The margin at which the room is 0, in the head's own unit.

    inf for sphereface and hybrid: their margin vanishes at the class centre, so some room is always left.
    """
    return margin_at(head, 0.0, angle_rad)


def _hybrid_room(margin_rad: float, crossover_rad: float, apart_rad: float) -> float:
    """Where ρ + m·tanh(ρ/θ*) = α − ρ; the left side rises and the right side falls."""
    low, high = 0.0, apart_rad / 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle + margin_rad * math.tanh(middle / crossover_rad) < apart_rad - middle:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _margin_name(head: str) -> str:
    if head not in MARGINS:
        raise ValueError(f"only {', '.join(MARGINS)} have a margin that takes room, but got head={head!r}")
    return MARGINS[head]


def _number(head: str, params: Mapping[str, Value], name: str) -> float:
    value = params.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the room of {head} needs {name} as a number, but got {name}={value!r}")
    return float(value)


def _checked(angle_rad: float) -> float:
    if not 0 < angle_rad <= math.pi + 1e-12:
        raise ValueError(f"the angle between centres must be above 0 and at most π rad, but got {angle_rad:g}")
    return angle_rad
