"""What every head must give, whichever it is: a new one is asked by itself, from its file and its space.

Its gradient is the derivative of its loss, both stay finite at the edges of the numbers, no shape in a step depends on
values, it says no to what it does not know, and a fit is repeated to the bit, also one that was stopped and resumed.
What a short fit must reach stands in test_base.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_modules import heads
from lightning_modules.bodies.strided import Strided
from lightning_modules.heads.base import EmbeddingModule, Recipe, Trunk
from search_spaces.heads import HEADS, settings_of

LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 0, 1])


def at_the_edges() -> Tensor:
    """Embeddings on their own centre (θ = 0), across (π/2) and opposite (π), several of them coincident.

    The centres are e0, e1, -e0 and -e1.
    """
    right, up = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    return torch.tensor([right, right, right, up, right, up, up, right, up, right])


def loss_and_gradients(head: Any, embeddings: Tensor, labels: Tensor, autocast: bool = False) -> tuple[Tensor, ...]:
    embeddings = embeddings.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = head.loss(embeddings, labels)
    return loss.detach(), *torch.autograd.grad(loss, [embeddings, *head.parameters()])


def with_centres_on_the_axes(head: Any) -> Any:
    centres = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    for parameter in head.parameters():
        if parameter.ndim == 2:
            parameter.data = centres.clone()
    return head


def test_gradient_is_the_derivative_of_the_loss(any_head: Callable[..., Any]) -> None:
    head = any_head(num_classes=4).double()
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(len(LABELS), 3, generator=generator, dtype=torch.float64, requires_grad=True)

    loss = head.loss(embeddings, LABELS)
    assert torch.autograd.grad(loss, embeddings)[0].norm() > 1e-3
    assert torch.autograd.gradcheck(lambda *_: head.loss(embeddings, LABELS), (embeddings, *head.parameters()))


@pytest.mark.parametrize("length", [0.0, 1e-8, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_loss_and_gradients_are_finite_at_the_edges(
    length: float, dtype: torch.dtype, any_head: Callable[..., Any]
) -> None:
    head = with_centres_on_the_axes(any_head(num_classes=4))
    head = head.double() if dtype == torch.float64 else head
    for value in loss_and_gradients(head, (length * at_the_edges()).to(dtype), LABELS):
        assert value.isfinite().all()


@pytest.mark.parametrize("length", [1e-2, 1.0, 1e4])
def test_loss_and_gradients_are_finite_for_half_precision_bodies(length: float, any_head: Callable[..., Any]) -> None:
    """Not below ‖x‖ ≈ 1e-3: the slope of a direction is 1/‖x‖ and float16 ends at 65,504."""
    head = with_centres_on_the_axes(any_head(num_classes=4))
    for value in loss_and_gradients(head, (length * at_the_edges()).half(), LABELS):
        assert value.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
def test_head_is_computed_in_single_precision(dtype: torch.dtype, autocast: bool, any_head: Callable[..., Any]) -> None:
    head = any_head(num_classes=4)
    embeddings = torch.randn(len(LABELS), 3, generator=torch.Generator().manual_seed(4)).to(dtype)
    loss, slopes, *head_slopes = loss_and_gradients(head, embeddings.float(), LABELS)

    low_loss, low_slopes, *low_head_slopes = loss_and_gradients(head, embeddings, LABELS, autocast)
    assert low_loss.dtype == torch.float32
    assert torch.equal(low_loss, loss)
    assert low_slopes.dtype == dtype
    assert torch.equal(low_slopes, slopes.to(dtype))
    assert all(torch.equal(low, full) for low, full in zip(low_head_slopes, head_slopes, strict=True))


def test_a_step_asks_for_no_value(any_head: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As XLA needs it; test_static_shapes.py says how this stands in for it."""
    monkeypatch.setattr(EmbeddingModule, "static_shapes", True)
    head = any_head(num_classes=4)
    head.body = Strided().build((8, 8, 1), 3)
    with FakeTensorMode(allow_non_fake_inputs=True):  # its weights
        head.training_step((torch.zeros(20, 8, 8, dtype=torch.uint8), torch.zeros(20, dtype=torch.int64)), 0).backward()


@pytest.mark.parametrize("dimensions", [2, 3, 16])
@pytest.mark.parametrize("name", HEADS)
def test_the_first_trials_settings_build_the_head(name: str, dimensions: int) -> None:
    starts = {key: setting.auto(4, dimensions).start for key, setting in settings_of(name).items()}
    recipe = {key: starts.pop(key) for key in [*starts] if key in Recipe.__dataclass_fields__}
    head = heads.head_class(name)(Trunk(nn.Identity(), 4, dimensions, Recipe(**recipe)), **starts)
    assert all(getattr(head, key) == value for key, value in starts.items() if key not in ("scale", "magnitude"))


def test_a_single_dimension_is_refused(any_head: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"embedding_dim must be at least 2 .*embedding_dim=1$"):
        any_head(embedding_dim=1)


def test_an_option_that_no_head_knows_is_refused(any_head: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="margin_degrees"):
        any_head(margin_degrees=28.6)


def test_share_is_all_before_any_training(any_head: Callable[..., Any]) -> None:
    assert any_head().margin_share == 1.0


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
