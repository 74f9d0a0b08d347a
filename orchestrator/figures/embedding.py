"""Embeddings as scatters: in the plane, in space, or projected there from more dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import NDArray

from orchestrator.figures.style import COLOURS, FAINT, INK, class_colour, new_figure, rendered

MOST_NAMED_CLASSES = 20  # more numbers than these would hide the points
NEIGHBOURS = 30  # t-SNE's perplexity, as in van der Maaten and Hinton 2008

assert Axes3D  # importing it is what makes the 3-D projection known


@dataclass(frozen=True)
class Panel:
    """One embedding to draw: points (n, D), their classes (n,) and a title.

    centres: the directions (C, D) of the class centres, where the head has any; drawn as rays from the origin.
    limits: half the side of the square or cube that is shown, around the origin; None fits it to the points.
    axes: names of the axes, where the points are no longer the embedding's own coordinates.
    """

    points: NDArray[Any]
    labels: NDArray[np.int64]
    title: str
    centres: NDArray[Any] | None = None
    limits: float | None = None
    axes: tuple[str, ...] | None = None


def principal(points: NDArray[np.float64], number: int) -> tuple[NDArray[np.float64], ...]:
    """Mean (D,), first principal directions (D, number), and the share of the variance of each (number,)."""
    middle = points.mean(0)
    _, lengths, directions = np.linalg.svd(points - middle, full_matrices=False)
    return middle, directions[:number].T, (lengths**2 / max(float((lengths**2).sum()), 1e-300))[:number]


def main_directions(points: NDArray[Any], number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points in their first principal components (n, number), and the share of the variance that each has."""
    points = np.asarray(points, np.float64)
    middle, directions, shares = principal(points, number)
    return (points - middle) @ directions, shares


def plane_or_space(points: NDArray[Any]) -> tuple[NDArray[np.float64], list[str]]:
    """Points in 2-D or 3-D and the names of their axes: the embedding's own, or from 4-D on a PCA's first three."""
    dimensions = points.shape[1]
    if dimensions <= 3:
        return np.asarray(points, np.float64), [f"x{number}" for number in range(1, dimensions + 1)]
    projected, shares = main_directions(points, 3)
    return projected, [f"PC {number} of {dimensions}-D ({share:.0%})" for number, share in enumerate(shares, start=1)]


def side_by_side(panels: Sequence[Panel], heading: str = "", columns: int = 3, inches: float = 4.2) -> Figure:
    """Embeddings side by side, classes in colour with their number at their median."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(inches * columns, inches * rows, layout="compressed")
    for position, panel in enumerate(panels, start=1):
        points, own_names = plane_or_space(panel.points)
        names = list(panel.axes) if panel.axes else own_names
        spatial = points.shape[1] == 3
        axes: Any = figure.add_subplot(rows, columns, position, projection="3d" if spatial else None)
        _draw(axes, points, panel, names)
        axes.set_title(panel.title, fontsize=10)
    if heading:
        figure.suptitle(heading, fontsize=11)
    return figure


def embedding_png(panel: Panel, inches: float = 4.2, dpi: int = 110) -> bytes:
    """PNG of one embedding. With margins of its own: to find them matplotlib would draw everything twice."""
    figure = new_figure(inches, inches, layout=None)
    points, own_names = plane_or_space(panel.points)
    spatial = points.shape[1] == 3
    place = (0.0, 0.01, 0.93, 0.92) if spatial else (0.12, 0.11, 0.86, 0.81)
    axes: Any = figure.add_axes(place, projection="3d" if spatial else None)
    _draw(axes, points, panel, list(panel.axes) if panel.axes else own_names)
    axes.set_title(panel.title, fontsize=10)
    return rendered(figure, "png", dpi)


def projections(points: NDArray[Any], labels: NDArray[np.int64], title: str) -> Figure:
    """For more than three dimensions: the first two principal components beside t-SNE."""
    from sklearn.manifold import TSNE

    plane, shares = main_directions(points, 2)
    perplexity = min(NEIGHBOURS, (len(points) - 1) / 3)
    finite = np.asarray(points, np.float32)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(finite)
    figure = new_figure(9.6, 4.8)
    for axes, shown, name in zip(
        figure.subplots(1, 2),
        (plane, np.asarray(tsne, np.float64)),
        (
            f"PCA: the two main directions, {shares.sum():.0%} of the variance",
            f"t-SNE, perplexity {perplexity:g}:\nneighbourhoods are kept, distances and sizes are not",
        ),
        strict=True,
    ):
        scatter(axes, shown, labels)
        numbers(axes, shown, labels)
        axes.set_title(name, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(title, fontsize=11)
    return figure


def scatter(axes: Any, points: NDArray[np.float64], labels: NDArray[np.int64], size: float = 4) -> None:
    """Points in the colours of their classes; as pixels even inside an SVG, for there are thousands."""
    axes.scatter(
        *points.T,
        c=labels % len(COLOURS),
        cmap=ListedColormap(COLOURS),
        vmin=0,
        vmax=len(COLOURS) - 1,
        s=size,
        linewidths=0,
        rasterized=True,
    )


def numbers(axes: Any, points: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """Each class's number at its median."""
    classes = np.unique(labels)
    if len(classes) > MOST_NAMED_CLASSES:
        return
    frame = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "boxstyle": "round,pad=0.15"}
    for label in classes:
        middle = np.median(points[labels == label], axis=0)
        axes.text(
            *middle,
            str(label),
            fontsize=9,
            fontweight="bold",
            color=INK,
            ha="center",
            va="center",
            bbox=frame,
            zorder=9,
        )


def _draw(axes: Any, points: NDArray[np.float64], panel: Panel, names: list[str]) -> None:
    spatial = points.shape[1] == 3
    if panel.centres is not None and panel.centres.shape[1] == points.shape[1]:
        reach = float(np.quantile(np.linalg.norm(points, axis=1), 0.99))
        for label, centre in enumerate(panel.centres / np.linalg.norm(panel.centres, axis=1, keepdims=True)):
            line = np.stack([np.zeros_like(centre), centre * reach])
            axes.plot(*line.T, color=class_colour(label), linewidth=1, alpha=0.6, zorder=1)
    scatter(axes, points, panel.labels)
    numbers(axes, points, panel.labels)
    for name, letter in zip(names, "xyz", strict=False):
        getattr(axes, f"set_{letter}label")(name, fontsize=8, labelpad=-4 if spatial else None)
    axes.locator_params(nbins=5)
    axes.tick_params(labelsize=7, pad=-2 if spatial else 3)
    if panel.limits is None:
        middle, half = (points.max(0) + points.min(0)) / 2, np.ptp(points, axis=0).max() / 2 or 1.0
    else:
        middle, half = np.zeros(points.shape[1]), panel.limits
    if not spatial:
        for side in axes.spines.values():
            side.set_color(FAINT)
        axes.axhline(0, color=FAINT, linewidth=0.5, zorder=0)
        axes.axvline(0, color=FAINT, linewidth=0.5, zorder=0)
        axes.set_aspect("equal")
        half *= 1.05
    half *= 1 + 1e-6  # no point lies outside by rounding
    for letter, centre in zip("xyz", middle, strict=False):
        getattr(axes, f"set_{letter}lim")(centre - half, centre + half)
    if spatial:
        axes.set_box_aspect((1, 1, 1), zoom=0.9)  # a cube, with room for the labels of the third axis
