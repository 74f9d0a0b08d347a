"""Images a second in a trial, by its own clock, against a bare PyTorch loop: same body, batch, loss and thread."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lightning_modules.bodies.strided import Strided
from lightning_modules.data import splits
from lightning_modules.data.batches import shuffled
from lightning_modules.data.sources import mnist
from lightning_modules.data.splits import TrialData
from orchestrator.study.schema import Profile
from orchestrator.trials import trial

BATCH, DIMENSIONS, IMAGES, ROUNDS = 128, 3, 20_000, 9
PARAMS = {"lr": 0.01, "head_lr": 0.01, "margin_rad": 0.3, "scale": 20.0}


def measure() -> dict[str, Any]:
    """All ways one after another, in rounds, on short epochs: whatever slows a machine down for a while slows all.

    Each ratio is the median of the rounds' own ratios, with the lowest and the highest of them beside it. moved: with
    images that are moved by a pixel.
    """
    torch.set_num_threads(1)
    known = mnist.load("train")
    data = splits.split(known.take(np.arange(IMAGES + 2000)), 2000, seed=0)
    ways = {"bare": bare_loop, "trial": in_a_trial, "moved": lambda data: in_a_trial(data, shift_px=1)}
    rounds = [{way: epoch(data) for way, epoch in ways.items()} for _ in range(ROUNDS)]
    images = IMAGES // BATCH * BATCH
    found = {"rounds": ROUNDS, "bare_loop_images_per_s": images / statistics.median(each["bare"] for each in rounds)}
    for way in ("trial", "moved"):
        ratios = sorted(each["bare"] / each[way] for each in rounds)
        found |= {
            f"{way}_over_bare_loop": statistics.median(ratios),
            f"{way}_over_bare_loop_lowest": ratios[0],
            f"{way}_over_bare_loop_highest": ratios[-1],
        }
    return found


def bare_loop(data: TrialData) -> float:
    """Seconds of one epoch of ArcFace as a tutorial would write its step, on uint8 images taken by index."""
    body = Strided().build((28, 28, 1), DIMENSIONS).to(memory_format=torch.channels_last)
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
    return time.perf_counter() - began


def in_a_trial(data: TrialData, shift_px: int = 0) -> float:
    """Seconds of the training part of one epoch, as a trial reports it."""
    task = trial.Task(
        epochs=1,
        batch_size=BATCH,
        shift_px=shift_px,
        embedding_dim=DIMENSIONS,
        body="strided",
        body_options={},
        sample=np.arange(1000),
        profiles={"arcface": Profile()},
    )
    rows: list[dict[str, Any]] = []
    given = {"name": "throughput", "head": "arcface", "params": PARAMS, "seed": 0}
    trial.fit(given, data, task, time.perf_counter(), lambda row, folder: rows.append(row["metrics"]), None)
    return float(rows[0]["time/train_s"])
