"""The bodies: shapes, sizes, options and what their docstrings count."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_modules import bodies


@pytest.mark.parametrize("name", bodies.BODIES)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (9, 17, 2), (1, 1, 1)])
@pytest.mark.parametrize("embedding_dim", [2, 3, 16])
def test_a_body_maps_any_image_to_an_embedding(name: str, shape: tuple[int, int, int], embedding_dim: int) -> None:
    rows, columns, channels = shape
    body = bodies.build(name, shape, embedding_dim)
    assert body(torch.randn(4, channels, rows, columns)).shape == (4, embedding_dim)


@pytest.mark.parametrize("name", bodies.BODIES)
def test_every_parameter_of_a_body_is_trained_and_every_pixel_counts(name: str) -> None:
    torch.manual_seed(0)
    body = bodies.build(name, (28, 28, 1), 3)
    images = torch.randn(8, 1, 28, 28, requires_grad=True)
    body(images)[:, 0].square().mul(torch.arange(8.0)).sum().backward()

    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in body.parameters())
    assert images.grad is not None
    assert (images.grad.abs().sum((0, 1)) > 0).all()


def test_the_strided_body_costs_what_its_docstring_says() -> None:
    shape = (28, 28, 1)
    strided, reference = (bodies.multiply_adds(name, shape, 3) for name in bodies.BODIES)
    assert strided == pytest.approx(0.75e6, rel=0.01)
    assert reference == pytest.approx(17e6, rel=0.03)
    assert round(reference / strided) == 23


@pytest.mark.parametrize(("hidden", "sizes"), [(0, [(1024, 3)]), (50, [(1024, 50), (50, 50), (50, 3)])])
def test_hidden_layers_of_the_strided_body(hidden: int, sizes: list[tuple[int, int]]) -> None:
    body = bodies.strided((28, 28, 1), 3, hidden=hidden)
    assert [(layer.in_features, layer.out_features) for layer in body if isinstance(layer, nn.Linear)] == sizes


def test_width_scales_the_strided_body() -> None:
    narrow, wide = (bodies.build("strided", (28, 28, 1), 3, width=width) for width in (8, 16))
    assert [layer.out_channels for layer in narrow if isinstance(layer, nn.Conv2d)] == [8, 16, 32]
    assert [layer.out_channels for layer in wide if isinstance(layer, nn.Conv2d)] == [16, 32, 64]


@pytest.mark.parametrize("depth", [0, 1, 12])
def test_depth_is_the_number_of_stages_of_the_reference_body(depth: int) -> None:
    body = bodies.build("reference", (28, 28, 1), 3, depth=depth)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in body) == depth
    assert body(torch.randn(2, 1, 28, 28)).shape == (2, 3)


def test_an_unknown_body_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="body must be one of strided, reference, but got 'resnet'"):
        bodies.build("resnet", (28, 28, 1), 3)


def test_an_option_of_another_body_is_refused() -> None:
    with pytest.raises(TypeError, match="depth"):
        bodies.build("strided", (28, 28, 1), 3, depth=4)
