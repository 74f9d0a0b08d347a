"""Softmax classification: logits ⟨x, W_j⟩ + b_j. The baseline; classes come out as rays."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.heads.base import EmbeddingModule, Trunk, at_least


class Softmax(EmbeddingModule):
    """Plain cross-entropy over a linear layer on the embedding.

    label_smoothing: the share of the target's probability that is spread over all classes, 0 ≤ ε < 1. It stops the
    logits from growing without end, and so makes tight clusters of the rays (Müller et al. 2019, arXiv:1906.02629).
    """

    def __init__(self, trunk: Trunk, *, label_smoothing: float = 0.0) -> None:
        super().__init__(trunk)
        self.label_smoothing = at_least("label_smoothing", label_smoothing, 0, 1)
        self.classifier = nn.Linear(trunk.embedding_dim, trunk.num_classes)

    def loss(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        with torch.autocast(embeddings_BD.device.type, enabled=False):
            embeddings_BD = embeddings_BD.to(self.classifier.weight.dtype)
            return F.cross_entropy(self.classifier(embeddings_BD), labels_B, label_smoothing=self.label_smoothing)
