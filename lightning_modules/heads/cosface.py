"""CosFace: target logit s·(cos θ_y − m), an additive cosine (Wang et al. 2018, arXiv:1801.09414, equation 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_modules.heads.angular import AngularHead, Magnitude
from lightning_modules.heads.base import Trunk, at_least
from lightning_modules.heads.class_centre_softmax import TargetLogits


class CosFace(AngularHead):
    """margin_cos: m as a cosine, 0 ≤ m < 2; the paper's 0.35 is for thousands of classes in 512 dimensions."""

    by_angle = False

    def __init__(
        self,
        trunk: Trunk,
        *,
        margin_cos: float,
        scale: float | None = None,
        magnitude: Magnitude = "fixed",
        detach_margin: bool = False,
    ) -> None:
        super().__init__(trunk, scale=scale, magnitude=magnitude, detach_margin=detach_margin)
        self.margin_cos = at_least("margin_cos", margin_cos, 0, 2)

    def target_cosine(self, angle_B: Tensor) -> Tensor:
        return torch.cos(angle_B) - self.margin_share * self.margin_cos

    def replaced(self, found: TargetLogits) -> Tensor:
        return found.cosine_B - self.margin_share * self.margin_cos
