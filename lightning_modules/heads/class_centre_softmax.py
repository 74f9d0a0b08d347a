"""Embeddings against class centres: the one large product of every angular head, in little memory.

With cos θ_j the cosine to the centre of class j, y the label and n the factor of the cosines, cross-entropy over the
logits n·cos θ_j with the target's, t, in the place of n·cos θ_y is ln(1 + e^(r − t)), r = ln Σ_{j≠y} e^(n·cos θ_j).
So a head needs cos θ_y (or θ_y) and r of each embedding, and only those; (B, C) is held once, and no centre is copied.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORTEST = 1e-12  # a shorter vector is taken for one of this length
BLOCK = 1024  # vectors, whose products stay in a core's cache


class TargetLogits(NamedTuple):
    """Of embeddings against centres: cos θ_y (B,), r (B,), and θ_y (B,) in rad where that is asked for, else (0,)."""

    cosine_B: Tensor
    others_B: Tensor
    angle_B: Tensor


class _CentreSoftmax(torch.autograd.Function):
    """`TargetLogits` of embeddings (B, D), factors n (B, 1) or (1, 1), centres (C, D), labels (B,)."""

    @staticmethod
    def forward(
        ctx: Any, points_BD: Tensor, factor_B1: Tensor, centres_CD: Tensor, labels_B: Tensor, with_angle: bool
    ) -> Any:
        own_B1 = labels_B[:, None]
        shrink_B, shrink_C = _inverse_length(points_BD), _inverse_length(centres_CD)
        own_shrink_B = shrink_C[labels_B]
        cosine_BC = (points_BD @ centres_CD.T).mul_(shrink_B[:, None]).mul_(shrink_C)
        cosine_B = cosine_BC.gather(1, own_B1)[:, 0]
        logits_BC = cosine_BC.mul_(factor_B1).scatter_(1, own_B1, -torch.inf)
        highest_B1 = logits_BC.amax(1, keepdim=True)
        shares_BC = logits_BC.sub_(highest_B1).exp_()
        sum_B1 = shares_BC.sum(1, keepdim=True)
        shares_BC.mul_(shrink_C)
        angle_B = cosine_B.new_empty(0)
        if with_angle:
            own_BD = centres_CD.index_select(0, labels_B)
            angle_B = _exact_angle(points_BD, shrink_B, own_BD, own_shrink_B, cosine_B < 0)
        given = points_BD, factor_B1, centres_CD, labels_B
        ctx.save_for_backward(*given, shares_BC, sum_B1, shrink_B, shrink_C, own_shrink_B, cosine_B, angle_B)
        return cosine_B, (highest_B1 + sum_B1.log())[:, 0], angle_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cosine_slope_B: Tensor, others_slope_B: Tensor, angle_slope_B: Tensor) -> Any:
        points_BD, factor_B1, centres_CD, labels_B, shares_BC, sum_B1, *found = ctx.saved_tensors
        shrink_B, shrink_C, own_shrink_B, cosine_B, angle_B = found
        if len(angle_B):  # dθ = −d cos θ / sin θ, bounded where that is infinite
            steepest = torch.finfo(angle_B.dtype).eps ** 0.5
            cosine_slope_B = cosine_slope_B - angle_slope_B / angle_B.sin().clamp_min_(steepest)
        others_B1 = others_slope_B[:, None] / sum_B1 * shrink_B[:, None]
        own_B1 = (cosine_slope_B * own_shrink_B * shrink_B)[:, None]
        slope_BD = shares_BC @ centres_CD
        factor_slope_B1 = _along(slope_BD, points_BD)[:, None] * others_B1
        others_B1 = others_B1 * factor_B1
        along_B1 = factor_slope_B1 * factor_B1 + (cosine_slope_B * cosine_B)[:, None]
        slope_BD.mul_(others_B1).addcmul_(centres_CD.index_select(0, labels_B), own_B1)
        slope_BD.addcmul_(points_BD, along_B1 * shrink_B[:, None].square(), value=-1)  # their length changes no cosine

        centres_slope_CD = shares_BC.T @ (points_BD * others_B1)
        centres_slope_CD.index_add_(0, labels_B, points_BD * own_B1)
        along_C1 = (_along(centres_slope_CD, centres_CD) * shrink_C.square())[:, None]
        return slope_BD, factor_slope_B1, centres_slope_CD.addcmul_(centres_CD, along_C1, value=-1), None, None


def _inverse_length(vectors_ND: Tensor) -> Tensor:
    lengths_N: Tensor = torch.linalg.vector_norm(vectors_ND, dim=1)
    return lengths_N.clamp_min_(SHORTEST).reciprocal_()


def _along(vectors_ND: Tensor, others_ND: Tensor) -> Tensor:
    """The scalar products (N,) of pairs; a block's products at a time are held."""
    blocks = zip(torch.split(vectors_ND, BLOCK), torch.split(others_ND, BLOCK), strict=True)
    return torch.cat([torch.linalg.vecdot(*pair) for pair in blocks])


def _exact_angle(
    points_BD: Tensor, shrink_B: Tensor, own_BD: Tensor, own_shrink_B: Tensor, opposite_B: Tensor
) -> Tensor:
    """2·asin(‖a − b‖/2) of the unit vectors, or π − 2·asin(‖a + b‖/2) where they point apart.

    Near 0 and π a cosine has too few digits for it. Writes over own_BD.
    """
    apart_BD = own_BD.mul_(torch.where(opposite_B, own_shrink_B, -own_shrink_B)[:, None])
    apart_BD.addcmul_(points_BD, shrink_B[:, None])
    nearest_B = torch.linalg.vector_norm(apart_BD, dim=1).div_(2).asin_().mul_(2)
    return torch.where(opposite_B, math.pi - nearest_B, nearest_B)


def target_logits(
    points_BD: Tensor, factor: Tensor | float, centres_CD: Tensor, labels_B: Tensor, *, with_angle: bool
) -> TargetLogits:
    """cos θ_y, r = ln Σ_{j≠y} e^(n·cos θ_j) and θ_y of embeddings; factor: n, a number or (B, 1).

    θ_y is exact, also near 0 and π; its slope is that of the arc cosine, bounded where that is infinite.
    """
    if not isinstance(factor, Tensor):
        factor = points_BD.new_full((1, 1), factor)
    found = _CentreSoftmax.apply(points_BD, factor, centres_CD, labels_B, with_angle)  # type: ignore[no-untyped-call]
    return TargetLogits(*found)
