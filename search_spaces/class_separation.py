"""How far apart C classes can be in D dimensions, and which scales can work. Geometry, numpy only.

α(C, D) is the largest possible smallest angle between C directions in D dimensions. Few values of it are proven;
between them stand the arrangements that `spherical_codes` finds, at most α, and bounds that no arrangement can pass,
at least α.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from search_spaces import spherical_codes

TARGET_PROBABILITY = 0.99

TAMMES = {  # directions in 3-D: degrees, and who proved that more cannot be
    7: (77.8695, "Schütte & van der Waerden 1951"),
    8: (74.8585, "Schütte & van der Waerden 1951"),
    9: (70.5288, "Schütte & van der Waerden 1951"),
    10: (66.1468, "Danzer 1963"),
    11: (63.4349, "Danzer 1963"),
    12: (63.4349, "Fejes Tóth 1943"),
    13: (57.1367, "Musin & Tarasov 2012"),
    14: (55.6706, "Musin & Tarasov 2015"),
    24: (43.6908, "Robinson 1961"),
}
SHARP = {  # (C, D): the cosine of the smallest angle; optimal by Cohn & Kumar 2007, table 1 and theorem 1.2
    **{(16, 5): 1 / 5, (27, 6): 1 / 4, (56, 7): 1 / 3, (112, 21): 1 / 9, (162, 21): 1 / 7, (100, 22): 1 / 11},
    **{(275, 22): 1 / 6, (891, 22): 1 / 4, (552, 23): 1 / 5, (4600, 23): 1 / 3, (196_560, 24): 1 / 2},
    **{(120, 4): (1 + math.sqrt(5)) / 4, (240, 8): 1 / 2},  # the 600-cell (also Böröczky 1978) and the roots of E8
}
ROOTS = {(24, 4): 1 / 2, (40, 5): 1 / 2, (72, 6): 1 / 2, (126, 7): 1 / 2}  # of D4, D5, E6, E7: not known to be optimal


@dataclass(frozen=True)
class Separation:
    """The largest possible smallest angle between class centres (rad), or what is known of it.

    source starts with "exact", with "best found" (an arrangement that exists: at most α) or with "at most".
    """

    angle_rad: float
    source: str


@functools.cache
def separation(classes: int, dimensions: int) -> Separation:
    """α(C, D) exactly where that is proven, else the best that was found, else, for many classes, an upper bound.

    Within one kind of source more classes are never farther apart, but for the luck of the search; from "best found"
    to "at most" the angle may jump up. Raises ValueError below 2 classes or 2 dimensions.
    """
    most = most_separation(classes, dimensions)
    if most.source.startswith("exact"):
        return most
    if dimensions == 3 and classes in TAMMES:
        degrees, source = TAMMES[classes]
        return Separation(math.radians(degrees), f"exact: {source}")
    if (classes, dimensions) in SHARP:
        return Separation(math.acos(SHARP[classes, dimensions]), "exact: Cohn & Kumar 2007")
    if not spherical_codes.is_affordable(classes, dimensions):
        return most
    found = max(spherical_codes.best_angle_rad(classes, dimensions), _of_a_larger_code(classes, dimensions))
    return Separation(min(found, most.angle_rad), "best found: an optimised arrangement")


def most_separation(classes: int, dimensions: int) -> Separation:
    """α(C, D) exactly where a formula gives it, otherwise an upper bound. Raises ValueError below 2 and 2."""
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


def _of_a_larger_code(classes: int, dimensions: int) -> float:
    """The largest angle (rad) that a famous arrangement gives to so many of its directions; 0 where none is known.

    Leaving directions out brings none nearer, and neither does another dimension.
    """
    known = {(count, 3): math.radians(degrees) for count, (degrees, _) in TAMMES.items()}
    known |= {size: math.acos(cosine) for size, cosine in (SHARP | ROOTS).items()}
    return max((angle for (c, d), angle in known.items() if c >= classes and d <= dimensions), default=0.0)


def smallest_scale(classes: int) -> float:
    """s from which a target probability P = 0.99 is within reach (CosFace, section 3.3).

    (C − 1)/C · ln((C − 1)·P/(1 − P))
    """
    odds = TARGET_PROBABILITY / (1 - TARGET_PROBABILITY)
    return (classes - 1) / classes * math.log((classes - 1) * odds)
