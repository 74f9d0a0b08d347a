"""Which measures are taken when: the cheap ones after every epoch, all of them once, of a head's best model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lightning_modules.metrics import angles, clusters, pairwise, retrieval, volumes

BINS = 40
MOST_COVARIANCE_DIMENSIONS = 6  # larger matrices are not written down


def every_epoch(points_ND: Tensor, labels_N: Tensor, num_classes: int, *, spherical: bool) -> dict[str, float]:
    """Cluster accuracy on both geometries, and the health of the classes.

    `cluster_accuracy` and `separation` are those on the head's own geometry.
    """
    measured = {
        f"cluster_accuracy_{name}": clusters.cluster_accuracy(points_ND, labels_N, num_classes, spherical=sphere)
        for name, sphere in (("euclidean", False), ("spherical", True))
    }
    own = measured["cluster_accuracy_spherical" if spherical else "cluster_accuracy_euclidean"]
    health = angles.class_health(points_ND, labels_N, num_classes, spherical=spherical)
    separation = health["separation_ratio" if spherical else "distance_ratio"]
    return {**measured, "cluster_accuracy": own, **health, "separation": separation}


def final(
    points_ND: Tensor, labels_N: Tensor, num_classes: int, *, spherical: bool, centres_CD: Tensor | None = None
) -> dict[str, Any]:
    """Every measure, as plain numbers and lists for JSON; what is not finite or does not apply is None.

    centres_CD: the class centres that the head has learned, where it has any.
    measures: one number each. confusion (C, C): rows are classes, columns the clusters matched to them. classes: one
    entry a class. clusters: hull and error ellipsoid of each, in the space of the embedding itself. mahalanobis: for
    each cluster histograms of the distances of its right and its wrong points from its centre.
    """
    points_ND = points_ND.detach()
    clusters_N = clusters.matched(clusters.kmeans(points_ND, num_classes, spherical=spherical), labels_N, num_classes)
    measured = every_epoch(points_ND, labels_N, num_classes, spherical=spherical)
    measured |= clusters.agreement(clusters_N, labels_N)
    measured["silhouette"] = clusters.silhouette(points_ND, labels_N, spherical=spherical)
    measured |= retrieval.retrieval(points_ND, labels_N, spherical=spherical)
    if centres_CD is not None:
        measured |= _learned(points_ND, labels_N, centres_CD)
    by_angle = angles.class_angles(points_ND, labels_N, num_classes, spherical=spherical)
    space = _space(points_ND.double().cpu().numpy(), clusters_N.cpu().numpy(), labels_N.cpu().numpy(), num_classes)
    found: dict[str, Any] = _plain(
        {
            "points": len(points_ND),
            "dimensions": points_ND.shape[1],
            "spherical": spherical,
            "measures": {**measured, **space.pop("measures")},
            "confusion": clusters.counts(labels_N, clusters_N, num_classes).tolist(),
            "classes": {
                "points": torch.bincount(labels_N, minlength=num_classes).tolist(),
                "nearest": [
                    None if math.isnan(apart) else other
                    for other, apart in zip(by_angle.nearest_C.tolist(), by_angle.apart_rad_C.tolist(), strict=True)
                ],
                "nearest_angle_rad": by_angle.apart_rad_C.tolist(),
                "p95_angle_rad": by_angle.p95_rad_C.tolist(),
            },
            **space,
        }
    )
    return found


def _learned(points_ND: Tensor, labels_N: Tensor, centres_CD: Tensor) -> dict[str, float]:
    """How the embedding stands to the centres that the head has learned, by angle."""
    units_CD = F.normalize(centres_CD.float())
    points_ND = F.normalize(points_ND.float())
    nearest_N, _ = pairwise.nearest(points_ND, units_CD)
    means_CD = angles.class_means(points_ND, labels_N, len(units_CD))
    return {
        "nearest_centre_accuracy": float((nearest_N == labels_N).float().mean()),
        "min_centre_angle_rad": float(angles.nearest_directions(units_CD)[1].min()),
        "centre_to_mean_angle_rad": float(angles.between(units_CD, means_CD).nanmean()),
    }


def _space(
    points_ND: NDArray[np.float64], clusters_N: NDArray[np.int64], labels_N: NDArray[np.int64], num_classes: int
) -> dict[str, Any]:
    """Volumes of the whole and of every cluster, and how far its right and wrong points lie from its centre."""
    whole = volumes.Ellipsoid.of(points_ND)
    whole_hull, whole_volume = volumes.hull_log_volume(points_ND), whole.log_volume
    rows: list[dict[str, Any]] = []
    histograms: list[dict[str, Any] | None] = []
    for number in range(num_classes):
        own_ND, right_N = points_ND[clusters_N == number], labels_N[clusters_N == number] == number
        if len(own_ND) < 2:
            rows.append({"points": len(own_ND)})
            histograms.append(None)
            continue
        ellipsoid, hull = volumes.Ellipsoid.of(own_ND), volumes.hull_log_volume(own_ND)
        small = points_ND.shape[1] <= MOST_COVARIANCE_DIMENSIONS
        rows.append(
            {
                "points": len(own_ND),
                "hull_log_volume": hull,
                "hull_share": volumes.share(hull, whole_hull),
                "ellipsoid_log_volume": ellipsoid.log_volume,
                "ellipsoid_share": volumes.share(ellipsoid.log_volume, whole_volume),
                "covariance": ellipsoid.covariance_DD.tolist() if small else None,
            }
        )
        histograms.append(_histogram(ellipsoid.distances(own_ND), right_N))
    measured: dict[str, float | None] = {"hull_log_volume": whole_hull, "ellipsoid_log_volume": whole_volume}
    for kind in ("hull", "ellipsoid"):
        shares = [row[f"{kind}_share"] for row in rows if row.get(f"{kind}_share") is not None]
        measured[f"{kind}_share_sum"] = sum(shares) if shares else None
        measured[f"{kind}_share_mean"] = sum(shares) / len(shares) if shares else None
    return {"measures": measured, "clusters": rows, "mahalanobis": histograms}


def _histogram(distances: NDArray[np.float64] | None, right_N: NDArray[np.bool_]) -> dict[str, Any] | None:
    if distances is None:
        return None
    edges = np.linspace(0, distances.max() * (1 + 1e-9), BINS + 1)
    counted = {
        name: np.histogram(distances[chosen], edges)[0].tolist()
        for name, chosen in (("right", right_N), ("wrong", ~right_N))
    }
    return {"edges": edges.tolist(), **counted}


def _plain(value: Any) -> Any:
    """With None in place of what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
