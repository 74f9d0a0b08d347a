"""Retrieval against plain loops, pytorch-metric-learning's AccuracyCalculator and scikit-learn's nearest neighbours.

A deliberate difference, shown below: points that are alone in their class count as wrong in recall_at_1, and
pytorch-metric-learning leaves them out. Neither counts them in map_at_r.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from lightning_modules.metrics import pairwise, retrieval

Array = NDArray[np.float64]
Cloud = Callable[..., tuple[Tensor, Tensor]]
Rotation = Callable[[int], Tensor]


def exact(points: Tensor, spherical: bool) -> Array:
    array = points.double().numpy()
    return array / np.linalg.norm(array, axis=1, keepdims=True) if spherical else array


def retrieval_by_loops(points: Array, labels: list[int]) -> dict[str, float]:
    first, voted, precisions = 0, 0, []
    for own, label in enumerate(labels):
        others = [other for other in range(len(labels)) if other != own]
        found = [labels[other] for other in sorted(others, key=lambda other: math.dist(points[own], points[other]))]
        votes = Counter(found[: retrieval.VOTERS])
        first += found[0] == label
        voted += min(votes, key=lambda candidate: (-votes[candidate], candidate)) == label
        right = labels.count(label) - 1
        hits = [found[:rank].count(label) / rank for rank in range(1, right + 1) if found[rank - 1] == label]
        precisions += [sum(hits) / right] if right else []
    return {
        "recall_at_1": first / len(labels),
        "knn_accuracy": voted / len(labels),
        "map_at_r": sum(precisions) / max(1, len(precisions)),
    }


@pytest.mark.parametrize("dimensions", [2, 3, 7, 16, 17, 40])
@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("classes", [2, 5, 30])
def test_retrieval_is_what_plain_loops_find(dimensions: int, spherical: bool, classes: int, cloud: Cloud) -> None:
    points, labels = cloud(dimensions, classes=classes, apart=1.0)
    expected = retrieval_by_loops(exact(points, spherical), labels.tolist())

    assert expected["map_at_r"] < 0.99
    assert retrieval.retrieval(points, labels, spherical=spherical) == pytest.approx(expected)


@pytest.mark.parametrize("block", [1, 100, pairwise.BLOCK])
def test_classes_of_one_point_or_none_are_as_in_plain_loops(
    block: int, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairwise, "BLOCK", block)
    points, labels = cloud(3)
    labels = 3 * labels
    labels[[5, 17]] = torch.tensor([1, 40])
    expected = retrieval_by_loops(exact(points, False), labels.tolist())

    assert retrieval.retrieval(points, labels, spherical=False) == pytest.approx(expected)


@pytest.mark.parametrize("points", [2, 3, 5, 10, 11, 12])
def test_few_points_ask_all_others(points: int, cloud: Cloud) -> None:
    points_ND, labels_N = cloud(2, classes=1 if points < 4 else 2, points=points)
    expected = retrieval_by_loops(exact(points_ND, False), labels_N.tolist())
    assert retrieval.retrieval(points_ND, labels_N, spherical=False) == pytest.approx(expected)


@pytest.mark.parametrize("dimensions", [2, 17])
@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("classes", [2, 5, 30])
def test_retrieval_is_that_of_pytorch_metric_learning(
    dimensions: int, spherical: bool, classes: int, cloud: Cloud
) -> None:
    points, labels = cloud(dimensions, classes=classes, apart=1.0)
    library = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"),
        k="max_bin_count",
        knn_func=CustomKNN(LpDistance(normalize_embeddings=spherical)),
    )
    theirs = library.get_accuracy(points, labels)
    ours = retrieval.retrieval(points, labels, spherical=spherical)

    assert ours["recall_at_1"] == pytest.approx(theirs["precision_at_1"])
    assert ours["map_at_r"] == pytest.approx(theirs["mean_average_precision_at_r"])


def test_pytorch_metric_learning_leaves_out_points_that_are_alone_in_their_class(cloud: Cloud) -> None:
    points, labels = cloud(3)
    labels[:6] = torch.arange(10, 16)
    library = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"),
        k="max_bin_count",
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False)),
    )
    theirs = library.get_accuracy(points, labels)
    ours = retrieval.retrieval(points, labels, spherical=False)

    assert ours["recall_at_1"] == pytest.approx(theirs["precision_at_1"] * 54 / 60)
    assert ours["map_at_r"] == pytest.approx(theirs["mean_average_precision_at_r"])


@pytest.mark.parametrize("dimensions", [2, 17])
@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("classes", [2, 5, 12])
def test_the_vote_is_scikit_learns_with_each_point_left_out(
    dimensions: int, spherical: bool, classes: int, cloud: Cloud
) -> None:
    points, labels = cloud(dimensions, classes=classes, apart=1.0 if dimensions == 2 else 0.4)
    places, right = exact(points, spherical), 0
    for own in range(60):
        others = np.arange(60) != own
        voters = KNeighborsClassifier(10).fit(places[others], labels.numpy()[others])
        right += voters.predict(places[own : own + 1])[0] == int(labels[own])

    assert 0.05 < right / 60 < 0.99
    assert retrieval.retrieval(points, labels, spherical=spherical)["knn_accuracy"] == pytest.approx(right / 60)


@pytest.mark.parametrize("larger", [False, True])
def test_a_draw_goes_to_the_smaller_number(larger: bool) -> None:
    """One point amid five of each of two classes, which are near it in turn."""
    around = torch.arange(1, 11)
    points = torch.cat([torch.zeros(1, 2), torch.stack([around.float(), torch.zeros(10)], dim=1)])
    labels = torch.cat([torch.tensor([3]), 3 + (2 if larger else -2) * (around % 2)])
    ours = retrieval.retrieval(points, labels, spherical=False)

    assert ours == pytest.approx(retrieval_by_loops(points.double().numpy(), labels.tolist()))


@pytest.mark.parametrize("dimensions", [2, 40])
@pytest.mark.parametrize("spherical", [False, True])
def test_a_twin_is_the_nearest_other(dimensions: int, spherical: bool) -> None:
    points = torch.randn(30, dimensions, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    same, other = torch.arange(30).repeat(2), torch.arange(60)

    assert retrieval.retrieval(points, same, spherical=spherical)["recall_at_1"] == 1
    assert retrieval.retrieval(points, same, spherical=spherical)["map_at_r"] == 1
    assert retrieval.retrieval(points, other, spherical=spherical)["recall_at_1"] == 0


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3, 17])
def test_retrieval_is_perfect_where_classes_are_far_apart(dimensions: int, spherical: bool) -> None:
    turns = torch.arange(60) % 4 * math.pi / 2 + torch.linspace(-0.2, 0.2, 60)
    points = torch.zeros(60, dimensions)
    points[:, 0], points[:, 1] = turns.cos(), turns.sin()
    perfect = {"recall_at_1": 1, "knn_accuracy": 1, "map_at_r": 1}
    assert retrieval.retrieval(points, torch.arange(60) % 4, spherical=spherical) == pytest.approx(perfect)


@pytest.mark.parametrize("spherical", [False, True])
def test_without_any_pair_of_a_class_nothing_is_retrieved(spherical: bool, cloud: Cloud) -> None:
    nothing = {"recall_at_1": 0, "knn_accuracy": 0, "map_at_r": 0}
    assert retrieval.retrieval(cloud(3)[0], torch.arange(60), spherical=spherical) == nothing


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3, 17])
def test_retrieval_does_not_depend_on_rotation_scale_order_or_place(
    dimensions: int, spherical: bool, cloud: Cloud, rotation: Rotation
) -> None:
    points, labels = cloud(dimensions, apart=1.0)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    moved = torch.rand(60, 1, generator=torch.Generator().manual_seed(0)) * points if spherical else 7 * points + 3
    expected = pytest.approx(retrieval.retrieval(points, labels, spherical=spherical))

    assert retrieval.retrieval(points @ rotation(dimensions).float(), labels, spherical=spherical) == expected
    assert retrieval.retrieval(moved, labels, spherical=spherical) == expected
    assert retrieval.retrieval(points[order], labels[order], spherical=spherical) == expected


@pytest.mark.parametrize("spherical", [False, True])
def test_names_of_classes_change_nothing_but_draws(spherical: bool, cloud: Cloud) -> None:
    points, labels = cloud(3, apart=1.0)
    ours = retrieval.retrieval(points, labels, spherical=spherical)
    renamed = retrieval.retrieval(points, 9 - 2 * labels, spherical=spherical)
    for name in ("recall_at_1", "map_at_r"):
        assert renamed[name] == pytest.approx(ours[name])
