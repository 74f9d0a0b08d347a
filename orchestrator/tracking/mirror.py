"""The live mirror: one thread owns all W&B runs, in a process beside the search (see `follower_process`).

Whoever tells it something never waits. Whatever goes wrong at W&B is said once: runs go on offline, and
`orchestrator sync` sends what is missing, from the record.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study import tracking_mode
from orchestrator.tracking import connection, remedy, remote_state, sweep, workspace
from orchestrator.tracking.publish import UPLOAD_S, publish
from orchestrator.tracking.run import SWEPT, About, TrialRun
from orchestrator.tracking.sweep import Place
from orchestrator.tracking.update_queue import Inbox, News

RETRY_S = 300.0  # after W&B was away, how long until it is tried again


class Mirror:
    """Keeps W&B's runs equal to the trials' records."""

    def __init__(self, folder: StudyFolder, say: Callable[[str], None], inbox: Inbox | None = None) -> None:
        self._folder, self._say, self._inbox = folder, say, inbox or Inbox()
        self._about = About.of(Results(folder.root))
        self._wanted = tracking_mode.mode_of(self._about.study) == "online"
        self._runs: dict[str, TrialRun] = {}
        self._ended: set[str] = set()
        self._place: Place | None = None  # where runs are sent; None while they are kept here
        self._retry_at = 0.0
        self._closed = self._given_up = False
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="wandb-mirror", daemon=True)
        self._thread.start()

    def tell(self, job: str, trial: Trial, event: Event) -> None:
        """A trial of some part of the study has one more event on record, which it knows already."""
        drawn = event["event"] == "epoch" and job == "search" and self._about.study.tracking.pictures
        self._inbox.put(job, trial, event["epoch"] if drawn else None)

    def close(self, at_most_s: float) -> None:
        """Waits until all is written and runs without an end have ended as interrupted; but not for ever."""
        if self._closed:
            return
        self._closed = True
        self._inbox.close()
        self._thread.join(at_most_s)
        if self._thread.is_alive():
            self._given_up = True
            connection.abandon(self._about.study_id)
            self._thread.join(connection.REACH_S)  # its work fails now, and it begins no other
            self._say(f"W&B was not ready {at_most_s:g} s after the study's end; {remedy(self._folder)}")
        if left_out := self._inbox.left_out:
            self._say(f"{left_out} pictures were left out at W&B, so that it kept up; every row is there")

    def _work(self) -> None:
        try:
            self._mirror()
        except BaseException as error:  # a thread would end without a word
            self._say(f"W&B: {type(error).__name__}: {error}; {remedy(self._folder)}")

    def _mirror(self) -> None:
        self._connect()
        while not self._given_up and (news := self._inbox.take()) is not None:
            self._guarded(partial(self._follow, news))
        for run in list(self._runs.values()):
            if run.trial.name in self._runs and not self._given_up:  # else lost with one before it
                self._guarded(run.end)
        if self._wanted and not self._given_up:
            self._guarded(self._conclude)

    def _connect(self) -> None:
        """Goes online, if that is wanted and W&B is there."""
        if not self._wanted or self._place or time.monotonic() < self._retry_at:
            return
        try:
            connection.require()
            path = sweep.path_of(self._folder, self._about.study)
            self._place = Place.of(self._folder, self._about.study) or self._found_or_new(path)
            self._place = workspace.ensure(self._place, self._about, self._say)
            self._say(f"W&B: {self._place.url}")
            self._catch_up()
        except Exception as error:
            self._lost(error)

    def _found_or_new(self, path: str) -> Place:
        """The sweep of runs that are there already, where its note is lost; else a new one."""
        about = self._about
        held = remote_state.runs_of(path, about.study_id, about.study.name) if Results(self._folder.root).runs else {}
        prior = [run.id for run in held.values() if run.job in SWEPT]
        spaces = about.study.spaces(about.classes)
        place = remote_state.known_place(about, path, held) or sweep.create(path, about.study, spaces, prior)
        place.keep(self._folder)
        return place

    def _catch_up(self) -> None:
        """Sends trials that have ended and that W&B does not have: of a driver that was killed, or of an outage."""
        results = Results(self._folder.root)
        ended = [each for each in results.runs if each[1].status != "running" and each[1].name not in self._runs]
        if not ended or not self._place:
            return
        held = remote_state.runs_of(self._place.path, self._about.study_id, self._about.study.name)
        for job, trial in remote_state.due(self._about, ended, held, self._place.sweep):
            if self._place and not self._given_up:
                self._ended.discard(trial.name)
                self._follow(News(job, trial, frozenset()), UPLOAD_S)

    def _follow(self, news: News, patience_s: float = 0.0) -> None:
        self._connect()
        trial, over = news.trial, news.trial.status != "running"  # asked first: an end comes after all epochs
        if trial.name in self._ended:
            return
        run = self._runs.get(trial.name) or self._open(news, patience_s)
        run.tell(news.undrawn)
        if over:
            del self._runs[trial.name]
            self._ended.add(trial.name)
            run.end()

    def _open(self, news: News, patience_s: float) -> TrialRun:
        open_run = partial(TrialRun, self._about, news.trial, news.job)
        if self._place:
            try:
                path, swept = self._place.path, self._place.sweep
                self._runs[news.trial.name] = open_run(path=path, sweep=swept, patience_s=patience_s)
            except Exception as error:
                self._lost(error)
        if self._given_up:
            raise connection.Unavailable("the study has ended")
        if news.trial.name not in self._runs:
            self._runs[news.trial.name] = open_run()
        return self._runs[news.trial.name]

    def _conclude(self) -> None:
        """At a study's end: what is missing, its report and models, and whether W&B has all of it."""
        self._connect()
        if self._place is None:  # which was said when it was lost
            return
        about, results = self._about, Results(self._folder.root)
        held, missing = remote_state.lacking(about, self._place.path, results.runs, self._place.sweep)
        if missing:
            self._say(f"W&B lacks {len(missing)} runs; {remedy(self._folder)}")
        if results.finished:
            publish(about, results, held.get(about.id_of(remote_state.STUDY_RUN)), self._place.path)
        if not missing:
            self._say(f"W&B has all {len(results.runs)} runs: {self._place.url}")

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._lost(error)

    def _lost(self, error: Exception) -> None:
        """W&B could not be used: goes on offline, and says so, each reason once."""
        if self._place:  # what its runs have not sent yet is on record; the next news opens them here, whole
            online = [run for run in self._runs.values() if run.online]
            self._runs = {name: run for name, run in self._runs.items() if not run.online}
            if not connection.abandon(self._about.study_id):
                for run in online:
                    run.give_up()
        self._place, self._retry_at = None, time.monotonic() + RETRY_S
        reason = str(error) if isinstance(error, connection.Unavailable) else f"{type(error).__name__}: {error}"
        if reason not in self._said:
            self._said.add(reason)
            after = (
                f"runs are kept offline; {remedy(self._folder)}" if self._wanted else "the study's own record goes on"
            )
            self._say(f"W&B: {reason}; {after}")
