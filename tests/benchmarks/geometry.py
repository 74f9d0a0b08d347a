"""Measures of 10,000 validation embeddings against scikit-learn's: what an epoch costs besides training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

from lightning_modules.metrics import clusters, measures
from tests.benchmarks.stopwatch import in_turns

POINTS, CLASSES, SPREAD, ROUNDS = 10_000, 10, 0.15, 5


def measure() -> dict[str, Any]:
    """Seconds of every epoch's measures; how many times as fast k-means is (ten restarts both), medians in turns."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for dimensions in (2, 3, 64):
        points_ND, labels_N = blobs(dimensions)
        ours_s, theirs_s, all_s = in_turns(
            lambda points=points_ND: clusters.kmeans(points, CLASSES, spherical=False),
            lambda points=points_ND: KMeans(CLASSES, n_init=10, random_state=0).fit(points.numpy()),
            lambda points=points_ND, labels=labels_N: measures.every_epoch(points, labels, CLASSES, spherical=True),
            rounds=ROUNDS,
        )
        found[f"kmeans_{dimensions}d_times_as_fast"] = theirs_s / ours_s
        found[f"every_epoch_{dimensions}d_s"] = all_s
    return found


def blobs(dimensions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten classes around random directions, as a trained head leaves them."""
    rng = np.random.default_rng(0)
    centres_CD = rng.normal(size=(CLASSES, dimensions))
    centres_CD /= np.linalg.norm(centres_CD, axis=1, keepdims=True)
    labels_N = rng.integers(CLASSES, size=POINTS)
    points_ND = centres_CD[labels_N] + SPREAD * rng.normal(size=(POINTS, dimensions))
    return torch.from_numpy(points_ND.astype(np.float32)), torch.from_numpy(labels_N)
