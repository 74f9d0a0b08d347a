"""What an epoch of a fit sees is told by its number, so that a resumed fit goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch import nn

from lightning_modules.data.batches import Batch, shuffled
from lightning_modules.data.splits import TrialData
from lightning_modules.heads.base import Trunk
from lightning_modules.heads.softmax import Softmax


def test_each_epoch_of_a_fit_sees_the_batches_of_its_number(fit: Callable[..., pl.Trainer], blots: TrialData) -> None:
    seen: list[torch.Tensor] = []

    def note(_: pl.Trainer, __: pl.LightningModule, ___: Any, batch: Batch, ____: int) -> None:
        seen.append(batch[0])

    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    fit(Softmax(Trunk(body, 4, 2)), 2, callbacks=[LambdaCallback(on_train_batch_end=note)])
    orders = [shuffled(blots.train.labels, 32, np.random.default_rng([0, epoch])) for epoch in (0, 1)]

    np.testing.assert_array_equal(torch.stack(seen).numpy(), blots.train.images[np.concatenate(orders)])
