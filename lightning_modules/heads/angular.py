"""The base of the margin heads: class centres on a sphere and a scaled cross-entropy.

Notation: x an embedding, W_j the centre of class j, θ_j the angle between them, y the label, s the scale.
Every angular head is cross-entropy over logits s·cos θ_j in which only the target's is changed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.heads.base import EmbeddingModule, Trunk, at_least
from lightning_modules.heads.class_centre_softmax import TargetLogits, target_logits

Magnitude = Literal["feature", "fixed"]
MAGNITUDES = get_args(Magnitude)
EXACT_BELOW = 80.0  # ln(1 + e^x) is x to the last digit of any float long before, and e^80 is finite in all of them


def monotone_cosine(angle: Tensor) -> Tensor:
    """ψ(φ) = (−1)^k·cos φ − 2k with k = ⌊φ/π⌋: cos, continued beyond π so that it keeps falling without a jump.

    From A-Softmax (SphereFace, arXiv:1704.08063, section 3.2). Continuous with its first derivative; angle in rad.
    (−1)^k·cos φ is computed as cos(φ − kπ).
    """
    turns = torch.floor(angle.detach() / math.pi)
    return torch.cos(angle.sub(turns, alpha=math.pi)).sub(turns, alpha=2)


class AngularHead(EmbeddingModule):
    """Cross-entropy over n·cos θ_j, the target's replaced by n·target_cosine(θ_y).

    magnitude: what n is: "fixed", the scale s > 0, as in ArcFace and CosFace, or "feature", the embedding's own length,
    as in SphereFace. In few dimensions "feature" trains better: an image may go to its class through the middle, where
    "fixed" leaves it only the way around the sphere, past the other classes. detach_margin: let the gradient of the
    target logit ignore the margin's slope, as large-scale trainers do (characteristic gradient detachment,
    SphereFace-R, arXiv:2109.05565).
    """

    spherical = True
    by_angle: ClassVar[bool] = True  # whether the target's logit is computed from θ_y, as target_cosine says

    def __init__(
        self,
        trunk: Trunk,
        *,
        scale: float | None = None,
        magnitude: Magnitude = "fixed",
        detach_margin: bool = False,
    ) -> None:
        super().__init__(trunk)
        if magnitude not in MAGNITUDES:
            raise ValueError(f'magnitude must be "feature" or "fixed", but got magnitude={magnitude!r}')
        if magnitude == "fixed" and scale is None:
            raise ValueError('magnitude "fixed" needs a scale, but got scale=None')
        self.scale = at_least("scale", 1.0 if scale is None else scale, 1e-3)
        self.by_feature = magnitude == "feature"
        self.detach_margin = detach_margin
        self.centres = nn.Parameter(torch.randn(trunk.num_classes, trunk.embedding_dim))

    @abstractmethod
    def target_cosine(self, angle_B: Tensor) -> Tensor:
        """What stands in place of cos θ_y, given θ_y in rad; it falls as the angle grows."""

    def replaced(self, found: TargetLogits) -> Tensor:
        """The same of what was found; a head that needs no angle does without it."""
        return self.target_cosine(found.angle_B)

    def magnitude(self, embeddings_BD: Tensor) -> Tensor | float:
        """n: what the cosines of each embedding are multiplied by, a number or (B, 1)."""
        return torch.linalg.vector_norm(embeddings_BD, dim=1, keepdim=True) if self.by_feature else self.scale

    def target_and_others(self, embeddings_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """The target's logit (B,) and ln Σ e^logit (B,) of the others, in float32 at least, whatever the body's."""
        embeddings_BD = embeddings_BD.to(torch.promote_types(embeddings_BD.dtype, torch.float32))
        magnitude = self.magnitude(embeddings_BD)
        found = target_logits(embeddings_BD, magnitude, self.centres, labels_B, with_angle=self.by_angle)
        target_B = self.replaced(found)
        if self.detach_margin:
            target_B = found.cosine_B + (target_B - found.cosine_B).detach()
        return (magnitude * target_B[:, None])[:, 0], found.others_B

    def loss(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        with torch.autocast(embeddings_BD.device.type, enabled=False):
            target_B, others_B = self.target_and_others(embeddings_BD, labels_B)
            return F.softplus(others_B - target_B, threshold=EXACT_BELOW).mean()
