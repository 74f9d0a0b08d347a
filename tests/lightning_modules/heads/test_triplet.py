"""The triplet loss against three nested loops, and against pytorch-metric-learning 2.9 in value and gradient.

Deliberate differences from that library:
- soft margin: softplus of the gap alone, as in the paper; the library adds its margin to the gap first.
- semi-hard: we leave out a gap of exactly -m, which the library keeps; its loss is zero, so the sum agrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, losses, miners
from torch import Tensor

MININGS = ["semi_hard", "batch_hard", "batch_all"]


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """20 embeddings of 5 classes: uneven ones, and a class of a single image, which has no positive."""
    generator = torch.Generator().manual_seed(2)
    labels_B = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4])
    return torch.randn(20, 3, generator=generator, dtype=dtype) + 0.3 * labels_B[:, None], labels_B


def gaps_by_loops(points: Any, labels: Any, mining: str, margin: float) -> Iterator[float]:
    number = range(len(labels))
    for anchor in number:
        far = {i: math.dist(points[anchor], points[i]) for i in number}
        positives = [far[i] for i in number if labels[i] == labels[anchor] and i != anchor]
        negatives = [far[i] for i in number if labels[i] != labels[anchor]]
        if mining == "batch_hard":
            if positives and negatives:
                yield max(positives) - min(negatives)
        else:
            for positive in positives:
                for negative in negatives:
                    if mining == "batch_all" or positive < negative < positive + margin:
                        yield positive - negative


@pytest.mark.parametrize("normalise", [False, True], ids=["raw", "normalised"])
@pytest.mark.parametrize("soft_margin", [False, True], ids=["hinge", "soft"])
@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_loss_is_the_mean_over_the_mined_triplets(
    mining: str, soft_margin: bool, normalise: bool, dtype: torch.dtype, tolerance: float, make_head: Any
) -> None:
    margin = 0.4
    head = make_head("triplet", margin_dist=margin, mining=mining, soft_margin=soft_margin, normalise=normalise)
    embeddings_BD, labels_B = batch(dtype)
    points = embeddings_BD.double().numpy()
    points = points / np.linalg.norm(points, axis=1, keepdims=True) if normalise else points
    gaps = list(gaps_by_loops(points, labels_B.tolist(), mining, margin))
    values = [math.log1p(math.exp(gap)) if soft_margin else max(0.0, gap + margin) for gap in gaps]
    counted = [value for value in values if value > 0]

    assert len(counted) >= 15
    assert head.loss(embeddings_BD, labels_B).item() == pytest.approx(sum(counted) / len(counted), rel=tolerance)


def test_distances_of_close_points_far_from_the_origin_are_exact(make_head: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings_BD = 100 + 0.01 * torch.randn(40, 3, generator=generator)
    labels_B = torch.arange(40) % 4
    head = make_head("triplet", margin_dist=0.01, mining="batch_hard")

    exact = head.loss(embeddings_BD.double(), labels_B).item()
    assert head.loss(embeddings_BD, labels_B).item() == pytest.approx(exact, rel=1e-4)


def library_triplets(mining: str, margin: float, soft: bool, normalise: bool) -> Callable[[Tensor, Tensor], Tensor]:
    distance = distances.LpDistance(normalize_embeddings=normalise)
    loss = losses.TripletMarginLoss(margin=0.0 if soft else margin, smooth_loss=soft, distance=distance)
    if mining == "batch_all":
        return loss
    miner = (
        miners.BatchHardMiner(distance=distance)
        if mining == "batch_hard"
        else miners.TripletMarginMiner(margin, type_of_triplets="semihard", distance=distance)
    )
    return lambda points, labels: loss(points, labels, miner(points, labels))


@pytest.mark.parametrize("normalise", [False, True], ids=["raw", "normalised"])
@pytest.mark.parametrize("soft_margin", [False, True], ids=["hinge", "soft"])
@pytest.mark.parametrize("mining", MININGS)
def test_value_and_gradient_agree_with_the_library(
    mining: str, soft_margin: bool, normalise: bool, make_head: Any
) -> None:
    margin = 0.4
    head = make_head("triplet", margin_dist=margin, mining=mining, soft_margin=soft_margin, normalise=normalise)
    points_BD, labels_B = batch()
    results = []
    for loss_of in (head.loss, library_triplets(mining, margin, soft_margin, normalise)):
        embeddings_BD = points_BD.clone().requires_grad_()
        loss = loss_of(embeddings_BD, labels_B)
        loss.backward()
        results.append((loss.detach(), embeddings_BD.grad))

    torch.testing.assert_close(results[0], results[1])


def test_soft_margin_has_no_margin_where_the_library_adds_one(make_head: Any) -> None:
    points_BD, labels_B = batch()
    ours = [
        make_head("triplet", margin_dist=margin, mining="batch_all", soft_margin=True).loss(points_BD, labels_B)
        for margin in (0.0, 0.4)
    ]
    library = losses.TripletMarginLoss(0.4, smooth_loss=True, distance=distances.LpDistance(normalize_embeddings=False))

    assert torch.equal(ours[0], ours[1])
    assert library(points_BD, labels_B) > ours[0] + 0.1


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]], ids=["one class", "no pair"])
def test_a_batch_without_triplets_costs_nothing_and_moves_nothing(
    labels: list[int], mining: str, make_head: Any
) -> None:
    embeddings_BD = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = make_head("triplet", margin_dist=0.4, mining=mining).loss(embeddings_BD, torch.tensor(labels))
    loss.backward()

    assert loss.item() == 0
    assert embeddings_BD.grad is not None
    assert not embeddings_BD.grad.any()


def test_well_separated_classes_cost_nothing(make_head: Any) -> None:
    points_BD = torch.tensor([[0.0, 0.0], [0.1, 0.0], [9.0, 0.0], [9.1, 0.0]])
    for mining in MININGS:
        head = make_head("triplet", 2, 2, margin_dist=0.4, mining=mining)
        assert head.loss(points_BD, torch.tensor([0, 0, 1, 1])).item() == 0


@pytest.mark.parametrize("normalise", [False, True])
def test_clusters_are_told_apart_as_distances_were_measured(normalise: bool, make_head: Any) -> None:
    assert make_head("triplet", margin_dist=0.4, normalise=normalise).spherical is normalise
