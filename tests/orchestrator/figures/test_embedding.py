"""Pictures of embeddings: PNG bytes in 2-D, 3-D and beyond, with every panel drawn."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.figures.embedding import (
    Panel,
    embedding_png,
    main_directions,
    plane_or_space,
    projections,
    side_by_side,
)
from orchestrator.figures.style import COLOURS, rendered


def panel(dimensions: int, classes: int = 10) -> Panel:
    labels = np.arange(500) % classes
    centres = np.random.default_rng(0).normal(size=(classes, dimensions)) * 5
    points = centres[labels] + np.random.default_rng(1).normal(size=(500, dimensions))
    return Panel(points.astype(np.float16), labels, f"{dimensions}-D")


def picture(*panels: Panel) -> Image.Image:
    return Image.open(io.BytesIO(rendered(side_by_side(panels, "heading"), "png", 110))).convert("RGB")


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


def drawn(shown: Panel) -> Any:
    """The axes of a single panel."""
    (axes,) = side_by_side([shown]).axes
    return axes


def words(axes: Any) -> dict[str, Any]:
    return {text.get_text(): text for text in axes.texts if text.get_text()}


def test_each_class_bears_its_number_at_its_median() -> None:
    shown = panel(2, classes=4)
    found = words(drawn(shown))
    assert set(found) == {"0", "1", "2", "3"}
    for label in range(4):
        median = np.median(shown.points[shown.labels == label].astype(float), axis=0)
        assert found[str(label)].get_position() == pytest.approx(tuple(median))


@pytest.mark.parametrize("dimensions", [2, 3, 7])
def test_no_point_lies_outside_the_axes(dimensions: int) -> None:
    shown = panel(dimensions)
    axes = drawn(shown)
    points, names = plane_or_space(shown.points)
    for number, (letter, name) in enumerate(zip("xyz", names, strict=False)):
        low, high = getattr(axes, f"get_{letter}lim")()
        assert low <= points[:, number].min() <= points[:, number].max() <= high
        assert getattr(axes, f"get_{letter}label")() == name


@pytest.mark.parametrize("dimensions", [2, 3])
def test_all_axes_have_the_same_scale(dimensions: int) -> None:
    axes = drawn(panel(dimensions))
    spans = {round(np.ptp(getattr(axes, f"get_{letter}lim")()), 6) for letter in "xyz"[:dimensions]}
    assert len(spans) == 1
    if dimensions == 2:
        assert axes.get_aspect() == 1


@pytest.mark.parametrize("dimensions", [2, 3])
def test_given_limits_lie_around_the_origin(dimensions: int) -> None:
    axes = drawn(replace(panel(dimensions), limits=30.0))
    for letter in "xyz"[:dimensions]:
        low, high = getattr(axes, f"get_{letter}lim")()
        assert low == -high
        assert 30 <= high < 33


@pytest.mark.parametrize("dimensions", [2, 3])
def test_class_centres_are_rays_from_the_origin_in_their_colours(dimensions: int) -> None:
    centres = np.random.default_rng(2).normal(size=(4, dimensions)) * [[0.1], [1], [5], [20]]
    axes = drawn(replace(panel(dimensions, classes=4), centres=centres))
    rays = [line for line in axes.lines if line.get_color() in COLOURS]
    assert [ray.get_color() for ray in rays] == list(COLOURS[:4])
    lengths = []
    for ray, centre in zip(rays, centres, strict=True):
        start, end = np.array(ray.get_data_3d() if dimensions == 3 else ray.get_data()).T
        assert np.allclose(start, 0)
        assert np.allclose(end / np.linalg.norm(end), centre / np.linalg.norm(centre))
        lengths.append(np.linalg.norm(end))
    assert np.allclose(lengths, lengths[0])


def test_centres_in_more_dimensions_than_are_drawn_are_left_out() -> None:
    axes = drawn(replace(panel(5, classes=4), centres=np.eye(5)[:4]))
    assert not [line for line in axes.lines if line.get_color() in COLOURS]


@pytest.mark.parametrize("dimensions", [2, 3, 6])
def test_an_embedding_that_has_collapsed_to_a_point_is_drawn(dimensions: int) -> None:
    shown = Panel(np.ones((30, dimensions), np.float16), np.arange(30) % 3, "collapsed")
    assert embedding_png(shown, dpi=40)


@pytest.mark.parametrize("dimensions", [2, 3, 16])
def test_a_picture_of_one_embedding_has_its_colours_title_and_axes_inside(dimensions: int) -> None:
    drawn = embedding_png(replace(panel(dimensions), title="sphereface-000-seed-12, epoch 12: 0.9812"))
    with Image.open(io.BytesIO(drawn)) as png:
        pixels = np.asarray(png.convert("RGB")).astype(int)
    ink = pixels.min(2) < 200
    assert (np.ptp(pixels, axis=2) > 40).sum() > 300
    assert ink[:40].any()  # the title
    assert not any(edge.any() for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]))  # nothing is cut off


def test_main_directions_hold_their_share_of_the_variance() -> None:
    points = np.random.default_rng(0).normal(size=(400, 4)) * [10, 3, 1, 0.1] + 50
    projected, shares = main_directions(points, 2)
    variances = points.var(0)
    assert shares == pytest.approx(variances[:2] / variances.sum(), abs=0.02)
    assert projected.var(0) / variances.sum() == pytest.approx(shares)


@pytest.mark.parametrize("classes", [3, 25])
def test_projections_show_pca_beside_tsne_and_say_so(classes: int) -> None:
    shown = panel(5, classes)
    figure = projections(shown.points[:60], shown.labels[:60], "title")
    pca, tsne = figure.axes
    assert pca.get_title().startswith("PCA: the two main directions, ")
    assert f"perplexity {59 / 3:g}" in tsne.get_title()
    for axes in figure.axes:
        assert len(axes.collections[0].get_offsets()) == 60
        assert not len(axes.get_xticks())
        assert len(words(axes)) == (classes if classes <= 20 else 0)
    assert rendered(figure, "png", 40)
