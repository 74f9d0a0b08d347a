"""Hulls against bodies of known volume, ellipsoids against hand formulas and Monte-Carlo, distances against scipy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from scipy.stats import chi2
from torch import Tensor

from lightning_modules.metrics import volumes

Array = NDArray[np.float64]
Rotation = Callable[[int], Tensor]
HULLED = range(2, volumes.MOST_HULL_DIMENSIONS + 1)


def scattered(dimensions: int, points: int = 300, seed: int = 0) -> Array:
    """Correlated, stretched, and away from the origin."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dimensions, dimensions)) * rng.uniform(0.2, 5, dimensions)
    return rng.normal(size=(points, dimensions)) @ mixing + rng.normal(0, 10, dimensions)


def filled(corners: Array, points: int = 50) -> Array:
    """The corners, and random points between them."""
    weights = np.random.default_rng(0).dirichlet(np.ones(len(corners)), points)
    return np.concatenate([weights @ corners, corners])


@pytest.mark.parametrize("dimensions", HULLED)
@pytest.mark.parametrize("side", [1e-3, 1.0, 50.0])
def test_a_hull_of_a_cubes_corners_is_the_cube(dimensions: int, side: float, rotation: Rotation) -> None:
    corners = side * np.array(list(itertools.product((0, 1), repeat=dimensions))) + side
    for cube in (corners, filled(corners), filled(corners) @ rotation(dimensions).numpy()):
        assert volumes.hull_log_volume(cube) == pytest.approx(dimensions * math.log(side), abs=1e-9)


@pytest.mark.parametrize("dimensions", HULLED)
def test_a_hull_of_a_box_has_the_product_of_its_sides(dimensions: int) -> None:
    sides = np.random.default_rng(dimensions).uniform(0.1, 9, dimensions)
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=dimensions))) * sides
    assert volumes.hull_log_volume(filled(corners)) == pytest.approx(np.log(sides).sum())


@pytest.mark.parametrize("dimensions", HULLED)
@pytest.mark.parametrize("seed", range(3))
def test_a_hull_of_a_simplex_has_its_determinant_over_a_factorial(dimensions: int, seed: int) -> None:
    corners = np.random.default_rng(seed).normal(0, 3, (dimensions + 1, dimensions))
    expected = math.log(abs(np.linalg.det(corners[1:] - corners[0])) / math.factorial(dimensions))
    assert volumes.hull_log_volume(corners) == pytest.approx(expected)
    assert volumes.hull_log_volume(filled(corners)) == pytest.approx(expected)


@pytest.mark.parametrize("dimensions", HULLED)
def test_a_hull_of_unit_vectors_and_their_opposites_is_the_cross_polytope(dimensions: int) -> None:
    corners = np.concatenate([np.eye(dimensions), -np.eye(dimensions)])
    expected = dimensions * math.log(2) - math.log(math.factorial(dimensions))
    assert volumes.hull_log_volume(filled(corners)) == pytest.approx(expected)


def test_a_hull_of_many_points_on_a_circle_is_the_polygon() -> None:
    turns = np.arange(500) * 2 * np.pi / 500
    polygon = 500 / 2 * math.sin(2 * math.pi / 500)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    assert volumes.hull_log_volume(circle) == pytest.approx(math.log(polygon))


def test_a_hull_is_full_of_the_monte_carlo_points_that_some_corners_surround() -> None:
    """In the plane a point is outside where all corners lie within half a turn around it."""
    corners = scattered(2, points=12)
    low, high = corners.min(0), corners.max(0)
    trials = np.random.default_rng(1).uniform(low, high, (100_000, 2))
    around = np.sort(np.arctan2(*(corners[None] - trials[:, None]).transpose(2, 0, 1)), axis=1)
    gaps = np.concatenate([np.diff(around, axis=1), around[:, :1] + 2 * np.pi - around[:, -1:]], axis=1)
    inside = (gaps.max(1) < np.pi).mean()
    area = math.exp(volumes.hull_log_volume(corners) or 0.0)

    assert area / np.prod(high - low) == pytest.approx(inside, abs=5 * math.sqrt(0.25 / 100_000))


@pytest.mark.parametrize("dimensions", [7, 8, 512])
def test_above_six_dimensions_there_is_no_hull(dimensions: int) -> None:
    assert volumes.hull_log_volume(scattered(dimensions)) is None
    assert volumes.hull_log_volume(np.zeros((2, dimensions))) is None


def flat(dimensions: int) -> dict[str, Array]:
    rng = np.random.default_rng(dimensions)
    return {
        "one place": np.full((50, dimensions), 0.1),
        "the origin": np.zeros((50, dimensions)),
        "a line": np.linspace(-1, 2, 50)[:, None] * rng.normal(size=dimensions) + 3,
        "a hyperplane": rng.normal(size=(50, dimensions - 1)) @ rng.normal(size=(dimensions - 1, dimensions)) + 3,
        "a constant coordinate": np.concatenate([rng.normal(size=(50, dimensions - 1)), np.full((50, 1), 7.3)], axis=1),
        "as many points as dimensions": rng.normal(5, 1, (dimensions, dimensions)),
        "two points": rng.normal(5, 1, (2, dimensions)),
    }


@pytest.mark.parametrize("dimensions", [2, 3, 6, 7, 40])
@pytest.mark.parametrize("name", list(flat(2)))
def test_flat_clusters_have_no_volume_and_no_distances(dimensions: int, name: str) -> None:
    points = flat(dimensions)[name]
    ellipsoid = volumes.Ellipsoid.of(points)

    assert volumes.hull_log_volume(points) == (-math.inf if dimensions <= 6 else None)
    assert ellipsoid.log_volume == -math.inf
    assert ellipsoid.distances(points) is None


@pytest.mark.parametrize("dimensions", [2, 3, 7, 40])
def test_an_ellipsoid_has_the_mean_and_the_covariance_that_loops_find(dimensions: int) -> None:
    points = scattered(dimensions, points=30)
    mean = [sum(column) / 30 for column in points.T]
    covariance = [
        [
            math.fsum((x - mean[i]) * (y - mean[j]) for x, y in zip(points[:, i], points[:, j], strict=True)) / 29
            for j in range(dimensions)
        ]
        for i in range(dimensions)
    ]
    ours = volumes.Ellipsoid.of(points)
    np.testing.assert_allclose(ours.mean_D, mean)
    np.testing.assert_allclose(ours.covariance_DD, covariance, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("variances", "ball"),
    [
        ([4.0, 0.25], math.pi),
        ([9.0, 1.0, 1e-4], 4 / 3 * math.pi),
        ([1.0, 2.0, 3.0, 4.0], math.pi**2 / 2),
        ([2.0] * 5, 8 * math.pi**2 / 15),
        ([0.5] * 6, math.pi**3 / 6),
    ],
)
def test_a_diagonal_covariance_has_the_volume_of_its_half_axes(variances: list[float], ball: float) -> None:
    dimensions = len(variances)
    half_axes = [math.sqrt(variance * chi2.isf(0.05, dimensions)) for variance in variances]
    ours = volumes.Ellipsoid(np.zeros(dimensions), np.diag(variances))
    assert ours.log_volume == pytest.approx(math.log(ball * math.prod(half_axes)))


def test_in_the_plane_the_quantile_is_elementary() -> None:
    """The square of a distance in two dimensions is exponential: 95% lie below −2 ln 0.05."""
    area = math.pi * -2 * math.log(0.05) * math.sqrt(3 * 2 - 1)
    assert volumes.Ellipsoid(np.zeros(2), np.array([[3.0, 1], [1, 2]])).log_volume == pytest.approx(math.log(area))


@pytest.mark.parametrize("dimensions", [2, 3, 7, 40])
def test_the_volume_is_that_of_the_determinant(dimensions: int) -> None:
    ours = volumes.Ellipsoid.of(scattered(dimensions))
    half = dimensions / 2
    expected = (
        half * math.log(math.pi * chi2.isf(0.05, dimensions))
        - math.lgamma(half + 1)
        + np.linalg.slogdet(ours.covariance_DD)[1] / 2
    )
    assert ours.log_volume == pytest.approx(expected)


def test_volumes_beyond_any_float_have_a_logarithm() -> None:
    log_volume = volumes.Ellipsoid(np.zeros(512), 1e12 * np.eye(512)).log_volume
    assert 5000 < log_volume < math.inf
    assert volumes.Ellipsoid(np.zeros(512), 1e-12 * np.eye(512)).log_volume == pytest.approx(
        log_volume - 512 * math.log(1e12)
    )


@pytest.mark.parametrize("dimensions", [2, 3, 7])
def test_the_ellipsoid_holds_95_percent_of_new_points(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    mixing, mean = rng.normal(size=(dimensions, dimensions)), rng.normal(size=dimensions)
    ellipsoid = volumes.Ellipsoid(mean, mixing.T @ mixing)
    distances = ellipsoid.distances(rng.normal(size=(100_000, dimensions)) @ mixing + mean)

    assert distances is not None
    inside = (distances <= math.sqrt(chi2.isf(0.05, dimensions))).mean()
    assert inside == pytest.approx(0.95, abs=5 * math.sqrt(0.95 * 0.05 / 100_000))


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_the_volume_is_the_share_of_a_box_around_the_ellipsoid(dimensions: int) -> None:
    ellipsoid = volumes.Ellipsoid.of(scattered(dimensions, seed=1))
    radius = math.sqrt(chi2.isf(0.05, dimensions))
    half = radius * np.sqrt(np.diag(ellipsoid.covariance_DD))
    trials = np.random.default_rng(0).uniform(ellipsoid.mean_D - half, ellipsoid.mean_D + half, (200_000, dimensions))
    offset = trials - ellipsoid.mean_D
    square = np.einsum("nd,de,ne->n", offset, np.linalg.inv(ellipsoid.covariance_DD), offset)
    inside = (square <= radius**2).mean()

    share = math.exp(ellipsoid.log_volume - np.log(2 * half).sum())
    assert share == pytest.approx(inside, abs=5 * math.sqrt(inside / 200_000))


@pytest.mark.parametrize("dimensions", [2, 3, 7, 40])
def test_distances_are_scipys(dimensions: int) -> None:
    points, others = scattered(dimensions), scattered(dimensions, points=20, seed=5)
    ellipsoid = volumes.Ellipsoid.of(points)
    inverse = np.linalg.inv(ellipsoid.covariance_DD)
    for asked in (points, others):
        expected = [mahalanobis(point, ellipsoid.mean_D, inverse) for point in asked]
        np.testing.assert_allclose(ellipsoid.distances(asked), expected, rtol=1e-6)


@pytest.mark.parametrize("dimensions", [2, 3, 7])
def test_squared_distances_of_a_clusters_own_points_sum_to_its_degrees_of_freedom(dimensions: int) -> None:
    points = scattered(dimensions, points=100)
    distances = volumes.Ellipsoid.of(points).distances(points)
    assert distances is not None
    assert (distances**2).sum() == pytest.approx(dimensions * 99)


@pytest.mark.parametrize("dimensions", [2, 3, 6, 7])
def test_volumes_follow_a_linear_map_and_distances_do_not(dimensions: int, rotation: Rotation) -> None:
    points, turn = scattered(dimensions), rotation(dimensions).numpy()
    skew = turn @ np.diag(np.linspace(0.5, 3, dimensions)) + np.eye(dimensions)
    ellipsoid, hull = volumes.Ellipsoid.of(points), volumes.hull_log_volume(points)
    order = np.random.default_rng(0).permutation(len(points))
    for matrix, grown in ((turn, 0.0), (7 * turn, dimensions * math.log(7)), (skew, np.linalg.slogdet(skew)[1])):
        moved = points[order] @ matrix + 3
        image, image_hull = volumes.Ellipsoid.of(moved), volumes.hull_log_volume(moved)
        distances = ellipsoid.distances(points)

        assert distances is not None
        assert image.log_volume == pytest.approx(ellipsoid.log_volume + grown)
        np.testing.assert_allclose(image.distances(moved), distances[order], rtol=1e-6)
        assert image_hull == (None if hull is None else pytest.approx(hull + grown))


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (math.log(2), math.log(8), 0.25),
        (-5000.0, -4998.0, math.exp(-2)),
        (-math.inf, 3.0, 0.0),
        (3.0, -math.inf, None),
        (-math.inf, -math.inf, None),
        (None, 3.0, None),
        (3.0, None, None),
        (None, None, None),
    ],
)
def test_a_share_is_a_quotient_of_volumes(part: float | None, whole: float | None, expected: float | None) -> None:
    ours = volumes.share(part, whole)
    assert ours == (None if expected is None else pytest.approx(expected))


def test_a_share_never_leaves_the_range_of_a_float() -> None:
    assert 1e300 < (volumes.share(5000.0, -5000.0) or 0) < math.inf
    assert volumes.share(-5000.0, 5000.0) == 0
