"""How the classes stand to each other by angle: their means, their spread, and the room between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.special import betainc
from torch import Tensor

from lightning_modules.metrics import pairwise

ROUNDING = 1e-5  # rad, or share of the points' length: below it differences are float32's rounding, not the data
TINY = 1e-30
SPREAD = 0.95  # the quantile of the angles to the own mean that stands for a class's size


def class_means(points_ND: Tensor, labels_N: Tensor, num_classes: int) -> Tensor:
    """Means (C, D) of each class; NaN where a class has no point."""
    sums_CD = points_ND.new_zeros(num_classes, points_ND.shape[1]).index_add_(0, labels_N, points_ND)
    return sums_CD / torch.bincount(labels_N, minlength=num_classes)[:, None]


def angle_between(units_BD: Tensor, others_BD: Tensor) -> Tensor:
    """The angle (B,) between pairs of unit vectors, in rad, with a bounded gradient everywhere.

    2·atan2(‖a − b‖, ‖a + b‖) (Kahan) instead of acos, whose slope is infinite at ±1.
    """
    apart = torch.linalg.vector_norm(units_BD - others_BD, dim=1)
    along = torch.linalg.vector_norm(units_BD + others_BD, dim=1)
    return 2 * torch.atan2(apart, along)


def between(points_ND: Tensor, others_ND: Tensor) -> Tensor:
    """The angle (N,) between pairs of vectors of any length, in rad."""
    return angle_between(F.normalize(points_ND), F.normalize(others_ND))


def nearest_directions(centres_CD: Tensor) -> tuple[Tensor, Tensor]:
    """Of each centre the other one that is nearest by angle (C,), and that angle (C,) in rad.

    A centre that is NaN (of a class without points) is nobody's neighbour, and its own angle is NaN.
    """
    units_CD = F.normalize(centres_CD)
    index = []
    for block in pairwise.rows(len(units_CD), len(units_CD)):
        cosine_BC = (units_CD[block] @ units_CD.T).nan_to_num(nan=-2.0)
        own = torch.arange(block.start, block.stop, device=units_CD.device)
        cosine_BC[own - block.start, own] = -2.0
        index.append(cosine_BC.argmax(1))
    nearest_C = torch.cat(index)
    return nearest_C, angle_between(units_CD, units_CD[nearest_C])


def quantile_by_class(values_N: Tensor, labels_N: Tensor, num_classes: int, share: float) -> Tensor:
    """The quantile (C,) of each class's values, linear between neighbours as numpy's; NaN for a class without any."""
    order_N = values_N.argsort()
    order_N = order_N[labels_N[order_N].argsort(stable=True)]
    counts_C = torch.bincount(labels_N, minlength=num_classes)
    first_C = counts_C.cumsum(0) - counts_C
    position_C = share * (counts_C - 1).clamp_min(0).double()
    low_C = position_C.floor().long()
    high_C = torch.minimum(low_C + 1, (counts_C - 1).clamp_min(0))
    sorted_N = values_N[order_N].double()
    last = len(values_N) - 1
    below_C, above_C = (sorted_N[(first_C + offset).clamp_max(last)] for offset in (low_C, high_C))
    return (below_C + (position_C - low_C) * (above_C - below_C)).masked_fill(counts_C == 0, torch.nan)


def cap_share(angle_C: Tensor, dimensions: int) -> Tensor:
    """The share of the unit sphere's area that lies within an angle (rad) of a direction (Li 2011, eq. 1)."""
    angle = angle_C.double().cpu()
    half = torch.as_tensor(betainc((dimensions - 1) / 2, 0.5, angle.sin().square().numpy())) / 2
    return torch.where(angle <= math.pi / 2, half, 1 - half)


@dataclass(frozen=True)
class ClassAngles:
    """Each class by angle: its mean direction's nearest other, how far that is, and its own spread; all (C,), rad."""

    nearest_C: Tensor
    apart_rad_C: Tensor
    p95_rad_C: Tensor


def class_angles(points_ND: Tensor, labels_N: Tensor, num_classes: int, *, spherical: bool) -> ClassAngles:
    """Angles around the class means (of unit vectors where `spherical`)."""
    points_ND = F.normalize(points_ND.float()) if spherical else points_ND.float()
    means_CD = class_means(points_ND, labels_N, num_classes)
    nearest_C, apart_C = nearest_directions(means_CD)
    spread_C = quantile_by_class(between(points_ND, means_CD[labels_N]), labels_N, num_classes, SPREAD)
    return ClassAngles(nearest_C, apart_C, spread_C)


def class_health(points_ND: Tensor, labels_N: Tensor, num_classes: int, *, spherical: bool) -> dict[str, float]:
    """How the classes stand to each other, around their own means (unit vectors when `spherical`).

    nearest_mean_accuracy: share of points nearest to the mean of their own class.
    target_angle_p50_rad, target_angle_p95_rad: quantiles of the angle between a point and its class's mean direction.
    min_mean_angle_rad: the smallest angle between the mean directions of two classes.
    separation_ratio: min_mean_angle_rad over target_angle_p95_rad; above 2 the classes' caps do not touch.
    distance_ratio: the same by distance: the smallest between two class means over the 95% quantile of the distance
    between a point and its class's mean.
    sphere_share: the area of the classes' caps (each with 95% of its points) over the sphere's; above 1 they overlap.
    collapsed_pairs_share: share of class pairs whose means lie closer than the mean distance of points to their own
    mean; 0 is sound, 1 is a collapsed embedding.
    """
    angles = class_angles(points_ND, labels_N, num_classes, spherical=spherical)
    points_ND = F.normalize(points_ND.float()) if spherical else points_ND.float()
    means_CD = class_means(points_ND, labels_N, num_classes)
    present = (~means_CD.isnan().any(1)).nonzero()[:, 0]
    middle_D = points_ND.mean(0)  # leaves more digits to differences far from the origin
    nearest_N = present[pairwise.nearest(points_ND - middle_D, means_CD[present] - middle_D)[0]]
    own_ND = means_CD[labels_N]
    target_N = between(points_ND, own_ND)
    median, high = torch.quantile(target_N, torch.tensor([0.5, SPREAD], device=target_N.device)).tolist()
    spread_N = (points_ND - own_ND).norm(dim=1)
    apart = torch.pdist(means_CD[present])
    several = len(present) > 1
    smallest = float(angles.apart_rad_C[present].min()) if several else math.nan
    closest = float(apart.min()) if several else math.nan
    noise = ROUNDING * float(points_ND.norm(dim=1).mean())
    return {
        "nearest_mean_accuracy": float((nearest_N == labels_N).float().mean()),
        "target_angle_p50_rad": median,
        "target_angle_p95_rad": high,
        "min_mean_angle_rad": smallest,
        "separation_ratio": smallest / max(high, ROUNDING),
        "distance_ratio": closest / max(float(torch.quantile(spread_N, SPREAD)), noise, TINY),
        "sphere_share": float(cap_share(angles.p95_rad_C[present], points_ND.shape[1]).sum()),
        "collapsed_pairs_share": float((apart <= spread_N.mean() + noise).float().mean()),
    }
