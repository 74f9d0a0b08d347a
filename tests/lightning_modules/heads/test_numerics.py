"""Every head's gradient is the derivative of its loss, and both stay finite at the edges of the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angular_loss_ignores_the_length_of_centres_and_embeddings(
    dtype: torch.dtype, make_head: Callable[..., Any]
) -> None:
    head = make_head("arcface", 4, margin_rad=0.5, scale=16.0).to(dtype)
    embeddings = torch.randn(len(LABELS), 3, generator=torch.Generator().manual_seed(5)).to(dtype)
    before = head.loss(embeddings, LABELS)
    head.centres.data *= torch.tensor([[1e-3], [0.5], [7.0], [1e3]])

    torch.testing.assert_close(head.loss(1e4 * embeddings, LABELS), before)
