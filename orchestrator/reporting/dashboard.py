"""A search in Optuna's dashboard: a web page on this machine, made from the record, that follows a running search.

Reads a study's folder and writes nothing; the page cannot change anything either. It shows the search's trials, not
the runs of the confirmation and of the test. optuna-dashboard is an extra, imported when it is asked for.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from lightning_modules.objectives.base import Objective
from orchestrator.errors import CannotRun, Problem
from orchestrator.selection import ranking
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from search_spaces.configurations import Params, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import InMemoryStorage
    from optuna.trial import FrozenTrial, TrialState

HOST = "127.0.0.1"
FETCH_S = 10.0  # between looks into the bucket of a study that lies in one
OURS = (HOST, "localhost")  # names of this machine; under another, a page from elsewhere might ask for this one
STATES = {"completed": "COMPLETE", "stopped": "PRUNED", "diverged": "FAIL", "failed": "FAIL", "running": "RUNNING"}


def storage_of(results: Results) -> InMemoryStorage:
    """What trials.jsonl says now, in memory: a study for each head, its trials in the order of their start.

    The same record gives the same numbers and ids, and a longer one the same to the trials that were there before.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage, trials, study = optuna.storages.InMemoryStorage(), results.trials, results.study
    times = _times(results.events)
    spaces = study.spaces(results.num_classes) if trials else {}
    numbers = {head: _study_of(results, head, storage) for head in study.heads}
    for trial in (each for each in trials.values() if each.head in spaces):
        frozen = _frozen(trial, spaces[trial.head], study.objectives, times[trial.name])
        storage.create_new_trial(numbers[trial.head], frozen)
    return storage


def _study_of(results: Results, head: str, storage: InMemoryStorage) -> int:
    """The number of a head's study, as yet without its trials."""
    from optuna.study import StudyDirection

    study, objectives = results.study, list(results.study.search.objectives)
    directions = [StudyDirection[objective.direction.upper()] for objective in study.objectives]
    number = storage.create_new_study(directions, f"{study.name}/{head}")
    storage.set_study_system_attr(number, "study:metric_names", objectives)  # as Study.set_metric_names, which warns
    told = {"folder": str(results.folder), "head": head, "description": study.description}
    told |= {"searcher": study.search.sampler.searcher, "scheduler": study.search.scheduler.scheduler}
    told |= {"epochs": str(study.training.epochs), "dimensions": str(study.embedding_dim)}
    for key, value in told.items():
        storage.set_study_user_attr(number, key, value)
    return number


def _times(events: Iterable[Event]) -> dict[str, dict[str, datetime]]:
    """Of each trial when it first started and when it ended, as Optuna has it: local and without a zone."""
    times: dict[str, dict[str, datetime]] = {}
    for event in events:
        if event["event"] in ("start", "end") and "trial" in event:
            moment = datetime.fromisoformat(event["time"]).astimezone().replace(tzinfo=None)
            times.setdefault(event["trial"], {}).setdefault(event["event"], moment)
    return times


def _frozen(trial: Trial, space: Space, objectives: Sequence[Objective], times: dict[str, datetime]) -> FrozenTrial:
    """A trial as Optuna keeps it. What was not searched and the measures of the last epoch become its attributes."""
    import optuna

    distributions = _distributions(trial.params, space)
    told: dict[str, Any] = {"trial": trial.name, "seed": trial.seed, "status": trial.status}
    told |= {"reason": trial.reason} if trial.reason else {}
    told |= {name: value for name, value in trial.params.items() if name not in distributions}
    state = _state(trial)
    made = optuna.trial.create_trial(
        state=state,
        values=_values(trial, state.name, objectives),
        params={name: trial.params[name] for name in distributions},
        distributions=distributions,
        user_attrs=told | (trial.epochs[-1]["metrics"] if trial.epochs else {}),
        intermediate_values={epoch["epoch"]: epoch["objective"] for epoch in trial.epochs},
    )
    made.datetime_start, made.datetime_complete = times["start"], times.get("end")
    return made


def _state(trial: Trial) -> TrialState:
    import optuna

    worthless = trial.status in ("completed", "stopped") and not trial.epochs
    return optuna.trial.TrialState["FAIL" if worthless else STATES[trial.status]]


def _values(trial: Trial, state: str, objectives: Sequence[Objective]) -> list[float] | None:
    """What a trial is worth: also a stopped one, as Optuna has it, where there is one objective."""
    if state == "COMPLETE" or (state == "PRUNED" and len(objectives) == 1):
        return list(ranking.values(trial, objectives))
    return None


def _distributions(params: Params, space: Space) -> dict[str, BaseDistribution]:
    """Of each searched parameter what it was drawn from; not of one whose value the space does not hold."""
    import optuna

    asked = optuna.trial.FixedTrial(params)  # remembers what a searcher would have asked it for
    for name, item in space.items():
        if name in params and item.parameter.contains(params[name]):
            item.parameter.suggest(asked, name)
    return asked.distributions


class Page:
    """The dashboard of a study's folder as a WSGI application, made anew whenever the record has grown."""

    def __init__(self, root: str | Path) -> None:
        self._folder, self._lock = Results(root).folder, threading.Lock()
        self._record, self._fetched = self._folder.trials_file, time.monotonic()
        self._seen = self._length()
        self._shown = self._made()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refused(start_response, "405 Method Not Allowed", "this page shows a record and changes nothing")
        if environ.get("HTTP_HOST", HOST).partition(":")[0] not in OURS:
            return _refused(start_response, "403 Forbidden", f"ask for {' or '.join(OURS)}")
        return self._now()(environ, start_response)

    def _now(self) -> WSGIApplication:
        """The dashboard of what the record says now."""
        with self._lock:
            if self._folder.home and time.monotonic() - self._fetched > FETCH_S:
                self._folder.home.pull_unless_at_work()
                self._fetched = time.monotonic()
            length = self._length()
            if length != self._seen:
                self._seen, self._shown = length, self._made()
            return self._shown

    def _length(self) -> int:
        return self._record.stat().st_size if self._record.exists() else 0

    def _made(self) -> WSGIApplication:
        from optuna_dashboard import wsgi

        made: WSGIApplication = wsgi(storage_of(Results(self._folder.root, damaged=True)))
        return made


def _refused(start_response: StartResponse, status: str, reason: str) -> list[bytes]:
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request: a browser keeps connections open on which it asks nothing."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a browser that has gone away
            super().handle_error(request, client_address)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nobody wants to read a line for each request."""


def server(root: str | Path, port: int) -> WSGIServer:
    """A server of the page for this machine alone, on `port` or, for 0, on a free one: `.server_port`.

    Raises CannotRun where optuna-dashboard is missing, the folder holds no study or the port cannot be had.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        fix = "pip install 'embedding-head-orchestrator[dashboard]'"
        raise CannotRun([Problem("dashboard", "it needs optuna-dashboard", "it is not installed", fix)])
    page = Page(root)
    try:
        return make_server(HOST, port, page, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        rule, fix = f"the port must be free on {HOST}", "name another, or --port 0 for any free one"
        raise CannotRun([Problem("--port", rule, f"{port}: {error.strerror}", fix)]) from error
