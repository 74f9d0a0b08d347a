"""The unit circle and sphere: maps that keep areas and every point, sectors as wide as the margin says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.patches import Wedge
from numpy.typing import NDArray
from scipy.optimize import brentq

from lightning_modules.heads.margin_curve import Margin
from orchestrator.figures import sphere
from orchestrator.figures.style import COLOURS, rendered

Array = NDArray[np.float64]
SIDES = (1, -1)


def half(apart: Array) -> Array:
    """The slack without any margin: up to the middle."""
    return apart / 2


def random_units(number: int, dimensions: int = 3, seed: int = 0) -> Array:
    return sphere.units(np.random.default_rng(seed).normal(size=(number, dimensions)))


def around(angles: Any) -> Array:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def on_sphere(flat: Array, side: int) -> Array:
    """Lambert's azimuthal map backwards: points in the unit sphere's own space, turned as the picture is."""
    squares = (flat**2).sum(1)
    stretch = np.sqrt(1 - squares / 4)
    return np.stack([side * flat[:, 0] * stretch, flat[:, 1] * stretch, side * (1 - squares / 2)], axis=1)


def shown(figure: Any) -> tuple[Array, Array]:
    """The points of both halves on the sphere, and their classes."""
    points, labels = [], []
    for axes, side in zip(figure.axes, SIDES, strict=True):
        for scatter in axes.collections:
            assert isinstance(scatter, PathCollection)
            points.append(on_sphere(np.asarray(scatter.get_offsets()), side))
            labels.append(np.asarray(scatter.get_array()))
    return np.concatenate(points), np.concatenate(labels)


def rims(figure: Any) -> dict[int, Array]:
    """Of each class the points of its ring on the sphere, from both halves."""
    found: dict[int, list[Array]] = {}
    for axes, side in zip(figure.axes, SIDES, strict=True):
        for line in axes.lines:
            if line.get_color() in COLOURS:
                rim = on_sphere(np.stack(line.get_data(), axis=1), side)
                found.setdefault(COLOURS.index(line.get_color()), []).append(rim[~np.isnan(rim).any(1)])
    return {label: np.concatenate(parts) for label, parts in found.items()}


def crosses(figure: Any) -> Array:
    return np.concatenate(
        [
            on_sphere(np.stack(line.get_data(), axis=1), side)
            for axes, side in zip(figure.axes, SIDES, strict=True)
            for line in axes.lines
            if line.get_marker() == "+"
        ]
    )


def axis_turns(points: Array) -> Array:
    """What a rotation leaves alone, and a mirror does not: volumes of the corners of three points and the origin."""
    return np.array([np.linalg.det(points[[n, n + 1, n + 2]]) for n in range(len(points) - 2)])


@pytest.mark.parametrize("side", SIDES)
def test_the_map_of_a_half_keeps_areas(side: int) -> None:
    polar, turn = np.meshgrid(np.linspace(0.05, np.pi / 2, 40), np.linspace(0, 6, 40))
    step = 1e-5

    def mapped(polar: Array, turn: Array) -> Array:
        ring = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), side * np.cos(polar)], axis=-1)
        return sphere._flat(ring.reshape(-1, 3), side)

    outwards = (mapped(polar + step, turn) - mapped(polar - step, turn)) / (2 * step)
    around = (mapped(polar, turn + step) - mapped(polar, turn - step)) / (2 * step)
    area = np.abs(outwards[:, 0] * around[:, 1] - outwards[:, 1] * around[:, 0])
    inside = polar.ravel() < np.pi / 2 - 0.01
    assert area[inside] == pytest.approx(np.sin(polar).ravel()[inside], rel=1e-6)


def test_the_two_halves_show_every_point_once_and_turn_the_sphere_without_mirroring_it() -> None:
    points = random_units(10)
    figure = sphere.draw(7 * points, np.arange(10), random_units(5, seed=1), None, "title")
    found, labels = shown(figure)
    assert sorted(labels) == [*range(10)]
    found = found[np.argsort(labels)]
    assert np.allclose(found @ found.T, points @ points.T)
    assert np.allclose(axis_turns(found), axis_turns(points))
    for axes in figure.axes:
        assert np.linalg.norm(axes.collections[0].get_offsets(), axis=1).max() <= math.sqrt(2)


def test_many_points_appear_in_exactly_one_half_each() -> None:
    labels = np.arange(1000) % 10
    found, classes = shown(sphere.draw(random_units(1000), labels, random_units(10, seed=1), None, "title"))
    assert len(found) == 1000
    assert (np.bincount(classes.astype(int)) == 100).all()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_point_without_a_direction_is_not_counted_twice(dimensions: int) -> None:
    points = np.concatenate([random_units(9, dimensions), np.zeros((1, dimensions))])
    figure = sphere.draw(points, np.arange(10) % 3, random_units(3, dimensions, seed=1), None, "title")
    assert rendered(figure, "png", 40)
    if dimensions == 3:
        assert len(shown(figure)[0]) <= 10


def test_crosses_are_the_class_centres() -> None:
    centres = random_units(6, seed=3)
    figure = sphere.draw(random_units(12), np.arange(12) % 6, 5 * centres, None, "title")
    found = crosses(figure)
    assert np.allclose(sorted((found @ found.T).ravel()), sorted((centres @ centres.T).ravel()))
    assert not rims(figure)


OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)])


@pytest.mark.parametrize("centres", [OCTAHEDRON, random_units(7, seed=5)], ids=["octahedron", "random"])
@pytest.mark.parametrize("share", [0.2, 0.45])
def test_the_rim_of_a_class_is_whole_and_as_far_from_its_centre_as_towards_its_nearest(
    centres: Array, share: float
) -> None:
    figure = sphere.draw(centres, np.arange(len(centres)), centres, lambda apart: share * apart, "title")
    angles = np.arccos(np.clip(centres @ centres.T, -1, 1)) + 9 * np.eye(len(centres))
    middles, labels = shown(figure)
    found = rims(figure)
    for middle, label in zip(middles, labels.astype(int), strict=True):
        rim = found[label]
        assert np.allclose(np.arccos(rim @ middle), share * angles[label].min(), atol=1e-6)
        across = rim - (rim @ middle)[:, None] * middle
        first = across[0] / np.linalg.norm(across[0])
        turned = np.arctan2(across @ np.cross(middle, first), across @ first)
        gaps = np.diff(np.sort(np.append(turned, turned.min() + 2 * np.pi)))
        assert np.degrees(gaps.max()) < 10.1, f"the ring of class {label} has a hole"


def test_sectors_without_a_margin_fill_the_circle_exactly() -> None:
    for seed in range(20):
        angles = np.cumsum(np.random.default_rng(seed).uniform(0.2, 1, 7))
        angles = np.random.default_rng(seed).permutation(angles / (angles[-1] + 0.5) * 2 * np.pi - np.pi)
        spans = sorted(sphere.sectors(around(angles), half))
        ends = [last for _, last in spans]
        begins = [first for first, _ in spans]
        assert ends == pytest.approx([*begins[1:], begins[0] + 2 * np.pi])


def test_each_sector_lies_around_its_own_centre() -> None:
    angles = np.radians([100, -170, 30, -60])
    for angle, (first, last) in zip(angles, sphere.sectors(around(angles), lambda apart: apart / 5), strict=True):
        assert first < angle < last


def arcface_gap(apart: float, margin: float) -> float:
    return min(margin, apart)  # θ + m = α − θ


def cosface_gap(apart: float, margin: float) -> float:
    sine = margin / (2 * math.sin(apart / 2))  # cos θ − m = cos(α − θ)
    return 2 * math.asin(sine) if sine < math.sin(apart / 2) else apart


def sphereface_gap(apart: float, margin: float) -> float:
    return apart * (margin - 1) / (margin + 1)  # m·θ = α − θ


def hybrid_gap(apart: float, margin: float) -> float:
    reach = brentq(lambda angle: 2 * angle + margin * math.tanh(angle / 0.3) - apart, 0, apart)
    return apart - 2 * float(reach)


@pytest.mark.parametrize(
    ("head", "params", "gap"),
    [
        ("arcface", {"margin_rad": 0.3}, lambda apart: arcface_gap(apart, 0.3)),
        ("arcface", {"margin_rad": 0.0}, lambda apart: arcface_gap(apart, 0.0)),
        ("cosface", {"margin_cos": 0.1}, lambda apart: cosface_gap(apart, 0.1)),
        ("sphereface", {"margin_mult": 1.5}, lambda apart: sphereface_gap(apart, 1.5)),
        ("hybrid", {"margin_rad": 0.3, "crossover_rad": 0.3}, lambda apart: hybrid_gap(apart, 0.3)),
    ],
    ids=["arcface", "no margin", "cosface", "sphereface", "hybrid"],
)
def test_a_margin_leaves_a_gap_of_its_size_between_neighbours(
    head: str, params: dict[str, float], gap: Callable[[float], float]
) -> None:
    angles = np.radians([0, 40, 90, 100, 200, 290])  # 10° are less than ArcFace's margin, so nothing is left there
    spans = sphere.sectors(around(angles), Margin(head, params).angular_slack)
    for place in range(6):
        apart = float((angles[(place + 1) % 6] - angles[place]) % (2 * np.pi))
        after, before = spans[place][1], spans[(place + 1) % 6][0]
        assert (before - after) % (2 * np.pi) == pytest.approx(gap(apart), abs=1e-9)


@pytest.mark.parametrize("classes", [2, 10, 25])
def test_the_circle_has_a_sector_and_a_name_for_every_class(classes: int) -> None:
    centres = around(np.arange(classes) * 2 * np.pi / classes)
    labels = np.arange(4 * classes) % classes
    figure = sphere.draw(3 * centres[labels], labels, centres, half, "title")
    (axes,) = figure.axes
    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    assert len(wedges) == classes
    assert sum(wedge.theta2 - wedge.theta1 for wedge in wedges) == pytest.approx(360)
    assert len(axes.texts) == (classes if classes <= 20 else 0)
    assert rendered(figure, "png", 40)


def test_a_circle_without_a_margin_has_no_sectors() -> None:
    figure = sphere.draw(random_units(20, 2), np.arange(20) % 4, random_units(4, 2), None, "title")
    assert not [patch for patch in figure.axes[0].patches if isinstance(patch, Wedge)]


def test_the_histogram_around_the_circle_stands_where_the_points_are() -> None:
    angles = np.radians([-120, 10, 95])
    labels = np.repeat(np.arange(3), 30)
    figure = sphere.draw(around(angles)[labels] * 9, labels, around(angles), None, "title")
    outlines = [patch for patch in figure.axes[0].patches if type(patch).__name__ == "Polygon"]
    for angle, outline in zip(angles, outlines, strict=True):
        corners = outline.get_xy()
        far = corners[np.linalg.norm(corners, axis=1) > 1.2]
        turned = np.arctan2(far[:, 1], far[:, 0]) - angle
        assert np.degrees(np.abs(turned)).max() < 2 * 360 / sphere.BINS


def test_more_than_twenty_classes_on_a_sphere_have_crosses_without_names() -> None:
    figure = sphere.draw(random_units(50), np.arange(50) % 25, random_units(25, seed=4), half, "title")
    assert len(crosses(figure)) == 25
    assert not [text for axes in figure.axes for text in axes.texts]
    assert rendered(figure, "png", 40)
