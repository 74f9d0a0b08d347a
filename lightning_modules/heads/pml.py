"""Any loss of pytorch-metric-learning as a head: `head_class("pml.ProxyAnchorLoss")`.

That package (Musgrave, Belongie, Lim 2020, arXiv:2008.09164) is an extra; it is imported when such a head is asked for.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from lightning_modules.heads.base import EmbeddingModule, Trunk

PREFIX = "pml."
EXTRA = "pip install 'embedding-head-orchestrator[metric-learning]'"
IMAGES_PER_CLASS = 8  # where a loss compares images with each other, as in our triplet
PAIRS_BY_PAIRS = ("LiftedStructureLoss", "NTXentLoss", "TupletMarginLoss")  # every positive pair × every negative one


class MetricLearningLoss(EmbeddingModule):
    """A loss of pytorch-metric-learning on embeddings and labels, without a miner; its settings are its constructor's.

    What the loss learns itself (proxies, class centres) is `self.metric`'s: it trains with head_lr and is saved.
    """

    @property
    @abstractmethod
    def loss_name(self) -> str:
        """The name of its class in that package."""

    def __init__(self, trunk: Trunk, **settings: Any) -> None:
        super().__init__(trunk)
        known = {
            "num_classes": trunk.num_classes,
            "embedding_size": trunk.embedding_dim,
            "descriptors_dim": trunk.embedding_dim,
        }
        loss_class = _loss_class(self.loss_name)
        supplied = {name: known[name] for name in _required(loss_class) if name in known}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # SphereFaceLoss gives scipy a tensor for a number
            self.metric = loss_class(**supplied, **settings)
        self.spherical = _is_angular(self.metric.distance)

    def loss(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        with torch.autocast(embeddings_BD.device.type, enabled=False):
            points_BD = embeddings_BD.to(torch.promote_types(embeddings_BD.dtype, torch.float32))
            if self.loss_name in PAIRS_BY_PAIRS:
                value = self._class_by_class(points_BD, labels_B)
            else:
                value = self.metric(points_BD, labels_B)
            return value + 0.0 * points_BD.sum()  # some losses are a bare 0 where nothing is left to do

    def _class_by_class(self, points_BD: Tensor, labels_B: Tensor) -> Tensor:
        """The same mean over the positive pairs, those of one class at a time: with C classes in 1/C of the memory.

        A pair's loss reads the negatives of its own two images only, so that the other classes' may be left out.
        """
        same_BB = labels_B[:, None] == labels_B[None, :]
        positive_BB = same_BB & ~torch.eye(len(labels_B), dtype=torch.bool, device=labels_B.device)
        anchors, positives = positive_BB.nonzero(as_tuple=True)
        others, negatives = (~same_BB).nonzero(as_tuple=True)
        total = points_BD.new_zeros(())
        for label in torch.unique(labels_B):
            pairs, against = labels_B[anchors] == label, labels_B[others] == label
            if pairs.any():
                chosen = anchors[pairs], positives[pairs], others[against], negatives[against]
                total = total + pairs.sum() * self.metric(points_BD, labels_B, chosen)
        return total / max(len(anchors), 1)


@functools.cache
def of_loss(name: str) -> type[MetricLearningLoss]:
    """The head of the loss `name`, such as "ProxyAnchorLoss". Raises ImportError where there is none."""
    learns_classes = "num_classes" in _required(_loss_class(name))

    class Head(MetricLearningLoss):
        loss_name = name
        images_per_class = None if learns_classes else IMAGES_PER_CLASS

    Head.__name__ = Head.__qualname__ = name
    return Head


def _loss_class(name: str) -> Any:
    try:
        from pytorch_metric_learning import losses
    except ImportError as error:
        raise ImportError(f"{PREFIX}{name} is a loss of pytorch-metric-learning: {EXTRA}") from error
    if not hasattr(losses, name):
        raise ImportError(f"pytorch-metric-learning has no loss {name}")
    return getattr(losses, name)


def _required(loss_class: Any) -> set[str]:
    """The parameters without a default of a loss's constructor and of those of its bases."""
    inits = [vars(base)["__init__"] for base in loss_class.__mro__[:-1] if "__init__" in vars(base)]
    parameters = [each for init in inits for each in inspect.signature(init).parameters.values()]
    return {each.name for each in parameters if each.default is each.empty and each.name != "self"}


def _is_angular(distance: Any) -> bool:
    """Whether a distance of pytorch-metric-learning reads directions alone."""
    return bool(distance.normalize_embeddings) or type(distance).__name__ == "CosineSimilarity"
