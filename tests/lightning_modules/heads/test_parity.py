"""The margin heads against pytorch-metric-learning 2.9, in value and gradient.

Deliberate differences, each shown below:
- ArcFace: beyond θ = π - m it falls back to cos θ - m·sin m, a jump of 1 - cos m - m·sin m; ours falls on.
- ArcFace: its margin is in degrees.
- SphereFace: it takes the margin's whole part; ours is any real number. Its scale multiplies ‖x‖, and ours
  replaces it.
- All: it finds angles with acos, so its gradient is infinite on a centre; ours is finite.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pytorch_metric_learning import losses
from torch import Tensor

CLASSES, DIMENSIONS = 5, 3

# the library hands torch tensors to a NumPy ufunc, whose protocol torch implements in its NumPy 1 form
numpy_1_protocol = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning")


def batch(widest_rad: float = math.pi) -> tuple[Tensor, Tensor, Tensor]:
    """Centres, embeddings of any length and labels, each embedding within `widest_rad` of its own centre."""
    generator = torch.Generator().manual_seed(7)
    centres_CD = torch.randn(CLASSES, DIMENSIONS, generator=generator, dtype=torch.float64)
    points_BD = 3 * torch.randn(256, DIMENSIONS, generator=generator, dtype=torch.float64)
    labels_B = torch.randint(CLASSES, (256,), generator=generator)
    angles_B = torch.cosine_similarity(points_BD, centres_CD[labels_B]).acos()
    near_B = angles_B < widest_rad
    return centres_CD, points_BD[near_B], labels_B[near_B]


def assert_equal_losses(head: Any, library: Any, centres_CD: Tensor, points_BD: Tensor, labels_B: Tensor) -> None:
    head.double().centres.data = centres_CD.clone()
    library.W.data = centres_CD.T.clone()
    ours_BD, theirs_BD = points_BD.clone().requires_grad_(), points_BD.clone().requires_grad_()
    ours, theirs = head.loss(ours_BD, labels_B), library(theirs_BD, labels_B)
    ours.backward()
    theirs.backward()

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(ours_BD.grad, theirs_BD.grad)
    torch.testing.assert_close(head.centres.grad, library.W.grad.T)


@pytest.mark.parametrize("margin_rad", [0.0, 0.1, 0.5, 1.2])
def test_arcface_agrees_up_to_the_angle_where_the_library_jumps(margin_rad: float, make_head: Any) -> None:
    head = make_head("arcface", margin_rad=margin_rad, scale=16.0)
    library = losses.ArcFaceLoss(CLASSES, DIMENSIONS, margin=math.degrees(margin_rad), scale=16)
    assert_equal_losses(head, library, *batch(math.pi - margin_rad))


def test_arcface_falls_smoothly_where_the_library_jumps_down(make_head: Any) -> None:
    margin_rad, step = 0.5, 1e-6
    angles = torch.tensor([-step, step], dtype=torch.float64) + math.pi - margin_rad
    head = make_head("arcface", margin_rad=margin_rad, scale=1.0)
    library = losses.ArcFaceLoss(CLASSES, DIMENSIONS, margin=math.degrees(margin_rad), scale=1)

    ours, theirs = (
        head.target_cosine(angles).diff(),
        library.modify_cosine_of_target_classes(angles.cos()).diff(),
    )
    assert -1e-9 < ours.item() < 0
    assert theirs.item() == pytest.approx(1 - math.cos(margin_rad) - margin_rad * math.sin(margin_rad), abs=1e-5)


@pytest.mark.parametrize("margin_cos", [0.0, 0.1, 0.35, 1.5])
def test_cosface_agrees_everywhere(margin_cos: float, make_head: Any) -> None:
    head = make_head("cosface", margin_cos=margin_cos, scale=16.0)
    library = losses.CosFaceLoss(CLASSES, DIMENSIONS, margin=margin_cos, scale=16)
    assert_equal_losses(head, library, *batch())


@numpy_1_protocol
@pytest.mark.parametrize("margin_mult", [1, 2, 3, 4])
def test_sphereface_agrees_for_whole_margins(margin_mult: int, make_head: Any) -> None:
    head = make_head("sphereface", margin_mult=margin_mult)
    library = losses.SphereFaceLoss(CLASSES, DIMENSIONS, margin=margin_mult, scale=1)
    assert_equal_losses(head, library, *batch())


@numpy_1_protocol
@pytest.mark.parametrize("margin_mult", [1, 2, 3, 4])
def test_sphereface_of_fixed_magnitude_is_the_librarys_on_embeddings_of_that_length(
    margin_mult: int, make_head: Any
) -> None:
    scale = 9.0
    head = make_head("sphereface", margin_mult=margin_mult, magnitude="fixed", scale=scale).double()
    library = losses.SphereFaceLoss(CLASSES, DIMENSIONS, margin=margin_mult, scale=1)
    centres_CD, points_BD, labels_B = batch()
    head.centres.data, library.W.data = centres_CD.clone(), centres_CD.T.clone()
    ours = head.loss(points_BD, labels_B)
    theirs = library(scale * torch.nn.functional.normalize(points_BD), labels_B)
    ours.backward()
    theirs.backward()

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(head.centres.grad, library.W.grad.T)


@numpy_1_protocol
def test_sphereface_keeps_the_fraction_that_the_library_drops(make_head: Any) -> None:
    centres_CD, points_BD, labels_B = batch()
    library = losses.SphereFaceLoss(CLASSES, DIMENSIONS, margin=1.9, scale=1)
    library.W.data = centres_CD.T.clone()
    values = []
    for margin_mult in (1.0, 1.9):
        head = make_head("sphereface", margin_mult=margin_mult).double()
        head.centres.data = centres_CD.clone()
        values.append(head.loss(points_BD, labels_B).item())

    assert library(points_BD, labels_B).item() == pytest.approx(values[0])
    assert values[1] > values[0] + 0.1


def test_gradient_is_finite_on_a_centre_where_the_librarys_is_not(make_head: Any) -> None:
    head = make_head("arcface", margin_rad=0.5, scale=16.0).double()
    library = losses.ArcFaceLoss(CLASSES, DIMENSIONS, margin=math.degrees(0.5), scale=16)
    head.centres.data[0] = torch.tensor([1.0, 0.0, 0.0])
    library.W.data = head.centres.data.T.clone()
    finite = []
    for loss in (head.loss, library):
        point = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
        loss(point, torch.tensor([0])).backward()
        finite.append(bool(point.grad is not None and point.grad.isfinite().all()))

    assert finite == [True, False]
