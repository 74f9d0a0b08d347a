"""Classes against each other: written numbers are the counts, nearest classes, right and wrong points, volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.figures import classes
from orchestrator.figures.style import COLOURS, INK, rendered

CLASSES = 5


def counts(number: int = CLASSES) -> NDArray[np.int64]:
    table = np.random.default_rng(0).integers(0, 3, (number, number))
    table[0, 1:] = [7, 0, 1, 30]
    np.fill_diagonal(table, 900 + np.arange(number))
    return table


def written(axes: Any) -> dict[tuple[float, float], str]:
    """(row, column) → what stands there."""
    return {(y, x): text.get_text() for text in axes.texts for x, y in [text.get_position()]}


def test_the_written_numbers_of_a_confusion_matrix_are_its_counts_and_zero_stays_empty() -> None:
    table = counts()
    figure = classes.confusion(table.tolist(), "title")
    assert written(figure.axes[0]) == {place: str(count) for place, count in np.ndenumerate(table) if count}
    assert figure.axes[0].get_ylabel() == "class"
    assert rendered(figure, "png", 40)


def test_every_number_of_a_confusion_matrix_stands_out_from_its_cell() -> None:
    axes = classes.confusion([[1, 10, 100], [1000, 3, 30], [300, 3000, 5]], "title").axes[0]
    (image,) = axes.images
    for text in axes.texts:
        column, row = (round(place) for place in text.get_position())
        cell, ink = (luminance(colour) for colour in (image.to_rgba(image.get_array())[row, column], text.get_color()))
        assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) >= 3


def luminance(colour: Any) -> float:
    from matplotlib.colors import to_rgb

    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("number", [2, 30, 31, 120])
def test_a_confusion_matrix_of_any_size_is_drawn_and_a_large_one_without_numbers(number: int) -> None:
    figure = classes.confusion(np.eye(number, dtype=int).tolist(), "title")
    assert len(written(figure.axes[0])) == (number if number <= 30 else 0)
    if number in (2, 31):
        assert rendered(figure, "png", 40)


def line_of_classes(number: int, each: int = 6) -> tuple[Any, Any, Any]:
    """Centres 1, 2, 4, 8 … apart on a line, points around them: (apart, others, labels)."""
    at = np.cumsum(1.5 ** np.arange(number)) if number <= CLASSES else np.arange(number) * 2.0
    labels = np.repeat(np.arange(number), each)
    points = at[labels] + np.random.default_rng(0).normal(0, 0.2, len(labels))
    return np.abs(at[:, None] - at), np.abs(points[:, None] - at), labels


def test_each_class_stands_against_the_one_whose_centre_is_nearest() -> None:
    apart, others, labels = line_of_classes(CLASSES)
    figure = classes.nearest_pairs(apart, others, labels, None, "distance", "title")
    assert [axes.get_title() for axes in figure.axes[:CLASSES]] == [
        f"{label} ● and its nearest, {other} ▲" for label, other in enumerate([1, 0, 1, 2, 3])
    ]
    for label, axes in enumerate(figure.axes[:CLASSES]):
        other = [1, 0, 1, 2, 3][label]
        assert axes.get_xlabel() == f"to centre of {label} (distance)"
        for which, scatter in zip((label, other), axes.collections[-2:], strict=True):
            assert np.allclose(scatter.get_offsets(), others[labels == which][:, [label, other]])
            assert np.allclose(scatter.get_facecolor()[0, :3], rgb(COLOURS[which]))
    assert rendered(figure, "png", 40)


def rgb(colour: str) -> list[float]:
    return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def test_the_grey_half_is_where_the_other_centre_is_nearer() -> None:
    apart, others, labels = line_of_classes(3)
    axes = classes.nearest_pairs(apart, others, labels, None, "distance", "title").axes[0]
    grey = axes.collections[0].get_paths()[0]
    most = axes.get_xlim()[1]
    assert grey.contains_point((0.8 * most, 0.3 * most))
    assert not grey.contains_point((0.3 * most, 0.8 * most))


def test_a_far_outlier_stands_at_the_border_and_does_not_shrink_the_rest() -> None:
    apart, others, labels = line_of_classes(3, each=200)
    others[0] = 1000
    axes = classes.nearest_pairs(apart, others, labels, None, "distance", "title").axes[0]
    low, high = axes.get_xlim()
    assert high < 20
    for scatter in axes.collections[-2:]:
        points = np.asarray(scatter.get_offsets())
        assert low <= points.min() <= points.max() < high


def test_the_margin_draws_a_border_on_both_sides_of_the_diagonal() -> None:
    apart, others, labels = line_of_classes(2)
    own, other = np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.5, 2.5])
    figure = classes.nearest_pairs(apart, others, labels, (own, other), "°", "title")
    dashed = [line.get_data() for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert np.allclose(dashed, [(own, other), (other, own)])


def test_of_more_than_twenty_classes_those_with_the_most_wrong_points_are_shown() -> None:
    apart, others, labels = line_of_classes(26)
    spoiled = [25, 0, *range(4, 22)]
    nearest = np.where(np.eye(26, dtype=bool), np.inf, apart).argmin(1)
    for label in spoiled:
        others[np.flatnonzero(labels == label)[0], nearest[label]] = 0
    figure = classes.nearest_pairs(apart, others, labels, None, "distance", "title")
    titles = [int(axes.get_title().split()[0]) for axes in figure.axes if axes.get_title()]
    assert titles == sorted(spoiled)


def histogram(right: list[int], wrong: list[int]) -> dict[str, Any]:
    return {"edges": np.linspace(0, 4, len(right) + 1).tolist(), "right": right, "wrong": wrong}


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.get_title()]


def test_each_cluster_says_how_many_of_its_points_are_right_and_wrong() -> None:
    given = [histogram([900, 334, 0, 0], [0, 0, 1, 4]), None, histogram([5, 5, 5, 5], [0, 0, 0, 0])]
    figure = classes.mahalanobis(given, 3, "title")
    assert [axes.get_title() for axes in panels(figure)] == ["0: 1,234 right, 5 wrong", "2: 20 right, 0 wrong"]
    for axes, known in zip(panels(figure), [given[0], given[2]], strict=True):
        assert known
        right, wrong = (patch.get_data().values for patch in axes.patches)
        assert [*right] == known["right"]
        assert [*wrong] == known["wrong"]
    assert rendered(figure, "png", 40)


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_the_dashed_curve_is_what_points_of_a_normal_distribution_give(dimensions: int) -> None:
    lengths = np.linalg.norm(np.random.default_rng(0).normal(size=(20_000, dimensions)), axis=1)
    counted, edges = np.histogram(lengths, np.linspace(0, lengths.max(), 30))
    given = {"edges": edges.tolist(), "right": counted.tolist(), "wrong": [0] * 29}
    (axes,) = panels(classes.mahalanobis([given], dimensions, "title"))
    at, expected = next(line.get_data() for line in axes.lines if line.get_linestyle() == "--")
    middles = (edges[1:] + edges[:-1]) / 2
    assert np.interp(middles, at, expected) == pytest.approx(counted, abs=5 * np.sqrt(counted.max()))


def test_flat_clusters_alone_are_said_to_be_flat() -> None:
    figure = classes.mahalanobis([None, None], 3, "title")
    assert [text.get_text() for text in figure.axes[0].texts] == ["every cluster is flat"]
    assert rendered(figure, "png", 40)


def test_of_more_than_twenty_clusters_those_with_the_most_wrong_points_are_shown() -> None:
    given = [histogram([9, 9], [0, number % 7]) for number in range(23)]
    shown = [int(axes.get_title().split(":")[0]) for axes in panels(classes.mahalanobis(given, 3, "title"))]
    assert len(shown) == 20
    assert shown == sorted(shown)
    assert not {0, 7, 14, 21} <= set(shown)


def cluster(hull: float | None, ellipsoid: float | None) -> dict[str, Any]:
    return {"points": 9, "hull_share": hull, "ellipsoid_share": ellipsoid}


def marks(axes: Any) -> set[tuple[str, float, int]]:
    """(colour, share, row) of every mark."""
    found = [line for line in axes.lines if line.get_marker() in ("o", "D") and len(line.get_xdata())]
    return {(line.get_color(), *map(float, line.get_xdata()), *map(int, line.get_ydata())) for line in found}


def test_shares_of_volume_stand_in_the_colour_of_their_cluster_the_largest_first() -> None:
    axes = classes.volumes([cluster(0.1, 0.02), {"points": 1}, cluster(0.4, None)], "title").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2", "0"]
    assert marks(axes) == {(COLOURS[2], 0.4, 0), (COLOURS[0], 0.1, 1), (COLOURS[0], 0.02, 1)}
    low, high = axes.get_xlim()
    assert low < 0.02 < 0.4 < high


@pytest.mark.parametrize(
    "given",
    [[cluster(0.0, 0.3), cluster(1e-9, 0.2)], [cluster(None, 0.1)], [cluster(2.5, 3.0)] * 60, [cluster(0.0, None)]],
    ids=["a flat hull", "no hull", "many", "nothing"],
)
def test_volumes_that_are_unknown_or_nothing_break_no_picture(given: list[dict[str, Any]]) -> None:
    figure = classes.volumes(given, "title")
    assert len(figure.axes[0].get_yticklabels()) <= 40
    assert rendered(figure, "png", 40)
    assert rendered(figure, "svg", 40)


def test_wrong_points_are_outlined_in_ink() -> None:
    figure = classes.mahalanobis([histogram([3, 2], [0, 1])], 3, "title")
    (axes,) = panels(figure)
    assert np.allclose(axes.patches[1].get_edgecolor()[:3], rgb(INK))
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"right", "wrong", "if normal"}
