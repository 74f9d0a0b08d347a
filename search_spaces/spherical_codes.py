"""Spherical codes: directions in D dimensions whose smallest angle is as large as can be found. Numpy only.

Every angle here is measured on an arrangement that exists, so that it is never above the largest possible one,
α(C, D). The search is seeded: on one machine it finds the same again. On how far apart classes can be at all, exact
values and upper bounds, see `class_separation`.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_DIRECTIONS = 200
MOST_PRODUCTS = 200_000  # C²·D, of one matrix of cosines; larger ones take more than half a second on one core
WORK = 2.5e7  # cosines in a whole search: about a quarter of a second on one core
MOST_RESTARTS = 160
KEPT = 4  # the best arrangements, which are refined
SEARCHING, REFINING = 300, 500  # steps
SOFT, FIRM, HARD = 6.0, 300.0, 1e5  # exponents: how much the nearest pair counts more than the others
MOMENTUM = 0.8


def is_affordable(classes: int, dimensions: int) -> bool:
    """Whether `arrangement` takes no more than about half a second."""
    return classes <= MOST_DIRECTIONS and classes**2 * dimensions <= MOST_PRODUCTS


@functools.cache
def best_angle_rad(classes: int, dimensions: int) -> float:
    """The smallest angle (rad) between the directions of `arrangement`: at most α(C, D), and often equal to it."""
    return float(smallest_angles_rad(arrangement(classes, dimensions)[None])[0])


def arrangement(classes: int, dimensions: int, seed: int = 0) -> Array:
    """C unit vectors of D components, (C, D), as far apart as a search from many random starts brings them.

    Each start goes downhill on log Σ exp(β·cos) over all pairs with β rising, as an annealing would: at first all
    pairs push each other apart, at last only the nearest. Raises ValueError where that would take too long.
    """
    if classes < 2 or dimensions < 2 or not is_affordable(classes, dimensions):
        size = f"{classes} classes in {dimensions}-D"
        limits = f"2 to {MOST_DIRECTIONS} classes with C²·D ≤ {MOST_PRODUCTS:,}"
        raise ValueError(f"an arrangement is searched for {limits}, in at least 2-D, but got {size}")
    restarts = min(MOST_RESTARTS, max(2, int(WORK / (SEARCHING * classes**2))))
    starts_RCD = np.random.default_rng(seed).standard_normal((restarts, classes, dimensions))
    found_RCD = _spread(starts_RCD, SOFT, FIRM, SEARCHING)
    best = np.argsort(-smallest_angles_rad(found_RCD), kind="stable")[:KEPT]
    refined_RCD = _spread(found_RCD[best], FIRM, HARD, REFINING)
    chosen: Array = refined_RCD[np.argmax(smallest_angles_rad(refined_RCD))]
    return chosen


def smallest_angles_rad(points_RCD: Array) -> Array:
    """The angle (rad) of the nearest pair of each of R arrangements, (R,)."""
    angles_R: Array = np.arccos(np.clip(_cosines(points_RCD).max((1, 2)), -1.0, 1.0))
    return angles_R


def _spread(points_RCD: Array, first: float, last: float, steps: int) -> Array:
    """Gradient steps with momentum on the sphere, while the exponent β rises from `first` to `last`."""
    points_RCD = points_RCD / np.linalg.norm(points_RCD, axis=2, keepdims=True)
    velocity_RCD = np.zeros_like(points_RCD)
    for beta in np.geomspace(first, last, steps):
        pushes_RCC = _cosines(points_RCD)
        pushes_RCC -= pushes_RCC.max((1, 2), keepdims=True)  # so that exp cannot overflow
        np.exp(beta * pushes_RCC, out=pushes_RCC)
        strongest_R = pushes_RCC.sum(2).max(1)
        velocity_RCD = MOMENTUM * velocity_RCD - pushes_RCC @ points_RCD / (beta * strongest_R[:, None, None])
        points_RCD = points_RCD + velocity_RCD
        points_RCD /= np.linalg.norm(points_RCD, axis=2, keepdims=True)
    return points_RCD


def _cosines(points_RCD: Array) -> Array:
    """Between all pairs, (R, C, C); −2 between a direction and itself, which is no pair."""
    cosines_RCC = points_RCD @ points_RCD.transpose(0, 2, 1)
    itself = np.arange(points_RCD.shape[1])
    cosines_RCC[:, itself, itself] = -2.0
    return cosines_RCC
