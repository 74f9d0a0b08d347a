"""The margin's warm-up: from no margin to all of it, linearly over the epochs that the recipe says, at most half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.heads.base import EmbeddingModule, Recipe

LABELS = torch.tensor([0, 1, 2, 3] * 4)
POINTS = 2 * torch.randn(16, 3, generator=torch.Generator().manual_seed(1))
MARGINS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("arcface", {"margin_rad": 0.5, "scale": 16.0}, {"margin_rad": 0.25, "scale": 16.0}),
    ("cosface", {"margin_cos": 0.4, "scale": 16.0}, {"margin_cos": 0.2, "scale": 16.0}),
    (
        "sphereface",
        {"margin_mult": 2.0, "magnitude": "fixed", "scale": 16.0},
        {"margin_mult": 1.5, "magnitude": "fixed", "scale": 16.0},
    ),
    (
        "hybrid",
        {"margin_rad": 0.5, "crossover_rad": 0.6, "scale": 16.0},
        {"margin_rad": 0.25, "crossover_rad": 0.6, "scale": 16.0},
    ),
]


@pytest.mark.parametrize(("name", "full", "half"), MARGINS, ids=[name for name, *_ in MARGINS])
class TestMarginShare:
    def test_of_zero_is_plain_softmax_over_scaled_cosines(
        self, name: str, full: dict[str, Any], half: dict[str, Any], make_head: Callable[..., Any]
    ) -> None:
        head = make_head(name, **full)
        margin_free = F.cross_entropy(16 * F.normalize(POINTS) @ F.normalize(head.centres).T, LABELS)

        assert head.loss(POINTS, LABELS) > margin_free + 0.1
        head.margin_share = 0.0
        torch.testing.assert_close(head.loss(POINTS, LABELS), margin_free)

    def test_of_one_half_is_half_the_margin(
        self, name: str, full: dict[str, Any], half: dict[str, Any], make_head: Callable[..., Any]
    ) -> None:
        head = make_head(name, **full)
        head.margin_share = 0.5
        torch.testing.assert_close(head.loss(POINTS, LABELS), make_head(name, **half).loss(POINTS, LABELS))


def test_sphereface_without_margin_keeps_the_embeddings_length(make_head: Callable[..., Any]) -> None:
    head = make_head("sphereface", margin_mult=2.0)
    head.margin_share = 0.0
    torch.testing.assert_close(head.loss(POINTS, LABELS), F.cross_entropy(POINTS @ F.normalize(head.centres).T, LABELS))


@pytest.mark.parametrize("mining", ["batch_hard", "batch_all", "semi_hard"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_share_of_the_triplet_margin_is_a_smaller_margin(
    share: float, mining: str, make_head: Callable[..., Any]
) -> None:
    head = make_head("triplet", margin_dist=0.8, mining=mining)
    head.margin_share = share
    smaller = make_head("triplet", margin_dist=share * 0.8, mining=mining)

    torch.testing.assert_close(head.loss(POINTS, LABELS), smaller.loss(POINTS, LABELS))


class Shares(pl.Callback):
    """Notes the margin's share at every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, EmbeddingModule)
        self.seen.append(pl_module.margin_share)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (0.0, [1.0] * 18),
        (0.5, [0, 1 / 3, 2 / 3] + [1.0] * 15),
        (1.0, [step / 6 for step in range(6)] + [1.0] * 12),
        (1.5, [step / 9 for step in range(9)] + [1.0] * 9),
        (6.0, [step / 9 for step in range(9)] + [1.0] * 9),  # half of the training, whatever is asked for
    ],
)
def test_share_rises_linearly_over_the_warm_up(
    epochs: float,
    expected: list[float],
    trainable: Callable[..., EmbeddingModule],
    fit: Callable[..., pl.Trainer],
) -> None:
    shares = Shares()
    fit(trainable(recipe=Recipe(margin_warmup_epochs=epochs)), epochs=3, callbacks=[shares])
    assert shares.seen == pytest.approx(expected)


def test_loss_sees_the_share_of_the_moment(make_head: Callable[..., Any]) -> None:
    head = make_head("arcface", margin_rad=0.5, scale=16.0)
    values: list[Tensor] = []
    for share in (0.0, 0.3, 0.6, 1.0):
        head.margin_share = share
        values.append(head.loss(POINTS, LABELS).detach())

    assert torch.stack(values).diff().min() > 0
