"""What W&B holds of a study: which runs, how many of their rows, how they ended. Reads only."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.storage.event_log import Trial
from orchestrator.tracking import connection
from orchestrator.tracking.run import SAID, SWEPT, About
from orchestrator.tracking.sweep import Place, place_of

PER_PAGE = 200
LAG_S = 15.0  # how long W&B may take to show what has arrived
STUDY_RUN = "study"  # the name of the run that a study has of its own


@dataclass(frozen=True)
class Held:
    """A run as W&B holds it. rows: of its history, closing row included; last_step: of the last one, -1 without any."""

    id: str
    state: str
    job: str
    rows: int
    last_step: int
    sweep: str | None
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    created: str
    heartbeat: str

    @property
    def is_whole(self) -> bool:
        """Whether it has one row for every step up to its last: none is missing, and none is there twice."""
        return self.rows == max(0, self.last_step)

    def has(self, trial: Trial) -> bool:
        """Whether it tells of a trial's end and last epoch, and so of all before."""
        ended = self.summary.get("status") == SAID[trial.status] and self.state != "running"
        return ended and max(0, self.last_step) >= trial.last_epoch


def due(
    about: About, runs: Iterable[tuple[str, Trial]], held: Mapping[str, Held], sweep: str = ""
) -> list[tuple[str, Trial]]:
    """Of these runs those that W&B does not have yet, or has outside of the sweep that is known."""

    def is_there(job: str, trial: Trial) -> bool:
        run = held.get(about.id_of(trial.name))
        return run is not None and run.has(trial) and (not sweep or job not in SWEPT or run.sweep == sweep)

    return [(job, trial) for job, trial in runs if not is_there(job, trial)]


def runs_of(path: str, study_id: str, study: str) -> dict[str, Held]:
    """The runs of a study in a project, entity/project, by their ids; none where the project is not there yet."""
    mine = {"$and": [{"group": study}, {"config.study_id": study_id}]}
    asked = connection.api().runs(path, filters=mine, per_page=PER_PAGE, lazy=False)
    found = map(_held, iter(asked))

    def some() -> list[Held]:
        return list(itertools.islice(found, PER_PAGE))

    held: dict[str, Held] = {}
    try:
        while more := connection.within(2 * connection.ANSWER_S, some, "W&B was asked for the study's runs"):
            held |= {run.id: run for run in more}
    except ValueError as error:  # the client's word for a project that nothing was ever sent to
        if "Could not find project" not in str(error):
            raise
    return held


def lacking(
    about: About, path: str, runs: Sequence[tuple[str, Trial]], sweep: str = ""
) -> tuple[dict[str, Held], list[tuple[str, Trial]]]:
    """What W&B holds of a study, and which of these runs it does not have; asked again while it may just be slow."""
    end = time.monotonic() + LAG_S
    while True:
        held = runs_of(path, about.study_id, about.study.name)
        missing = due(about, runs, held, sweep)
        if not missing or time.monotonic() > end:
            return held, missing
        time.sleep(LAG_S / 5)


def known_place(about: About, path: str, held: Mapping[str, Held]) -> Place | None:
    """Where the study is at W&B: by its folder's note, or by what its runs there say."""
    named = next((run.sweep for run in held.values() if run.sweep), None)
    return Place.of(about.folder, about.study) or (place_of(path, named) if named else None)


def _held(run: Any) -> Held:
    keys = run.historyKeys or {}
    return Held(
        id=run.id,
        state=run.state,
        job=run.job_type or "",
        rows=int(run.historyLineCount or 0),
        last_step=int(keys.get("lastStep", -1)),
        sweep=run.sweep_name,
        config=dict(run.config),
        summary=dict(run.summary_metrics),
        created=str(run.created_at or ""),
        heartbeat=str(run.heartbeat_at or ""),
    )
