"""Runs a study on Ray Tune: the contest proposes, trials train, the recorder writes down what they report.

The record is the truth. `resume` rebuilds the contest from it and never reads Tune's own snapshots.
"""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lightning_modules.data.splits import stratified
from orchestrator import cluster, plan, provenance, report, winners
from orchestrator.checkpoints import newest
from orchestrator.errors import CannotRun, Problem
from orchestrator.plan import Plan
from orchestrator.progress import Progress, Silent
from orchestrator.records import Trial, Writer, write_atomic
from orchestrator.refresh import Refresher
from orchestrator.results import Results
from orchestrator.study import Study
from orchestrator.trial import Task, run_trial


def launch(study: Study, results: str | Path = "results", progress: Progress | None = None) -> Results:
    """Runs a study to its end and returns its results, which lie in `results`/<name>.

    Raises CannotRun before anything starts. Ctrl-C or SIGTERM ends it gracefully: the results then say that they are
    not finished, and `resume` goes on.
    """
    planned = plan.make(study, results)
    with planned.folder.writer() as writer:
        plan.refuse_taken(planned.folder)  # by someone who was quicker than this plan
        write_atomic(planned.folder.provenance_file, provenance.text(provenance.first(planned)))
        write_atomic(planned.folder.study_file, study.to_yaml("The study as it was launched, overrides included."))
        return _run(planned, writer, progress or Silent())


def resume(folder: str | Path, progress: Progress | None = None) -> Results:
    """Goes on with an interrupted study to exactly the planned number of trials."""
    known = Results(folder)
    root = known.folder.root
    if known.study.name != root.resolve().name:
        rule, fix = "a study's folder bears the study's name", f"rename it to {known.study.name}"
        raise CannotRun([Problem(str(root), rule, root.resolve().name, fix)])
    parent = root.parent if root.name == known.study.name else root.resolve().parent
    planned = plan.make(known.study, parent, resuming=True)
    with planned.folder.writer() as writer:
        before = json.loads(planned.folder.provenance_file.read_text())
        write_atomic(planned.folder.provenance_file, provenance.text(provenance.resumed(before, planned)))
        return _run(planned, writer, progress or Silent())


def _run(planned: Plan, writer: Writer, progress: Progress) -> Results:
    folder = planned.folder
    trials = folder.trials()
    if not Results(folder.root).finished:
        labels = planned.data.validation.labels
        sample = np.flatnonzero(stratified(labels, min(plan.SAMPLE, len(labels)), seed=0))
        folder.save_labels(labels[sample])
        heads = dict.fromkeys(planned.study.heads, planned.study.search.trials_per_head)
        progress.begin(planned.study.name, heads, trials, planned.study.training.epochs, planned.slots)
        for warning in planned.warnings:
            progress.say(f"warning: {warning}")
        try:
            with Refresher(folder.root):
                _search(planned, writer, trials, progress, sample)
        except SystemExit:
            progress.say("stopped while Ray was starting")  # Ray's own answer to a SIGTERM in its first seconds
        finally:
            progress.close()
    results = Results(folder.root)
    results.write_best()
    if results.finished:
        _conclude(planned, results, progress)
    return results


def _conclude(planned: Plan, results: Results, progress: Progress) -> None:
    """Keeps and measures the best models, and writes the report. The search is recorded: no failure here costs it."""
    try:
        winners.examine(planned, results, progress.say)
        progress.say("drawing the report")
        report.write(results)
    except Exception as error:
        again = f"everything recorded is safe; orchestrator resume {results.folder.root} tries again"
        progress.say(f"the models or the report could not be made: {type(error).__name__}: {error}; {again}")


def _search(planned: Plan, writer: Writer, trials: dict[str, Trial], progress: Progress, sample: Any) -> None:
    study, folder = planned.study, planned.folder
    data_bytes = planned.data.train.images.nbytes + planned.data.validation.images.nbytes
    cpus = math.ceil(planned.slots * study.resources.cpu)  # no more, so that a population keeps to the slots too
    with StopSignals() as signals, cluster.local_ray(cpus, planned.machine.gpus, data_bytes, writer.scratch):
        signals.listen()  # again: Ray has just taken SIGTERM for itself
        from ray import tune

        from orchestrator.budget import ContestSearcher, HeadSchedulers, trial_config
        from orchestrator.contest import Contest
        from orchestrator.recorder import Recorder, StopRequest

        contest = Contest(study, planned.spaces, trials.values())
        remaining = contest.remaining
        schedulers = HeadSchedulers(study, planned.spaces, trials.values())
        interrupted = [trial for trial in trials.values() if trial.status == "running"]
        checkpoints = {name: str(path.parent.resolve()) for name, path in newest(folder, interrupted).items()}
        tracker = _tracker(planned, progress.say)
        recorder = Recorder(writer, contest, trials, progress, tracker, schedulers)
        task = Task.of(study, sample)
        population = study.search.scheduler == "pbt"  # Tune's PBT takes all its trials at once and no searcher
        given: dict[str, Any] = {}
        if population:
            assignments = [contest.next() for _ in range(remaining)]
            configs = [trial_config(each, checkpoints.get(each.name)) for each in assignments if each]
            given = {"param_space": {"trial": tune.grid_search([config["trial"] for config in configs])}}
        try:
            tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(run_trial, data=planned.data, task=task),
                    {name: amount for name, amount in study.resources.model_dump().items() if amount},
                ),
                tune_config=tune.TuneConfig(
                    num_samples=1 if population else remaining,
                    search_alg=None if population else ContestSearcher(contest, checkpoints),
                    scheduler=schedulers,
                    max_concurrent_trials=None if population else planned.slots,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: str(trial.config["trial"]["name"]),
                ),
                run_config=tune.RunConfig(
                    name=f"attempt-{len(list(folder.ray.glob('attempt-*'))) + 1}",
                    storage_path=str(folder.ray.resolve()),
                    callbacks=[recorder],
                    stop=StopRequest(signals.stop, folder.stop_file),
                    failure_config=tune.FailureConfig(max_failures=study.search.process_failures),
                    checkpoint_config=tune.CheckpointConfig(num_to_keep=4 if population else 2),
                    verbose=0,
                ),
                **given,
            ).fit()
        finally:
            if tracker:
                tracker.close()


def _tracker(planned: Plan, warn: Callable[[str], None]) -> Any:
    if planned.study.tracking.mode == "off":
        return None
    from orchestrator.tracking import Tracker

    study_id = json.loads(planned.folder.provenance_file.read_text())["study_id"]
    return Tracker(planned.study, study_id, planned.folder.wandb, planned.folder.labels(), warn)


class StopSignals:
    """Ctrl-C and SIGTERM set `stop`; a second Ctrl-C ends the program at once.

    Signals belong to the main thread: in a notebook's or a server's thread `stop` is simply never set.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self.listen()
        return self

    def listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before.setdefault(number, signal.getsignal(number))
                signal.signal(number, self._request)

    def _request(self, number: int, frame: Any) -> None:
        if self.stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop.set()

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
