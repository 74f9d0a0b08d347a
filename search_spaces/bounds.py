"""Which margins and scales can work for C classes in D dimensions. Pure geometry, numpy only.

Room: the half-angle around its centre that a class may occupy while its logit still wins against a neighbour at
angle α. Without a margin α/2; a margin eats it up, and at 0 no arrangement of the classes can satisfy the loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

ROOM_KEPT = 0.1  # the share of the room without a margin (α/2) that a default upper bound leaves
TARGET_PROBABILITY = 0.99


@dataclass(frozen=True)
class Separation:
    """The largest possible smallest angle between class centres, and where the number comes from."""

    angle_rad: float
    source: str


def separation(classes: int, dimensions: int) -> Separation:
    """α(C, D), exact where `source` says so, otherwise an upper bound. Raises ValueError below 2 and 2."""
    if classes < 2 or dimensions < 2:
        raise ValueError(f"separation needs at least 2 classes and 2 dimensions, but got {classes} and {dimensions}")
    if classes <= dimensions + 1:
        return Separation(math.acos(-1 / (classes - 1)), "exact: a simplex")
    if dimensions == 2:
        return Separation(2 * math.pi / classes, "exact: equal arcs")
    if classes <= 2 * dimensions:
        return Separation(math.pi / 2, "exact: Rankin 1955")
    if dimensions == 3:
        turn = classes / (classes - 2) * math.pi / 6
        cosine = (1 / math.tan(turn) ** 2 - 1) / 2
        return Separation(math.acos(cosine), "at most: Fejes Tóth 1943")
    return Separation(
        min(math.pi / 2, _cap_bound(classes, dimensions)), "at most: caps of half the angle fill the sphere"
    )


def _cap_bound(classes: int, dimensions: int) -> float:
    """The angle at which `classes` caps of half of it have together the area of the whole sphere."""
    angles = np.linspace(0, math.pi, 20_001)
    area = np.cumsum(np.sin(angles) ** (dimensions - 2))
    return float(2 * np.interp(1 / classes, area / area[-1], angles))


def largest_arcface_margin_rad(angle_rad: float) -> float:
    """m at which the room (α − m)/2 is ROOM_KEPT of α/2; the hybrid's as well, whose margin is never larger."""
    return (1 - ROOM_KEPT) * angle_rad


def largest_cosface_margin_cos(angle_rad: float) -> float:
    """m at which the room α/2 − asin(m / (2·sin(α/2))) is ROOM_KEPT of α/2."""
    return cosface_margin_cos(angle_rad, ROOM_KEPT)


def cosface_margin_cos(angle_rad: float, room_kept: float) -> float:
    """m that leaves the share `room_kept` of α/2."""
    return 2 * math.sin(angle_rad / 2) * math.sin((1 - room_kept) * angle_rad / 2)


def largest_sphereface_margin_mult(angle_rad: float) -> float:
    """m at which the room α/(m + 1) is ROOM_KEPT of α/2, whatever α."""
    return 2 / ROOM_KEPT - 1


def smallest_scale(classes: int) -> float:
    """s from which a target probability P = 0.99 is within reach (CosFace, section 3.3).

    (C − 1)/C · ln((C − 1)·P/(1 − P))
    """
    odds = TARGET_PROBABILITY / (1 - TARGET_PROBABILITY)
    return (classes - 1) / classes * math.log((classes - 1) * odds)
