"""A training step as XLA needs it: no shape and no decision in it depends on values, so that it is compiled once.

Under torch's FakeTensorMode tensors have shapes and no values: whatever asks for one (nonzero, a boolean mask, item)
raises. It stands in for torch_xla, which is in no environment that the tests run in.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from lightning_modules.bodies import BODIES
from lightning_modules.data.batches import ImageBatches
from lightning_modules.data.splits import TrialData
from lightning_modules.heads import head_class
from lightning_modules.heads.base import EmbeddingModule, Trunk

CLASSES, DIMENSIONS, BATCH = 5, 3, 20
TRIPLET = [
    {"mining": mining, "soft_margin": soft, "normalise": normalise}
    for mining in ("semi_hard", "batch_hard", "batch_all")
    for soft, normalise in ((False, True), (True, False))
]
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("softmax", {}),
    "arcface-detached": ("arcface", {"margin_rad": 0.5, "scale": 16.0, "detach_margin": True}),
    **{f"triplet-{number}": ("triplet", {"margin_dist": 0.5, **options}) for number, options in enumerate(TRIPLET)},
}


@pytest.fixture
def as_on_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddingModule, "static_shapes", True)


def made(name: str, body: str = "strided") -> EmbeddingModule:
    torch.manual_seed(0)
    kind, options = HEADS[name]
    return head_class(kind)(Trunk(BODIES.make(body).build((8, 8, 1), DIMENSIONS), CLASSES, DIMENSIONS), **options)


@pytest.mark.usefixtures("as_on_xla")
@pytest.mark.parametrize("body", BODIES.by_name)
@pytest.mark.parametrize("name", HEADS)
def test_a_step_asks_for_no_value(name: str, body: str) -> None:
    head = made(name, body)
    with FakeTensorMode(allow_non_fake_inputs=True):  # its weights
        images, labels = torch.zeros(BATCH, 8, 8, dtype=torch.uint8), torch.zeros(BATCH, dtype=torch.int64)
        head.training_step((images, labels), 0).backward()
        assert head.eval()(images).shape == (BATCH, DIMENSIONS)


def test_what_asks_for_a_value_is_found() -> None:
    errors = (DynamicOutputShapeException, DataDependentOutputException)
    head = made("triplet-0")
    with FakeTensorMode(allow_non_fake_inputs=True):
        images, labels = torch.zeros(BATCH, 8, 8, dtype=torch.uint8), torch.zeros(BATCH, dtype=torch.int64)
        with pytest.raises(errors):
            head.training_step((images, labels), 0)  # not as on XLA: its triplets are looked up
        with pytest.raises(errors):
            float(head(images).sum())


def loss_and_gradient(head: EmbeddingModule, embeddings_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    given = embeddings_BD.clone().requires_grad_()
    loss = head.loss(given, labels_B)
    loss.backward()
    assert given.grad is not None
    return loss.detach(), given.grad


@pytest.mark.parametrize("labels", ["uneven", "one class", "all different", "two images coincide"])
@pytest.mark.parametrize("name", [name for name in HEADS if name.startswith("triplet")])
def test_static_triplets_are_the_same_triplets(name: str, labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings_BD = torch.randn(BATCH, DIMENSIONS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    labels_B = torch.tensor([0] * 7 + [1] * 5 + [2] * 4 + [3] * 3 + [4])
    if labels == "one class":
        labels_B = torch.zeros(BATCH, dtype=torch.int64)
    elif labels == "all different":
        labels_B = torch.arange(BATCH)
    elif labels == "two images coincide":
        embeddings_BD[1], embeddings_BD[9] = embeddings_BD[0], embeddings_BD[0]
    head = made(name)
    expected = loss_and_gradient(head, embeddings_BD, labels_B)
    monkeypatch.setattr(EmbeddingModule, "static_shapes", True)
    for value, other in zip(loss_and_gradient(head, embeddings_BD, labels_B), expected, strict=True):
        assert torch.allclose(value, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("balance", [None, 8])
def test_training_batches_have_one_shape_and_validation_batches_two_at_most(
    blots: TrialData, balance: int | None
) -> None:
    batches = ImageBatches(blots, 36, seed=1, balance=balance)
    assert len({images.shape for images, _ in batches.train_dataloader()}) == 1
    assert len({images.shape for images, _ in batches.val_dataloader()}) <= 2
