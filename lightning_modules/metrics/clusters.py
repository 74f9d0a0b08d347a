"""How well classes form clusters: k-means, matched to the classes one to one.

k-means is our own because no kept library clusters on the sphere; its Euclidean half is tested against scikit-learn.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lightning_modules.metrics import pairwise

SAME_COST = 1e-6  # of all points' squared distances from the origin


def _seed_centres(points_ND: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii 2007): each centre drawn by its squared distance to those before."""
    number = len(points_ND)
    squares_N = points_ND.square().sum(1)

    def squared_distance(chosen: Tensor) -> Tensor:
        centre_D = points_ND[chosen[0]]
        return torch.addmv(squares_N + centre_D @ centre_D, points_ND, centre_D, alpha=-2).clamp_min(0)

    first = torch.randint(number, (1,), generator=generator, device=points_ND.device)
    chosen = [first]
    distance_N = squared_distance(first)
    for _ in range(clusters - 1):
        total = distance_N.cumsum(0, dtype=torch.float64)
        pick = torch.rand(1, generator=generator, device=points_ND.device, dtype=torch.float64) * total[-1]
        nearest = torch.searchsorted(total, pick).clamp_max(number - 1)
        chosen.append(nearest)
        distance_N = torch.minimum(distance_N, squared_distance(nearest))
    return points_ND[torch.cat(chosen)].clone()


def _lloyd(points_ND: Tensor, centres_KD: Tensor, middle_D: Tensor | None, iterations: int) -> tuple[Tensor, float]:
    """Assignments (N,) and the summed cost after Lloyd's iterations; an empty cluster keeps its centre.

    All around the origin; middle_D: where the centre of the sphere lies, on which the cluster centres stay.
    """
    for _ in range(iterations):
        sums_KD, counts_K1 = pairwise.sums_of_nearest(points_ND, centres_KD)
        means_KD = sums_KD / counts_K1
        if middle_D is not None:
            means_KD = F.normalize(means_KD - middle_D) + middle_D
        before_KD, centres_KD = centres_KD, torch.where(counts_K1 > 0, means_KD, centres_KD)
        if torch.equal(centres_KD, before_KD):
            break
    assigned_N, cost_N = pairwise.nearest(points_ND, centres_KD)
    return assigned_N, float(cost_N.sum(dtype=torch.float64))


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

    Of runs that cost the same but for rounding, which differs between processors and sizes of blocks, the first.

    `spherical` clusters by angle (Dhillon and Modha 2001): points and centres live on the unit sphere.
    """
    placed_ND = pairwise.placed(points_ND, spherical)
    middle_D = -F.normalize(points_ND.float()).mean(0) if spherical else None  # of the sphere, after centring
    generator = torch.Generator(placed_ND.device).manual_seed(seed)
    rounding = SAME_COST * float(placed_ND.square().sum(dtype=torch.float64))
    best_N, lowest = None, math.inf
    for _ in range(restarts):
        assigned_N, cost = _lloyd(placed_ND, _seed_centres(placed_ND, clusters, generator), middle_D, iterations)
        if best_N is None or cost < lowest - rounding:
            best_N, lowest = assigned_N, cost
    assert best_N is not None
    return best_N


def matched(clusters_N: Tensor, labels_N: Tensor, num_classes: int) -> Tensor:
    """The class (N,) of each point's cluster, under the one-to-one matching with the most points right (Hungarian)."""
    joint = counts(labels_N, clusters_N, num_classes)
    classes, clusters = linear_sum_assignment(joint.numpy(), maximize=True)
    class_of = torch.empty(num_classes, dtype=torch.long)
    class_of[torch.from_numpy(clusters)] = torch.from_numpy(classes)
    return class_of.to(clusters_N.device)[clusters_N]


def counts(rows_N: Tensor, columns_N: Tensor, num_classes: int) -> Tensor:
    """How often each pair occurs, (C, C) on the CPU; with labels and matched clusters the confusion matrix."""
    joint = torch.bincount(rows_N * num_classes + columns_N, minlength=num_classes**2)
    return joint.reshape(num_classes, num_classes).cpu()


def matched_accuracy(clusters_N: Tensor, labels_N: Tensor, num_classes: int) -> float:
    """The share of points whose cluster is their class's."""
    return float((matched(clusters_N, labels_N, num_classes) == labels_N).double().mean())


def cluster_accuracy(points_ND: Tensor, labels_N: Tensor, num_classes: int, *, spherical: bool, seed: int = 0) -> float:
    """k-means with as many clusters as classes, matched to them: 1.0 when every class is one cluster of its own."""
    clusters_N = kmeans(points_ND, num_classes, spherical=spherical, seed=seed)
    return matched_accuracy(clusters_N, labels_N, num_classes)


def agreement(clusters_N: Tensor, labels_N: Tensor) -> dict[str, float]:
    """Adjusted and normalised mutual information between clusters and classes; 1 is perfect, 0 is chance (AMI)."""
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    pair = labels_N.cpu().numpy(), clusters_N.cpu().numpy()
    return {"ami": float(adjusted_mutual_info_score(*pair)), "nmi": float(normalized_mutual_info_score(*pair))}


def silhouette(points_ND: Tensor, labels_N: Tensor, *, spherical: bool) -> float:
    """Mean silhouette of the classes (Rousseeuw 1987), −1 to 1: how much nearer points are to their own class.

    On the unit sphere the distance is the chord. Blockwise, but every pair counts: 50,000 points take a minute. NaN
    where there is one class only, or none has two points.
    """
    from sklearn.metrics import silhouette_score

    if not 1 < len(torch.unique(labels_N)) < len(labels_N):
        return math.nan
    return float(silhouette_score(pairwise.placed(points_ND, spherical).cpu().numpy(), labels_N.cpu().numpy()))
