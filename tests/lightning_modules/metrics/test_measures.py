"""What a report holds, against its parts computed by numpy, scipy and scikit-learn; and that JSON can write it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.metrics import confusion_matrix
from torch import Tensor

from lightning_modules.metrics import angles, clusters, measures, retrieval

Array = NDArray[np.float64]
Cloud = Callable[..., tuple[Tensor, Tensor]]
Rotation = Callable[[int], Tensor]
GEOMETRIES = pytest.mark.parametrize("spherical", [False, True])
DIMENSIONS = pytest.mark.parametrize("dimensions", [2, 3, 7])


def near(measured: dict[str, float | None], rel: float) -> dict[str, Any]:
    """As pytest.approx, which knows no None."""
    return {name: value if value is None else pytest.approx(value, rel=rel) for name, value in measured.items()}


@GEOMETRIES
@DIMENSIONS
def test_every_epoch_has_accuracy_on_both_geometries_and_the_health_on_its_own(
    dimensions: int, spherical: bool, cloud: Cloud
) -> None:
    points, labels = cloud(dimensions)
    euclidean, sphere = (clusters.cluster_accuracy(points, labels, 5, spherical=geometry) for geometry in (False, True))
    health = angles.class_health(points, labels, 5, spherical=spherical)
    assert measures.every_epoch(points, labels, 5, spherical=spherical) == {
        "cluster_accuracy_euclidean": euclidean,
        "cluster_accuracy_spherical": sphere,
        "cluster_accuracy": sphere if spherical else euclidean,
        "separation": health["separation_ratio" if spherical else "distance_ratio"],
        **health,
    }


@GEOMETRIES
@DIMENSIONS
def test_the_final_report_has_every_measure_of_the_epoch_and_more(
    dimensions: int, spherical: bool, cloud: Cloud
) -> None:
    points, labels = cloud(dimensions)
    report = measures.final(points, labels, 5, spherical=spherical)
    expected = {
        **measures.every_epoch(points, labels, 5, spherical=spherical),
        **retrieval.retrieval(points, labels, spherical=spherical),
        **clusters.agreement(clusters.kmeans(points, 5, spherical=spherical), labels),
        "silhouette": clusters.silhouette(points, labels, spherical=spherical),
    }

    assert {name: report["measures"][name] for name in expected} == pytest.approx(expected)
    assert (report["points"], report["dimensions"], report["spherical"]) == (60, dimensions, spherical)
    assert report["classes"]["points"] == np.bincount(labels).tolist()


@GEOMETRIES
@DIMENSIONS
def test_confusion_rows_are_classes_columns_their_clusters_and_its_trace_the_accuracy(
    dimensions: int, spherical: bool, cloud: Cloud
) -> None:
    points, labels = cloud(dimensions, apart=1.5)
    report = measures.final(points, labels, 5, spherical=spherical)
    confusion = np.array(report["confusion"])
    unmatched = confusion_matrix(labels, clusters.kmeans(points, 5, spherical=spherical), labels=range(5))
    best = max(unmatched[:, names].trace() for names in itertools.permutations(range(5)))

    assert confusion.sum(1).tolist() == report["classes"]["points"]
    assert confusion.sum(0).tolist() == [cluster["points"] for cluster in report["clusters"]]
    assert sorted(confusion.T.tolist()) == sorted(unmatched.T.tolist())
    assert 18 < confusion.trace() == best < 60
    assert confusion.trace() / 60 == pytest.approx(report["measures"]["cluster_accuracy"])


@GEOMETRIES
@DIMENSIONS
def test_each_cluster_has_the_volumes_that_numpy_and_scipy_find(dimensions: int, spherical: bool, cloud: Cloud) -> None:
    points_ND, labels = cloud(dimensions, classes=3, points=90)
    report = measures.final(points_ND, labels, 3, spherical=spherical)
    found = clusters.matched(clusters.kmeans(points_ND, 3, spherical=spherical), labels, 3).numpy()
    points = points_ND.double().numpy()

    def determinant(of: Array) -> float:
        return float(np.linalg.slogdet(np.cov(of.T))[1] / 2)

    whole = report["measures"]
    for number, cluster in enumerate(report["clusters"]):
        own = points[found == number]
        assert cluster["points"] == len(own) > dimensions
        assert cluster["ellipsoid_share"] == pytest.approx(math.exp(determinant(own) - determinant(points)))
        assert cluster["ellipsoid_log_volume"] - whole["ellipsoid_log_volume"] == pytest.approx(
            determinant(own) - determinant(points)
        )
        if dimensions > 6:
            assert cluster["hull_log_volume"] is cluster["hull_share"] is cluster["covariance"] is None
        else:
            assert math.exp(cluster["hull_log_volume"]) == pytest.approx(ConvexHull(own).volume)
            assert cluster["hull_share"] == pytest.approx(ConvexHull(own).volume / ConvexHull(points).volume)
            np.testing.assert_allclose(cluster["covariance"], np.cov(own.T))
    for kind in ("hull", "ellipsoid") if dimensions <= 6 else ("ellipsoid",):
        shares = [cluster[f"{kind}_share"] for cluster in report["clusters"]]
        assert whole[f"{kind}_share_sum"] == pytest.approx(sum(shares))
        assert whole[f"{kind}_share_mean"] == pytest.approx(sum(shares) / 3)


def test_a_cluster_of_one_point_has_no_volume_and_leaves_the_means_to_the_others() -> None:
    square = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    points = torch.cat([square, 2 * square + 20, torch.tensor([[0.0, 40]])])
    report = measures.final(points, torch.tensor([0] * 4 + [1] * 4 + [2]), 3, spherical=False)
    shares = [1 / ConvexHull(points).volume, 4 / ConvexHull(points).volume]

    assert report["clusters"][2] == {"points": 1}
    assert report["mahalanobis"][2] is None
    assert [cluster["hull_share"] for cluster in report["clusters"][:2]] == pytest.approx(shares)
    assert report["measures"]["hull_share_sum"] == pytest.approx(sum(shares))
    assert report["measures"]["hull_share_mean"] == pytest.approx(sum(shares) / 2)


@pytest.mark.parametrize("dimensions", [2, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_hulls_of_euclidean_clusters_share_the_whole_hull_for_their_cells_are_convex(
    dimensions: int, seed: int, cloud: Cloud
) -> None:
    points, labels = cloud(dimensions, classes=3, apart=0.5, seed=seed)
    whole = measures.final(points, labels, 3, spherical=False)["measures"]
    assert 0 < whole["hull_share_sum"] < 1


@GEOMETRIES
@DIMENSIONS
def test_histograms_hold_the_mahalanobis_distances_of_right_and_of_wrong_points(
    dimensions: int, spherical: bool, cloud: Cloud
) -> None:
    points_ND, labels = cloud(dimensions, classes=3, points=90, apart=1.0)
    report = measures.final(points_ND, labels, 3, spherical=spherical)
    found = clusters.matched(clusters.kmeans(points_ND, 3, spherical=spherical), labels, 3).numpy()
    points = points_ND.double().numpy()
    for number, histogram in enumerate(report["mahalanobis"]):
        own, right = points[found == number], labels.numpy()[found == number] == number
        inverse = np.linalg.inv(np.cov(own.T))
        distances = np.array([mahalanobis(point, own.mean(0), inverse) for point in own])
        edges = np.array(histogram["edges"])

        assert len(edges) == measures.BINS + 1
        assert edges[0] == 0
        assert edges[-1] == pytest.approx(distances.max(), rel=1e-6)
        np.testing.assert_allclose(np.diff(edges), edges[-1] / measures.BINS)
        for name, chosen in (("right", right), ("wrong", ~right)):
            # a distance that lies on an edge may be counted on either side of it
            below = [[(distances[chosen] < edge * (1 + way)).sum() for edge in edges] for way in (-1e-7, 1e-7)]
            counted = np.concatenate([[0], np.cumsum(histogram[name])])
            assert counted[-1] == chosen.sum()
            assert ((below[0] <= counted) & (counted <= below[1])).all()
        confusion = report["confusion"]
        assert sum(histogram["right"]) == confusion[number][number]
        assert sum(histogram["wrong"]) == sum(row[number] for row in confusion) - confusion[number][number]


@GEOMETRIES
def test_learned_centres_are_measured_by_angle_on_either_geometry(spherical: bool, cloud: Cloud) -> None:
    points_ND, labels_N = cloud(7)
    labels_N[labels_N == 3] = 5  # class 3 is without points
    centres_CD = 4 * angles.class_means(*cloud(7), 6) + 0.7 * torch.arange(42).reshape(6, 7).sin()
    centres_CD[5] = 2 * centres_CD[3] + 1
    ours = measures.final(points_ND, labels_N, 6, spherical=spherical, centres_CD=centres_CD)["measures"]

    points, centres, labels = points_ND.double().numpy(), centres_CD.double().numpy(), labels_N.numpy()
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    to_centres = cdist(points, centres, "cosine")
    between = cdist(centres, centres, "cosine")[np.triu_indices(6, 1)]
    present = [0, 1, 2, 4, 5]
    means = np.stack([units[labels == label].mean(0) for label in present])
    to_means = [np.arccos(1 - cdist(means, centres[present], "cosine"))[number, number] for number in range(5)]

    assert 0.2 < (to_centres.argmin(1) == labels).mean() < 1
    assert ours["nearest_centre_accuracy"] == pytest.approx((to_centres.argmin(1) == labels).mean())
    assert ours["min_centre_angle_rad"] == pytest.approx(math.acos(1 - between.min()), rel=1e-4)
    assert ours["centre_to_mean_angle_rad"] == pytest.approx(np.mean(to_means), rel=1e-4)


def test_without_learned_centres_nothing_is_said_of_them(cloud: Cloud) -> None:
    assert not [name for name in measures.final(*cloud(3), 5, spherical=True)["measures"] if "centre" in name]


@GEOMETRIES
@DIMENSIONS
def test_a_report_does_not_depend_on_rotation_scale_or_order(
    dimensions: int, spherical: bool, cloud: Cloud, rotation: Rotation
) -> None:
    points, labels = cloud(dimensions, classes=3, apart=0)
    turns = 2 * math.pi * labels / 3  # apart in space and by angle, so that k-means has one best answer from any start
    points[:, :2] += 3 * torch.stack([turns.cos(), turns.sin()], dim=1)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    report = measures.final(points, labels, 3, spherical=spherical)
    assert 0.8 < report["measures"]["cluster_accuracy"] < 1
    for moved, number, grown in (
        (points @ rotation(dimensions).float(), labels, 0.0),
        (7 * points, labels, dimensions * math.log(7)),
        (points[order], labels[order], 0.0),
    ):
        again = measures.final(moved, number, 3, spherical=spherical)
        volumes = {
            name: None if value is None else value + grown
            for name, value in report["measures"].items()
            if name.endswith("log_volume")
        }
        assert again["measures"] == near({**report["measures"], **volumes}, rel=1e-3)
        assert again["confusion"] == report["confusion"]
        assert again["classes"]["nearest"] == report["classes"]["nearest"]
        assert again["classes"]["p95_angle_rad"] == pytest.approx(report["classes"]["p95_angle_rad"], rel=1e-3)


@GEOMETRIES
@DIMENSIONS
def test_a_report_follows_the_names_of_its_classes(dimensions: int, spherical: bool, cloud: Cloud) -> None:
    points, labels = cloud(dimensions, classes=4, apart=4)
    names = [2, 0, 3, 1]
    report = measures.final(points, labels, 4, spherical=spherical)
    again = measures.final(points, torch.tensor(names)[labels], 4, spherical=spherical)
    del report["measures"]["knn_accuracy"], again["measures"]["knn_accuracy"]  # a draw goes to the smaller number

    assert again["measures"] == near(report["measures"], rel=1e-5)
    for old, new in enumerate(names):
        assert again["clusters"][new] == report["clusters"][old]
        assert again["mahalanobis"][new] == report["mahalanobis"][old]
        assert [again["confusion"][new][other] for other in names] == report["confusion"][old]
        assert again["classes"]["nearest"][new] == names[report["classes"]["nearest"][old]]
        for key in ("points", "nearest_angle_rad", "p95_angle_rad"):
            assert again["classes"][key][new] == pytest.approx(report["classes"][key][old], rel=1e-5)


def test_a_report_leaves_its_input_and_torchs_random_state_as_they_were(cloud: Cloud) -> None:
    points, labels = cloud(3)
    centres = angles.class_means(points, labels, 5)
    before, state = [each.clone() for each in (points, labels, centres)], torch.get_rng_state()
    measures.final(points, labels, 5, spherical=True, centres_CD=centres)

    assert all(torch.equal(one, other) for one, other in zip(before, (points, labels, centres), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_points_of_any_precision_have_a_report(dtype: torch.dtype, cloud: Cloud) -> None:
    points, labels = cloud(3)
    report = measures.final(points.to(dtype), labels, 5, spherical=False, centres_CD=points[:5].to(dtype))
    rounded = measures.final(points.to(dtype).float(), labels, 5, spherical=False, centres_CD=points[:5].to(dtype))
    assert report["measures"] == pytest.approx(rounded["measures"], rel=1e-5)


def degenerate(name: str, dimensions: int) -> tuple[Tensor, Tensor]:
    """Points and labels of four classes."""
    points = torch.randn(40, dimensions, generator=torch.Generator().manual_seed(dimensions))
    labels = torch.arange(40) % 4
    alone = torch.cat([torch.tensor([3]), torch.arange(39) % 3])
    return {
        "sound": (points, labels),
        "all at the origin": (0 * points, labels),
        "all in one place": (0 * points + 0.1, labels),
        "each class in one place": (points[labels], labels),
        "on a line": (points[:, :1].repeat(1, dimensions), labels),
        "one point away from the rest": (torch.eye(40, dimensions) * (torch.arange(40) == 0)[:, None], labels),
        "nearly in one place": (1 + 1e-7 * points, labels),
        "tiny": (1e-25 * points, labels),
        "huge": (1e15 * points, labels),
        "a class with one point": (points, alone),
        "an empty class": (points, torch.arange(40) % 3),
        "two classes of four": (points, 3 * (torch.arange(40) % 2)),
        "as many points as classes and one": (points[:5], torch.tensor([0, 1, 2, 3, 3])),
        "a class in one place, alone or empty": (0 * points + 1, torch.tensor([0] * 39 + [2])),
    }[name]


DEGENERATE = [
    "sound",
    "all at the origin",
    "all in one place",
    "each class in one place",
    "on a line",
    "one point away from the rest",
    "nearly in one place",
    "tiny",
    "huge",
    "a class with one point",
    "an empty class",
    "two classes of four",
    "as many points as classes and one",
    "a class in one place, alone or empty",
]


@pytest.mark.parametrize("name", DEGENERATE)
@GEOMETRIES
@DIMENSIONS
def test_json_can_write_a_report_of_whatever_points(name: str, dimensions: int, spherical: bool) -> None:
    points, labels = degenerate(name, dimensions)
    for centres_CD in (None, torch.eye(4, dimensions), torch.zeros(4, dimensions)):
        report: dict[str, Any] = measures.final(points, labels, 4, spherical=spherical, centres_CD=centres_CD)
        confusion = np.array(report["confusion"])

        assert json.loads(json.dumps(report, allow_nan=False)) == report
        assert confusion.sum(1).tolist() == report["classes"]["points"] == torch.bincount(labels, minlength=4).tolist()
        assert confusion.trace() / len(points) == pytest.approx(report["measures"]["cluster_accuracy"])
        assert len(report["clusters"]) == len(report["mahalanobis"]) == 4
        assert {len(entries) for entries in report["classes"].values()} == {4}


@GEOMETRIES
@DIMENSIONS
@pytest.mark.parametrize("name", ["all at the origin", "all in one place", "on a line"])
def test_what_is_flat_has_no_volume_and_no_histogram(name: str, dimensions: int, spherical: bool) -> None:
    report = measures.final(*degenerate(name, dimensions), 4, spherical=spherical)
    for kind in ("hull", "ellipsoid"):
        assert report["measures"][f"{kind}_log_volume"] is None
        assert report["measures"][f"{kind}_share_sum"] is report["measures"][f"{kind}_share_mean"] is None
    assert report["mahalanobis"] == [None] * 4


@GEOMETRIES
@DIMENSIONS
def test_an_empty_class_has_no_angles_and_a_class_with_one_point_no_spread(dimensions: int, spherical: bool) -> None:
    empty = measures.final(*degenerate("an empty class", dimensions), 4, spherical=spherical)["classes"]
    alone = measures.final(*degenerate("a class with one point", dimensions), 4, spherical=spherical)["classes"]

    assert empty["points"][3] == 0
    assert empty["nearest_angle_rad"][3] is empty["p95_angle_rad"][3] is None
    assert alone["points"][3] == 1
    assert alone["p95_angle_rad"][3] < 1e-3
    assert None not in empty["nearest_angle_rad"][:3] + empty["p95_angle_rad"][:3] + alone["nearest_angle_rad"]
