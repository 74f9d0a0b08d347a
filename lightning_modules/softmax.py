"""Softmax classification: logits ⟨x, W_j⟩ + b_j. The baseline; classes come out as rays."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.embedding import EmbeddingModule, Trunk


class Softmax(EmbeddingModule):
    """Plain cross-entropy over a linear layer on the embedding; nothing to tune but the learning rates."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__(trunk)
        self.classifier = nn.Linear(trunk.embedding_dim, trunk.num_classes)

    def loss(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        with torch.autocast(embeddings_BD.device.type, enabled=False):
            embeddings_BD = embeddings_BD.to(self.classifier.weight.dtype)
            return F.cross_entropy(self.classifier(embeddings_BD), labels_B)
