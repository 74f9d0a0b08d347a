"""k-means against scikit-learn and brute force, matching against all permutations and scikit-learn's confusion matrix.

Mutual information against entropies by hand and the hypergeometric mean, silhouettes against plain loops.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from scipy.stats import hypergeom
from sklearn.cluster import KMeans
from sklearn.metrics import confusion_matrix
from torch import Tensor

from lightning_modules.metrics import clusters, pairwise

Array = NDArray[np.float64]
Cloud = Callable[..., tuple[Tensor, Tensor]]


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
    ours = clusters.kmeans(torch.from_numpy(points), 6, spherical=False).numpy()
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
    found = clusters.kmeans(torch.from_numpy(points), 3, spherical=spherical, restarts=30).numpy()

    assert cost(points, found) == pytest.approx(best, rel=1e-5)


def test_rays_of_any_length_are_clusters_on_the_sphere_and_not_in_space() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 5
    angles = 2 * np.pi * labels / 5 + rng.normal(0, 0.08, 300)
    lengths = rng.uniform(0.5, 30, 300)
    points = torch.from_numpy(lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    accuracy = {
        spherical: clusters.cluster_accuracy(points, torch.from_numpy(labels), 5, spherical=spherical)
        for spherical in (False, True)
    }

    assert accuracy[True] == 1
    assert accuracy[False] < 0.9


def test_spherical_clusters_of_unlike_widths_meet_halfway_by_angle() -> None:
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.normal(0, 0.05, 400), rng.uniform(0.3, 5, 300)])
    units = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = clusters.kmeans(torch.from_numpy(units), 2, spherical=True).numpy()
    sums = np.stack([units[found == one].sum(0) for one in (0, 1)])
    nearest = (units @ (sums / np.linalg.norm(sums, axis=1, keepdims=True)).T).argmax(1)

    np.testing.assert_array_equal(found, nearest)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("spherical", [False, True])
def test_one_start_suffices_where_clusters_are_far_apart(seed: int, spherical: bool) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 8
    points = np.eye(8)[labels] + rng.normal(0, 1e-4, (80, 8))
    found = clusters.kmeans(torch.from_numpy(points), 8, spherical=spherical, restarts=1, seed=seed)

    assert clusters.matched_accuracy(found, torch.from_numpy(labels), 8) == 1


@pytest.mark.parametrize("spherical", [False, True])
def test_kmeans_depends_on_its_seed_alone(spherical: bool) -> None:
    points = torch.from_numpy(dataset("one cloud"))
    runs = [clusters.kmeans(points, 7, spherical=spherical, restarts=1, seed=seed) for seed in (3, 3, 4)]
    state = torch.get_rng_state()
    torch.manual_seed(123)
    again = clusters.kmeans(points, 7, spherical=spherical, restarts=1, seed=3)
    torch.set_rng_state(state)

    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], again)
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("spherical", [False, True])
def test_more_clusters_than_distinct_points_gives_each_of_them_its_own(spherical: bool) -> None:
    distinct = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]])
    which = torch.arange(30) % 3
    found = clusters.kmeans(distinct[which], 5, spherical=spherical)

    assert found.min() >= 0
    assert found.max() < 5
    assert len({(int(a), int(b)) for a, b in zip(which, found, strict=True)}) == len(set(found.tolist())) == 3


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_a_collapsed_embedding_is_one_cluster(value: float, spherical: bool) -> None:
    labels = torch.arange(20) % 4
    accuracy = clusters.cluster_accuracy(torch.full((20, 3), value), labels, 4, spherical=spherical)
    assert accuracy == 0.25


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_matched_accuracy_is_the_best_over_all_permutations(pairs: list[tuple[int, int]]) -> None:
    found, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    best = max(
        sum(permutation[cluster] == label for cluster, label in pairs)
        for permutation in itertools.permutations(range(4))
    )
    assert clusters.matched_accuracy(found, labels, 4) == pytest.approx(best / len(pairs))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40), st.permutations(range(6)))
@settings(deadline=None, max_examples=60)
def test_matching_renames_clusters_one_to_one_whatever_their_numbers(
    pairs: list[tuple[int, int]], names: list[int]
) -> None:
    found, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    classes, renamed = clusters.matched(found, labels, 6), torch.tensor(names)[found]
    accuracy = float((classes == labels).double().mean())

    assert len(set(zip(found.tolist(), classes.tolist(), strict=True))) == len(found.unique()) == len(classes.unique())
    for same in (found, renamed, classes):
        assert clusters.matched_accuracy(same, labels, 6) == accuracy


@pytest.mark.parametrize("spherical", [False, True])
def test_counts_are_scikit_learns_confusion_matrix(spherical: bool, cloud: Cloud) -> None:
    points, labels = cloud(3)
    classes = clusters.matched(clusters.kmeans(points, 5, spherical=spherical), labels, 5)
    confusion = clusters.counts(labels, classes, 5)

    np.testing.assert_array_equal(confusion, confusion_matrix(labels, classes, labels=range(5)))
    np.testing.assert_array_equal(confusion.sum(1), torch.bincount(labels))
    assert 0.3 < confusion.trace() / 60 < 1
    assert float(confusion.trace() / 60) == pytest.approx(
        clusters.cluster_accuracy(points, labels, 5, spherical=spherical)
    )


def test_counts_have_rows_and_columns_for_classes_that_do_not_occur() -> None:
    counts = clusters.counts(torch.tensor([0, 2, 2]), torch.tensor([2, 0, 2]), 4)
    assert counts.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def entropy(counts: Array) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def mean_information_by_chance(rows: Array, columns: Array) -> float:
    """The mean mutual information of two partitions of these sizes over all permutations (Vinh et al. 2010)."""
    number, mean = int(rows.sum()), 0.0
    for row, column in itertools.product(rows.astype(int), columns.astype(int)):
        for both in range(1, min(row, column) + 1):
            information = both / number * math.log(number * both / (row * column))
            mean += information * hypergeom(number, row, column).pmf(both)
    return mean


def information_by_hand(found: Tensor, labels: Tensor) -> dict[str, float]:
    joint = np.array(
        [[((labels == one) & (found == other)).sum() for other in found.unique()] for one in labels.unique()]
    )
    rows, columns = joint.sum(1), joint.sum(0)
    information = entropy(rows) + entropy(columns) - entropy(joint.ravel())
    mean = (entropy(rows) + entropy(columns)) / 2
    chance = mean_information_by_chance(rows, columns)
    return {"ami": (information - chance) / (mean - chance), "nmi": information / mean}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spherical", [False, True])
def test_agreement_is_the_shared_entropy(seed: int, spherical: bool, cloud: Cloud) -> None:
    points, labels = cloud(3, seed=seed)
    found = clusters.kmeans(points, 4, spherical=spherical)

    assert clusters.agreement(found, labels) == pytest.approx(information_by_hand(found, labels))


def test_agreement_is_that_of_pytorch_metric_learning(cloud: Cloud) -> None:
    points, labels = cloud(3)
    found = clusters.kmeans(points, 5, spherical=False)
    library = AccuracyCalculator(include=("AMI", "NMI"), kmeans_func=lambda *_: found, knn_func=lambda *_: None)
    theirs = library.get_accuracy(points, labels)

    assert clusters.agreement(found, labels) == pytest.approx({"ami": theirs["AMI"], "nmi": theirs["NMI"]})


def test_agreement_is_one_under_other_numbers_and_ami_is_zero_by_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    labels, unrelated = torch.randint(40, (2, 400), generator=generator)

    assert clusters.agreement(39 - labels, labels) == pytest.approx({"ami": 1, "nmi": 1})
    assert abs(clusters.agreement(unrelated, labels)["ami"]) < 0.05
    assert clusters.agreement(unrelated, labels)["nmi"] > 0.3


def silhouette_by_hand(distance: Array, labels: Tensor) -> float:
    total = 0.0
    for point, label in enumerate(labels.tolist()):
        means = {
            other: np.mean([distance[point, j] for j in range(len(labels)) if labels[j] == other and j != point])
            for other in set(labels.tolist())
            if other != label or (labels == label).sum() > 1
        }
        own, nearest = means.pop(label, None), min(mean for other, mean in means.items() if other != label)
        total += 0.0 if own is None else (nearest - own) / max(nearest, own)  # alone in a class, 0 by definition
    return total / len(labels)


@pytest.mark.parametrize("dimensions", [2, 3, 17])
@pytest.mark.parametrize("alone", [False, True])
def test_silhouettes_are_those_of_plain_loops_over_distances_or_chords(
    dimensions: int, alone: bool, cloud: Cloud
) -> None:
    points, labels = cloud(dimensions, points=40)
    labels[0] = 5 if alone else labels[0]
    exact = points.double().numpy()
    straight = np.array([[math.dist(one, other) for other in exact] for one in exact])
    cosine = exact @ exact.T / np.outer(np.linalg.norm(exact, axis=1), np.linalg.norm(exact, axis=1))
    chord = np.sqrt(2 - 2 * cosine.clip(-1, 1))

    for spherical, distance in ((False, straight), (True, chord)):
        ours = clusters.silhouette(points, labels, spherical=spherical)
        assert ours == pytest.approx(silhouette_by_hand(distance, labels), rel=1e-4)


def test_silhouettes_of_a_short_example_by_hand() -> None:
    points = torch.tensor([[0.0, 0], [1, 0], [5, 0], [7, 0]])
    scores = [1 - 1 / 6, 1 - 1 / 5, 1 - 2 / 4.5, 1 - 2 / 6.5]
    assert clusters.silhouette(points, torch.tensor([0, 0, 1, 1]), spherical=False) == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3, 17])
def test_clusters_do_not_depend_on_rotation_scale_or_order(
    dimensions: int, spherical: bool, cloud: Cloud, rotation: Callable[[int], Tensor]
) -> None:
    points, _ = cloud(dimensions, classes=3, apart=5)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    lengths = torch.rand(60, 1, generator=torch.Generator().manual_seed(0)) + 0.1 if spherical else 7
    found = clusters.kmeans(points, 3, spherical=spherical)
    for moved in (points @ rotation(dimensions).float(), lengths * points):
        assert clusters.agreement(clusters.kmeans(moved, 3, spherical=spherical), found)["ami"] == pytest.approx(1)
    again = clusters.kmeans(points[order], 3, spherical=spherical)
    assert clusters.agreement(again, found[order])["ami"] == pytest.approx(1)


@pytest.mark.parametrize("spherical", [False, True])
def test_kmeans_is_the_same_in_blocks_of_any_size(spherical: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.from_numpy(dataset("sixteen dimensions"))
    whole = clusters.kmeans(points, 6, spherical=spherical)
    monkeypatch.setattr(pairwise, "BLOCK", 50)
    assert torch.equal(clusters.kmeans(points, 6, spherical=spherical), whole)


@pytest.mark.parametrize(
    ("costs", "chosen"), [((-5.0, -5.0 - 1e-7), 0), ((-5.0, -5.1), 1), ((-5.0, -6.0, -6.0 - 1e-7), 1)]
)
def test_of_runs_that_differ_by_rounding_alone_the_first_is_taken(
    costs: tuple[float, ...], chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = iter([(torch.full((4,), number), cost) for number, cost in enumerate(costs)])
    monkeypatch.setattr(clusters, "_lloyd", lambda *given: next(runs))
    found = clusters.kmeans(torch.eye(4), 2, spherical=False, restarts=len(costs))
    assert found.tolist() == [chosen] * 4
