"""Triplet loss: max(0, d(a, p) − d(a, n) + m) over triplets mined in class-balanced batches.

FaceNet (Schroff et al. 2015, arXiv:1503.03832) with semi-hard negatives; In Defense of the Triplet Loss
(Hermans et al. 2017, arXiv:1703.07737) with batch-hard, batch-all and the soft margin log(1 + e^(d_ap − d_an)).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.embedding import EmbeddingModule, Trunk, at_least

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
        # differences, not a matrix product: exact for close points, and no infinite slope where two coincide
        distance_BB = torch.cdist(points_BD, points_BD, compute_mode="donot_use_mm_for_euclid_dist")
        margin_dist = self.margin_share * self.margin_dist
        same_BB = labels_B[:, None] == labels_B[None, :]
        positive_BB = same_BB & ~torch.eye(len(labels_B), dtype=torch.bool, device=labels_B.device)
        if self.mining == "batch_hard":
            farthest_B = distance_BB.masked_fill(~positive_BB, -torch.inf).amax(1)
            nearest_B = distance_BB.masked_fill(same_BB, torch.inf).amin(1)
            gaps = (farthest_B - nearest_B)[positive_BB.any(1) & ~same_BB.all(1)]
        else:
            anchors, positives = positive_BB.nonzero(as_tuple=True)
            gap_PB = distance_BB[anchors, positives][:, None] - distance_BB[anchors]
            chosen_PB = ~same_BB[anchors]
            if self.mining == "semi_hard":
                chosen_PB &= (gap_PB < 0) & (gap_PB > -margin_dist)
            gaps = gap_PB[chosen_PB]
        if not len(gaps):
            return distance_BB.sum() * 0.0
        if self.soft_margin:
            return F.softplus(gaps).mean()
        losses = F.relu(gaps + margin_dist)
        return losses.sum() / (losses > 0).sum().clamp_min(1)
