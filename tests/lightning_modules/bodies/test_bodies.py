"""What the docstrings of the two bodies count, and what their options do."""

from __future__ import annotations

import pytest
from torch import nn

from lightning_modules.bodies.reference import Reference
from lightning_modules.bodies.strided import Strided

SHAPE = (28, 28, 1)


def layers(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, kind)]


def test_the_strided_body_costs_what_its_docstring_says() -> None:
    strided, reference = (body.size(SHAPE, 3).multiply_adds for body in (Strided(), Reference()))
    assert strided == pytest.approx(0.75e6, rel=0.01)
    assert reference == pytest.approx(17e6, rel=0.03)
    assert round(reference / strided) == 23


@pytest.mark.parametrize(("hidden", "sizes"), [(0, [(1024, 3)]), (50, [(1024, 50), (50, 50), (50, 3)])])
def test_hidden_layers_of_the_strided_body(hidden: int, sizes: list[tuple[int, int]]) -> None:
    linear = layers(Strided(hidden=hidden).build(SHAPE, 3), nn.Linear)
    assert [(layer.in_features, layer.out_features) for layer in linear] == sizes


@pytest.mark.parametrize(("width", "channels"), [(8, [8, 16, 32]), (16, [16, 32, 64])])
def test_width_scales_the_strided_body(width: int, channels: list[int]) -> None:
    assert [layer.out_channels for layer in layers(Strided(width=width).build(SHAPE, 3), nn.Conv2d)] == channels


@pytest.mark.parametrize("depth", [1, 12])
def test_depth_is_the_number_of_stages_of_the_reference_body(depth: int) -> None:
    assert len(layers(Reference(depth=depth).build(SHAPE, 3), nn.BatchNorm2d)) == depth
