"""What a few seeds reached: every run, their mean and its interval; and fronts of two objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from orchestrator.figures.style import FAINT, INK, HeadStyle, new_figure, plain

ROW = 0.42  # inches


@dataclass(frozen=True)
class Spread:
    """A configuration and its runs. before: what the search saw of it, where that is shown."""

    head: str
    name: str
    values: tuple[float, ...]
    mean: float
    interval: tuple[float, float] | None
    before: float | None = None


def seeds(rows: Sequence[Spread], styles: Mapping[str, HeadStyle], title: str, x: str) -> Figure:
    """A row a configuration: a point a seed, a diamond for the mean, a line for its interval, a ring for the search."""
    figure = new_figure(9.6, ROW * len(rows) + 1.2)
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        colour = styles[row.head].colour
        if row.interval:
            axes.plot(
                row.interval, [place, place], color=colour, linewidth=4, alpha=0.4, solid_capstyle="butt", zorder=2
            )
        axes.plot(row.values, [place] * len(row.values), "o", color=colour, markersize=4.5, alpha=0.8, zorder=3)
        axes.plot(row.mean, place, "D", color=colour, markeredgecolor=INK, markersize=7, zorder=4)
        if row.before is not None:
            axes.plot(row.before, place, "o", markerfacecolor="none", markeredgecolor=INK, markersize=8, zorder=5)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    values = [value for row in rows for value in (*row.values, *(() if row.before is None else (row.before,)))]
    low, high = min(values), max(values)
    room = max(high - low, 0.002)
    ends = [end for row in rows for end in row.interval or ()]
    left = max(min([low, *ends]), low - 1.5 * room)  # the band of two seeds may be wider than all of accuracy
    right = min(max([high, *ends]), high + 1.5 * room, max(1.0, high))
    axes.set_xlim(left - 0.06 * room, right + 0.06 * room)
    plain(axes, x, title=title)
    return figure


@dataclass(frozen=True)
class Front:
    """The trials of a head by two objectives (accuracy, separation), and those that no other beats in both."""

    head: str
    points: tuple[tuple[float, float], ...]
    best: tuple[tuple[float, float], ...]


def fronts(rows: Sequence[Front], styles: Mapping[str, HeadStyle], title: str) -> Figure:
    """Accuracy over separation: all trials faint, the front of each head as a line of steps."""
    figure = new_figure(9.6, 5.2)
    axes = figure.add_subplot()
    for row in rows:
        style = styles[row.head]
        axes.plot(*_xy(row.points), style.marker, color=FAINT, markersize=4, alpha=0.5, zorder=1)
        best = sorted(row.best, key=lambda point: point[1])
        axes.plot(
            *_xy(best),
            marker=style.marker,
            color=style.colour,
            linestyle=style.dashes,
            drawstyle="steps-post",
            markeredgecolor=INK,
            markersize=7,
            label=row.head,
            zorder=3,
        )
    shown = sorted(point[0] for row in rows for point in row.points)
    lowest = shown[len(shown) // 4]  # the poorest quarter would flatten the rest
    span = max(shown[-1] - lowest, 0.002)
    axes.set_ylim(lowest - 0.3 * span, shown[-1] + 0.1 * span)
    axes.legend(frameon=False, fontsize=9)
    plain(
        axes,
        "separation: smallest gap between classes over the spread within one",
        "cluster accuracy (validation)",
        title,
    )
    return figure


def _xy(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [separation for _, separation in points], [accuracy for accuracy, _ in points]
