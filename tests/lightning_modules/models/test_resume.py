"""One seed gives the same weights to the bit, and so does a fit that was stopped and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch import nn

from lightning_modules.data.batches import Batch, shuffled
from lightning_modules.data.splits import TrialData
from lightning_modules.heads.base import EmbeddingModule, Recipe, Trunk
from lightning_modules.heads.softmax import Softmax

RECIPE = Recipe(margin_warmup_epochs=2.5)


def assert_same_weights(one: EmbeddingModule, other: EmbeddingModule, same: bool = True) -> None:
    pairs = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
    differing = [name for (name, first), second in pairs if not torch.equal(first, second)]
    assert (not differing) is same, differing


def test_two_fits_with_one_seed_end_in_the_same_weights(
    trainable: Callable[..., EmbeddingModule], fit: Callable[..., pl.Trainer]
) -> None:
    first, second, shorter = (trainable(recipe=RECIPE) for _ in range(3))
    fits = [fit(head, epochs) for head, epochs in ((first, 2), (second, 2), (shorter, 1))]

    assert_same_weights(first, second)
    assert fits[0].callback_metrics == fits[1].callback_metrics
    assert_same_weights(first, shorter, same=False)


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_end"])
def test_a_resumed_fit_ends_in_the_weights_of_the_uninterrupted_one(
    hook: str, trainable: Callable[..., EmbeddingModule], fit: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    path = tmp_path / "after-first-epoch.ckpt"

    def save(trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 0 and not trainer.sanity_checking:
            trainer.save_checkpoint(path)

    whole, resumed = trainable(recipe=RECIPE), trainable(recipe=RECIPE)
    uninterrupted = fit(whole, 3, callbacks=[LambdaCallback(**{hook: save})])
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.zero_()  # all that it becomes, it has from the checkpoint
    continued = fit(resumed, 3, ckpt_path=str(path))

    assert torch.load(path, weights_only=True)["global_step"] == 6
    assert continued.global_step == uninterrupted.global_step == 18
    assert_same_weights(resumed, whole)
    assert continued.callback_metrics == uninterrupted.callback_metrics
    assert resumed.margin_share == whole.margin_share == 1.0


def test_each_epoch_of_a_fit_sees_the_batches_of_its_number(fit: Callable[..., pl.Trainer], blots: TrialData) -> None:
    seen: list[torch.Tensor] = []

    def note(_: pl.Trainer, __: pl.LightningModule, ___: Any, batch: Batch, ____: int) -> None:
        seen.append(batch[0])

    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    fit(Softmax(Trunk(body, 4, 2)), 2, callbacks=[LambdaCallback(on_train_batch_end=note)])
    orders = [shuffled(blots.train.labels, 32, np.random.default_rng([0, epoch])) for epoch in (0, 1)]

    np.testing.assert_array_equal(torch.stack(seen).numpy(), blots.train.images[np.concatenate(orders)])
