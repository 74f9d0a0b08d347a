"""SphereFace: target logit n·ψ(m·θ_y), a multiplied angle (Liu et al. 2017, arXiv:1704.08063, equation 7).

n is the embedding's own length, as in the paper ("feature"), or a fixed scale, as in SphereFace-R
(arXiv:2109.05565). m is any real number ≥ 1: a small one replaces the paper's annealing of m = 4.
"""

from __future__ import annotations

from torch import Tensor

from lightning_modules.heads.angular import AngularHead, Magnitude, monotone_cosine
from lightning_modules.heads.base import Trunk, at_least


class SphereFace(AngularHead):
    """margin_mult: m ≥ 1, a factor. scale is read only where magnitude is "fixed"."""

    def __init__(
        self,
        trunk: Trunk,
        *,
        margin_mult: float,
        scale: float | None = None,
        magnitude: Magnitude = "feature",
        detach_margin: bool = False,
    ) -> None:
        super().__init__(trunk, scale=scale, magnitude=magnitude, detach_margin=detach_margin)
        self.margin_mult = at_least("margin_mult", margin_mult, 1)

    def target_cosine(self, angle_B: Tensor) -> Tensor:
        return monotone_cosine((1 + self.margin_share * (self.margin_mult - 1)) * angle_B)
