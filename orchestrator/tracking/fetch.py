"""A study's records again, from what W&B holds of its sweep: to look at one there as at a folder here.

Each run's settings, how it ended, its objective after every epoch and the other measures of the last one come back;
embeddings, pictures and models stay where they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import CannotRun, Problem
from orchestrator.files.atomic import write_atomic
from orchestrator.selection.results import Results
from orchestrator.storage.events import Event
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.tracking import connection, remote_state, sweep
from orchestrator.tracking.remote_state import Held
from orchestrator.tracking.run import SAID
from orchestrator.tracking.sweep import Place

RECORDED = {said: status for status, said in SAID.items() if status != "running"}
MOST_MEASURE = 1e300
RECORDS = {"search": "trials_file", "confirmation": "confirmation_file", "final": "test_file"}


@dataclass(frozen=True)
class Fetched:
    """A study as W&B knows it. running: how many of its runs are at work now. place: its sweep, if it has one."""

    results: Results
    place: Place
    running: int


def fetch(path: str, to: Path) -> Fetched:
    """Writes the records of the study whose sweep is entity/project/sweep below a folder, and reads them.

    Raises CannotRun where W&B cannot be asked, or where that sweep is no study of an orchestrator's.
    """
    try:
        connection.require()
        entity, project, name = path.split("/")
        config = connection.within(connection.ANSWER_S, lambda: _first_config(path), f"W&B was asked for {path}")
        held = remote_state.runs_of(f"{entity}/{project}", config["study_id"], config["study"])
    except CannotRun:
        raise
    except Exception as error:
        fix = "name a sweep that you may read, as entity/project/sweep"
        raise CannotRun([Problem(path, "a sweep at W&B can be asked for", str(error), fix)]) from error
    folder = StudyFolder(to / "study")  # whatever the server calls it
    write_atomic(folder.study_file, config["orchestrator"]["yaml"])
    known = {"study_id": config["study_id"], "classes": config["orchestrator"]["classes"]}
    write_atomic(folder.provenance_file, json.dumps(known))
    own = next((run for run in held.values() if run.job == remote_state.STUDY_RUN), None)
    told = own.config.get("record", {}) if own else {}
    runs = sorted((run for run in held.values() if run.job in RECORDS), key=lambda run: (run.created, run.id))
    for job, file in RECORDS.items():
        beside = {"confirmation": "confirmation", "final": "test"}.get(job, "")
        events = [*told.get(beside, []), *(event for run in runs if run.job == job for event in _events(run))]
        if events:
            write_atomic(getattr(folder, file), "".join(json.dumps(event) + "\n" for event in events))
    running = sum(run.state == "running" for run in runs)
    return Fetched(Results(folder.root, damaged=True), sweep.place_of(f"{entity}/{project}", name), running)


def _first_config(path: str) -> Mapping[str, Any]:
    """The configuration of a sweep's first run."""
    for run in connection.api().sweep(path).runs:
        if {"study", "study_id", "orchestrator"} <= run.config.keys():
            return dict(run.config)
        break
    rule, fix = "its runs were written by this orchestrator", "orchestrator sync STUDY makes such a sweep of a study"
    raise CannotRun([Problem(path, rule, "the first one was not, or there is none", fix)])


def _events(run: Held) -> Iterator[Event]:
    """What the record said of a run, as far as W&B knows."""
    config, summary = run.config, run.summary
    name = run.id.removeprefix(f"{config['study_id']}-")
    params = {key: config[key] for key in config["settings"]}
    known = {"head": config["head"], "index": config["index"], "seed": config["seed"], "params": params}
    yield {"event": "start", "trial": name, **known, "time": run.created}
    objectives = summary.get("objective_by_epoch", [])
    for epoch, objective in enumerate(objectives, start=1):
        last = epoch == len(objectives)
        metrics = _measures(summary) if last else {}
        row = {"epoch": epoch, "objective": objective, "metrics": metrics}
        yield {"event": "epoch", "trial": name, **row, "time": run.created}
    status = RECORDED.get(summary.get("status", ""))
    if status and run.state != "running":
        end = {"status": status, "reason": summary.get("reason", "")}
        yield {"event": "end", "trial": name, **end, "time": run.heartbeat}


def _measures(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that a run was told of; others may have added what they like, and a NaN is a text there."""
    numbers = {key: value for key, value in summary.items() if "/" in key and type(value) in (int, float)}
    return {key: value for key, value in numbers.items() if abs(value) < MOST_MEASURE}
