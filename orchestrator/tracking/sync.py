"""Sends to W&B what it does not have of a study, from the study's records alone. Twice sends nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import CannotRun, Problem
from orchestrator.files.locks import alone
from orchestrator.planning import continuity
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.system.commands import ours
from orchestrator.tracking import connection, remote_state, sweep, workspace
from orchestrator.tracking.publish import publish
from orchestrator.tracking.remote_state import STUDY_RUN, Held
from orchestrator.tracking.run import SWEPT, About, TrialRun
from orchestrator.tracking.sweep import Place

UPLOAD_S = 120.0  # for the pictures of one run
MOST_REFUSED = 3  # runs in a row


@dataclass(frozen=True)
class Synced:
    """What was sent, and where it can be looked at.

    damaged: runs whose rows at W&B are not those of the record. refused: runs that W&B does not take, and why.
    """

    place: Place
    runs: int
    sent: tuple[str, ...]
    published: bool
    damaged: tuple[str, ...]
    refused: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "sweep": self.place.url,
            "workspace": self.place.workspace or None,
            "runs": self.runs,
            "sent": list(self.sent),
            "study_run_sent": self.published,
            "damaged": list(self.damaged),
            "refused": self.refused,
        }

    def __str__(self) -> str:
        there = f"{self.runs - len(self.sent) - len(self.refused)} of {self.runs} runs were there"
        lines = [f"{there}, {len(self.sent)} sent", f"sweep      {self.place.url}"]
        if self.place.workspace:
            lines.append(f"workspace  {self.place.workspace}")
        lines += [f"{name}: W&B lost rows of it, and can only append; the record has them" for name in self.damaged]
        lines += [f"{name}: W&B refuses it: {why}" for name, why in self.refused.items()]
        return "\n".join(lines)


def sync(folder: str | Path, say: Callable[[str], None]) -> Synced:
    """Brings W&B up to a study's records: runs, rows, pictures, sweep, report, best models, workspace.

    Raises CannotRun where there is no key, no server, or where a search is at work that sends its runs itself; and
    where the server refuses: what has arrived stays, and another `sync` goes on.
    """
    results = Results(folder)
    continuity.refuse_changed(results)
    _refuse_while_mirrored(results)
    about = About.of(results)
    rule, value = "one process at a time sends a study", "another is at work"
    taken = Problem(str(results.folder), rule, value, "wait for its end")
    with alone(results.folder.sync_lock, taken), _refusals(results):
        connection.require()
        path = sweep.path_of(results.folder, about.study)
        held = remote_state.runs_of(path, about.study_id, about.study.name)
        known = remote_state.known_place(about, path, held)
        swept = known.sweep if known else ""
        todo = _ended(results, remote_state.due(about, results.runs, held, swept))
        refused = _send(about, path, swept, todo, say)
        if todo:
            sent = [each for each in todo if each[1].name not in refused]
            held, missing = remote_state.lacking(about, path, sent, swept)
            if missing:
                raise connection.Unavailable(f"{len(missing)} of {len(todo)} runs did not arrive whole")
        prior = [about.id_of(trial.name) for job, trial in results.runs if job in SWEPT and trial.name not in refused]
        place = known or sweep.create(path, about.study, about.study.spaces(about.classes), prior)
        place.keep(results.folder)
        _mark(about, results, held)
        published = publish(about, results, held.get(about.id_of(STUDY_RUN)), path)
        place = workspace.ensure(place, about, say)
    results.folder.publish()  # where it is at W&B
    names = [trial.name for _, trial in results.runs]
    damaged = [name for name in names if (own := held.get(about.id_of(name))) and not own.is_whole]
    arrived = [trial.name for _, trial in todo if trial.name not in refused]
    return Synced(place, len(names), tuple(arrived), bool(published), tuple(damaged), refused)


def _send(
    about: About, path: str, swept: str, todo: list[tuple[str, Trial]], say: Callable[[str], None]
) -> dict[str, str]:
    """Sends runs, one after the other; returns those that W&B refuses, with its reason, as one deleted there.

    Raises where it refuses several in a row, or does not answer: it is not the run then.
    """
    refused: dict[str, str] = {}
    in_a_row = 0
    for number, (job, trial) in enumerate(todo, start=1):
        try:
            run = TrialRun(about, trial, job, path, swept, patience_s=UPLOAD_S)
            run.tell()
            run.end()
        except Exception as error:
            in_a_row += 1
            if isinstance(error, connection.Unavailable | TimeoutError) or in_a_row == MOST_REFUSED:
                raise
            refused[trial.name] = f"{type(error).__name__}: {error}"
            say(f"{trial.name} refused: {refused[trial.name]}")
        else:
            in_a_row = 0
            say(f"{trial.name} sent ({number}/{len(todo)})")
    return refused


def _ended(results: Results, trials: list[tuple[str, Trial]]) -> list[tuple[str, Trial]]:
    """Those that a driver at work does not still write: of an interrupted study, all."""
    return [each for each in trials if each[1].status != "running"] if results.folder.driver() else trials


def _mark(about: About, results: Results, held: dict[str, Held]) -> None:
    """Runs that were kept offline are there now: `wandb sync` passes them over, and `wandb clean` removes them."""
    for _, trial in results.runs:
        id = about.id_of(trial.name)
        if id in held and held[id].has(trial):
            for log in about.folder.wandb.glob(f"offline-run-*-{id}/*.wandb"):
                log.with_suffix(".wandb.synced").touch()


def _refuse_while_mirrored(results: Results) -> None:
    root = str(results.folder)
    if results.folder.driver() and results.study.tracking.mode == "online":
        fix = f"wait for its end, or end it: {ours('stop', root)}"
        raise CannotRun([Problem(root, "one process at a time sends a run", "its search sends them now", fix)])


@contextmanager
def _refusals(results: Results) -> Iterator[None]:
    """Turns whatever wandb raises into a refusal that says what to do."""
    again = f"{ours('sync', results.folder)} goes on: what has arrived is not sent again"
    try:
        yield
    except connection.Unavailable as error:
        connection.abandon(results.provenance["study_id"])
        raise CannotRun([Problem("W&B", "it must be there to be sent to", str(error), again)]) from error
    except Exception as error:
        connection.abandon(results.provenance["study_id"])
        said = f"{type(error).__name__}: {error}"
        raise CannotRun([Problem("W&B", "it must take what is sent", said, again)]) from error
