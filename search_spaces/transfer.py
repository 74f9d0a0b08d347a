"""Carries the settings that were best on one dataset over to another, with other classes or dimensions.

A margin is worth the share of the angular slack that it leaves, a scale is worth its multiple of the one that suits so
many classes, a crossover is worth its share of the angle between centres; everything else, and all of a head without
class centres on the sphere, is taken as it is. That equal shares are equally good elsewhere is a guess to start a
search from, not a finding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from search_spaces import class_separation
from search_spaces.distributions import Range, Value
from search_spaces.heads import settings_of, space_of
from search_spaces.settings import Setting

Size = tuple[int, int]  # (classes, dimensions)


def carried(head: str, params: Mapping[str, Value], source: Size, target: Size) -> dict[str, Value]:
    """The settings of `head` in `source`, as they read in `target`; both are (classes, dimensions).

    A value that would leave what is valid at all is set to the nearest valid one; only then does the way back not
    lead to the same settings. Raises UnknownHead, and ValueError for fewer than 2 classes or dimensions.
    """
    margin, known = space_of(head).margin, settings_of(head)
    if source == target or margin is None:
        return dict(params)
    here, there = class_separation.separation(*source).angle_rad, class_separation.separation(*target).angle_rad
    settings: dict[str, Value] = {}
    for name, value in params.items():
        if isinstance(value, bool | str):
            settings[name] = value
        elif name in known and known[name].role == "scale":
            settings[name] = _valid(known[name], _scale(value, source[0], target[0]))
        elif name in margin.bends_at:
            settings[name] = _valid(known[name], value * there / here)
        elif name == margin.setting:
            settings[name] = _valid(known[name], margin.at_another_angle(value, here, there, *margin.bends(params)))
        else:
            settings[name] = value
    return settings


def _scale(value: float, here: int, there: int) -> float:
    """The scale that is the same multiple of what suits so many classes."""
    typical = class_separation.smallest_scale if 2 in (here, there) else typical_scale
    return value * typical(there) / typical(here)


def typical_scale(classes: int) -> float:
    """√2·ln(C − 1), the fixed scale of AdaCos (arXiv:1905.00292): a factor.

    0 for 2 classes, where it says nothing; a scale is then carried as its ratio to `class_separation.smallest_scale`.
    """
    return math.sqrt(2) * math.log(classes - 1)


def _valid(setting: Setting, value: float) -> float:
    assert isinstance(setting.valid, Range)
    return float(setting.valid.clipped(value))
