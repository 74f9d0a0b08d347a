"""Retrieval: what the nearest other points of a point say of its class. Exact, every pair counts."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_modules.metrics import pairwise

VOTERS = 10


def retrieval(points_ND: Tensor, labels_N: Tensor, *, spherical: bool) -> dict[str, float]:
    """Each point asks all others, the nearest first.

    recall_at_1: share of points whose nearest other is of their class.
    knn_accuracy: share of points whose 10 nearest others vote for their class; a draw goes to the smaller number.
    map_at_r: mean average precision at R (Musgrave et al. 2020, arXiv:2003.08505), R being how many others a class
    has; points that are alone in their class do not count.
    """
    points_ND = pairwise.placed(points_ND, spherical)
    others_N = torch.bincount(labels_N)[labels_N] - 1
    asked = min(len(points_ND) - 1, max(VOTERS, int(others_N.max())))
    first = voted = precise = 0.0
    rank_K = torch.arange(1, asked + 1, device=points_ND.device)
    for block, nearest_BK in pairwise.neighbours(points_ND, asked):
        own_B1, found_BK = labels_N[block, None], labels_N[nearest_BK]
        right_BK = found_BK == own_B1
        first += float(right_BK[:, 0].sum())
        voted += float((found_BK[:, :VOTERS].mode(1).values == own_B1[:, 0]).sum())
        counted_BK = right_BK & (rank_K <= others_N[block, None])
        precision_BK = counted_BK.cumsum(1) / rank_K
        precise += float(((precision_BK * counted_BK).sum(1) / others_N[block].clamp_min(1)).sum(dtype=torch.float64))
    number = len(points_ND)
    return {
        "recall_at_1": first / number,
        "knn_accuracy": voted / number,
        "map_at_r": precise / max(1, int((others_N > 0).sum())),
    }
