"""Feasible margins and scales: against exact packings, known optima and the formulas of the room."""

from __future__ import annotations

import itertools
import math

import pytest

from search_spaces import bounds

# Tammes' problem: the largest smallest angle between so many points on a sphere, in degrees (Sloane's tables)
TAMMES = {
    4: 109.4712, 5: 90.0, 6: 90.0, 7: 77.8695, 8: 74.8585, 9: 70.5288, 10: 66.1468, 11: 63.4349, 12: 63.4349,
    13: 57.1367, 14: 55.6706,
}  # fmt: skip
ANGLES = [math.radians(degrees) for degrees in (0.5, 3.6, 36, 70, 90, 120, 179)]


def degrees(classes: int, dimensions: int) -> float:
    return math.degrees(bounds.separation(classes, dimensions).angle_rad)


@pytest.mark.parametrize("classes", [3, 4, 10, 100, 1000])
def test_on_a_circle_the_arcs_are_equal(classes: int) -> None:
    assert degrees(classes, 2) == pytest.approx(360 / classes)
    assert bounds.separation(classes, 2).source.startswith("exact")


@pytest.mark.parametrize(("classes", "dimensions"), [(2, 2), (2, 512), (3, 2), (4, 3), (10, 9), (10, 512), (1000, 999)])
def test_enough_dimensions_hold_a_simplex(classes: int, dimensions: int) -> None:
    assert math.cos(bounds.separation(classes, dimensions).angle_rad) == pytest.approx(-1 / (classes - 1))
    assert bounds.separation(classes, dimensions).source == "exact: a simplex"


@pytest.mark.parametrize(("classes", "dimensions"), [(5, 3), (6, 3), (10, 5), (10, 8), (1000, 500)])
def test_up_to_twice_the_dimensions_hold_right_angles(classes: int, dimensions: int) -> None:
    assert degrees(classes, dimensions) == 90
    assert bounds.separation(classes, dimensions).source == "exact: Rankin 1955"


@pytest.mark.parametrize(("classes", "optimum"), TAMMES.items())
def test_the_bound_in_three_dimensions_is_above_the_optimum_and_near_it(classes: int, optimum: float) -> None:
    assert optimum - 1e-3 <= degrees(classes, 3) <= 1.07 * optimum
    exact = bounds.separation(classes, 3).source.startswith("exact")
    assert not exact or degrees(classes, 3) == pytest.approx(optimum, abs=1e-3)


@pytest.mark.parametrize("classes", [6, 12])
def test_the_bound_in_three_dimensions_is_reached_by_the_platonic_solids(classes: int) -> None:
    assert degrees(classes, 3) == pytest.approx(TAMMES[classes], abs=1e-3)


@pytest.mark.parametrize(("classes", "dimensions", "optimum"), [(24, 4, 60.0), (120, 4, 36.0), (240, 8, 60.0)])
def test_the_bound_by_caps_is_above_famous_packings(classes: int, dimensions: int, optimum: float) -> None:
    """The 24-cell, the 600-cell and the roots of E8."""
    assert optimum <= degrees(classes, dimensions) <= 1.5 * optimum


COUNTS = [*range(2, 40), 50, 100, 157, 158, 333, 1000, 10_000, 100_000]
DIMENSIONS = [2, 3, 4, 5, 8, 16, 64, 128, 512]


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_more_classes_are_never_farther_apart(dimensions: int) -> None:
    found = [degrees(classes, dimensions) for classes in COUNTS]
    assert all(more <= fewer + 1e-9 for fewer, more in itertools.pairwise(found))
    assert found[-1] > 0


@pytest.mark.parametrize("classes", COUNTS)
def test_more_dimensions_never_bring_classes_nearer(classes: int) -> None:
    found = [degrees(classes, dimensions) for dimensions in DIMENSIONS]
    assert all(fewer <= more + 1e-9 for fewer, more in itertools.pairwise(found))
    assert found[-1] <= 180


@pytest.mark.parametrize(("classes", "dimensions"), [(1, 2), (2, 1), (0, 0)])
def test_refuses_fewer_than_two(classes: int, dimensions: int) -> None:
    with pytest.raises(ValueError, match=f"at least 2 classes and 2 dimensions, but got {classes} and {dimensions}"):
        bounds.separation(classes, dimensions)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_largest_arcface_margin_leaves_a_tenth_of_the_room(angle: float) -> None:
    room = (angle - bounds.largest_arcface_margin_rad(angle)) / 2
    assert room == pytest.approx(0.1 * angle / 2)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_largest_cosface_margin_leaves_a_tenth_of_the_room(angle: float) -> None:
    room = angle / 2 - math.asin(bounds.largest_cosface_margin_cos(angle) / (2 * math.sin(angle / 2)))
    assert room == pytest.approx(0.1 * angle / 2)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_largest_sphereface_margin_leaves_a_tenth_of_the_room(angle: float) -> None:
    room = angle / (bounds.largest_sphereface_margin_mult(angle) + 1)
    assert room == pytest.approx(0.1 * angle / 2)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("kept", [0.0, 0.25, 0.6, 1.0])
def test_a_cosface_margin_leaves_the_share_that_was_asked_for(angle: float, kept: float) -> None:
    room = angle / 2 - math.asin(min(1.0, bounds.cosface_margin_cos(angle, kept) / (2 * math.sin(angle / 2))))
    assert room == pytest.approx(kept * angle / 2, abs=1e-7)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_cosface_margin_without_room_is_one_minus_the_cosine_between_centres(angle: float) -> None:
    """Where no room is left, the target's cosine at its own centre, 1 − m, equals that of the neighbour."""
    assert bounds.cosface_margin_cos(angle, 0.0) == pytest.approx(1 - math.cos(angle))


def test_cosface_on_a_circle_of_ten_classes() -> None:
    angle = bounds.separation(10, 2).angle_rad
    assert bounds.largest_cosface_margin_cos(angle) == pytest.approx(0.172, abs=5e-4)
    assert bounds.cosface_margin_cos(angle, 0.0) == pytest.approx(0.191, abs=5e-4)


@pytest.mark.parametrize(("classes", "scale"), [(10, 6.11), (100_000, 16.1)])
def test_the_smallest_scale_is_cosfaces(classes: int, scale: float) -> None:
    assert bounds.smallest_scale(classes) == pytest.approx(scale, rel=2e-3)


@pytest.mark.parametrize("classes", [2, 10, 1000, 100_000])
def test_the_smallest_scale_reaches_the_target_probability_on_a_simplex(classes: int) -> None:
    scale = bounds.smallest_scale(classes)
    others = (classes - 1) * math.exp(-scale / (classes - 1))
    assert math.exp(scale) / (math.exp(scale) + others) == pytest.approx(bounds.TARGET_PROBABILITY)


@pytest.mark.parametrize(("classes", "adacos"), [(10, 3.1), (100_000, 16.3)])
def test_fixed_adacos_lies_where_its_paper_says_beside_the_smallest_scale(classes: int, adacos: float) -> None:
    """AdaCos (1905.00292) sets s = √2·ln(C − 1): below our bound for few classes, above it for many."""
    assert math.sqrt(2) * math.log(classes - 1) == pytest.approx(adacos, rel=2e-2)
    assert (adacos > bounds.smallest_scale(classes)) == (classes > 1000)
