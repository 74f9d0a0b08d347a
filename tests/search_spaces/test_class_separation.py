"""How far apart classes can be, and the smallest scale: against exact packings, known optima and other bounds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest

from search_spaces import class_separation, spherical_codes

# Tammes' problem: the largest smallest angle between so many points on a sphere, in degrees (Sloane's tables)
TAMMES = {
    4: 109.4712, 5: 90.0, 6: 90.0, 7: 77.8695, 8: 74.8585, 9: 70.5288, 10: 66.1468, 11: 63.4349, 12: 63.4349,
    13: 57.1367, 14: 55.6706,
}  # fmt: skip


def degrees(classes: int, dimensions: int) -> float:
    return math.degrees(class_separation.separation(classes, dimensions).angle_rad)


def most_degrees(classes: int, dimensions: int) -> float:
    return math.degrees(class_separation.most_separation(classes, dimensions).angle_rad)


@pytest.mark.parametrize("classes", [3, 4, 10, 100, 1000])
def test_on_a_circle_the_arcs_are_equal(classes: int) -> None:
    assert degrees(classes, 2) == pytest.approx(360 / classes)
    assert class_separation.separation(classes, 2).source.startswith("exact")


@pytest.mark.parametrize(("classes", "dimensions"), [(2, 2), (2, 512), (3, 2), (4, 3), (10, 9), (10, 512), (1000, 999)])
def test_enough_dimensions_hold_a_simplex(classes: int, dimensions: int) -> None:
    assert math.cos(class_separation.separation(classes, dimensions).angle_rad) == pytest.approx(-1 / (classes - 1))
    assert class_separation.separation(classes, dimensions).source == "exact: a simplex"


@pytest.mark.parametrize(("classes", "dimensions"), [(5, 3), (6, 3), (10, 5), (10, 8), (1000, 500)])
def test_up_to_twice_the_dimensions_hold_right_angles(classes: int, dimensions: int) -> None:
    assert degrees(classes, dimensions) == 90
    assert class_separation.separation(classes, dimensions).source == "exact: Rankin 1955"


@pytest.mark.parametrize(("classes", "optimum"), TAMMES.items())
def test_the_bound_in_three_dimensions_is_above_the_optimum_and_near_it(classes: int, optimum: float) -> None:
    assert optimum - 1e-3 <= most_degrees(classes, 3) <= 1.07 * optimum


@pytest.mark.parametrize(("classes", "optimum"), [*TAMMES.items(), (24, 43.6908)])
def test_proven_optima_in_three_dimensions_are_exact(classes: int, optimum: float) -> None:
    assert degrees(classes, 3) == pytest.approx(optimum, abs=1e-3)
    assert class_separation.separation(classes, 3).source.startswith("exact: ")


@pytest.mark.parametrize("classes", [6, 12])
def test_the_bound_in_three_dimensions_is_reached_by_the_platonic_solids(classes: int) -> None:
    assert most_degrees(classes, 3) == pytest.approx(TAMMES[classes], abs=1e-3)


@pytest.mark.parametrize(("classes", "dimensions", "optimum"), [(24, 4, 60.0), (120, 4, 36.0), (240, 8, 60.0)])
def test_the_bound_by_caps_is_above_famous_packings(classes: int, dimensions: int, optimum: float) -> None:
    """The 24-cell, the 600-cell and the roots of E8."""
    assert optimum <= most_degrees(classes, dimensions) <= 1.5 * optimum
    assert degrees(classes, dimensions) == pytest.approx(optimum, abs=1e-6)


def test_sharp_codes_are_as_large_as_levenshteins_third_bound_allows() -> None:
    """n(1 − s)(2 + (n + 1)s)/(1 − n·s²) points at most, for cosines s from 0 to (√(n + 3) − 1)/(n + 2)."""
    checked = 0
    for (points, n), cosine in class_separation.SHARP.items():
        if cosine <= (math.sqrt(n + 3) - 1) / (n + 2) + 1e-12:
            most = n * (1 - cosine) * (2 + (n + 1) * cosine) / (1 - n * cosine**2)
            assert most == pytest.approx(points)
            assert class_separation.separation(points, n) == class_separation.Separation(
                math.acos(cosine), "exact: Cohn & Kumar 2007"
            )
            checked += 1
    assert checked == 6


@pytest.mark.parametrize("dimensions", [3, 4, 5, 8, 20])
def test_what_is_told_is_never_above_what_is_possible(dimensions: int) -> None:
    """Margins are searched below the angle between classes, so that must not be told too large."""
    for classes in (*range(2, 25), 30, 100, 1000):
        told, most = (
            class_separation.separation(classes, dimensions),
            class_separation.most_separation(classes, dimensions),
        )
        assert 0 < told.angle_rad <= most.angle_rad + 1e-6, (classes, told, most)
        assert told.source.split(":")[0] in ("exact", "best found", "at most")


def test_a_famous_arrangement_still_serves_when_directions_are_left_out() -> None:
    assert class_separation.separation(119, 4) == class_separation.Separation(
        math.pi / 5, "best found: an optimised arrangement"
    )


COUNTS = [*range(2, 25), *range(25, 40, 3), 50, 100, 157, 158, 333, 1000, 10_000, 100_000]
DIMENSIONS = [2, 3, 4, 5, 8, 16, 64, 128, 512]
SEARCH_LUCK = 0.25  # degrees; 0.12 was seen, at 157 and 158 directions in 3-D


@pytest.mark.parametrize("dimensions", [3, 4, 5, 8, 16])
def test_more_classes_are_told_no_farther_apart_while_arrangements_are_searched_for(dimensions: int) -> None:
    """But for the luck of the search; from arrangements that were found to bounds from above, angles jump up."""
    counts = [classes for classes in COUNTS if spherical_codes.is_affordable(classes, dimensions)]
    found = [degrees(classes, dimensions) for classes in counts]
    assert all(more <= fewer + SEARCH_LUCK for fewer, more in itertools.pairwise(found))


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_more_classes_are_never_farther_apart(dimensions: int) -> None:
    found = [most_degrees(classes, dimensions) for classes in COUNTS]
    assert all(more <= fewer + 1e-9 for fewer, more in itertools.pairwise(found))
    assert found[-1] > 0


@pytest.mark.parametrize("classes", COUNTS)
@pytest.mark.parametrize("angle_of", [degrees, most_degrees])
def test_more_dimensions_never_bring_classes_nearer(angle_of: Callable[[int, int], float], classes: int) -> None:
    found = [angle_of(classes, dimensions) for dimensions in DIMENSIONS]
    assert all(fewer <= more + 1e-9 for fewer, more in itertools.pairwise(found))
    assert found[-1] <= 180


@pytest.mark.parametrize(("classes", "dimensions"), [(1, 2), (2, 1), (0, 0)])
def test_refuses_fewer_than_two(classes: int, dimensions: int) -> None:
    with pytest.raises(ValueError, match=f"at least 2 classes and 2 dimensions, but got {classes} and {dimensions}"):
        class_separation.separation(classes, dimensions)


@pytest.mark.parametrize(("classes", "scale"), [(10, 6.11), (100_000, 16.1)])
def test_the_smallest_scale_is_cosfaces(classes: int, scale: float) -> None:
    assert class_separation.smallest_scale(classes) == pytest.approx(scale, rel=2e-3)


@pytest.mark.parametrize("classes", [2, 10, 1000, 100_000])
def test_the_smallest_scale_reaches_the_target_probability_on_a_simplex(classes: int) -> None:
    scale = class_separation.smallest_scale(classes)
    others = (classes - 1) * math.exp(-scale / (classes - 1))
    assert math.exp(scale) / (math.exp(scale) + others) == pytest.approx(class_separation.TARGET_PROBABILITY)


@pytest.mark.parametrize(("classes", "adacos"), [(10, 3.1), (100_000, 16.3)])
def test_fixed_adacos_lies_where_its_paper_says_beside_the_smallest_scale(classes: int, adacos: float) -> None:
    """AdaCos (1905.00292) sets s = √2·ln(C − 1): below our bound for few classes, above it for many."""
    assert math.sqrt(2) * math.log(classes - 1) == pytest.approx(adacos, rel=2e-2)
    assert (adacos > class_separation.smallest_scale(classes)) == (classes > 1000)
