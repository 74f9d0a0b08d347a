"""`python -m tests.benchmarks.unseen`: trains on the digits 0 – 7 and recognises 8s and 9s, which it has never seen.

ArcFace in 16 dimensions, no search, one process. 8 and 9 are enrolled from five images each, in ten draws; the other
8s and 9s of the training file are recognised. The test file is not read. Intervals are 95% Wilson intervals over
images, of the mean over the draws; the range is over the draws.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from lightning_modules.data import splits
from lightning_modules.data.batches import ImageBatches
from lightning_modules.data.images import LabelledImages
from lightning_modules.data.sources import mnist
from lightning_modules.metrics import pairwise, verification
from lightning_modules.metrics.proportions import wilson
from lightning_modules.models import model_config
from lightning_modules.models.embedder import Embedder
from lightning_modules.models.gallery import Gallery
from lightning_modules.models.model_config import Blueprint

UNSEEN, DIMENSIONS, EPOCHS, SEED = (8, 9), 16, 6, 0
DRAWS, SHOTS, OWN = 10, 5, 500
RATES = (0.1, 0.01, 0.001, 0.0001)


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    images = mnist.load("train")
    seen = splits.split(splits.without(images, UNSEEN), 8000, seed=SEED)
    unseen = images.take(np.flatnonzero(np.isin(images.labels, UNSEEN)))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        embedder = trained(seen, Path(folder))
    calibration = embedder.calibrate(seen.validation.images, seen.validation.labels)
    print(f"arcface, D = {DIMENSIONS}, {EPOCHS} epochs on {len(seen.train):,} images of 0 – 7, seed {SEED}")
    print(f"trained and calibrated in {time.perf_counter() - began:.0f} s on one core")
    print(
        f"calibration on {calibration.images:,} validation images of 0 – 7: {calibration.impostor_pairs:,} impostor "
        f"pairs, {calibration.genuine_pairs:,} genuine pairs, equal error rate {calibration.equal_error_rate:.4f}"
    )
    vectors_ND, known_ND = embedder.embed(unseen.images), embedder.embed(seen.validation.images)
    identification(embedder, seen.train, seen.validation.labels, known_ND, unseen, vectors_ND)
    verified(embedder, unseen, vectors_ND)


def trained(data: splits.TrialData, folder: Path) -> Embedder:
    """The model, kept and loaded again as a user would."""
    torch.manual_seed(SEED)
    params = {"lr": 0.01, "head_lr": 0.01, "margin_rad": 0.3, "scale": 20.0}
    shape = data.train.image_shape
    design = Blueprint(
        "arcface", params, "strided", {}, DIMENSIONS, data.num_classes, shape, data.pixel_mean, data.pixel_std
    )
    module = design.build()
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=1,
        logger=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(module, datamodule=ImageBatches(data, 256, SEED))
    model_config.save(folder, design, module.state_dict(), {})
    return Embedder.load(folder)


def identification(
    embedder: Embedder,
    train: LabelledImages,
    known_labels: NDArray[np.int64],
    known_ND: NDArray[np.float32],
    unseen: LabelledImages,
    vectors_ND: NDArray[np.float32],
) -> None:
    """Who is it: 8 or 9, one of ten digits, or a stranger."""
    closed, among_ten, known_among_ten = [], [], []
    strangers: dict[float, list[float]] = {rate: [] for rate in RATES[:2]}
    accepted: dict[float, list[float]] = {rate: [] for rate in RATES[:2]}
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        gallery, rest_N = Gallery(embedder), np.ones(len(unseen), bool)
        for digit in UNSEEN:
            chosen = rng.choice(np.flatnonzero(unseen.labels == digit), SHOTS, replace=False)
            gallery.enroll(str(digit), unseen.images[chosen])
            rest_N[chosen] = False
        closed.append(accuracy(gallery, vectors_ND[rest_N], unseen.labels[rest_N]))
        eight = Gallery(embedder)
        for digit in range(8):
            chosen = rng.choice(np.flatnonzero(train.labels == digit), SHOTS, replace=False)
            gallery.enroll(str(digit), train.images[chosen])
            eight.enroll(str(digit), train.images[chosen])
        among_ten.append(accuracy(gallery, vectors_ND[rest_N], unseen.labels[rest_N]))
        known_among_ten.append(accuracy(gallery, known_ND, known_labels))
        for rate in strangers:
            matches = eight.identify_vectors(vectors_ND, rate)
            strangers[rate].append(float(np.mean([match.name is not None for match in matches])))
            accepted[rate].append(accuracy(eight, known_ND, known_labels, rate))
    rest = len(unseen) - SHOTS * len(UNSEEN)
    print(f"\nidentification, {SHOTS} images enrolled of each digit, {DRAWS} draws of them")
    print(line("8 or 9, closed set", closed, rest))
    print(line("8s and 9s among all ten digits", among_ten, rest))
    print(line("0 – 7 (validation) among all ten digits", known_among_ten, len(known_ND)))
    print("\nopen set, 0 – 7 enrolled: 8s and 9s are strangers; thresholds from 0 – 7, rate over 8 identities")
    for rate in strangers:
        print(line(f"asked {rate:g}: strangers taken for someone", strangers[rate], len(vectors_ND)))
        print(line(f"asked {rate:g}: 0 – 7 recognised", accepted[rate], len(known_ND)))


def verified(embedder: Embedder, unseen: LabelledImages, vectors_ND: NDArray[np.float32]) -> None:
    """Are two images of one digit: all pairs of 8s and 9s, at thresholds from 0 – 7 and from some 8s and 9s."""
    points, labels = torch.from_numpy(vectors_ND), torch.from_numpy(unseen.labels)
    print(f"\nverification, thresholds from 0 – 7, on all pairs of {len(unseen):,} 8s and 9s")
    table(embedder, points, labels)
    own = np.random.default_rng(SEED).permutation(len(unseen))[: 2 * OWN]
    embedder.calibrate(unseen.images[own], unseen.labels[own])
    rest = np.setdiff1d(np.arange(len(unseen)), own)
    print(f"\nthe same, thresholds from {2 * OWN:,} images of 8s and 9s, on all pairs of the other {len(rest):,}")
    table(embedder, points[rest], labels[rest])


def table(embedder: Embedder, points_ND: torch.Tensor, labels_N: torch.Tensor) -> None:
    thresholds = torch.tensor([embedder.threshold(rate) for rate in RATES], dtype=torch.float64)
    genuine, impostor = (torch.zeros(len(RATES), dtype=torch.int64) for _ in range(2))
    number, counts = len(points_ND), torch.bincount(labels_N)
    for block in pairwise.rows(number, 4 * number):
        score_BN = verification.similarity(points_ND[block], points_ND, spherical=embedder.spherical)
        same_BN = labels_N[block, None] == labels_N
        score_BN[:, block].fill_diagonal_(-torch.inf)  # an image and itself are no pair
        for index, threshold in enumerate(thresholds):
            accepted_BN = score_BN >= threshold
            genuine[index] += (accepted_BN & same_BN).sum()
            impostor[index] += (accepted_BN & ~same_BN).sum()
    genuine_pairs = int((counts * (counts - 1)).sum()) // 2
    impostor_pairs = (number * number - int((counts * counts).sum())) // 2
    print(
        f"  {impostor_pairs:,} impostor and {genuine_pairs:,} genuine pairs (not independent: n is {number:,} images)"
    )
    print("  asked FAR   threshold   real FAR   real TAR")
    for rate, threshold, right, wrong in zip(RATES, thresholds.tolist(), genuine, impostor, strict=True):
        real = int(wrong) / 2 / impostor_pairs, int(right) / 2 / genuine_pairs
        print(f"  {rate:<9g}   {threshold:9.6f}   {real[0]:.6f}   {real[1]:.6f}")


def accuracy(
    gallery: Gallery, vectors_ND: NDArray[np.float32], labels_N: NDArray[np.int64], rate: float | None = None
) -> float:
    matches = gallery.identify_vectors(vectors_ND, rate)
    return float(np.mean([match.name == str(label) for match, label in zip(matches, labels_N, strict=True)]))


def line(what: str, shares: list[float], images: int) -> str:
    mean = float(np.mean(shares))
    low, high = wilson(mean, images)
    spread = f"draws {min(shares):.4f} – {max(shares):.4f}, standard deviation {np.std(shares, ddof=1):.4f}"
    return f"  {what:45} {mean:.4f} (n = {images:,}, 95% {low:.4f} – {high:.4f}; {spread})"


if __name__ == "__main__":
    main()
