"""What the tests of heads and bodies share: one thread, heads built by name, a small learnable dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

import search_spaces.heads
from lightning_modules.bodies.strided import Strided
from lightning_modules.data.batches import ImageBatches
from lightning_modules.data.images import LabelledImages
from lightning_modules.data.splits import TrialData, split
from lightning_modules.heads import head_class
from lightning_modules.heads.angular import AngularHead
from lightning_modules.heads.base import EmbeddingModule, Recipe, Trunk

TRAINED = Recipe.__dataclass_fields__
HEADS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "arcface": {"margin_rad": 0.5, "scale": 16.0},
    "cosface": {"margin_cos": 0.35, "scale": 16.0},
    "sphereface": {"margin_mult": 1.5},
    "hybrid": {"margin_rad": 0.5, "crossover_rad": 0.6, "scale": 16.0},
    "triplet": {"margin_dist": 0.5, "mining": "batch_hard"},
}
HEADS |= {  # those that are new: as their first trial in 3-D has them
    head: {name: setting.auto(5, 3).start for name, setting in space.settings.items() if name not in TRAINED}
    for head, space in search_spaces.heads.HEADS.items()
    if head not in HEADS
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, options) for name, options in HEADS.items()},
    "softmax-smoothed": ("softmax", {"label_smoothing": 0.1}),
    "arcface-feature": ("arcface", {"margin_rad": 0.5, "magnitude": "feature"}),
    "cosface-feature": ("cosface", {"margin_cos": 0.35, "magnitude": "feature"}),
    "sphereface-fixed": ("sphereface", {"margin_mult": 2.7, "magnitude": "fixed", "scale": 16.0}),
    "triplet-semi_hard": ("triplet", {"margin_dist": 0.7, "mining": "semi_hard", "normalise": True}),
    "triplet-batch_all": ("triplet", {"margin_dist": 0.5, "mining": "batch_all"}),
    "triplet-soft": ("triplet", {"margin_dist": 0.5, "mining": "batch_all", "soft_margin": True}),
}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_head() -> Callable[..., EmbeddingModule]:
    """make_head(name, num_classes=…, embedding_dim=…, **options): a seeded head on an empty body."""

    def make(name: str, num_classes: int = 5, embedding_dim: int = 3, **options: Any) -> EmbeddingModule:
        torch.manual_seed(0)
        return head_class(name)(Trunk(nn.Identity(), num_classes, embedding_dim), **options)

    return make


@pytest.fixture(params=VARIANTS.values(), ids=list(VARIANTS))
def any_head(request: pytest.FixtureRequest, make_head: Callable[..., EmbeddingModule]) -> Callable[..., Any]:
    """A maker of one head, for every head and the variants that compute differently."""
    name, options = request.param
    return partial(make_head, name, **options)


@pytest.fixture(scope="session")
def target_logits() -> Callable[[AngularHead, torch.Tensor], torch.Tensor]:
    """target_logits(head, angles): of unit vectors in the plane, so far from their own centre (1, 0)."""

    def logits(head: AngularHead, angles_B: torch.Tensor) -> torch.Tensor:
        head.centres.data = torch.eye(2, dtype=angles_B.dtype)
        units_BD = torch.stack([angles_B.cos(), angles_B.sin()], dim=1)
        return head.target_and_others(units_BD, torch.zeros(len(angles_B), dtype=torch.int64))[0]

    return logits


@pytest.fixture(scope="session")
def blots() -> TrialData:
    """Four classes of 8 by 8 uint8 images, each a pattern under noise: 192 to train on, 64 to validate on."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 64)
    patterns = rng.integers(0, 160, (4, 8, 8))
    images = (patterns[labels] + rng.integers(0, 90, (256, 8, 8))).astype(np.uint8)
    return split(LabelledImages(images, labels), validation_images=64, seed=0)


@pytest.fixture(params=HEADS.items(), ids=list(HEADS))
def trainable(request: pytest.FixtureRequest, blots: TrialData) -> Callable[..., EmbeddingModule]:
    """trainable(embedding_dim=…, recipe=…): each of the six heads on a small strided body, seeded."""
    name, options = request.param

    def make(embedding_dim: int = 3, recipe: Recipe | None = None) -> EmbeddingModule:
        torch.manual_seed(0)
        body = Strided(width=4).build(blots.train.image_shape, embedding_dim)
        trunk = Trunk(body, blots.num_classes, embedding_dim, recipe or Recipe(), blots.pixel_mean, blots.pixel_std)
        return head_class(name)(trunk, **options)

    return make


@pytest.fixture(scope="session")
def fit(blots: TrialData) -> Callable[..., pl.Trainer]:
    """fit(head, epochs=…, callbacks=…, ckpt_path=…): the trainer after fitting six batches of 32 an epoch."""

    def run(
        head: EmbeddingModule,
        epochs: int,
        callbacks: list[pl.Callback] | None = None,
        ckpt_path: str | None = None,
    ) -> pl.Trainer:
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            reload_dataloaders_every_n_epochs=1,
        )
        batches = ImageBatches(blots, batch_size=32, seed=0, balance=head.images_per_class)
        trainer.fit(head, datamodule=batches, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run
