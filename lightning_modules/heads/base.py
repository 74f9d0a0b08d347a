"""The base of all heads: a body, an optimiser with its schedule, and validation by clustering.

A head subclasses EmbeddingModule (or AngularHead) and states only its loss: on the whole batch, however many workers
share it. Its settings are keyword arguments of its constructor, after the trunk. Knows nothing of searches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_modules import objectives
from lightning_modules.data.batches import Batch
from lightning_modules.distributed import gather
from lightning_modules.distributed.sync_batch_norm import shared
from lightning_modules.metrics.measures import every_epoch
from lightning_modules.objectives.base import EmbeddedImages


@dataclass(frozen=True)
class Recipe:
    """How a head is trained, whichever it is: AdamW under one OneCycle schedule (Smith and Topin 2018)."""

    lr: float = 0.01  # peak learning rate of the body
    head_lr: float = 0.01  # peak learning rate of the head's own parameters (class centres)
    weight_decay: float = 0.01  # of the body; class centres have none, for only their direction counts
    warmup_share: float = 0.25  # share of all steps in which the learning rate rises
    margin_warmup_epochs: float = 0.0  # a margin grows linearly from none to all of it; at most half of the training


@dataclass(frozen=True)
class Trunk:
    """What every head stands on. `pixel_mean` and `pixel_std` are on the scale 0 … 255."""

    body: nn.Module
    num_classes: int
    embedding_dim: int
    recipe: Recipe = Recipe()
    pixel_mean: float = 0.0
    pixel_std: float = 1.0


def at_least(name: str, value: float, low: float, below: float = float("inf")) -> float:
    """`value`, or a ValueError that says the rule low ≤ value < below and what came."""
    if not low <= value < below:
        raise ValueError(f"{name} must be at least {low:g} and below {below:g}, but got {name}={value:g}")
    return value


class EmbeddingModule(pl.LightningModule, ABC):
    """A network that maps images (B, H, W[, channels]) uint8 to embeddings (B, D) float32; a head says its `loss`."""

    spherical: bool = False  # are clusters told apart by angle, or by distance?
    images_per_class: ClassVar[int | None] = None  # class-balanced batches with so many images a class
    objectives: tuple[str, ...] = ("accuracy",)  # what validation measures, beside the health of the classes

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        at_least("embedding_dim", trunk.embedding_dim, 2)
        at_least("warmup_share", trunk.recipe.warmup_share, 0, 1)
        self.body = trunk.body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.num_classes, self.embedding_dim, self.recipe = (
            trunk.num_classes,
            trunk.embedding_dim,
            trunk.recipe,
        )
        self.margin_share = 1.0  # what the warm-up lets through of a margin, now
        self._margin_steps = 0.0  # of the warm-up
        self.register_buffer("pixel_mean", torch.tensor(float(trunk.pixel_mean)))
        self.register_buffer("pixel_std", torch.tensor(float(trunk.pixel_std)))
        self._validated: list[Batch] = []
        self.validation_embeddings = torch.empty(0, trunk.embedding_dim)

    @property
    def static_shapes(self) -> bool:
        """Whether the shapes in a step must not depend on values: XLA, and so a TPU, compiles anew for each shape."""
        return self.device.type == "xla"

    def setup(self, stage: str) -> None:
        """Batch norm sees the whole batch, where several workers share it."""
        if gather.workers() > 1:
            self.body = shared(self.body)

    @abstractmethod
    def loss(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        """The head's scalar loss on one batch, in float32 at least whatever the embeddings are."""

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D) of uint8 images; pixels become floats on the device, in the batch's own memory order."""
        pixels = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        pixels = (pixels.float() - self.pixel_mean) / self.pixel_std
        embeddings: Tensor = self.body(pixels.contiguous(memory_format=torch.channels_last))
        return embeddings.float()

    def on_train_start(self) -> None:
        wanted = self.recipe.margin_warmup_epochs * self.trainer.num_training_batches
        self._margin_steps = min(wanted, self.trainer.estimated_stepping_batches / 2)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.margin_share = min(1.0, self.global_step / self._margin_steps) if self._margin_steps else 1.0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of the whole batch, on every worker, each of which has its share of the images and all labels."""
        images, labels_B = batch
        return self.loss(gather.batch(self(images), len(labels_B)), labels_B)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels_B = batch
        self._validated.append((gather.batch(self(images), len(labels_B)), labels_B))

    def on_validation_epoch_end(self) -> None:
        """Measures all embeddings, in the images' own order; of several workers the first one does."""
        embeddings, labels = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        if self.static_shapes:  # measures look at values all the time
            embeddings, labels = embeddings.cpu(), labels.cpu()
        self.validation_embeddings = embeddings
        if self.trainer.is_global_zero:
            self.log_dict(self.measure(embeddings, labels))

    def measure(self, embeddings_ND: Tensor, labels_N: Tensor) -> dict[str, float]:
        """What validation reports: the health of the classes, and what the head is judged by."""
        finite_N = embeddings_ND.isfinite().all(1)
        measures = {"non_finite_share": 1.0 - float(finite_N.float().mean())}
        if measures["non_finite_share"] == 0:
            images = EmbeddedImages(embeddings_ND, labels_N, self.num_classes, self.spherical)
            health = every_epoch(*images.points, spherical=self.spherical)
            measures |= objectives.measured(images, self.objectives, health)
        return {f"val/{name}": value for name, value in measures.items()}

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """The parameters that are not the body's: class centres, where a head has them."""
        return (parameter for name, parameter in self.named_parameters() if not name.startswith("body."))

    def configure_optimizers(self) -> Any:
        """AdamW with one group for the body and one for the head; OneCycle over all steps of the fit."""
        recipe = self.recipe
        groups = [{"params": list(self.body.parameters()), "lr": recipe.lr, "weight_decay": recipe.weight_decay}]
        head = list(self.head_parameters())
        if head:
            groups.append({"params": head, "lr": recipe.head_lr, "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups, fused=not self.static_shapes)  # XLA fuses by itself
        steps, share = int(self.trainer.estimated_stepping_batches), recipe.warmup_share
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in groups],  # type: ignore[misc]
            total_steps=steps,
            pct_start=share if share * steps > 1 else 0.0,  # torch divides by zero for a rise of exactly one step
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
