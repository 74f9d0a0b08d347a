"""The angle, its monotone cosine, and the detached margin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_modules.heads import class_centre_softmax
from lightning_modules.heads.angular import monotone_cosine

ANGULAR: list[tuple[str, dict[str, Any]]] = [
    ("arcface", {"margin_rad": 0.5, "scale": 16.0}),
    ("cosface", {"margin_cos": 0.35, "scale": 16.0}),
    ("sphereface", {"margin_mult": 1.7, "magnitude": "fixed", "scale": 16.0}),
    ("hybrid", {"margin_rad": 0.5, "crossover_rad": 0.6, "scale": 16.0}),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_monotone_cosine_is_cos_on_each_half_turn_shifted_down_by_two(dtype: torch.dtype, tolerance: float) -> None:
    angles = torch.linspace(0, 4.9 * math.pi, 1001, dtype=dtype)
    turns, rest = np.divmod(angles.double().numpy(), np.pi)

    assert monotone_cosine(angles).dtype == dtype
    np.testing.assert_allclose(monotone_cosine(angles).numpy(), np.cos(rest) - 2 * turns, atol=5 * tolerance)


@pytest.mark.parametrize("half_turns", [0, 1, 2, 3, 4])
def test_monotone_cosine_and_its_slope_are_continuous_at_half_turns(half_turns: int) -> None:
    step = 1e-9
    around = torch.tensor([-step, 0.0, step], dtype=torch.float64) + half_turns * math.pi
    around.requires_grad_()
    values = monotone_cosine(around)
    (slopes,) = torch.autograd.grad(values.sum(), around)

    torch.testing.assert_close(values.detach(), torch.full_like(values, 1 - 2 * half_turns), atol=1e-15, rtol=1e-15)
    assert slopes.abs().max() < 2 * step


def test_slope_of_monotone_cosine_is_minus_the_absolute_sine() -> None:
    angles = torch.linspace(0, 4 * math.pi, 997, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(monotone_cosine(angles).sum(), angles)

    torch.testing.assert_close(slopes, -angles.detach().sin().abs())


def angle_to_centres(points_BD: Tensor, centres_BD: Tensor) -> Tensor:
    """As a head finds it: of each point to the centre of its class."""
    labels_B, centres_CD = torch.arange(len(points_BD)), torch.cat([centres_BD, -centres_BD])
    return class_centre_softmax.target_logits(points_BD, 1.0, centres_CD, labels_B, with_angle=True).angle_B


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_angle_is_what_two_planar_vectors_were_turned_by(dtype: torch.dtype, tolerance: float) -> None:
    angles = torch.linspace(0, math.pi, 257, dtype=dtype)
    turned = torch.stack([angles.cos(), angles.sin()], dim=1)
    fixed = torch.tensor([[1.0, 0.0]], dtype=dtype).expand_as(turned)

    torch.testing.assert_close(angle_to_centres(turned, fixed), angles, atol=tolerance, rtol=0)


def test_angle_resolves_what_the_arc_cosine_rounds_to_zero() -> None:
    turned, fixed = torch.tensor([[1.0, 1e-5]]), torch.tensor([[1.0, 0.0]])

    assert float((turned * fixed).sum().acos()) == 0
    assert float(angle_to_centres(turned, fixed)) == pytest.approx(1e-5, rel=1e-5)


@pytest.mark.parametrize(("other", "angle"), [([1.0, 0.0], 0), ([0.0, 1.0], math.pi / 2), ([-1.0, 0.0], math.pi)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angle_and_its_gradient_are_finite_where_arc_cosine_has_none(
    other: list[float], angle: float, dtype: torch.dtype
) -> None:
    one = torch.tensor([[1.0, 0.0]], dtype=dtype, requires_grad=True)
    value = angle_to_centres(one, torch.tensor([other], dtype=dtype))
    value.sum().backward()

    assert value.item() == pytest.approx(angle, rel=1e-7)
    assert one.grad is not None
    assert one.grad.norm() <= 1.01


@pytest.mark.parametrize(("name", "options"), ANGULAR, ids=[name for name, _ in ANGULAR])
class TestDetachedMargin:
    angles = torch.linspace(0.01, 3.13, 50, dtype=torch.float64)

    def test_leaves_the_logits_as_they_are(
        self,
        name: str,
        options: dict[str, Any],
        make_head: Callable[..., Any],
        target_logits: Callable[..., Tensor],
    ) -> None:
        analytic, detached = (
            make_head(name, 2, 2, detach_margin=detach, **options).double() for detach in (False, True)
        )

        torch.testing.assert_close(target_logits(detached, self.angles), target_logits(analytic, self.angles))

    def test_makes_the_slope_of_the_target_logit_by_the_cosine_the_scale(
        self,
        name: str,
        options: dict[str, Any],
        make_head: Callable[..., Any],
        target_logits: Callable[..., Tensor],
    ) -> None:
        head = make_head(name, 2, 2, detach_margin=True, **options).double()
        angles = self.angles.clone().requires_grad_()
        (by_angle,) = torch.autograd.grad(target_logits(head, angles).sum(), angles)

        by_cosine = by_angle / -self.angles.sin()
        torch.testing.assert_close(by_cosine, torch.full_like(by_cosine, options["scale"]))

    def test_is_off_by_default(
        self,
        name: str,
        options: dict[str, Any],
        make_head: Callable[..., Any],
        target_logits: Callable[..., Tensor],
    ) -> None:
        head = make_head(name, 2, 2, **options).double()
        angles = self.angles.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(target_logits(head, angles).sum(), angles)
        step = 1e-6
        numeric = (target_logits(head, self.angles + step) - target_logits(head, self.angles - step)) / (2 * step)

        torch.testing.assert_close(slopes, numeric.detach(), atol=1e-4, rtol=1e-4)


def test_detached_margin_with_the_embeddings_own_length_as_scale(make_head: Callable[..., Any]) -> None:
    head = make_head("sphereface", 2, 2, margin_mult=1.7, detach_margin=True).double()
    head.centres.data = torch.eye(2, dtype=torch.float64)
    length, angle = 2.5, torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    embedding = length * torch.stack([angle.cos(), angle.sin()])[None]
    (slope,) = torch.autograd.grad(head.target_and_others(embedding, torch.tensor([0]))[0].sum(), angle)

    assert (slope / -angle.sin()).item() == pytest.approx(length)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angular_loss_ignores_the_length_of_centres_and_embeddings(
    dtype: torch.dtype, make_head: Callable[..., Any]
) -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 0, 1])
    head = make_head("arcface", 4, margin_rad=0.5, scale=16.0).to(dtype)
    embeddings = torch.randn(10, 3, generator=torch.Generator().manual_seed(5)).to(dtype)
    before = head.loss(embeddings, labels)
    head.centres.data *= torch.tensor([[1e-3], [0.5], [7.0], [1e3]])

    torch.testing.assert_close(head.loss(1e4 * embeddings, labels), before)
