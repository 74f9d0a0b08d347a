"""Pictures of embeddings: PNG bytes in 2-D, 3-D and beyond, with every panel drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from orchestrator.plots.embedding import Panel, embeddings_png, plane_or_space
from orchestrator.plots.style import COLOURS


def panel(dimensions: int, classes: int = 10) -> Panel:
    labels = np.arange(500) % classes
    centres = np.random.default_rng(0).normal(size=(classes, dimensions)) * 5
    points = centres[labels] + np.random.default_rng(1).normal(size=(500, dimensions))
    return Panel(points.astype(np.float16), labels, f"{dimensions}-D")


def picture(*panels: Panel) -> Image.Image:
    return Image.open(io.BytesIO(embeddings_png(panels, "heading"))).convert("RGB")


def test_every_class_shows_in_its_own_colour() -> None:
    shown = {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in picture(panel(2)).getcolors(10**6) or []}
    assert set(COLOURS) <= shown


@pytest.mark.parametrize("dimensions", [3, 16])
def test_points_in_space_are_drawn_in_colour(dimensions: int) -> None:
    pixels = np.asarray(picture(panel(dimensions))).astype(int)
    coloured = np.ptp(pixels, axis=2) > 40
    assert coloured.sum() > 300


def test_many_classes_are_drawn_without_their_numbers() -> None:
    dark = np.asarray(picture(panel(2, classes=20)).convert("L")) < 40
    bare = np.asarray(picture(panel(2, classes=21)).convert("L")) < 40
    assert dark.sum() > bare.sum()


def test_panels_stand_three_in_a_row() -> None:
    one, six = picture(panel(2)).size, picture(*[panel(2)] * 6).size
    assert six == (3 * one[0], 2 * one[1])


def test_up_to_three_dimensions_are_shown_as_they_are_and_more_by_their_main_three() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)) * [9, 3, 1]
    assert (plane_or_space(points)[0] == points).all()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    projected, axes = plane_or_space(np.pad(points, ((0, 0), (0, 2))) @ rotation)
    assert projected.shape == (50, 3)
    assert axes[0].startswith("PC 1 of 5-D")
    spread = points - points.mean(0)
    assert np.allclose(np.linalg.norm(projected, axis=1), np.linalg.norm(spread, axis=1))
