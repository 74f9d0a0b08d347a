"""How a search went: what each trial learned, where in its space it was, and how the best grew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lightning_modules.objectives.base import Objective
from orchestrator.figures.style import FAINT, GRID, INK, REVERSED, SEQUENTIAL, HeadStyle, log_ticks, new_figure, plain
from orchestrator.storage.event_log import Trial

SHAPES = {"completed": "o", "stopped": "v", "diverged": "x", "failed": "x", "running": "o"}


@dataclass(frozen=True)
class Interval:
    """A head in a comparison: its best, an interval around it, and all its finished trials."""

    head: str
    name: str
    value: float
    low: float
    high: float
    others: tuple[float, ...]
    note: str


def heads(rows: Sequence[Interval], styles: Mapping[str, HeadStyle], title: str, objective: Objective) -> Figure:
    """Heads side by side: the best of each with its interval, and where its other trials ended."""
    figure = new_figure(9.6, 0.5 * len(rows) + 1.2)
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        style = styles[row.head]
        axes.plot(row.others, [place] * len(row.others), "|", color=FAINT, markersize=12, zorder=1)
        axes.plot(
            [row.low, row.high],
            [place, place],
            color=style.colour,
            linewidth=5,
            alpha=0.45,
            zorder=2,
            solid_capstyle="butt",
        )
        axes.plot(row.value, place, style.marker, color=style.colour, markeredgecolor=INK, markersize=8, zorder=3)
    axes.set_yticks(range(len(rows)), [f"{row.name}\n{row.note}" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    lowest = min(row.low for row in rows)
    highest = max(row.high for row in rows)
    span = max(highest - lowest, 100 * objective.step)
    low, high = (-2 * span, 0.0) if objective.higher_is_better else (0.0, 2 * span)  # poor trials are cut off
    shown = [value for row in rows for value in row.others if lowest + low <= value <= highest + high]
    axes.set_xlim(min([lowest, *shown]) - 0.08 * span, max([highest, *shown]) + 0.08 * span)
    plain(axes, objective.axis_on(), title=title)
    return figure


def curves(
    trials: Mapping[str, Sequence[Trial]],
    best: Mapping[str, Trial],
    rungs: Sequence[int],
    epochs: int,
    title: str,
    objective: Objective,
) -> Figure:
    """Every trial's objective over the epochs, a panel for each head; the best is dark, rungs are dotted lines."""
    columns = min(3, len(trials))
    rows = -(-len(trials) // columns)
    figure = new_figure(3.4 * columns, 2.7 * rows + 0.4)
    figure.suptitle(title, fontsize=11)
    grid = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    for unused in grid[len(trials) :]:
        unused.axis("off")
    for axes, (head, own) in zip(grid, trials.items(), strict=False):
        for rung in rungs:
            axes.axvline(rung, color=FAINT, linewidth=0.8, linestyle=":")
        for trial in own:
            if not trial.epochs:
                continue
            at = [row["epoch"] for row in trial.epochs]
            values = [row["objective"] for row in trial.epochs]
            chosen = head in best and best[head].name == trial.name
            colour = INK if chosen else "#5790fc" if trial.status == "completed" else "#c3c3c3"
            alone = "." if len(at) == 1 else None
            axes.plot(at, values, color=colour, linewidth=2 if chosen else 0.9, marker=alone, zorder=3 if chosen else 2)
            if trial.status != "completed":
                marker = "x" if trial.status in ("stopped", "diverged", "failed") else ">"
                axes.plot(at[-1], values[-1], marker, color=FAINT, markersize=4)
        name = f": best {best[head].name}, {best[head].reached}" if head in best else ""
        plain(axes, "epoch", objective.label, f"{head}{name}")
        axes.set_xlim(0.9, epochs + 0.1)
        axes.locator_params(axis="x", integer=True, nbins=6)
        axes.title.set_size(9)
        axes.label_outer()
    return figure


def progress(
    series: Mapping[str, Sequence[tuple[float, float]]],
    styles: Mapping[str, HeadStyle],
    title: str,
    objective: Objective,
) -> Figure:
    """The best so far of each head against its ended trials and against time; series: (minutes, objective) of each."""
    figure = new_figure(9.6, 3.8)
    left, right = figure.subplots(1, 2, sharey=True)
    figure.suptitle(title, fontsize=11)
    ends = []
    for head, points in series.items():
        if not points:
            continue
        minutes, values = np.array(points).T
        best = (np.maximum if objective.higher_is_better else np.minimum).accumulate(values)
        ends.append(best[-1])
        style = styles[head]
        look = {"color": style.colour, "linestyle": style.dashes, "linewidth": 1.8, "label": head}
        left.step(np.arange(1, len(best) + 1), best, where="post", **look)
        right.step(minutes, best, where="post", **look)
        left.plot(len(best), best[-1], style.marker, color=style.colour, markersize=6)
        right.plot(minutes[-1], best[-1], style.marker, color=style.colour, markersize=6)
    plain(left, "ended trials of the head", f"best {objective.label} so far")
    plain(right, "minutes since the first result")
    left.locator_params(axis="x", integer=True)
    if ends:
        left.set_ylim(*_around(ends, objective))
        right.legend(fontsize=8, frameon=False, loc="lower right" if objective.higher_is_better else "upper right")
    return figure


def _around(ends: Sequence[float], objective: Objective) -> tuple[float, float]:
    """What an axis shows of the best so far: twice their spread on the poor side, hardly anything on the good one."""
    poor = max(200 * objective.step, 2 * (max(ends) - min(ends)))
    below, above = (poor, 50 * objective.step) if objective.higher_is_better else (50 * objective.step, poor)
    return max(objective.bounds[0], min(ends) - below), max(ends) + above


@dataclass(frozen=True)
class Axis:
    """A setting on an axis: its name, the ends of its space, and whether it is searched by its logarithm."""

    name: str
    low: float
    high: float
    log: bool

    def apply(self, axes: Any, letter: str) -> None:
        if self.log:
            getattr(axes, f"set_{letter}scale")("log")
            reach = (self.high / self.low) ** 0.06
            ends = self.low / reach, self.high * reach
            log_ticks(getattr(axes, f"{letter}axis"), *ends)
        else:
            reach = 0.06 * (self.high - self.low)
            ends = self.low - reach, self.high + reach
        getattr(axes, f"set_{letter}lim")(*ends)
        for end in (self.low, self.high):
            (axes.axvline if letter == "x" else axes.axhline)(end, color=FAINT, linewidth=0.8, linestyle=":")


def maps(
    trials: Mapping[str, Sequence[Trial]],
    axes_of: Mapping[str, tuple[Axis, Axis]],
    title: str,
    objective: Objective,
) -> Figure:
    """Where in its space each head was tried and what it reached there; axes_of: the two settings of each head."""
    columns = min(3, len(axes_of))
    rows = -(-len(axes_of) // columns)
    figure = new_figure(3.5 * columns, 3.0 * rows + 0.5)
    figure.suptitle(title, fontsize=11)
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for unused in grid[len(axes_of) :]:
        unused.axis("off")
    for axes, (head, (x, y)) in zip(grid, axes_of.items(), strict=False):
        own = [trial for trial in trials[head] if trial.epochs and x.name in trial.params and y.name in trial.params]
        plain(axes, x.name, y.name, head, grid=False)
        x.apply(axes, "x")
        y.apply(axes, "y")
        if not own:
            axes.text(0.5, 0.5, "no trial yet", ha="center", transform=axes.transAxes, fontsize=8)
            continue
        values = np.array([trial.objective for trial in own])
        shades = _shades(values, objective)
        for shape in sorted({SHAPES[trial.status] for trial in own}):
            mine = [n for n, trial in enumerate(own) if SHAPES[trial.status] == shape]
            points = axes.scatter(
                [own[n].params[x.name] for n in mine],
                [own[n].params[y.name] for n in mine],
                c=values[mine],
                norm=shades.norm,
                cmap=shades.cmap,
                marker=shape,
                s=42,
            )
        finished = [trial for trial in own if trial.status == "completed"]
        if finished:
            top = max(finished, key=lambda trial: trial.merit)
            ring = {"s": 150, "facecolors": "none", "edgecolors": INK, "linewidths": 1.4}
            axes.scatter(top.params[x.name], top.params[y.name], **ring)
        bar = figure.colorbar(points, ax=axes, extend=shades.cut)
        bar.ax.tick_params(labelsize=7)
    return figure


@dataclass(frozen=True)
class _Shades:
    """Colours for the better half of some trials: the darker the better. cut: on which side poorer ones are left."""

    norm: Normalize
    cmap: str
    cut: str


def _shades(values: Any, objective: Objective, least: float = 10) -> _Shades:
    """least: how many of the last digits they span, for a single trial is its own best."""
    middle = float(np.quantile(values, 0.5)) if len(values) else 0.0
    if objective.higher_is_better:
        best = float(max(values, default=1))
        return _Shades(Normalize(min(middle, best - least * objective.step), best), SEQUENTIAL, "min")
    best = float(min(values, default=1))
    return _Shades(Normalize(best, max(middle, best + least * objective.step)), REVERSED, "max")


def parallel(
    head: str,
    names: Sequence[str],
    logs: Mapping[str, bool],
    trials: Sequence[Trial],
    title: str,
    objective: Objective,
) -> Figure:
    """Every trial of a head as a line through its settings to what it reached; names: the searched settings."""
    own = [trial for trial in trials if trial.epochs]
    figure = new_figure(max(5.0, 1.9 * (len(names) + 1)), 3.6)
    axes = figure.add_subplot()
    columns = [*names, objective.column]
    places: list[list[float]] = []
    for name in names:
        places.append(_placed(axes, len(places), [trial.params.get(name) for trial in own], logs.get(name, False)))
    values = [float(trial.epochs[-1]["objective"]) for trial in own]
    places.append(_placed(axes, len(places), values, False))
    order = sorted(range(len(own)), key=lambda n: (own[n].status == "completed", own[n].merit))  # the best comes last
    shades = _shades(values, objective, least=0)
    for n in order:
        line = [column[n] for column in places]
        axes.plot(
            range(len(columns)),
            line,
            color=colormaps[shades.cmap](shades.norm(values[n])),
            alpha=0.85,
            linewidth=2.2 if n == order[-1] else 1.1,
            linestyle="-" if own[n].status == "completed" else ":",
        )
    for place, name in enumerate(columns):
        axes.axvline(place, color=GRID, linewidth=1, zorder=0)
        axes.text(place, 1.12, name, ha="center", fontsize=8.5, fontweight="bold", color=INK)
    axes.set(xlim=(-0.35, len(columns) - 0.65), ylim=(-0.12, 1.2))
    axes.axis("off")
    bar = figure.colorbar(ScalarMappable(shades.norm, shades.cmap), ax=axes, extend=shades.cut, shrink=0.8)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(objective.label, fontsize=8)
    axes.set_title(title, fontsize=10)
    return figure


def _placed(axes: Any, place: int, values: Sequence[Any], log: bool) -> list[float]:
    """Heights between 0 and 1 for the values of one axis, whose ends are written beside it; None stands below it."""
    known = [value for value in values if value is not None]
    numeric = bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    if not numeric:
        words = sorted({str(value) for value in known})
        heights = {word: (n / (len(words) - 1) if len(words) > 1 else 0.5) for n, word in enumerate(words)}
        for word, height in heights.items():
            axes.text(place + 0.03, height, word, fontsize=7, color=INK, va="center")
        return [-0.12 if value is None else heights[str(value)] for value in values]
    scale = np.log if log else np.asarray
    low, high = min(known), max(known)
    ends = float(scale(low)), float(scale(high))
    for value, height in ((low, 0.0), (high, 1.0)):
        axes.text(place + 0.03, height, f"{value:.3g}", fontsize=7, color=INK, va="center")
    span = ends[1] - ends[0]
    return [-0.12 if value is None else (float(scale(value)) - ends[0]) / span if span else 0.5 for value in values]
