"""Hybrid: SphereFace near the class centre, ArcFace far away, without a seam.

Target logit s·ψ(g(θ_y)) with g(θ) = θ + m·tanh(θ/θ*). Near the centre g ≈ (1 + m/θ*)·θ, a multiplied angle; far
away g ≈ θ + m, an added one; they cross over at θ*. As θ* → 0 the head becomes ArcFace with m, and as θ* → ∞ with
m = (m1 − 1)·θ* it becomes SphereFace with m1. Not found published; that it helps is a hypothesis for a study to test.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_modules.heads.angular import AngularHead, Magnitude, monotone_cosine
from lightning_modules.heads.base import Trunk, at_least


class Hybrid(AngularHead):
    """margin_rad: m in rad, so that g(π) < 2π: below π at any θ*. crossover_rad: θ* in rad, > 0."""

    def __init__(
        self,
        trunk: Trunk,
        *,
        margin_rad: float,
        crossover_rad: float,
        scale: float | None = None,
        magnitude: Magnitude = "fixed",
        detach_margin: bool = False,
    ) -> None:
        super().__init__(trunk, scale=scale, magnitude=magnitude, detach_margin=detach_margin)
        self.crossover_rad = at_least("crossover_rad", crossover_rad, 1e-6)
        largest = math.pi / math.tanh(math.pi / crossover_rad)  # beyond it g(π) ≥ 2π
        self.margin_rad = at_least("margin_rad", margin_rad, 0, largest)

    def target_cosine(self, angle_B: Tensor) -> Tensor:
        margin_rad = self.margin_share * self.margin_rad
        return monotone_cosine(angle_B + margin_rad * torch.tanh(angle_B / self.crossover_rad))
