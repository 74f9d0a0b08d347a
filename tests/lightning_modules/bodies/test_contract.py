"""What every body must give: found by its file, its options with bounds, a network for any image, its own size."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from lightning_modules.bodies import BODIES
from lightning_modules.bodies.base import Body, measured
from lightning_modules.registry import RegistryError

SHAPES = [(28, 28, 1), (32, 32, 3), (9, 17, 2), (1, 1, 1)]


def variants(kind: type[Body]) -> list[Body]:
    """The body as it is by default, and with every option at its lowest bound, which its schema states."""
    schema = kind.model_json_schema()["properties"]
    least = {name: schema[name].get("minimum", field.default) for name, field in kind.model_fields.items()}
    return [kind(**{"name": kind.model_fields["name"].default, **options}) for options in ({}, least)]


EVERY = [each for kind in BODIES.by_name.values() for each in variants(kind)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("body", EVERY, ids=str)
def test_a_body_maps_any_image_to_an_embedding_and_knows_its_size(body: Body, shape: tuple[int, int, int]) -> None:
    rows, columns, channels = shape
    for embedding_dim in (2, 16):
        network = body.build(shape, embedding_dim)
        assert network(torch.randn(4, channels, rows, columns)).shape == (4, embedding_dim)
        assert body.size(shape, embedding_dim) == measured(body, shape, embedding_dim)
        assert body.size(shape, embedding_dim).parameters == sum(each.numel() for each in network.parameters())


@pytest.mark.parametrize("body", EVERY, ids=str)
def test_every_parameter_of_a_body_is_trained_and_every_pixel_counts(body: Body) -> None:
    torch.manual_seed(0)
    network = body.build((28, 28, 1), 3)
    images = torch.randn(8, 1, 28, 28, requires_grad=True)
    network(images)[:, 0].square().mul(torch.arange(8.0)).sum().backward()

    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    assert images.grad is not None
    assert (images.grad.abs().sum((0, 1)) > 0).all()


@pytest.mark.parametrize("body", EVERY, ids=str)
def test_a_body_is_made_again_from_its_name_and_options(body: Body) -> None:
    assert BODIES.make(body.name, **body.options()) == body
    assert all(field.default is not None for field in type(body).model_fields.values())
    assert type(body).__doc__


def test_an_unknown_body_is_refused_with_those_that_there_are_and_the_nearest() -> None:
    with pytest.raises(RegistryError, match=r"body must be one of strided, reference, but got 'resnet'$"):
        BODIES.make("resnet")
    with pytest.raises(RegistryError, match="did you mean strided"):
        BODIES.make("stridden")


@pytest.mark.parametrize("options", [{"depth": 4}, {"width": 0}, {"width": 1e9}, {"width": "8"}, {"name": "reference"}])
def test_options_that_a_body_does_not_have_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(RegistryError, match=f"body strided has wrong options: {next(iter(options))}"):
        BODIES.make("strided", **options)


def test_bodies_are_found_and_counted_without_torch() -> None:
    """So that a plan answers at once."""
    code = (
        "import sys; from lightning_modules.bodies import BODIES\n"
        "for name in BODIES.by_name: BODIES.make(name).size((28, 28, 1), 3)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
