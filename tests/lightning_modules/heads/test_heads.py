"""Each head's formula recomputed in numpy, and the shape that every margin must have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def falling_cosine(angle: Array) -> Array:
    """The A-Softmax function by its cases: φ in [kπ, (k + 1)π]."""
    return np.select(
        [angle <= k * np.pi for k in range(1, 6)],
        [(-1) ** k * np.cos(angle) - 2 * k for k in range(5)],
        np.nan,
    )


def arcface(angle: Array, margin_rad: float) -> Array:
    return np.where(angle + margin_rad <= np.pi, np.cos(angle + margin_rad), -2 - np.cos(angle + margin_rad))


def cosface(angle: Array, margin_cos: float) -> Array:
    return np.cos(angle) - margin_cos


def sphereface(angle: Array, margin_mult: float) -> Array:
    return falling_cosine(margin_mult * angle)


def hybrid(angle: Array, margin_rad: float, crossover_rad: float) -> Array:
    return falling_cosine(angle + margin_rad * np.tanh(angle / crossover_rad))


def cross_entropy(logits_BC: Array, labels_B: NDArray[np.int64]) -> float:
    highest = logits_BC.max(1, keepdims=True)
    log_sum = highest[:, 0] + np.log(np.exp(logits_BC - highest).sum(1))
    return float((log_sum - logits_BC[np.arange(len(labels_B)), labels_B]).mean())


def batch(dtype: torch.dtype, centres_CD: Tensor) -> tuple[Tensor, Tensor]:
    """40 random embeddings, and two that nearly lie on their own centre and opposite to it."""
    generator = torch.Generator().manual_seed(1)
    embeddings_BD = 2 * torch.randn(42, centres_CD.shape[1], generator=generator, dtype=torch.float64)
    labels_B = torch.randint(len(centres_CD), (42,), generator=generator)
    embeddings_BD[40] = 3 * centres_CD[labels_B[40]] + 0.01
    embeddings_BD[41] = -3 * centres_CD[labels_B[41]] + 0.01
    return embeddings_BD.to(dtype), labels_B


CASES: list[tuple[str, Callable[..., Array], dict[str, float], dict[str, Any]]] = [
    ("arcface", arcface, {"margin_rad": 0.5}, {"scale": 16.0}),
    ("arcface", arcface, {"margin_rad": 2.9}, {"scale": 16.0}),
    ("arcface", arcface, {"margin_rad": 0.5}, {"magnitude": "feature"}),
    ("cosface", cosface, {"margin_cos": 0.35}, {"scale": 16.0}),
    ("cosface", cosface, {"margin_cos": 0.35}, {"magnitude": "feature"}),
    ("sphereface", sphereface, {"margin_mult": 1.35}, {"magnitude": "feature"}),
    ("sphereface", sphereface, {"margin_mult": 4.0}, {"magnitude": "feature"}),
    ("sphereface", sphereface, {"margin_mult": 2.5}, {"magnitude": "fixed", "scale": 16.0}),
    ("hybrid", hybrid, {"margin_rad": 0.5, "crossover_rad": 0.7}, {"scale": 16.0}),
    ("hybrid", hybrid, {"margin_rad": 0.5, "crossover_rad": 0.7}, {"magnitude": "feature"}),
    ("hybrid", hybrid, {"margin_rad": 3.1, "crossover_rad": 0.1}, {"scale": 16.0}),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("name", "target_cosine", "margins", "options"), CASES)
def test_margin_head_is_the_cross_entropy_of_its_formula(
    name: str,
    target_cosine: Callable[..., Array],
    margins: dict[str, float],
    options: dict[str, Any],
    dtype: torch.dtype,
    tolerance: float,
    make_head: Callable[..., Any],
) -> None:
    head = make_head(name, **margins, **options).to(dtype)
    embeddings_BD, labels_B = batch(dtype, head.centres.detach())
    loss = head.loss(embeddings_BD, labels_B)

    points, centres = embeddings_BD.double().numpy(), head.centres.detach().double().numpy()
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    cosines = points @ centres.T / lengths / np.linalg.norm(centres, axis=1)
    own = np.arange(len(points)), labels_B.numpy()
    angles = np.arccos(np.clip(cosines[own], -1, 1))
    cosines[own] = target_cosine(angles, **margins)
    logits = options.get("scale", lengths) * cosines

    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(cross_entropy(logits, labels_B.numpy()), rel=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_softmax_is_the_cross_entropy_of_a_linear_layer(
    dtype: torch.dtype, tolerance: float, make_head: Callable[..., Any]
) -> None:
    head = make_head("softmax").to(dtype)
    weight, bias = (parameter.detach() for parameter in (head.classifier.weight, head.classifier.bias))
    embeddings_BD, labels_B = batch(dtype, weight)
    logits = embeddings_BD.double().numpy() @ weight.double().numpy().T + bias.double().numpy()

    loss = head.loss(embeddings_BD, labels_B)
    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(cross_entropy(logits, labels_B.numpy()), rel=tolerance)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_label_smoothing_spreads_a_share_of_the_target_over_all_classes(share: float, make_head: Any) -> None:
    head = make_head("softmax", label_smoothing=share).double()
    embeddings_BD, labels_B = batch(torch.float64, head.classifier.weight.detach())
    logits = head.classifier(embeddings_BD).detach().numpy()
    to_each = [cross_entropy(logits, np.full(len(logits), label)) for label in range(head.num_classes)]
    expected = (1 - share) * cross_entropy(logits, labels_B.numpy()) + share * float(np.mean(to_each))
    assert head.loss(embeddings_BD, labels_B).item() == pytest.approx(expected, rel=1e-12)


def assert_falls(head: Any, target_logits: Callable[..., Tensor]) -> None:
    angles = torch.linspace(1e-3, math.pi - 1e-3, 2001, dtype=torch.float64)
    logits = target_logits(head.double(), angles).detach()
    steps = logits.diff()
    assert steps.max() < 0
    assert steps.min() > -6 * head.scale * (math.pi / 2000), "a cliff"


class TestTargetLogitFallsOverTheWholeHalfTurn:
    @pytest.mark.parametrize("margin_rad", [0.0, 0.05, 0.5, 1.0, math.pi / 2, 2.5, 3.14])
    def test_of_arcface(self, margin_rad: float, make_head: Any, target_logits: Any) -> None:
        assert_falls(make_head("arcface", 2, 2, margin_rad=margin_rad, scale=8.0), target_logits)

    @pytest.mark.parametrize("margin_cos", [0.0, 0.02, 0.35, 1.0, 1.99])
    def test_of_cosface(self, margin_cos: float, make_head: Any, target_logits: Any) -> None:
        assert_falls(make_head("cosface", 2, 2, margin_cos=margin_cos, scale=8.0), target_logits)

    @pytest.mark.parametrize("margin_mult", [1.0, 1.05, 1.5, 2.0, 2.71, 3.0, 4.0, 5.5])
    def test_of_sphereface(self, margin_mult: float, make_head: Any, target_logits: Any) -> None:
        options = {"margin_mult": margin_mult, "magnitude": "fixed", "scale": 8.0}
        assert_falls(make_head("sphereface", 2, 2, **options), target_logits)

    @given(st.floats(0, 3.1), st.floats(0.6, 100))
    @settings(deadline=None, max_examples=40)
    def test_of_hybrid(self, make_head: Any, target_logits: Any, margin_rad: float, crossover_rad: float) -> None:
        options = {"margin_rad": margin_rad, "crossover_rad": crossover_rad, "scale": 8.0}
        assert_falls(make_head("hybrid", 2, 2, **options), target_logits)
