"""Carries the settings that were best on one dataset over to another, with other classes or dimensions.

A margin is worth the share of the room that it leaves, a scale is worth its multiple of the one that suits so many
classes, a crossover is worth its share of the angle between centres; everything else, and all of a head without class
centres on the sphere, is taken as it is. That equal shares are equally good elsewhere is a guess to start a search
from, not a finding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from search_spaces import angular_slack, class_separation
from search_spaces.distributions import Range, Value
from search_spaces.heads import is_head, known_heads, settings_of

Size = tuple[int, int]  # (classes, dimensions)


def carried(head: str, params: Mapping[str, Value], source: Size, target: Size) -> dict[str, Value]:
    """The settings of `head` in `source`, as they read in `target`; both are (classes, dimensions).

    A value that would leave what is valid at all is set to the nearest valid one; only then does the way back not
    lead to the same settings. Raises ValueError for an unknown head and for fewer than 2 classes or dimensions.
    """
    if not is_head(head):
        raise ValueError(f"there is no head {head!r}; the heads are {', '.join(known_heads())}")
    if source == target or head not in angular_slack.MARGINS:
        return dict(params)
    here, there = class_separation.separation(*source).angle_rad, class_separation.separation(*target).angle_rad
    settings: dict[str, Value] = {}
    for name, value in params.items():
        if isinstance(value, bool | str):
            settings[name] = value
        elif name == "scale":
            typical = class_separation.smallest_scale if 2 in (source[0], target[0]) else typical_scale
            settings[name] = _valid(head, name, value * typical(target[0]) / typical(source[0]))
        elif name == "crossover_rad":
            settings[name] = _valid(head, name, value * there / here)
        elif name == angular_slack.MARGINS[head]:
            settings[name] = _valid(head, name, _margin(head, value, here, there))
        else:
            settings[name] = value
    return settings


def typical_scale(classes: int) -> float:
    """√2·ln(C − 1), the fixed scale of AdaCos (arXiv:1905.00292): a factor.

    0 for 2 classes, where it says nothing; a scale is then carried as its ratio to `class_separation.smallest_scale`.
    """
    return math.sqrt(2) * math.log(classes - 1)


def _margin(head: str, value: float, here_rad: float, there_rad: float) -> float:
    """The margin that leaves the same share of the room.

    sphereface: the share 2/(m + 1) does not depend on the angle. arcface: the share is 1 − m/α. hybrid: its equation
    keeps its form when m, the crossover and α grow by the same factor. An infeasible margin of cosface leaves no room,
    and keeps its ratio to the smallest infeasible one.
    """
    if head == "sphereface":
        return value
    if head != "cosface":
        return value * there_rad / here_rad
    ratio = value / angular_slack.infeasible_from(head, here_rad)
    if ratio >= 1:
        return ratio * angular_slack.infeasible_from(head, there_rad)
    return angular_slack.margin_at(head, angular_slack.share_of_room(head, {"margin_cos": value}, here_rad), there_rad)


def _valid(head: str, name: str, value: float) -> float:
    valid = settings_of(head)[name].valid
    assert isinstance(valid, Range)
    return float(valid.clipped(value))
