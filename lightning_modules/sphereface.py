"""SphereFace: target logit n·ψ(m·θ_y), a multiplied angle (Liu et al. 2017, arXiv:1704.08063, equation 7).

n is the embedding's own length, as in the paper ("feature"), or a fixed scale, as in SphereFace-R
(arXiv:2109.05565). m is any real number ≥ 1: a small one replaces the paper's annealing of m = 4.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lightning_modules.angular import AngularHead, monotone_cosine
from lightning_modules.embedding import Trunk, at_least


class SphereFace(AngularHead):
    """margin_mult: m ≥ 1, a factor. scale is read only where magnitude is "fixed"."""

    def __init__(
        self,
        trunk: Trunk,
        *,
        margin_mult: float,
        magnitude: Literal["feature", "fixed"] = "feature",
        scale: float | None = None,
        detach_margin: bool = False,
    ) -> None:
        if magnitude not in ("feature", "fixed"):
            raise ValueError(f'magnitude must be "feature" or "fixed", but got magnitude={magnitude!r}')
        if magnitude == "fixed" and scale is None:
            raise ValueError('magnitude "fixed" needs a scale, but got scale=None')
        super().__init__(trunk, scale=1.0 if scale is None else scale, detach_margin=detach_margin)
        self.margin_mult = at_least("margin_mult", margin_mult, 1)
        self.by_feature = magnitude == "feature"

    def magnitude(self, embeddings_BD: Tensor) -> Tensor | float:
        return torch.linalg.vector_norm(embeddings_BD, dim=1, keepdim=True) if self.by_feature else self.scale

    def target_cosine(self, angle_B: Tensor) -> Tensor:
        return monotone_cosine((1 + self.margin_share * (self.margin_mult - 1)) * angle_B)
