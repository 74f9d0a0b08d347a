"""What a report says: everything that a study's folder knows, as plain values for the page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from orchestrator.figures.embedding import plane_or_space
from orchestrator.figures.style import COLOURS, Picture, few_colours
from orchestrator.files.atomic import write_atomic
from orchestrator.reporting import leaderboards, pictures, tables
from orchestrator.reporting.pictures import head_pictures, search_pictures, verdict_pictures
from orchestrator.reporting.pictures.head_pictures import Best
from orchestrator.reporting.report import verdict, words
from orchestrator.selection import confirmation, ranking
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial, now
from orchestrator.system.commands import ours
from search_spaces.distributions import short

PALETTE = 128  # colours of a picture in the page: a third of the bytes
MACHINE = {"cpus": "cores", "gpus": "GPUs", "memory_gb": "GB"}


@dataclass(frozen=True)
class Shown:
    """A picture inside the page."""

    name: str
    title: str
    caption: str
    alt: str
    source: str
    width: int
    height: int


def collect(results: Results) -> dict[str, Any]:
    """All that the page shows; draws and keeps the pictures on the way."""
    study = results.study
    bests = head_pictures.bests(results)
    found = {best.head: best for best in bests}
    sheet = [_shown(results, head_pictures.side_by_side(results, bests))] if bests else []
    heads = [_head(results, head, trial, found.get(head)) for head, trial in results.best.items()]
    search = [_shown(results, picture) for picture in search_pictures.pictures(results)]
    sure = [_shown(results, picture) for picture in verdict_pictures.pictures(results)]
    drawn = {shown.name for shown in [*sheet, *search, *sure, *(shown for head in heads for shown in head["pictures"])]}
    pictures.sweep(results.folder, drawn | {f"{head['head']}-epochs" for head in heads if head["gif"]})
    return {
        "study": study,
        "objective": study.objective,
        "one_run": study.objective.interval,
        "state": tables.state(results),
        "damage": [f"{problem.place}: {problem.value}" for problem in results.damage],
        "written": now()[:16].replace("T", " ") + " UTC",
        "asked": _asked(results),
        "study_yaml": study.to_yaml(),
        "spaces": _spaces(results),
        "images": study.data.validation_images,
        "caution": " ".join(leaderboards.caution(results)),
        "leaderboard": [_standing(results, place, row) for place, row in enumerate(results.leaderboard, start=1)],
        "sheet": sheet,
        "heads": heads,
        "search": search,
        "sure": sure,
        "verdict": verdict.collect(results),
        "lost": [trial for trial in results.trials.values() if trial.lost],
        "settings": _setting_names(results),
        "trials": [_trial(results, trial) for trial in results.trials.values()],
        "provenance": _provenance(results),
        "scatter": _scatter(bests),
    }


def _shown(results: Results, picture: Picture) -> Shown:
    path = pictures.keep(results.folder, picture)
    image = few_colours(Image.open(path), PALETTE)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    source = _data_url(stream.getvalue(), "png")
    return Shown(picture.name, picture.title, picture.caption, picture.alt, source, *image.size)


def _data_url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _asked(results: Results) -> list[tuple[str, str]]:
    study = results.study
    search, training = study.search, study.training
    return [
        (
            "data",
            f"{study.data.source}, {results.num_classes:,} classes, {study.data.validation_images:,} images to"
            f" validate; {results.test.said()}",
        ),
        ("model", f"{study.body.name} body, {study.embedding_dim}-D embedding"),
        ("training", f"{training.epochs} epochs in batches of {training.batch_size}"),
        (
            "search",
            f"{_trials(results)}, {search.sampler.searcher}, seed {search.seed}",
        ),
        ("scheduler", search.scheduler.said(training.epochs)),
        ("confirmation", _confirmation(results)),
    ]


def _trials(results: Results) -> str:
    heads, number = len(results.study.heads), results.study.search.trials_per_head
    if not results.study.search.joint:
        return f"{heads} heads × {number} trials"
    return f"one search of {heads * number} trials over heads and settings ({leaderboards.shares(results)})"


def _confirmation(results: Results) -> str:
    known = results.confirmation
    if known is None:
        top, seeds = confirmation.size(results.study)
        return f"top {top} of each head on {seeds} fresh seeds" if top else "none"
    racing = ", racing" if known.asked.racing else ""
    return f"top {known.top} of each head on {len(known.asked.seeds)} fresh seeds{racing}"


def _spaces(results: Results) -> list[tuple[str, str, str, str]]:
    """(head, setting, space, why) of everything that is searched."""
    rows = []
    for head, space in results.study.spaces(results.num_classes).items():
        for name, item in space.items():
            if not item.parameter.is_constant:
                when = f" (if {item.when[0]} is {item.when[1]})" if item.when else ""
                rows.append((head, name + when, str(item.parameter), item.reason))
    return rows


def _standing(results: Results, place: int, row: ranking.Standing) -> dict[str, Any]:
    if row.best is None:
        return {"place": "–", "head": row.head, "trial": None}
    objective = results.study.objective
    measure = row.confirmed.best.mean_of if row.confirmed else row.best.epochs[-1]["metrics"].get
    return {
        "place": place,
        "head": row.head,
        "trial": row.best.name,
        **verdict.standing(results, row),
        "parts": [objective.write(measure(f"val/{key}")) for key in objective.parts.values()],
        "note": "" if row.best.status == "completed" else f"{row.best.status} after {row.best.last_epoch} epochs",
        "ties": row.ties,
    }


def _head(results: Results, head: str, trial: Trial, best: Best | None) -> dict[str, Any]:
    """A head's best: its configuration, its measures, its pictures."""
    analysis = best.analysis if best else None
    measured = analysis["measures"] if analysis else results.validation_measures(trial)
    pictures: list[Shown] = []
    if best:
        pictures = [_shown(results, picture) for picture in head_pictures.pictures(best)]
    if (
        results.study.searched()[head]
        and sum(bool(trial.epochs) for trial in search_pictures.by_head(results)[head]) > 1
    ):
        pictures.append(_shown(results, search_pictures.parallel(results, head)))
    gif = head_pictures.unfolding(best) if best else None
    if gif:
        write_atomic(results.folder.plots / f"{head}-epochs.gif", gif)
    return {
        "head": head,
        "trial": trial,
        **verdict.standing(results, next(row for row in results.leaderboard if row.head == head)),
        "settings": [(name, short(value)) for name, value in trial.params.items()],
        "yaml": results.best_yaml(head),
        "command": ours("launch", results.folder.best / f"{head}.yaml"),
        "measures": words.written(measured, results.study.objective),
        "measured_on": f"{analysis['points']:,} validation images" if analysis else "the validation images",
        "pictures": pictures,
        "gif": _data_url(gif, "gif") if gif else None,
        "gif_size": Image.open(io.BytesIO(gif)).size if gif else None,
    }


def _setting_names(results: Results) -> list[str]:
    """Every setting that differs between trials, in the order of their first appearance."""
    values: dict[str, set[str]] = {}
    for trial in results.trials.values():
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(str(value))
    searched = {name for space in results.study.searched().values() for name in space}
    return [name for name in values if name in searched]


def _trial(results: Results, trial: Trial) -> dict[str, Any]:
    times = [
        row["metrics"].get("time/train_s", 0.0) + row["metrics"].get("time/validation_s", 0.0) for row in trial.epochs
    ]
    last = trial.epochs[-1]["metrics"] if trial.epochs else {}
    return {
        "trial": trial,
        "is_best": trial.name in {best.name for best in results.best.values()},
        "seconds": f"{sum(times):.1f}",
        "separations": [last.get(f"val/{name}") for name in ("separation_ratio", "distance_ratio")],
        "settings": {name: short(value) for name, value in trial.params.items()},
        "raw": trial.params,
    }


def _provenance(results: Results) -> list[tuple[str, str]]:
    known = results.provenance
    if not known:
        return []
    git, installed = known.get("git"), ", ".join(f"{n} {v}" for n, v in known.get("packages", {}).items() if v)
    commit = "not in a git checkout" if not git else git["commit"] + (" with changes on top" if git["changed"] else "")
    machine = [known.get("processor"), *(f"{known[key]} {unit}" for key, unit in MACHINE.items() if key in known)]
    rows = {
        "started": known.get("started"),
        "command": " ".join(known.get("command", [])),
        "code": f"orchestrator {known['orchestrator']}, commit {commit}" if "orchestrator" in known else None,
        "Python": "; ".join(filter(None, [known.get("python"), installed])),
        "machine": ", ".join(str(part) for part in machine if part),
        "system": known.get("platform"),
        "seeds": ", ".join(f"{name} {seed}" for name, seed in known.get("seeds", {}).items()),
        "at a time": f"{known['trials_at_a_time']} trials" if "trials_at_a_time" in known else None,
    }
    again = [f"{each.get('started', '')}: {' '.join(each.get('command', []))}" for each in known.get("resumed", [])]
    return [*((name, told) for name, told in rows.items() if told), *(("went on", each) for each in again)]


def _scatter(bests: Iterable[Best]) -> str | None:
    """The embeddings for the interactive scatter, as JSON that is safe inside a script element."""
    rows, labels = [], None
    for best in bests:
        points, axes = plane_or_space(best.points)
        labels = best.labels
        rows.append(
            {
                "head": best.head,
                "title": best.title,
                "axes": axes,
                "spherical": best.spherical and best.dimensions <= 3,
                "points": [[float(f"{value:.4g}") for value in column] for column in np.asarray(points).T],
            }
        )
    if labels is None:
        return None
    content = {"labels": labels.tolist(), "colours": COLOURS, "heads": rows}
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
