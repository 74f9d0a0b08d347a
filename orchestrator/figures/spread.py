"""What a few seeds reached: every run, their mean and its interval; and fronts of several objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_modules.objectives.base import Objective
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


def seeds(rows: Sequence[Spread], styles: Mapping[str, HeadStyle], title: str, x: str, objective: Objective) -> Figure:
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
    room = max(high - low, 20 * objective.step)
    ends = [end for row in rows for end in row.interval or ()]
    least, most = objective.bounds  # the band of two seeds may be wider than all that a value can be
    left = max(min([low, *ends]), low - 1.5 * room, min(least, low))
    right = min(max([high, *ends]), high + 1.5 * room, max(most, high))
    axes.set_xlim(left - 0.06 * room, right + 0.06 * room)
    plain(axes, x, title=title)
    return figure


@dataclass(frozen=True)
class Front:
    """The trials of a head by the study's objectives, and those that no other beats in all of them."""

    head: str
    points: tuple[tuple[float, ...], ...]
    best: tuple[tuple[float, ...], ...]


def fronts(
    rows: Sequence[Front], styles: Mapping[str, HeadStyle], title: str, objectives: Sequence[Objective]
) -> Figure:
    """The first objective over each of the others: all trials faint, the front of each head as a line of steps."""
    first, *others = objectives
    figure = new_figure(9.6, 5.2 * len(others))
    for number, other in enumerate(others, start=1):
        axes = figure.add_subplot(len(others), 1, number)
        for row in rows:
            _front(axes, row, number, styles[row.head])
        axes.set_ylim(*_better_part(sorted(point[0] for row in rows for point in row.points), first))
        axes.legend(frameon=False, fontsize=9)
        plain(axes, other.axis_on(), first.axis_on(), title if number == 1 else "")
    return figure


def _front(axes: Axes, row: Front, number: int, style: HeadStyle) -> None:
    """One head's trials by its first objective and that of a number."""
    axes.plot(*_xy(row.points, number), style.marker, color=FAINT, markersize=4, alpha=0.5, zorder=1)
    axes.plot(
        *_xy(sorted(row.best, key=lambda point: point[number]), number),
        marker=style.marker,
        color=style.colour,
        linestyle=style.dashes,
        drawstyle="steps-post",
        markeredgecolor=INK,
        markersize=7,
        label=row.head,
        zorder=3,
    )


def _better_part(values: Sequence[float], objective: Objective) -> tuple[float, float]:
    """The ends of an axis without the poorest quarter, which would flatten the rest; values: the lowest first."""
    quarter = len(values) // 4
    low, high = (values[quarter], values[-1]) if objective.higher_is_better else (values[0], values[-1 - quarter])
    span = max(high - low, 20 * objective.step)
    below, above = (0.3, 0.1) if objective.higher_is_better else (0.1, 0.3)
    return low - below * span, high + above * span


def _xy(points: Sequence[tuple[float, ...]], number: int) -> tuple[list[float], list[float]]:
    return [point[number] for point in points], [point[0] for point in points]
