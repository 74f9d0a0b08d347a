"""k-means against scikit-learn and brute force; cluster matching and class health against plain numpy."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor

from lightning_modules import geometry

Array = NDArray[np.float64]


def inertia(points: Array, clusters: NDArray[np.int64]) -> float:
    return sum(
        float(((points[clusters == one] - points[clusters == one].mean(0)) ** 2).sum()) for one in np.unique(clusters)
    )


def spread_on_sphere(points: Array, clusters: NDArray[np.int64]) -> float:
    """The summed 1 - cos between unit points and the direction of their cluster's sum."""
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    return len(units) - sum(float(np.linalg.norm(units[clusters == one].sum(0))) for one in np.unique(clusters))


def dataset(name: str) -> Array:
    rng = np.random.default_rng(5)
    centres = rng.normal(0, 6, (6, 3))
    blobs = centres[rng.integers(6, size=400)] + rng.normal(0, 1, (400, 3))
    return {
        "blobs": blobs,
        "stretched": blobs * np.array([1.0, 8.0, 0.2]),
        "far from the origin": blobs + 1e5,
        "one cloud": rng.normal(0, 1, (400, 2)),
        "sixteen dimensions": rng.normal(0, 1, (6, 16))[rng.integers(6, size=300)] * 3 + rng.normal(0, 1, (300, 16)),
    }[name]


@pytest.mark.parametrize("name", ["blobs", "stretched", "far from the origin", "one cloud", "sixteen dimensions"])
def test_euclidean_kmeans_costs_no_more_than_scikit_learns(name: str) -> None:
    points = dataset(name)
    ours = geometry.kmeans(torch.from_numpy(points), 6, spherical=False).numpy()
    theirs = KMeans(6, n_init=10, random_state=0).fit(points)

    assert ours.shape == (len(points),)
    assert set(ours) == set(range(6))
    assert inertia(points, ours) == pytest.approx(theirs.inertia_, rel=5e-3)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_kmeans_finds_the_best_of_all_partitions(seed: int, spherical: bool) -> None:
    points = np.random.default_rng(seed).normal(0, 1, (9, 2)) + 0.3
    cost = spread_on_sphere if spherical else inertia
    best = min(cost(points, np.array((0, *rest))) for rest in itertools.product((0, 1, 2), repeat=8))
    found = geometry.kmeans(torch.from_numpy(points), 3, spherical=spherical, restarts=30).numpy()

    assert cost(points, found) == pytest.approx(best, rel=1e-5)


def test_rays_of_any_length_are_clusters_on_the_sphere_and_not_in_space() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 5
    angles = 2 * np.pi * labels / 5 + rng.normal(0, 0.08, 300)
    lengths = rng.uniform(0.5, 30, 300)
    points = torch.from_numpy(lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    accuracy = {
        spherical: geometry.cluster_accuracy(points, torch.from_numpy(labels), 5, spherical=spherical)
        for spherical in (False, True)
    }

    assert accuracy[True] == 1
    assert accuracy[False] < 0.9


def test_spherical_clusters_of_unlike_widths_meet_halfway_by_angle() -> None:
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.normal(0, 0.05, 400), rng.uniform(0.3, 5, 300)])
    units = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = geometry.kmeans(torch.from_numpy(units), 2, spherical=True).numpy()
    sums = np.stack([units[found == one].sum(0) for one in (0, 1)])
    nearest = (units @ (sums / np.linalg.norm(sums, axis=1, keepdims=True)).T).argmax(1)

    np.testing.assert_array_equal(found, nearest)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("spherical", [False, True])
def test_one_start_suffices_where_clusters_are_far_apart(seed: int, spherical: bool) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 8
    points = np.eye(8)[labels] + rng.normal(0, 1e-4, (80, 8))
    found = geometry.kmeans(torch.from_numpy(points), 8, spherical=spherical, restarts=1, seed=seed)

    assert geometry.matched_accuracy(found, torch.from_numpy(labels), 8) == 1


@pytest.mark.parametrize("spherical", [False, True])
def test_kmeans_depends_on_its_seed_alone(spherical: bool) -> None:
    points = torch.from_numpy(dataset("one cloud"))
    runs = [geometry.kmeans(points, 7, spherical=spherical, restarts=1, seed=seed) for seed in (3, 3, 4)]
    state = torch.get_rng_state()
    torch.manual_seed(123)
    again = geometry.kmeans(points, 7, spherical=spherical, restarts=1, seed=3)
    torch.set_rng_state(state)

    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], again)
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("spherical", [False, True])
def test_more_clusters_than_distinct_points_gives_each_of_them_its_own(spherical: bool) -> None:
    distinct = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]])
    which = torch.arange(30) % 3
    found = geometry.kmeans(distinct[which], 5, spherical=spherical)

    assert found.min() >= 0
    assert found.max() < 5
    assert len({(int(a), int(b)) for a, b in zip(which, found, strict=True)}) == len(set(found.tolist())) == 3


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_a_collapsed_embedding_is_one_cluster(value: float, spherical: bool) -> None:
    labels = torch.arange(20) % 4
    accuracy = geometry.cluster_accuracy(torch.full((20, 3), value), labels, 4, spherical=spherical)
    assert accuracy == 0.25


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_matched_accuracy_is_the_best_over_all_permutations(pairs: list[tuple[int, int]]) -> None:
    clusters, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    best = max(
        sum(permutation[cluster] == label for cluster, label in pairs)
        for permutation in itertools.permutations(range(4))
    )
    assert geometry.matched_accuracy(clusters, labels, 4) == pytest.approx(best / len(pairs))


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
    spread = np.linalg.norm(points - own, axis=1).mean()
    apart = [math.dist(one, other) for one, other in itertools.combinations(means, 2)]
    expected = {
        "nearest_mean_accuracy": (nearest == labels).mean(),
        "target_angle_p50_rad": np.quantile(np.arccos(cosines), 0.5),
        "target_angle_p95_rad": np.quantile(np.arccos(cosines), 0.95),
        "collapsed_pairs_share": np.mean([one < spread for one in apart]),
    }

    assert 0.5 < expected["nearest_mean_accuracy"] < 1
    assert expected["collapsed_pairs_share"] == pytest.approx(1 / 6)
    health = geometry.class_health(points_ND, labels_N, 4, spherical=spherical)
    assert health == pytest.approx(expected, rel=1e-4)


def test_class_health_of_a_collapsed_embedding_says_so() -> None:
    points = 1e-3 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) + 1
    health: dict[str, Any] = geometry.class_health(points, torch.arange(200) % 4, 4, spherical=False)

    assert health["collapsed_pairs_share"] == 1
    assert health["nearest_mean_accuracy"] < 0.5


def test_a_class_without_points_has_no_mean_and_hides_no_other() -> None:
    points = torch.tensor([[1.0, 0.0], [1.1, 0.0], [0.0, 1.0], [0.0, 1.1]])
    labels = torch.tensor([0, 0, 2, 2])

    assert geometry.class_means(points, labels, 3)[1].isnan().all()
    assert geometry.class_health(points, labels, 3, spherical=False)["nearest_mean_accuracy"] == 1
