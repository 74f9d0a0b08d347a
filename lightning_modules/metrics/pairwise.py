"""Distances in blocks, so that 100,000 points in 512 dimensions need megabytes, not the 40 GB of all their pairs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 2**24  # distances at a time: 64 MiB in float32
FEW_DIMENSIONS = 16  # up to here differences are as fast as a matrix product, and exact for points that lie close


def rows(number: int, columns: int) -> Iterator[slice]:
    """Slices of `number` rows, so that a block with so many columns holds about BLOCK elements."""
    step = max(1, BLOCK // max(1, columns))
    return (slice(start, min(start + step, number)) for start in range(0, number, step))


def placed(points_ND: Tensor, spherical: bool) -> Tensor:
    """Points whose distances are those of their geometry: on the sphere chords, which are in the order of angles.

    Centred, which changes no distance and leaves more digits to the small ones.
    """
    points_ND = F.normalize(points_ND.float()) if spherical else points_ND.float()
    return points_ND - points_ND.mean(0)


def nearest(points_ND: Tensor, centres_KD: Tensor) -> tuple[Tensor, Tensor]:
    """Of each point the nearest centre (N,) and |x − c|² − |x|² (N,), which is the angle's order for unit vectors."""
    which, cost = [], []
    squares_K = centres_KD.square().sum(1)
    for block in rows(len(points_ND), len(centres_KD)):
        # |x - c|² without |x|², which no choice of centre changes
        least, index = torch.addmm(squares_K, points_ND[block], centres_KD.T, alpha=-2).min(1)
        which.append(index)
        cost.append(least)
    return torch.cat(which), torch.cat(cost)


def sums_of_nearest(points_ND: Tensor, centres_KD: Tensor) -> tuple[Tensor, Tensor]:
    """Sums (K, D) and numbers (K, 1) of the points that are nearest to each centre; of several nearest ones, to each.

    By sums and products alone: looking each point's centre up, and adding point after point, takes five times as long.
    """
    squares_K1 = centres_KD.square().sum(1, keepdim=True)
    sums_KD, counts_K1 = torch.zeros_like(centres_KD), torch.zeros_like(squares_K1)
    for block in rows(len(points_ND), len(centres_KD)):
        cost_KB = torch.addmm(squares_K1, centres_KD, points_ND[block].T, alpha=-2)
        is_nearest_KB = torch.sub(cost_KB.amin(0), cost_KB, out=cost_KB).sign_().add_(1)  # 0 or −1, and then 1 or 0
        sums_KD.addmm_(is_nearest_KB, points_ND[block])
        counts_K1 += is_nearest_KB.sum(1, keepdim=True)
    return sums_KD, counts_K1


def neighbours(points_ND: Tensor, number: int) -> Iterator[tuple[slice, Tensor]]:
    """For block after block of points the indices (B, number) of their nearest others, the nearest first."""
    mode = "donot_use_mm_for_euclid_dist" if points_ND.shape[1] <= FEW_DIMENSIONS else "use_mm_for_euclid_dist"
    for block in rows(len(points_ND), len(points_ND)):
        distance_BN = torch.cdist(points_ND[block], points_ND, compute_mode=mode)
        own = torch.arange(block.start, block.stop, device=points_ND.device)
        distance_BN[own - block.start, own] = torch.inf
        yield block, distance_BN.topk(number, largest=False).indices
