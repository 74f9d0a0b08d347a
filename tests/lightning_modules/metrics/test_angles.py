"""Means, angles, quantiles and class health against plain numpy and loops; areas of caps against Monte-Carlo."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad
from torch import Tensor

from lightning_modules.metrics import angles, pairwise

Array = NDArray[np.float64]
Cloud = Callable[..., tuple[Tensor, Tensor]]
Rotation = Callable[[int], Tensor]
ROUNDED = 5e-7  # what a float32 cosine may be wrong by, so that angles near 0 and π may be wrong by a thousandth


def angle(one: Array, other: Array) -> float:
    """By the half-angle's tangent (Kahan), which loses no digits at any angle."""
    one, other = one / np.linalg.norm(one), other / np.linalg.norm(other)
    return 2 * math.atan2(float(np.linalg.norm(one - other)), float(np.linalg.norm(one + other)))


def labelled_cloud() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(1)
    labels = rng.integers(4, size=200)
    centres = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.3, 2.0], [0.0, 0.0, 2.4]])
    return torch.from_numpy(centres[labels] + rng.normal(0, 0.5, (200, 3))), torch.from_numpy(labels)


@pytest.mark.parametrize("spherical", [False, True])
def test_class_health_is_what_numpy_says(spherical: bool) -> None:
    points_ND, labels_N = labelled_cloud()
    points, labels = points_ND.numpy(), labels_N.numpy()
    points = points / np.linalg.norm(points, axis=1, keepdims=True) if spherical else points
    means = np.stack([points[labels == label].mean(0) for label in range(4)])
    own = means[labels]
    nearest = np.linalg.norm(points[:, None] - means[None], axis=2).argmin(1)
    cosines = (points * own).sum(1) / np.linalg.norm(points, axis=1) / np.linalg.norm(own, axis=1)
    spread = np.linalg.norm(points - own, axis=1)
    apart = [math.dist(one, other) for one, other in itertools.combinations(means, 2)]
    smallest = min(angle(one, other) for one, other in itertools.combinations(means, 2))
    p95 = [np.quantile(np.arccos(cosines[labels == label]), 0.95) for label in range(4)]
    expected = {
        "nearest_mean_accuracy": (nearest == labels).mean(),
        "target_angle_p50_rad": np.quantile(np.arccos(cosines), 0.5),
        "target_angle_p95_rad": np.quantile(np.arccos(cosines), 0.95),
        "min_mean_angle_rad": smallest,
        "separation_ratio": smallest / np.quantile(np.arccos(cosines), 0.95),
        "distance_ratio": min(apart) / np.quantile(spread, 0.95),
        "sphere_share": sum((1 - math.cos(one)) / 2 for one in p95),  # Archimedes: a cap's area is 2πh
        "collapsed_pairs_share": np.mean([one < spread.mean() for one in apart]),
    }

    assert 0.5 < expected["nearest_mean_accuracy"] < 1
    assert expected["collapsed_pairs_share"] == pytest.approx(1 / 6)
    health = angles.class_health(points_ND, labels_N, 4, spherical=spherical)
    assert health == pytest.approx(expected, rel=1e-4)


def test_class_health_of_a_collapsed_embedding_says_so() -> None:
    points = 1e-3 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) + 1
    health: dict[str, Any] = angles.class_health(points, torch.arange(200) % 4, 4, spherical=False)

    assert health["collapsed_pairs_share"] == 1
    assert health["nearest_mean_accuracy"] < 0.5


def test_a_class_without_points_has_no_mean_and_hides_no_other() -> None:
    points = torch.tensor([[1.0, 0.0], [1.1, 0.0], [0.0, 1.0], [0.0, 1.1]])
    labels = torch.tensor([0, 0, 2, 2])

    assert angles.class_means(points, labels, 3)[1].isnan().all()
    assert angles.class_health(points, labels, 3, spherical=False)["nearest_mean_accuracy"] == 1


def test_class_means_are_numpys(cloud: Cloud) -> None:
    points, labels = cloud(7)
    for label, mean in enumerate(angles.class_means(points, labels, 5)):
        np.testing.assert_allclose(mean, points.double().numpy()[labels == label].mean(0), rtol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3, 17])
def test_the_angle_between_vectors_is_that_of_their_half_tangent(dimensions: int, cloud: Cloud) -> None:
    points, others = cloud(dimensions)[0], cloud(dimensions, seed=1)[0]
    expected = [angle(*pair) for pair in zip(points.double().numpy(), others.double().numpy(), strict=True)]
    np.testing.assert_allclose(angles.between(points, others).cos(), np.cos(expected), atol=ROUNDED)
    np.testing.assert_allclose(angles.between(points.double(), others.double()), expected, atol=1e-7)


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, -0.2])
def test_parallel_vectors_are_at_the_ends_of_the_range_and_never_nan(factor: float, cloud: Cloud) -> None:
    points = cloud(3)[0]
    ours = angles.between(points, factor * points)
    assert (ours - (0 if factor > 0 else math.pi)).abs().max() < 1e-3


def nearest_by_loops(centres: Array) -> list[tuple[int, float]]:
    return [
        min(((other, angle(centres[one], centres[other])) for other in present if other != one), key=lambda it: it[1])
        for present in [[number for number, centre in enumerate(centres) if not np.isnan(centre).any()]]
        for one in present
    ]


@pytest.mark.parametrize("dimensions", [2, 3, 7, 40])
@pytest.mark.parametrize("number", [2, 3, 11, 50])
@pytest.mark.parametrize("absent", [[], [0], [4, 7, 10]])
@pytest.mark.parametrize("block", [1, 30, pairwise.BLOCK])
def test_the_nearest_direction_is_the_one_loops_find(
    dimensions: int, number: int, absent: list[int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = absent if number > 10 else []
    monkeypatch.setattr(pairwise, "BLOCK", block)
    centres = torch.randn(number, dimensions, generator=torch.Generator().manual_seed(number)) * 5
    centres[absent] = torch.nan
    index, apart = angles.nearest_directions(centres)
    present = [one for one in range(number) if one not in absent]
    exact = centres.double().numpy()
    expected = np.cos([apart for _, apart in nearest_by_loops(exact)])
    chosen = np.cos([angle(exact[one], exact[index[one]]) for one in present])

    assert all(index[one] != one for one in present)
    np.testing.assert_allclose(chosen, expected, atol=ROUNDED)
    np.testing.assert_allclose(apart[present].cos(), expected, atol=ROUNDED)
    assert apart[absent].isnan().all()


@pytest.mark.parametrize("corners", [2, 3, 5, 9])
def test_the_corners_of_a_simplex_are_all_equally_far(corners: int) -> None:
    centred = torch.eye(corners) - 1 / corners
    apart = angles.nearest_directions(centred)[1]
    np.testing.assert_allclose(apart.cos(), -1 / (corners - 1), atol=ROUNDED)


@given(
    sizes=st.lists(st.integers(0, 7), min_size=1, max_size=6).filter(any),
    share=st.sampled_from([0.0, 0.3, 0.5, 0.95, 1.0]),
    seed=st.integers(0, 10),
    ties=st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_quantiles_by_class_are_numpys_of_each_class(sizes: list[int], share: float, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    values = rng.integers(3, size=len(labels)) / 2 if ties else rng.normal(0, 100, len(labels))
    ours = angles.quantile_by_class(torch.from_numpy(values), torch.from_numpy(labels), len(sizes), share)
    expected = [np.quantile(values[labels == one], share) if size else np.nan for one, size in enumerate(sizes)]
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dimensions", [2, 3, 4, 7, 12])
def test_a_cap_holds_the_share_of_random_directions_that_fall_into_it(dimensions: int) -> None:
    normal = np.random.default_rng(dimensions).normal(size=(400_000, dimensions))
    from_pole = np.arccos(normal[:, 0] / np.linalg.norm(normal, axis=1))
    caps = np.array([0.2, 0.7, 1.2, math.pi / 2, 2.0, 3.0])
    shares = angles.cap_share(torch.from_numpy(caps), dimensions).numpy()
    inside = np.array([(from_pole <= one).mean() for one in caps])

    assert (np.abs(inside - shares) < 5 * np.sqrt(shares * (1 - shares) / 400_000) + 1e-9).all()


@pytest.mark.parametrize("dimensions", [2, 3, 4, 7, 50, 512])
def test_a_cap_is_the_integral_of_the_circles_that_it_is_made_of(dimensions: int) -> None:
    def circle(polar_rad: float) -> float:
        return math.sin(polar_rad) ** (dimensions - 2)

    # from the equator, where the area of a sphere in many dimensions is
    half = quad(circle, 0, math.pi / 2, points=[math.pi / 2 - 0.3])[0]
    for cap in (1.0, 1.4, 1.55, 1.6, 1.8, 2.5):
        expected = 0.5 + quad(circle, math.pi / 2, cap)[0] / half / 2
        assert float(angles.cap_share(torch.tensor([cap]), dimensions)) == pytest.approx(expected, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("dimensions", [2, 3, 7, 512])
def test_caps_grow_from_nothing_over_a_half_to_all_of_the_sphere(dimensions: int) -> None:
    caps = torch.linspace(0, math.pi, 101, dtype=torch.float64)
    shares = angles.cap_share(caps, dimensions)

    assert shares[[0, 50, 100]].tolist() == pytest.approx([0, 0.5, 1], abs=1e-12)
    assert (shares.diff() >= 0).all()
    torch.testing.assert_close(shares + shares.flip(0), torch.ones(101, dtype=torch.float64))


def test_caps_in_the_plane_are_arcs_and_in_space_as_high_as_wide() -> None:
    caps = torch.linspace(0, math.pi, 50, dtype=torch.float64)
    torch.testing.assert_close(angles.cap_share(caps, 2), caps / math.pi)
    torch.testing.assert_close(angles.cap_share(caps, 3), (1 - caps.cos()) / 2)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3, 17])
def test_class_angles_are_those_that_loops_find(dimensions: int, spherical: bool, cloud: Cloud) -> None:
    points_ND, labels_N = cloud(dimensions, classes=6)
    labels_N[labels_N == 2] = 6  # class 2 is without points
    labels_N[int((labels_N == 0).nonzero()[0])] = 7  # class 7 has one
    points, labels = points_ND.double().numpy(), labels_N.numpy()
    points = points / np.linalg.norm(points, axis=1, keepdims=True) if spherical else points
    present = [0, 1, 3, 4, 5, 6, 7]
    means = np.full((8, dimensions), np.nan)
    for label in present:
        means[label] = points[labels == label].mean(0)
    expected = nearest_by_loops(means)
    p95 = [np.quantile([angle(x, means[one]) for x in points[labels == one]], angles.SPREAD) for one in present]
    ours = angles.class_angles(points_ND, labels_N, 8, spherical=spherical)

    assert ours.nearest_C[present].tolist() == [other for other, _ in expected]
    np.testing.assert_allclose(ours.apart_rad_C[present].cos(), np.cos([apart for _, apart in expected]), atol=ROUNDED)
    np.testing.assert_allclose(ours.p95_rad_C[present].cos(), np.cos(p95), atol=ROUNDED)
    assert ours.apart_rad_C[2].isnan()
    assert ours.p95_rad_C[2].isnan()
    assert ours.p95_rad_C[7] < 1e-3  # the only point of its class is its mean


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3, 17])
def test_class_health_does_not_depend_on_rotation_scale_order_or_names(
    dimensions: int, spherical: bool, cloud: Cloud, rotation: Rotation
) -> None:
    points, labels = cloud(dimensions)
    generator = torch.Generator().manual_seed(0)
    order, names = torch.randperm(60, generator=generator), torch.randperm(5, generator=generator)
    lengths = torch.rand(60, 1, generator=generator) + 0.1 if spherical else 7
    health = angles.class_health(points, labels, 5, spherical=spherical)
    for moved, renamed in [
        (points @ rotation(dimensions).float(), labels),
        (lengths * points, labels),
        (points[order], labels[order]),
        (points, names[labels]),
    ]:
        ours = angles.class_health(moved, renamed, 5, spherical=spherical)
        assert ours == pytest.approx(health, rel=1e-4)


@pytest.mark.parametrize("spherical", [False, True])
def test_classes_without_points_change_no_measure(spherical: bool, cloud: Cloud) -> None:
    points, labels = cloud(3)
    health = angles.class_health(points, labels, 5, spherical=spherical)
    assert angles.class_health(points, 2 * labels + 1, 12, spherical=spherical) == pytest.approx(health, rel=1e-5)


@pytest.mark.parametrize("width_rad", [0.05, 0.15])
def test_caps_touch_where_the_separation_ratio_is_two(width_rad: float) -> None:
    """Two classes on a circle, at ± their width around 0 and around twice the width: their arcs share one end."""
    directions = torch.tensor([-width_rad, width_rad, width_rad, 3 * width_rad], dtype=torch.float64)
    points = torch.stack([directions.cos(), directions.sin()], dim=1)
    health = angles.class_health(points, torch.tensor([0, 0, 1, 1]), 2, spherical=True)

    assert health["separation_ratio"] == pytest.approx(2, rel=1e-3)
    assert health["sphere_share"] == pytest.approx(2 * width_rad / math.pi, rel=1e-3)


def test_half_spheres_of_unlike_classes_fill_the_sphere_and_overlap_above_one() -> None:
    def health(classes: int) -> dict[str, float]:
        turns = 2 * math.pi * torch.arange(classes)[:, None] / classes + torch.tensor([-1, 1]) * math.pi / 4
        points = torch.stack([turns.flatten().cos(), turns.flatten().sin()], dim=1)
        return angles.class_health(points, torch.arange(classes).repeat_interleave(2), classes, spherical=True)

    assert health(4)["sphere_share"] == pytest.approx(1, rel=1e-5)
    assert health(8)["sphere_share"] == pytest.approx(2, rel=1e-5)
    assert health(8)["min_mean_angle_rad"] == pytest.approx(math.pi / 4, rel=1e-5)
