"""Triplet loss: max(0, d(a, p) − d(a, n) + m) over triplets mined in class-balanced batches.

FaceNet (Schroff et al. 2015, arXiv:1503.03832) with semi-hard negatives; In Defense of the Triplet Loss
(Hermans et al. 2017, arXiv:1703.07737) with batch-hard, batch-all and the soft margin log(1 + e^(d_ap − d_an)).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.heads.base import EmbeddingModule, Trunk, at_least

MINING = ("semi_hard", "batch_hard", "batch_all")


class Triplet(EmbeddingModule):
    """margin_dist: m ≥ 0, in units of distance (at most 2 where normalised).

    mining: "semi_hard" keeps the triplets with d_ap < d_an < d_ap + m; "batch_hard" pairs each anchor's farthest
    positive with its nearest negative; "batch_all" takes every triplet. The loss is the mean over the triplets whose
    loss is not zero (over all of them with the soft margin). normalise: measure on the unit sphere. Under a margin
    warm-up semi_hard starts without a triplet: its window opens as the margin grows.
    """

    images_per_class: ClassVar[int | None] = 8

    def __init__(
        self,
        trunk: Trunk,
        *,
        margin_dist: float,
        mining: Literal["semi_hard", "batch_hard", "batch_all"] = "semi_hard",
        normalise: bool = False,
        soft_margin: bool = False,
    ) -> None:
        super().__init__(trunk)
        if mining not in MINING:
            raise ValueError(f"mining must be one of {', '.join(MINING)}, but got mining={mining!r}")
        self.margin_dist = at_least("margin_dist", margin_dist, 0)
        self.mining, self.normalise, self.soft_margin = mining, normalise, soft_margin
        self.spherical = normalise

    def loss(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        with torch.autocast(embeddings_BD.device.type, enabled=False):
            points_BD = embeddings_BD.to(torch.promote_types(embeddings_BD.dtype, torch.float32))
            return self._mined_loss(F.normalize(points_BD) if self.normalise else points_BD, labels_B)

    def _mined_loss(self, points_BD: Tensor, labels_B: Tensor) -> Tensor:
        margin_dist = self.margin_share * self.margin_dist
        distance_BB = self._distances(points_BD)
        same_BB = labels_B[:, None] == labels_B[None, :]
        positive_BB = same_BB & ~torch.eye(len(labels_B), dtype=torch.bool, device=labels_B.device)
        if self.mining == "batch_hard":
            chosen = positive_BB.any(1) & ~same_BB.all(1)
            farthest_B = distance_BB.masked_fill(~positive_BB, -torch.inf).amax(1)
            nearest_B = distance_BB.masked_fill(same_BB, torch.inf).amin(1)
            gaps = torch.where(chosen, farthest_B - nearest_B, 0.0)
        else:
            gaps, chosen = self._triplets(distance_BB, same_BB, positive_BB)
            if self.mining == "semi_hard":
                chosen = chosen & (gaps < 0) & (gaps > -margin_dist)
        losses = F.softplus(gaps) if self.soft_margin else F.relu(gaps + margin_dist)
        counted = chosen if self.soft_margin else chosen & (losses > 0)
        return (losses * chosen).sum() / counted.sum().clamp_min(1)

    def _distances(self, points_BD: Tensor) -> Tensor:
        """Distances (B, B) by differences, not a matrix product: exact for close points.

        Their slope is 0, not infinite, where two points coincide. XLA has no backward pass of cdist.
        """
        if not self.static_shapes:
            return torch.cdist(points_BD, points_BD, compute_mode="donot_use_mm_for_euclid_dist")
        squared_BB = (points_BD[:, None] - points_BD[None, :]).square().sum(2)
        apart_BB = squared_BB > 0
        return torch.where(apart_BB, torch.where(apart_BB, squared_BB, 1.0).sqrt(), 0.0)

    def _triplets(self, distance_BB: Tensor, same_BB: Tensor, positive_BB: Tensor) -> tuple[Tensor, Tensor]:
        """d(a, p) − d(a, n), and whether it is of a triplet: (pairs, B), or (B, B, B) where shapes must be static."""
        if self.static_shapes:
            gaps_BBB = distance_BB[:, :, None] - distance_BB[:, None, :]
            return gaps_BBB, positive_BB[:, :, None] & ~same_BB[:, None, :]
        anchors, positives = positive_BB.nonzero(as_tuple=True)
        own = distance_BB.flatten().index_select(0, anchors * len(distance_BB) + positives)
        return own[:, None] - distance_BB.index_select(0, anchors), ~same_BB.index_select(0, anchors)
