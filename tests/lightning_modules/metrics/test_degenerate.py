"""What measures say where there is little to measure: one class, collapse, tiny angles, points far from the origin."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from lightning_modules.metrics import angles, clusters, measures, retrieval

ONE_CLASS = torch.zeros(40, dtype=torch.long)
COLLAPSED = torch.arange(40) % 4


def points(dimensions: int = 3, number: int = 40) -> Tensor:
    return torch.randn(number, dimensions, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("classes", [1, 4])
def test_one_class_alone_has_no_distance_to_others(classes: int) -> None:
    measured = measures.every_epoch(points(), ONE_CLASS, classes, spherical=False)
    assert math.isnan(measured["separation_ratio"])
    assert math.isnan(measured["distance_ratio"])


@pytest.mark.parametrize("labels", [ONE_CLASS, torch.arange(40)])
def test_a_silhouette_needs_two_classes_and_two_points_in_one(labels: Tensor) -> None:
    report = measures.final(points(), labels, 40, spherical=False)
    json.dumps(report, allow_nan=False)
    assert report["measures"]["silhouette"] is None


@pytest.mark.parametrize("dimensions", [2, 3, 7])
@pytest.mark.parametrize("value", [0.0, 1.0, 2.0, 0.1])
def test_points_in_one_place_are_collapsed(dimensions: int, value: float) -> None:
    health = angles.class_health(torch.full((40, dimensions), value), COLLAPSED, 4, spherical=False)
    assert health["collapsed_pairs_share"] == 1
    assert not math.isnan(health["distance_ratio"])


@pytest.mark.parametrize("dimensions", [2, 3, 7])
@pytest.mark.parametrize("value", [1.0, 2.0, 0.1])
@pytest.mark.parametrize("spherical", [False, True])
def test_collapse_is_not_taken_for_separation(dimensions: int, value: float, spherical: bool) -> None:
    health = angles.class_health(torch.full((40, dimensions), value), COLLAPSED, 4, spherical=spherical)
    assert health["separation_ratio"] <= 1
    assert health["distance_ratio"] <= 1


@pytest.mark.parametrize("angle", [1e-2, 1e-3, 3e-4, 1e-4])
def test_small_angles_are_measured(angle: float) -> None:
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, angle]])
    assert float(angles.between(one, other)) == pytest.approx(math.atan(angle), rel=1e-3)


def test_opposite_centres_are_half_a_turn_apart() -> None:
    _, apart = angles.nearest_directions(torch.tensor([[1.0, 0.0], [-2.0, 0.0]]))
    assert apart.tolist() == pytest.approx([math.pi, math.pi], abs=1e-6)


def test_the_nearest_mean_is_found_far_from_the_origin() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(2000) % 4
    cloud = (rng.normal(0, 3, (4, 3))[labels] + rng.normal(0, 1, (2000, 3)) + 1e4).astype(np.float32)
    means = np.stack([cloud[labels == label].astype(float).mean(0) for label in range(4)])
    expected = (cdist(cloud.astype(float), means).argmin(1) == labels).mean()
    health = angles.class_health(torch.from_numpy(cloud), torch.from_numpy(labels), 4, spherical=False)
    assert health["nearest_mean_accuracy"] == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("dimensions", [16, 17, 32])
def test_a_narrow_cone_of_directions_is_told_apart(dimensions: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(1000) % 4
    spread = rng.normal(0, 1, (4, dimensions))[labels] + rng.normal(0, 1, (1000, dimensions))
    cone = (np.eye(dimensions)[0] + 1e-4 * spread).astype(np.float32)
    units = cone.astype(float) / np.linalg.norm(cone.astype(float), axis=1, keepdims=True)
    distances = cdist(units, units) + np.diag(np.full(1000, np.inf))
    first = (labels[distances.argmin(1)] == labels).mean()
    classes = torch.from_numpy(labels)
    found = retrieval.retrieval(torch.from_numpy(cone), classes, spherical=True)["recall_at_1"]
    by_chord = clusters.cluster_accuracy(torch.from_numpy(units - units.mean(0)), classes, 4, spherical=False)
    by_angle = clusters.cluster_accuracy(torch.from_numpy(cone), classes, 4, spherical=True)

    assert found == pytest.approx(first, abs=0.01)
    assert by_angle == pytest.approx(by_chord, abs=0.02)


def test_a_class_without_points_has_no_nearest() -> None:
    report = measures.final(points(), torch.arange(40) % 3, 4, spherical=False)
    assert report["classes"]["nearest"][3] is None


def test_what_still_hangs_on_a_graph_is_measured_too() -> None:
    hanging = points().requires_grad_()
    assert measures.final(hanging, COLLAPSED, 4, spherical=False)["points"] == 40
