"""Images a second in a Lightning fit as a trial runs it, against a bare PyTorch loop: same body, batch and thread."""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from lightning_modules import bodies
from lightning_modules.arcface import ArcFace
from lightning_modules.data import mnist, splits
from lightning_modules.data.batches import ImageBatches, shuffled
from lightning_modules.data.splits import TrialData
from lightning_modules.embedding import Recipe, Trunk

BATCH, WIDTH, DIMENSIONS, ROUNDS = 256, 24, 3, 3


def measure() -> dict[str, Any]:
    """Both ways in turn, three times; the ratio is that of the medians."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    data = splits.split(mnist.load("train"), 10_000, seed=0)
    bare, ours = [], []
    for _ in range(ROUNDS):
        bare.append(bare_loop(data))
        ours.append(lightning_fit(data))
    return {
        "bare_loop_images_per_s": statistics.median(bare),
        "lightning_images_per_s": statistics.median(ours),
        "ratio": statistics.median(ours) / statistics.median(bare),
    }


def bare_loop(data: TrialData) -> float:
    """One epoch of ArcFace as a tutorial would write its step, on uint8 images taken by index."""
    body = bodies.strided((28, 28, 1), DIMENSIONS, WIDTH).to(memory_format=torch.channels_last)
    centres = torch.nn.Parameter(torch.randn(data.num_classes, DIMENSIONS))
    optimizer = torch.optim.AdamW([*body.parameters(), centres], lr=0.01, fused=True)
    order = shuffled(data.train.labels, BATCH, np.random.default_rng(0))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=len(order))
    began = time.perf_counter()
    for index in order:
        images, labels = torch.from_numpy(data.train.images[index]), torch.from_numpy(data.train.labels[index])
        pixels = (images.unsqueeze(1).float() - data.pixel_mean) / data.pixel_std
        cosine = F.normalize(body(pixels.contiguous(memory_format=torch.channels_last))) @ F.normalize(centres).T
        cosine = cosine.clamp(-1 + 1e-6, 1 - 1e-6)
        target = torch.cos(cosine.gather(1, labels[:, None]).acos() + 0.3)
        loss = F.cross_entropy(20 * cosine.scatter(1, labels[:, None], target), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return order.size / (time.perf_counter() - began)


class Stopwatch(pl.Callback):
    """Times the training part of an epoch."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.began = time.perf_counter()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self.seconds = time.perf_counter() - self.began


def lightning_fit(data: TrialData) -> float:
    """One epoch as in a trial."""
    body = bodies.strided((28, 28, 1), DIMENSIONS, WIDTH)
    trunk = Trunk(body, data.num_classes, DIMENSIONS, Recipe(), data.pixel_mean, data.pixel_std)
    stopwatch = Stopwatch()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=[stopwatch],
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(ArcFace(trunk, margin_rad=0.3, scale=20.0), datamodule=ImageBatches(data, BATCH, seed=0))
    return len(data.train) // BATCH * BATCH / stopwatch.seconds
