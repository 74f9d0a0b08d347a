"""The hybrid's two limits, in value and gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

ANGLES = torch.linspace(0.02, 3.1, 60, dtype=torch.float64)


def value_and_slope(head: Any, target_logits: Callable[..., Tensor]) -> Tensor:
    """(2, B): the target logit over ANGLES and its slope."""
    angles = ANGLES.clone().requires_grad_()
    logits = target_logits(head.double(), angles)
    (slopes,) = torch.autograd.grad(logits.sum(), angles)
    return torch.stack([logits.detach(), slopes])


@pytest.mark.parametrize("margin_rad", [0.1, 0.5, 1.5, 3.0])
def test_is_arcface_where_the_crossover_is_at_the_centre(
    margin_rad: float, make_head: Any, target_logits: Callable[..., Tensor]
) -> None:
    hybrid = make_head("hybrid", 2, 2, margin_rad=margin_rad, crossover_rad=1e-3, scale=16.0)
    arcface = make_head("arcface", 2, 2, margin_rad=margin_rad, scale=16.0)

    torch.testing.assert_close(value_and_slope(hybrid, target_logits), value_and_slope(arcface, target_logits))


@pytest.mark.parametrize("margin_mult", [1.02, 1.3, 2.0])
def test_nears_sphereface_with_the_square_of_a_far_crossover(
    margin_mult: float, make_head: Any, target_logits: Callable[..., Tensor]
) -> None:
    sphereface = make_head("sphereface", 2, 2, margin_mult=margin_mult, magnitude="fixed", scale=16.0)
    goal = value_and_slope(sphereface, target_logits)

    def distance(crossover_rad: float) -> float:
        hybrid = make_head("hybrid", 2, 2, margin_rad=0.1, crossover_rad=crossover_rad, scale=16.0)
        hybrid.margin_rad = (margin_mult - 1) * crossover_rad  # beyond π, where the constructor stops
        return float((value_and_slope(hybrid, target_logits) - goal).abs().max())

    assert distance(1e4) < 1e-4
    assert distance(1e3) / distance(1e4) == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("margin_mult", [1.02, 1.3, 2.0])
def test_accepts_the_margin_that_sphereface_needs_of_a_far_crossover(margin_mult: float, make_head: Any) -> None:
    crossover_rad = 100.0
    margin_rad = (margin_mult - 1) * crossover_rad
    assert margin_rad * math.tanh(math.pi / crossover_rad) <= math.pi

    hybrid = make_head("hybrid", margin_rad=margin_rad, crossover_rad=crossover_rad, scale=16.0)
    assert hybrid.margin_rad == margin_rad


def test_loss_and_gradients_equal_arcface_on_a_batch(make_head: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(32, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (32,), generator=generator)
    results = []
    for name, options in (("hybrid", {"crossover_rad": 1e-4}), ("arcface", {})):
        head = make_head(name, margin_rad=0.4, scale=12.0, **options).double()
        embeddings = points.clone().requires_grad_()
        loss = head.loss(embeddings, labels)
        loss.backward()
        results.append((loss.detach(), embeddings.grad, head.centres.grad))

    torch.testing.assert_close(results[0], results[1])
