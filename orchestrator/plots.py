"""Pictures of embeddings. Arrays in, PNG bytes out; the only file that imports matplotlib.

Figures are drawn without pyplot, so that any one thread may draw them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import NDArray

# Ten colours told apart with any colour vision (Petroff 2021, arXiv:2107.02270)
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
MOST_NAMED_CLASSES = 20  # more numbers than these would hide the points

assert Axes3D  # importing it is what makes the 3-D projection known


@dataclass(frozen=True)
class Panel:
    """One embedding to draw: points (n, D), their classes (n,) and a title."""

    points: NDArray[Any]
    labels: NDArray[np.int64]
    title: str


def plane_or_space(points: NDArray[Any]) -> tuple[NDArray[np.float64], str]:
    """Points in 2-D or 3-D, and what their axes are: the embedding's own, or from 4-D on the main three of a PCA."""
    points = np.asarray(points, np.float64)
    dimensions = points.shape[1]
    if dimensions <= 3:
        return points, "x"
    centred = points - points.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:3].T, f"PCA of {dimensions}-D, component "


def embeddings_png(
    panels: Sequence[Panel], heading: str = "", columns: int = 3, inches: float = 4.2, dpi: int = 110
) -> bytes:
    """PNG of embeddings side by side, classes in colour with their number at their median."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(inches * columns, inches * rows), dpi=dpi, layout="compressed")
    FigureCanvasAgg(figure)
    for position, panel in enumerate(panels, start=1):
        points, axis = plane_or_space(panel.points)
        spatial = points.shape[1] == 3
        axes: Any = figure.add_subplot(rows, columns, position, projection="3d" if spatial else None)
        _draw(axes, points, panel.labels, axis)
        axes.set_title(panel.title, fontsize=10)
    if heading:
        figure.suptitle(heading, fontsize=11)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _draw(axes: Any, points: NDArray[np.float64], labels: NDArray[np.int64], axis: str) -> None:
    classes = np.unique(labels)
    shown = labels % len(COLOURS)
    axes.scatter(*points.T, c=shown, cmap=ListedColormap(COLOURS), vmin=0, vmax=len(COLOURS) - 1, s=4, linewidths=0)
    if len(classes) <= MOST_NAMED_CLASSES:
        frame = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "boxstyle": "round,pad=0.15"}
        for label in classes:
            middle = np.median(points[labels == label], axis=0)
            axes.text(
                *middle,
                str(label),
                fontsize=9,
                fontweight="bold",
                ha="center",
                va="center",
                bbox=frame,
                zorder=9,
            )
    spatial = points.shape[1] == 3
    for number, letter in zip(range(1, points.shape[1] + 1), "xyz", strict=False):
        getattr(axes, f"set_{letter}label")(f"{axis}{number}", fontsize=8, labelpad=-4 if spatial else None)
    axes.locator_params(nbins=5)
    axes.tick_params(labelsize=7, pad=-2 if spatial else 3)
    if not spatial:
        axes.set_aspect("equal")
        return
    middle, half = (points.max(0) + points.min(0)) / 2, np.ptp(points, axis=0).max() / 2
    for letter, centre in zip("xyz", middle, strict=True):
        getattr(axes, f"set_{letter}lim")(centre - half, centre + half)
    axes.set_box_aspect((1, 1, 1), zoom=0.9)  # a cube, with room for the labels of the third axis
