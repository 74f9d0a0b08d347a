"""Angular embeddings where they live: on the unit circle or sphere, with class centres and the sectors of the margin.

A sector is the part around a class centre in which a point still wins in spite of the margin: towards a neighbour at
angle α it reaches to where the target cosine equals the neighbour's. The margin keeps the gaps between them free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Wedge
from numpy.typing import NDArray

from orchestrator.figures.embedding import MOST_NAMED_CLASSES, scatter
from orchestrator.figures.style import FAINT, GRID, INK, class_colour, new_figure

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Slack = Callable[[Array], Array]  # how far a class reaches (rad) towards a neighbour so far away (rad)

BINS = 240


def units(points: NDArray[Any]) -> Array:
    """The points' directions."""
    points = np.asarray(points, np.float64)
    directions: Array = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    return directions


def draw(
    points: NDArray[Any], labels: NDArray[np.int64], centres: NDArray[Any], slack: Slack | None, title: str
) -> Figure:
    """The unit circle of a 2-D embedding or the two halves of the sphere of a 3-D one.

    centres (C, D): NaN for a class that has none.
    """
    classes = np.flatnonzero(~np.isnan(centres).any(1))
    centres = units(centres[classes])
    circle = points.shape[1] == 2
    figure = new_figure(6.4, 6.4) if circle else new_figure(9.6, 5.2)
    figure.suptitle(title, fontsize=11)
    if circle:
        _circle(figure.add_subplot(), units(points), labels, classes, centres, slack)
    else:
        _halves(figure.subplots(1, 2), units(points), labels, classes, centres, slack)
    return figure


def sectors(centres: Array, slack: Slack) -> list[tuple[float, float]]:
    """Of each centre (C, 2) where its sector begins and ends, as angles in rad, counted anticlockwise."""
    angles = np.arctan2(centres[:, 1], centres[:, 0])
    order = np.argsort(angles)
    gaps = np.diff(np.append(angles[order], angles[order[0]] + 2 * np.pi))  # from each centre to the next
    after = slack(np.minimum(gaps, np.pi))
    before = np.roll(after, 1)
    found = dict(zip(order, zip(angles[order] - before, angles[order] + after, strict=True), strict=True))
    return [found[label] for label in range(len(centres))]


def _circle(axes: Any, points: Array, labels: Labels, classes: Labels, centres: Array, slack: Slack | None) -> None:
    axes.add_patch(Circle((0, 0), 1, fill=False, color=FAINT, linewidth=1))
    spans = sectors(centres, slack) if slack else None
    angles = np.arctan2(points[:, 1], points[:, 0])
    edges = np.linspace(-np.pi, np.pi, BINS + 1)
    middles = np.repeat(edges, 2)[1:-1]
    for number, label in enumerate(classes):
        colour, centre = class_colour(int(label)), centres[number]
        if spans:
            first, last = np.degrees(spans[number])
            axes.add_patch(Wedge((0, 0), 1, first, last, facecolor=colour, alpha=0.25, edgecolor="none"))
        axes.plot([0, centre[0]], [0, centre[1]], color=colour, linewidth=1.8)
        counted = np.histogram(angles[labels == label], edges)[0]
        if counted.any():
            radius = 1.03 + 0.45 * np.repeat(counted / counted.max(), 2)
            outline = radius[:, None] * np.stack([np.cos(middles), np.sin(middles)], axis=1)
            inner = 1.03 * np.stack([np.cos(middles), np.sin(middles)], axis=1)
            shape = np.concatenate([outline, inner[::-1]])
            axes.fill(shape[:, 0], shape[:, 1], color=colour, linewidth=0, alpha=0.9)
        if len(centres) <= MOST_NAMED_CLASSES:
            axes.text(*(1.6 * centre), str(label), ha="center", va="center", fontsize=11, fontweight="bold", color=INK)
    axes.set(xlim=(-1.75, 1.75), ylim=(-1.75, 1.75))
    axes.set_aspect("equal")
    axes.axis("off")


def _halves(pair: Any, points: Array, labels: Labels, classes: Labels, centres: Array, slack: Slack | None) -> None:
    turn = _view(centres)
    points, centres = points @ turn.T, centres @ turn.T
    caps = _caps(centres, slack) if slack else None
    for axes, side, name in zip(
        pair, (1, -1), ("one half of the sphere", "the other half, from its own side"), strict=True
    ):
        axes.add_patch(Circle((0, 0), np.sqrt(2), fill=False, color=FAINT, linewidth=1))
        for step in (30, 60):
            axes.add_patch(
                Circle((0, 0), 2 * np.sin(np.radians(step) / 2), fill=False, color=GRID, linewidth=0.8, zorder=0)
            )
        shown = points[:, 2] >= 0 if side > 0 else points[:, 2] < 0
        scatter(axes, _flat(points[shown], side), labels[shown], size=6)
        for number, label in enumerate(classes):
            if caps is not None:
                rim = caps[number]
                rim = np.where((side * rim[:, 2] >= 0)[:, None], rim, np.nan)
                axes.plot(*_flat(rim, side).T, color=class_colour(int(label)), linewidth=1.5)
            if side * centres[number, 2] >= 0:
                spot = _flat(centres[number : number + 1], side)[0]
                axes.plot(*spot, marker="+", color=INK, markersize=9, markeredgewidth=1.6, zorder=8)
                if len(centres) <= MOST_NAMED_CLASSES:
                    frame = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "boxstyle": "round,pad=0.12"}
                    axes.annotate(
                        str(label), spot, (7, 7), textcoords="offset points", fontweight="bold", color=INK, bbox=frame
                    )
        axes.set_title(name, fontsize=9)
        axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
        axes.set_aspect("equal")
        axes.axis("off")


def _view(centres: Array) -> Array:
    """A rotation (3, 3) whose third axis keeps all class centres as far from the rim of both halves as it can."""
    candidates = units(np.random.default_rng(0).normal(size=(2000, 3)))
    best = candidates[np.abs(candidates @ centres.T).min(1).argmax()]
    basis = np.linalg.svd(best[None])[2]  # the first row is ± best, the others are orthogonal to it
    return np.stack([basis[1], basis[2], np.cross(basis[1], basis[2])])


def _flat(points: Array, side: int) -> Array:
    """Lambert's equal-area map of one half of the sphere: areas, and so the density of points, are true."""
    height = np.clip(side * points[:, 2], -1, 1)
    return np.stack([side * points[:, 0], points[:, 1]], axis=1) * np.sqrt(2 / (1 + np.maximum(height, -0.5)))[:, None]


def _caps(centres: Array, slack: Slack) -> Array:
    """Around each centre (C, 3) the rim (C, 73, 3) of its sector: in every direction as far as towards its nearest."""
    cosines = centres @ centres.T - 3 * np.eye(len(centres))
    reach = slack(np.arccos(np.clip(cosines.max(1), -1, 1)))
    turns = np.linspace(0, 2 * np.pi, 73)
    rims = []
    for centre, angle in zip(centres, reach, strict=True):
        across = np.linalg.svd(centre[None])[2][1:]
        ring = np.cos(turns)[:, None] * across[0] + np.sin(turns)[:, None] * across[1]
        rims.append(np.cos(angle) * centre + np.sin(angle) * ring)
    return np.stack(rims)
