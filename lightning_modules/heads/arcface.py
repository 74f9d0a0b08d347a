"""ArcFace: target logit s·ψ(θ_y + m), an additive angle (Deng et al. 2019, arXiv:1801.07698, equation 3)."""

from __future__ import annotations

import math

from torch import Tensor

from lightning_modules.heads.angular import AngularHead, Magnitude, monotone_cosine
from lightning_modules.heads.base import Trunk, at_least


class ArcFace(AngularHead):
    """margin_rad: m in rad, 0 ≤ m < π; the paper's 0.5 is for thousands of classes in 512 dimensions."""

    def __init__(
        self,
        trunk: Trunk,
        *,
        margin_rad: float,
        scale: float | None = None,
        magnitude: Magnitude = "fixed",
        detach_margin: bool = False,
    ) -> None:
        super().__init__(trunk, scale=scale, magnitude=magnitude, detach_margin=detach_margin)
        self.margin_rad = at_least("margin_rad", margin_rad, 0, math.pi)

    def target_cosine(self, angle_B: Tensor) -> Tensor:
        return monotone_cosine(angle_B + self.margin_share * self.margin_rad)
