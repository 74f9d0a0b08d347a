"""How much space clusters take: convex hulls, covariances, Mahalanobis distances and 95% error ellipsoids.

Volumes are given by their natural logarithm, for in many dimensions they leave the range of any float.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError
from scipy.special import gammaln
from scipy.stats import chi2

Array = NDArray[np.float64]

MOST_HULL_DIMENSIONS = 6  # a hull's facets multiply with every dimension
INSIDE = 0.95  # the share of a normal distribution that its error ellipsoid holds


def hull_log_volume(points_ND: Array) -> float | None:
    """ln of the volume of the convex hull; −∞ where it is flat, None above six dimensions."""
    if points_ND.shape[1] > MOST_HULL_DIMENSIONS:
        return None
    try:
        return math.log(ConvexHull(points_ND).volume)
    except (QhullError, ValueError):  # flat, or fewer points than a simplex has corners
        return -math.inf


@dataclass(frozen=True)
class Ellipsoid:
    """The normal distribution with a cluster's mean (D,) and covariance (D, D)."""

    mean_D: Array
    covariance_DD: Array

    @classmethod
    def of(cls, points_ND: Array) -> Ellipsoid:
        """Of at least two points; the covariance has n − 1 in its denominator."""
        return cls(points_ND.mean(0), np.atleast_2d(np.cov(points_ND, rowvar=False)))

    @property
    def log_volume(self) -> float:
        """ln of the volume that holds 95% of the distribution: χ² quantile times eigenvalues; −∞ where it is flat."""
        dimensions = len(self.mean_D)
        ball = dimensions / 2 * math.log(math.pi) - gammaln(dimensions / 2 + 1)
        values = np.linalg.eigvalsh(self.covariance_DD)
        if values[0] <= values[-1] * dimensions * np.finfo(np.float64).eps:
            return -math.inf
        return float(ball + 0.5 * np.log(values * chi2.ppf(INSIDE, dimensions)).sum())

    def distances(self, points_ND: Array) -> Array | None:
        """Mahalanobis distances (N,) of points from the mean; None where the covariance has no inverse."""
        if not math.isfinite(self.log_volume):
            return None
        factor = np.linalg.cholesky(self.covariance_DD)
        return np.asarray(np.linalg.norm(np.linalg.solve(factor, (points_ND - self.mean_D).T), axis=0))


def share(part_log: float | None, whole_log: float | None) -> float | None:
    """A volume over another, from their logarithms; None where either is unknown or the whole is flat."""
    if part_log is None or whole_log is None or whole_log == -math.inf:
        return None
    return math.exp(min(part_log - whole_log, 700.0))
