"""Arrangements that are searched for: against proven and best known optima, and what they must be in any case."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from search_spaces import class_separation, spherical_codes

# the largest smallest angle of so many directions in 3-D, in degrees: proven up to 14 and at 24, else the best known
TAMMES = {
    4: 109.4712, 5: 90.0, 6: 90.0, 7: 77.8695, 8: 74.8585, 9: 70.5288, 10: 66.1468, 11: 63.4349, 12: 63.4349,
    13: 57.1367, 14: 55.6706, 15: 53.6578, 16: 52.2444, 17: 51.0903, 18: 49.5567, 19: 47.6919, 20: 47.4310, 24: 43.6908,
}  # fmt: skip


def degrees(classes: int, dimensions: int) -> float:
    return math.degrees(spherical_codes.best_angle_rad(classes, dimensions))


@pytest.mark.parametrize(("classes", "optimum"), TAMMES.items())
def test_the_search_reaches_the_best_known_in_three_dimensions(classes: int, optimum: float) -> None:
    assert optimum - 0.1 <= degrees(classes, 3) <= optimum + 1e-3


@pytest.mark.parametrize(("classes", "dimensions"), [(2, 2), (3, 2), (4, 3), (5, 4), (10, 9), (17, 16)])
def test_the_search_finds_the_simplex(classes: int, dimensions: int) -> None:
    assert degrees(classes, dimensions) == pytest.approx(math.degrees(math.acos(-1 / (classes - 1))), abs=1e-2)


@pytest.mark.parametrize(("classes", "dimensions"), [(5, 3), (6, 3), (7, 4), (8, 4), (12, 6), (16, 8)])
def test_the_search_finds_rankins_right_angles(classes: int, dimensions: int) -> None:
    assert degrees(classes, dimensions) == pytest.approx(90, abs=1e-2)


@pytest.mark.parametrize("classes", [4, 5, 10, 26])
def test_the_search_finds_equal_arcs(classes: int) -> None:
    assert degrees(classes, 2) == pytest.approx(360 / classes, rel=2e-2)


@pytest.mark.parametrize(("classes", "dimensions"), [(16, 5), (27, 6)])
def test_the_search_finds_sharp_codes(classes: int, dimensions: int) -> None:
    optimum = math.degrees(math.acos(class_separation.SHARP[classes, dimensions]))
    assert optimum - 0.05 <= degrees(classes, dimensions) <= optimum + 1e-6


@pytest.mark.parametrize(("classes", "optimum"), [(9, 80.676), (10, 80.406), (11, 76.679), (12, 75.522), (13, 72.104)])
def test_the_search_reaches_the_best_known_in_four_dimensions(classes: int, optimum: float) -> None:
    """Sloane's tables of packings in 4-D."""
    assert optimum - 0.1 <= degrees(classes, 4) <= optimum + 1e-3


@pytest.mark.parametrize("dimensions", [3, 4, 6])
def test_more_directions_are_never_farther_apart(dimensions: int) -> None:
    found = [degrees(classes, dimensions) for classes in range(2, 21)]
    assert all(more <= fewer + 0.1 for fewer, more in itertools.pairwise(found))


@pytest.mark.parametrize(("classes", "dimensions"), [(10, 3), (26, 8), (100, 3)])
def test_an_arrangement_is_of_unit_vectors_whose_smallest_angle_is_the_one_told(classes: int, dimensions: int) -> None:
    points_CD = spherical_codes.arrangement(classes, dimensions)
    assert points_CD.shape == (classes, dimensions)
    assert np.linalg.norm(points_CD, axis=1) == pytest.approx(np.ones(classes))
    pairs = itertools.combinations(points_CD, 2)
    nearest = min(math.acos(float(np.clip(np.dot(one, other), -1, 1))) for one, other in pairs)
    assert nearest == pytest.approx(spherical_codes.best_angle_rad(classes, dimensions), abs=1e-9)
    assert nearest <= class_separation.most_separation(classes, dimensions).angle_rad + 1e-9


def test_the_same_seed_gives_the_same_arrangement() -> None:
    assert np.array_equal(spherical_codes.arrangement(10, 4, seed=1), spherical_codes.arrangement(10, 4, seed=1))
    assert not np.array_equal(spherical_codes.arrangement(10, 4, seed=1), spherical_codes.arrangement(10, 4, seed=2))


@pytest.mark.parametrize(("classes", "dimensions"), [(201, 2), (200, 6), (1, 3), (3, 1)])
def test_what_would_take_too_long_is_refused_with_the_limits(classes: int, dimensions: int) -> None:
    with pytest.raises(
        ValueError, match=rf"2 to 200 classes with C²·D ≤ 200,000.*got {classes} classes in {dimensions}"
    ):
        spherical_codes.arrangement(classes, dimensions)
