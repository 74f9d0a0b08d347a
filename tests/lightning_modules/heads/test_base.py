"""What every head inherits: pixels in, two optimiser groups under OneCycle, clustering measures out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightning_modules.data.splits import TrialData
from lightning_modules.heads.base import EmbeddingModule, Recipe, Trunk, at_least
from lightning_modules.heads.softmax import Softmax

MEASURES = {
    "non_finite_share",
    "cluster_accuracy",
    "cluster_accuracy_euclidean",
    "cluster_accuracy_spherical",
    "nearest_mean_accuracy",
    "target_angle_p50_rad",
    "target_angle_p95_rad",
    "min_mean_angle_rad",
    "separation_ratio",
    "distance_ratio",
    "separation",
    "sphere_share",
    "collapsed_pairs_share",
}


class Rates(pl.Callback):
    """Notes the learning rates of every step, one for each optimiser group."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.seen.append([group["lr"] for group in trainer.optimizers[0].param_groups])


def loss_of(head: EmbeddingModule, data: TrialData) -> float:
    head.train()
    with torch.no_grad():
        images, labels = torch.from_numpy(data.validation.images), torch.from_numpy(data.validation.labels)
        return head.loss(head(images), labels).item()


def test_a_short_fit_lowers_the_loss_and_finds_the_classes(
    trainable: Callable[..., EmbeddingModule], fit: Callable[..., pl.Trainer], blots: TrialData
) -> None:
    head = trainable()
    before = loss_of(head, blots)
    measures = fit(head, epochs=4).callback_metrics

    assert loss_of(head, blots) < before / 2
    assert set(measures) == {f"val/{name}" for name in MEASURES}
    assert measures["val/nearest_mean_accuracy"] > 0.9
    assert measures["val/cluster_accuracy"] > 0.9
    assert measures["val/non_finite_share"] == 0
    own = "spherical" if head.spherical else "euclidean"
    assert measures["val/cluster_accuracy"] == measures[f"val/cluster_accuracy_{own}"]
    assert head.validation_embeddings.shape == (64, 3)
    assert head.validation_embeddings.dtype == torch.float32


def test_a_body_under_autocast_still_hands_its_head_single_precision(
    trainable: Callable[..., EmbeddingModule], blots: TrialData
) -> None:
    head = trainable()
    images, labels = torch.from_numpy(blots.train.images), torch.from_numpy(blots.train.labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = head(images)
        loss = head.loss(embeddings, labels)
    loss.backward()

    slopes = [parameter.grad for parameter in head.parameters()]
    assert (embeddings.dtype, loss.dtype) == (torch.float32, torch.float32)
    assert all(slope is not None and slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("embedding_dim", [2, 16])
def test_a_fit_works_in_few_and_in_many_dimensions(
    embedding_dim: int,
    trainable: Callable[..., EmbeddingModule],
    fit: Callable[..., pl.Trainer],
    blots: TrialData,
) -> None:
    head = trainable(embedding_dim)
    before = loss_of(head, blots)
    fit(head, epochs=3)

    assert loss_of(head, blots) < before
    assert head.validation_embeddings.shape == (64, embedding_dim)


def test_body_and_head_have_their_own_rate_and_only_the_body_decays(
    trainable: Callable[..., EmbeddingModule], fit: Callable[..., pl.Trainer]
) -> None:
    head, rates = (
        trainable(recipe=Recipe(lr=0.02, head_lr=0.05, weight_decay=0.03, warmup_share=0.5)),
        Rates(),
    )
    trainer = fit(head, epochs=2, callbacks=[rates])
    (optimizer,) = trainer.optimizers
    expected = [(list(head.body.parameters()), 0.03), (list(head.head_parameters()), 0.0)]
    expected = [(parameters, decay) for parameters, decay in expected if parameters]

    assert isinstance(optimizer, torch.optim.AdamW)
    assert len(expected) == (1 if type(head).__name__ == "Triplet" else 2)
    assert [(group["params"], group["weight_decay"]) for group in optimizer.param_groups] == expected
    peaks = np.array([0.02, 0.05])[: len(expected)]
    seen = np.array(rates.seen)
    np.testing.assert_allclose(seen.max(0), peaks)
    np.testing.assert_allclose(seen[0], peaks / 25)  # OneCycle's own start
    assert (np.diff(seen[:6], axis=0) > 0).all()
    assert (np.diff(seen[5:], axis=0) < 0).all()
    assert (seen[-1] < peaks / 1000).all()


@pytest.mark.parametrize("warmup_share", [0.0, 1 / 12, 0.25, 0.9])
def test_any_share_of_warm_up_is_a_schedule(
    warmup_share: float, fit: Callable[..., pl.Trainer], blots: TrialData
) -> None:
    recipe = Recipe(warmup_share=warmup_share)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    head = Softmax(Trunk(body, 4, 2, recipe, blots.pixel_mean, blots.pixel_std))
    rates = Rates()
    fit(head, epochs=2, callbacks=[rates])

    assert len(rates.seen) == 12
    assert 0.9 * recipe.lr < max(rate for rate, _ in rates.seen) <= recipe.lr


def test_forward_normalises_the_pixels_of_grey_and_colour_images() -> None:
    generator = torch.Generator().manual_seed(0)
    colour = torch.randint(256, (2, 4, 5, 3), generator=generator, dtype=torch.uint8)
    head = Softmax(Trunk(nn.Identity(), 4, 2, pixel_mean=100.0, pixel_std=50.0))
    expected = (colour.numpy().astype(np.float32) - 100) / 50

    np.testing.assert_allclose(head(colour).numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-6)
    np.testing.assert_allclose(head(colour[..., 0]).numpy(), expected[:, None, :, :, 0], rtol=1e-6)
    assert torch.equal(head(colour[..., :1]), head(colour[..., 0]))


def test_embeddings_that_are_not_finite_are_counted_and_not_clustered() -> None:
    head = Softmax(Trunk(nn.Identity(), 4, 2))
    embeddings = torch.zeros(8, 2)
    embeddings[1, 0], embeddings[5, 1] = torch.nan, torch.inf

    assert head.measure(embeddings, torch.arange(8) % 4) == {"val/non_finite_share": 0.25}


def test_measures_of_perfect_clusters() -> None:
    head = Softmax(Trunk(nn.Identity(), 4, 2))
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])
    labels = torch.arange(40) % 4
    embeddings = corners[labels] + 0.01 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    measures = head.measure(embeddings, labels)

    assert set(measures) == {f"val/{name}" for name in MEASURES}
    for name in ("cluster_accuracy", "cluster_accuracy_euclidean", "cluster_accuracy_spherical"):
        assert measures[f"val/{name}"] == 1
    assert measures["val/collapsed_pairs_share"] == 0


@pytest.mark.parametrize("value", [-0.1, 2.0, 2.5, float("nan"), float("inf")])
def test_at_least_refuses_what_lies_outside_and_says_the_rule(value: float) -> None:
    with pytest.raises(ValueError, match=f"^share must be at least 0 and below 2, but got share={value:g}$"):
        at_least("share", value, 0, 2)


@pytest.mark.parametrize("value", [0.0, 1.0, 1.999])
def test_at_least_returns_what_lies_inside(value: float) -> None:
    assert at_least("share", value, 0, 2) == value
