"""Measures on embeddings: how well classes form clusters. Torch in, plain floats out; any device.

k-means is our own because no kept library clusters on the sphere; its Euclidean half is tested against scikit-learn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def _seed_centres(points_ND: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii 2007): each centre drawn by its squared distance to those before."""
    number = len(points_ND)
    first = torch.randint(number, (1,), generator=generator, device=points_ND.device)
    chosen = [first]
    distance_N = (points_ND - points_ND[first]).square().sum(1)
    for _ in range(clusters - 1):
        total = distance_N.cumsum(0, dtype=torch.float64)
        pick = torch.rand(1, generator=generator, device=points_ND.device, dtype=torch.float64) * total[-1]
        nearest = torch.searchsorted(total, pick).clamp_max(number - 1)
        chosen.append(nearest)
        distance_N = torch.minimum(distance_N, (points_ND - points_ND[nearest]).square().sum(1))
    return points_ND[torch.cat(chosen)].clone()


def _lloyd(points_ND: Tensor, centres_KD: Tensor, spherical: bool, iterations: int) -> tuple[Tensor, float]:
    """Assignments (N,) and the summed cost after Lloyd's iterations; an empty cluster keeps its centre."""
    clusters = len(centres_KD)
    assigned_N = torch.full((len(points_ND),), -1, device=points_ND.device)
    cost = torch.inf
    for _ in range(iterations):
        # |x - c|² without |x|², which no choice of centre changes; on the sphere |c| = 1, so this is the angle's order
        distance_NK = centres_KD.square().sum(1) - 2 * points_ND @ centres_KD.T
        nearest_N, moved_N = distance_NK.min(1)
        cost = float(nearest_N.sum(dtype=torch.float64))
        if torch.equal(moved_N, assigned_N):
            break
        assigned_N = moved_N
        sums_KD = torch.zeros_like(centres_KD).index_add_(0, assigned_N, points_ND)
        counts_K1 = torch.bincount(assigned_N, minlength=clusters)[:, None]
        means_KD = F.normalize(sums_KD) if spherical else sums_KD / counts_K1
        centres_KD = torch.where(counts_K1 > 0, means_KD, centres_KD)
    return assigned_N, cost


def kmeans(
    points_ND: Tensor,
    clusters: int,
    *,
    spherical: bool,
    restarts: int = 10,
    iterations: int = 100,
    seed: int = 0,
) -> Tensor:
    """Cluster numbers (N,) of the cheapest of `restarts` runs of k-means; deterministic for a seed.

    `spherical` clusters by angle (Dhillon and Modha 2001): points and centres live on the unit sphere.
    """
    points_ND = points_ND.float()
    points_ND = F.normalize(points_ND) if spherical else points_ND - points_ND.mean(0)
    generator = torch.Generator(points_ND.device).manual_seed(seed)
    runs = (
        _lloyd(points_ND, _seed_centres(points_ND, clusters, generator), spherical, iterations) for _ in range(restarts)
    )
    return min(runs, key=lambda run: run[1])[0]


def matched_accuracy(clusters_N: Tensor, labels_N: Tensor, num_classes: int) -> float:
    """The share of points whose cluster is their class's, under the one-to-one matching that is best (Hungarian)."""
    joint = torch.bincount(labels_N * num_classes + clusters_N, minlength=num_classes**2)
    table = joint.reshape(num_classes, num_classes).cpu().numpy()
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(labels_N))


def cluster_accuracy(points_ND: Tensor, labels_N: Tensor, num_classes: int, *, spherical: bool, seed: int = 0) -> float:
    """k-means with as many clusters as classes, matched to them: 1.0 when every class is one cluster of its own."""
    clusters_N = kmeans(points_ND, num_classes, spherical=spherical, seed=seed)
    return matched_accuracy(clusters_N, labels_N, num_classes)


def class_means(points_ND: Tensor, labels_N: Tensor, num_classes: int) -> Tensor:
    """Means (C, D) of each class; NaN where a class has no point."""
    sums_CD = points_ND.new_zeros(num_classes, points_ND.shape[1]).index_add_(0, labels_N, points_ND)
    return sums_CD / torch.bincount(labels_N, minlength=num_classes)[:, None]


def class_health(points_ND: Tensor, labels_N: Tensor, num_classes: int, *, spherical: bool) -> dict[str, float]:
    """How the classes stand to each other, around their own means (unit vectors when `spherical`).

    nearest_mean_accuracy: share of points nearest to the mean of their own class.
    target_angle_p50_rad, target_angle_p95_rad: quantiles of the angle between a point and its class's mean direction.
    collapsed_pairs_share: share of class pairs whose means lie closer than the mean distance of points to their own
    mean; 0 is sound, 1 is a collapsed embedding.
    """
    points_ND = F.normalize(points_ND.float()) if spherical else points_ND.float()
    means_CD = class_means(points_ND, labels_N, num_classes)
    nearest_N = torch.cdist(points_ND, means_CD).nan_to_num(nan=torch.inf).argmin(1)
    own_ND = means_CD[labels_N]
    cosine_N = F.cosine_similarity(points_ND, own_ND).clamp(-1, 1)
    median, high = torch.quantile(cosine_N.acos(), torch.tensor([0.5, 0.95], device=cosine_N.device)).tolist()
    spread = (points_ND - own_ND).norm(dim=1).mean()
    apart = torch.pdist(means_CD[~means_CD.isnan().any(1)])
    return {
        "nearest_mean_accuracy": float((nearest_N == labels_N).float().mean()),
        "target_angle_p50_rad": median,
        "target_angle_p95_rad": high,
        "collapsed_pairs_share": float((apart < spread).float().mean()),
    }
