"""Pictures of a search: what the trials learned, where they were, and how the best of each head grew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from lightning_modules.heads.margin_curve import margin_of
from orchestrator.figures import margins, search
from orchestrator.figures.search import Axis, Interval
from orchestrator.figures.style import Picture, head_styles
from orchestrator.selection import ranking
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from search_spaces.distributions import Range, short
from search_spaces.heads import settings_of


def by_head(results: Results) -> dict[str, list[Trial]]:
    """The trials of each head, in order of their start."""
    return {head: [trial for trial in results.trials.values() if trial.head == head] for head in results.study.heads}


def rungs(results: Results) -> list[int]:
    """The epochs after which the scheduler compares the trials of a head and may stop some."""
    return results.study.search.scheduler.rungs(results.study.training.epochs)


def pictures(results: Results) -> Iterator[Picture]:
    """The pictures of a search, one after the other; those that have nothing to show yet are left out."""
    if results.best:
        yield _heads(results)
        yield _progress(results)
    if any(trial.epochs for trial in results.trials.values()):
        yield _curves(results)
    yield from (picture for picture in (_maps(results), _margins(results)) if picture)


def _heads(results: Results) -> Picture:
    images, objective = results.study.data.validation_images, results.study.objective
    rows = []
    for row in results.leaderboard:
        if row.best is None:
            continue
        ranked = ranking.rank(trial for trial in results.trials.values() if trial.head == row.head)
        first, count = ranked[0], row.counts[ranked[0].status]
        value, others = float(first.epochs[-1]["objective"]), results.others(first)
        low, high = ranking.run_interval(first, results.support) or (value, value)
        rows.append(Interval(row.head, row.head, value, low, high, others, f"best of {count}"))
    known, side = objective.interval, "below" if objective.higher_is_better else "above"
    band = (
        f"The band is the 95% interval for the chance of which {known.over} these were ({known.method}); it does not"
        " cover the chance of another seed, nor that the best of several trials is partly lucky."
        if known
        else "What another seed would have given is not known, and the best of several trials is partly lucky."
    )
    caption = (
        f"What the search saw: the best trial of each head, one run each (n = 1), on {images:,} validation images."
        f" {band} Ticks are the other trials; those far {side} are cut off."
    )
    said = "; ".join(f"{row.head} {objective.write(row.value)}" for row in rows)
    figure = search.heads(rows, head_styles([*results.study.heads]), "The best trial of each head", objective)
    alt = f"{objective.column_title} of the best trial of each head: {said}."
    return Picture(objective.name, "Heads side by side", caption, alt, figure)


def _progress(results: Results) -> Picture:
    after_min = minutes(results.events)
    series: dict[str, list[tuple[float, float]]] = {}
    for head, trials in by_head(results).items():
        ended = [trial for trial in trials if trial.status in ("completed", "stopped") and trial.epochs]
        points = [(after_min[trial.name, trial.last_epoch], float(trial.epochs[-1]["objective"])) for trial in ended]
        series[head] = sorted(points)
    rises = "rises" if results.study.objective.higher_is_better else "falls"
    caption = (
        "The best objective so far of each head, over its ended trials and over time since the first result (n = 1 run"
        f" a trial, {results.study.data.validation_images:,} validation images). A line that still {rises} at the right"
        " would gain from more trials."
    )
    styles = head_styles([*results.study.heads])
    objective = results.study.objective
    figure = search.progress(series, styles, f"{results.study.name}: best so far", objective)
    alt = f"Step lines of the best {objective.column} so far of each head."
    return Picture("progress", "Best so far", caption, alt, figure)


def minutes(events: Iterable[Event]) -> dict[tuple[str, int], float]:
    """(trial, epoch) → minutes since the first result. A clock that steps back between two lines adds nothing."""
    found: dict[tuple[str, int], float] = {}
    began = latest = lost_s = 0.0
    for event in events:
        if event["event"] == "epoch":
            at = datetime.fromisoformat(event["time"]).timestamp()
            began = began if found else at
            lost_s += max(0.0, latest - at)
            latest = at
            found.setdefault((event["trial"], event["epoch"]), (at - began + lost_s) / 60)
    return found


def _curves(results: Results) -> Picture:
    trials, objective = by_head(results), results.study.objective
    marks = rungs(results)
    stops = ""
    if marks:
        epochs = ", ".join(map(str, marks))
        stops = f" Dotted lines are ASHA's rungs, after epochs {epochs}."
    caption = (
        f"The {objective.label} of every one of the {len(results.trials)} trials over the epochs: black the best, blue"
        f" those that ran to their end, grey the others (× ended before its time, ▸ still runs).{stops}"
    )
    best = {head: ranked[0] for head, own in trials.items() if (ranked := ranking.rank(own))}
    title = f"{results.study.name}: training curves"
    figure = search.curves(trials, best, marks, results.study.training.epochs, title, objective)
    alt = f"{objective.column_title} over epochs of every trial, one panel a head."
    return Picture("curves", "Training curves", caption, alt, figure)


def _maps(results: Results) -> Picture | None:
    axes = {head: found for head in results.study.heads if (found := _axes(results, head))}
    if not axes:
        return None
    caption = (
        f"Each of the {len(results.trials)} trials at its settings, the darker the better (colours span the better half"
        " of each head's trials; ▾ was stopped early, × failed). Dotted lines are the borders of the space. The ring is"
        " the best that ran to its end; if it touches a border, the space may be too narrow."
    )
    objective = results.study.objective
    figure = search.maps(by_head(results), axes, f"{results.study.name}: where the trials were", objective)
    alt = f"Maps of the trials' settings, coloured by {objective.column}."
    return Picture("maps", "Margins and scales", caption, alt, figure)


def _axes(results: Results, head: str) -> tuple[Axis, Axis] | None:
    """The two searched numbers worth a map: a margin and a scale where there are such, else learning rates."""
    space = results.study.spaces(results.num_classes)[head]
    found = [
        Axis(name, item.parameter.low, item.parameter.high, item.parameter.log)
        for name, item in space.items()
        if isinstance(item.parameter, Range) and not item.when
    ]
    wanted = ("margin", "scale", "head_lr", "lr")  # roles, then names
    known = {axis.name: space[axis.name].role or axis.name for axis in found}
    found.sort(key=lambda axis: wanted.index(known[axis.name]) if known[axis.name] in wanted else len(wanted))
    return (found[0], found[1]) if len(found) > 1 else None


def parallel(results: Results, head: str) -> Picture:
    """Every trial of one head through its settings."""
    space = results.study.searched()[head]
    logs = {name: isinstance(item.parameter, Range) and item.parameter.log for name, item in space.items()}
    trials, objective = by_head(results)[head], results.study.objective
    caption = (
        f"Every trial of {head} as a line through its settings to its {objective.label}; dotted ones did not run to"
        " their end, the thick one is the best. Each axis spans what was tried."
    )
    figure = search.parallel(head, [*space], logs, trials, f"{head}: {len(trials)} trials", objective)
    return Picture(
        f"{head}-parallel", "Settings", caption, f"Parallel coordinates of the {len(trials)} trials of {head}.", figure
    )


def _margins(results: Results) -> Picture | None:
    curves = {}
    for head, trial in results.best.items():
        margin = margin_of(head, trial.params)
        if margin:
            roles = {name: setting.role for name, setting in settings_of(head).items()}
            own = {name: value for name, value in trial.params.items() if roles.get(name) in ("margin", "crossover")}
            said = ", ".join(f"{name} {short(value)}" for name, value in own.items())
            curves[head] = f"{head} ({said})", margin.target_cosine
    if not curves:
        return None
    caption = (
        "What stands in place of cos θ of the own class in the logits, for the best trial of each angular head. The"
        " lower a curve, the more its margin asks. Where a shifted or multiplied cosine would rise again it continues"
        " to fall (the A-Softmax extension)."
    )
    styles = head_styles([*results.study.heads])
    figure = margins.target_logits(curves, styles, f"{results.study.name}: what the margins ask")
    return Picture("margins", "Target logits", caption, "Target cosine of each angular head over the angle.", figure)
