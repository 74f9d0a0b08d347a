"""Classes against each other: who is taken for whom, who is near whom, and how much space each takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import chi

from orchestrator.figures.style import FAINT, INK, SEQUENTIAL, class_colour, log_ticks, new_figure, plain

Array = NDArray[np.float64]
MOST_PANELS = 20  # small multiples; with more classes the most interesting ones are shown
MOST_WRITTEN = 30  # classes up to which every cell of a confusion matrix bears its number


def _panels(number: int, title: str, inches: float = 2.3) -> tuple[Figure, list[Any]]:
    columns = min(5, number)
    rows = -(-number // columns)
    figure = new_figure(inches * columns, inches * rows + 0.5)
    figure.suptitle(title, fontsize=11)
    axes = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for unused in axes[number:]:
        unused.axis("off")
    return figure, axes[:number]


def confusion(counts: Sequence[Sequence[int]], title: str) -> Figure:
    """Rows are classes, columns the clusters matched to them; the diagonal is right."""
    table = np.asarray(counts)
    classes = len(table)
    side = float(np.clip(0.46 * classes + 1.4, 3.6, 11))
    figure = new_figure(side + 0.6, side)
    axes = figure.add_subplot()
    image = axes.imshow(np.where(table > 0, table, np.nan), cmap=SEQUENTIAL, norm=LogNorm(1, max(2, table.max())))
    if classes <= MOST_WRITTEN:
        dark = np.sqrt(max(2, table.max()))
        for (row, column), count in np.ndenumerate(table):
            if count:
                colour = "white" if count > dark else INK
                axes.text(column, row, f"{count}", ha="center", va="center", fontsize=7.5, color=colour)
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
    plain(axes, "cluster, by the class that it is matched with", "class", grid=False)
    figure.colorbar(image, ax=axes, shrink=0.8, label="images (logarithmic)")
    axes.set_title(title, fontsize=10)
    return figure


def nearest_pairs(
    apart: Array, others: Array, labels: NDArray[np.int64], boundary: tuple[Array, Array] | None, unit: str, title: str
) -> Figure:
    """For each class and its nearest other one: how far the points of both lie from both centres.

    apart (C, C): how far the centres are from each other, NaN for one that is unknown.
    others (n, C): how far every point is from every centre.
    boundary: a curve (to the own centre, to the other) on which training still sees a draw, because of the margin.
    """
    nearest = np.where(np.eye(len(apart), dtype=bool) | np.isnan(apart), np.inf, apart).argmin(1)
    classes = np.unique(labels)
    if len(classes) > MOST_PANELS:  # those with the most points nearer to the other centre
        wrong = {
            label: np.mean(others[labels == label, label] > others[labels == label, nearest[label]])
            for label in classes
        }
        classes = np.sort(sorted(classes, key=lambda label: -wrong[label])[:MOST_PANELS])
    figure, panels = _panels(len(classes), title)
    for axes, label in zip(panels, classes, strict=True):
        other = nearest[label]
        shown = np.isin(labels, (label, other))
        pair = others[shown][:, (label, other)]
        most = 1.05 * float(min(pair.max(), max(np.quantile(pair, 0.98), 1.5 * apart[label, other])))
        axes.fill_between([0, most], [0, 0], [0, most], color="#f1f1f1", linewidth=0, zorder=0)
        for which, marker in ((label, "o"), (other, "^")):
            points = np.minimum(others[labels == which], 0.99 * most)  # a far outlier stands at the border
            axes.scatter(
                points[:, label],
                points[:, other],
                s=6,
                color=class_colour(int(which)),
                marker=marker,
                linewidths=0,
                alpha=0.7,
                rasterized=True,
            )
        axes.plot([0, most], [0, most], color=FAINT, linewidth=0.8)
        if boundary is not None:
            axes.plot(*boundary, color=INK, linewidth=0.9, linestyle="--")
            axes.plot(boundary[1], boundary[0], color=INK, linewidth=0.9, linestyle="--")
        axes.set(xlim=(0, most), ylim=(0, most))
        plain(axes, f"to centre of {label} ({unit})", f"to centre of {other} ({unit})", grid=False)
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_size(8)
        axes.yaxis.label.set_size(8)
        axes.set_title(f"{label} ● and its nearest, {other} ▲", fontsize=9)
    return figure


def mahalanobis(histograms: Sequence[dict[str, Any] | None], dimensions: int, title: str) -> Figure:
    """For each cluster how far its right and its wrong points lie from its centre, in standard deviations."""
    known = [(number, histogram) for number, histogram in enumerate(histograms) if histogram]
    known = sorted(known, key=lambda item: -sum(item[1]["wrong"]))[:MOST_PANELS]
    figure, panels = _panels(max(1, len(known)), title)
    if not known:
        panels[0].text(0.5, 0.5, "every cluster is flat", ha="center")
    for axes, (number, histogram) in zip(panels, sorted(known, key=lambda item: item[0]), strict=False):
        edges, right, wrong = (np.asarray(histogram[name], float) for name in ("edges", "right", "wrong"))
        axes.stairs(right, edges, fill=True, color=class_colour(number), alpha=0.75, label="right")
        axes.stairs(wrong, edges, color=INK, linewidth=1.2, label="wrong")
        at = np.linspace(0, edges[-1], 200)
        expected = chi(dimensions).pdf(at) * (right.sum() + wrong.sum()) * (edges[1] - edges[0])
        axes.plot(at, expected, color=FAINT, linewidth=1, linestyle="--", label="if normal")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, None)
        axes.set_xlim(0, edges[-1])
        plain(axes, "Mahalanobis distance", "images")
        axes.tick_params(labelsize=7)
        axes.set_title(f"{number}: {int(right.sum()):,} right, {int(wrong.sum()):,} wrong", fontsize=9)
    if known:
        handles, words = panels[0].get_legend_handles_labels()
        figure.legend(handles, words, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def volumes(clusters: Sequence[dict[str, Any]], title: str) -> Figure:
    """The share of the whole embedding's volume that each cluster takes, by hull and by error ellipsoid."""
    kinds = {"hull_share": ("convex hull", "o"), "ellipsoid_share": ("95% error ellipsoid", "D")}
    rows = [
        (number, {kind: cluster.get(kind) or None for kind in kinds})  # a logarithm shows no zero
        for number, cluster in enumerate(clusters)
        if any(cluster.get(kind) for kind in kinds)
    ]
    rows = sorted(rows, key=lambda row: -max(value or 0 for value in row[1].values()))[:40]
    figure = new_figure(6.4, 0.26 * max(4, len(rows)) + 1.2)
    axes = figure.add_subplot()
    for place, (number, shares) in enumerate(rows):
        given = [value for value in shares.values() if value is not None]
        axes.plot([min(given), max(given)], [place, place], color=FAINT, linewidth=1, zorder=1)
        for kind, (_, marker) in kinds.items():
            if (share := shares[kind]) is not None:
                axes.plot(share, place, marker, color=class_colour(number), markersize=7, markeredgecolor=INK)
    for kind, (name, marker) in kinds.items():
        if any(shares[kind] is not None for _, shares in rows):
            axes.plot([], [], marker, color="white", markeredgecolor=INK, label=name)
    axes.set_xscale("log")
    known = [value for _, shares in rows for value in shares.values() if value is not None]
    if known:
        log_ticks(axes.xaxis, min(known), max(known))
        axes.legend(fontsize=8, frameon=False)
    axes.set_yticks(range(len(rows)), [str(number) for number, _ in rows])
    axes.invert_yaxis()
    plain(axes, "share of the volume of the whole embedding (logarithmic)", "cluster")
    axes.set_title(title, fontsize=10)
    return figure
