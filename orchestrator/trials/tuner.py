"""Trains assignments on Ray Tune, stage by stage in one session: the search, its confirmation, the final models.

The record is the truth: a stage is rebuilt from it, and Tune's own snapshots are never read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_modules.data.splits import TrialData, stratified
from orchestrator.cluster import ray_session
from orchestrator.errors import CannotRun, Interrupted, RayEnded
from orchestrator.planning import plan
from orchestrator.planning.plan import Plan
from orchestrator.storage.record_writer import Writer
from orchestrator.study.schema import AUTO, Profile, Study
from orchestrator.system import interruptions
from orchestrator.system.ray_thread import RayThread
from orchestrator.system.signals import StopSignals
from orchestrator.trials.checkpoints import newest
from orchestrator.trials.deaths import Deaths
from orchestrator.trials.progress import Progress
from orchestrator.trials.trainable import run_trial
from orchestrator.trials.trial import Task

if TYPE_CHECKING:
    from orchestrator.trials.source_searcher import Source


@dataclass(frozen=True)
class Stage:
    """A part of a study that trains. title: what progress shows; heads: how many trials of each are planned.

    study: the schedule of these trials, where it is not the study's own. data: all that they may see.
    """

    title: str
    heads: Mapping[str, int]
    source: Source
    study: Study
    data: TrialData


class Session:
    """Ray, and the driver's signals, for all stages of a study."""

    def __init__(self, planned: Plan, progress: Progress, signals: StopSignals, ray: RayThread) -> None:
        self._planned, self._progress, self._signals, self._ray = planned, progress, signals, ray

    @property
    def stopped(self) -> bool:
        """Whether someone has asked for an end."""
        return self._signals.stop.is_set() or self._planned.folder.stop_file.exists()

    def _interrupted(self) -> bool:
        """Whether a trial that ends now does so with the whole search."""
        return self._ray.broken() or self.stopped

    def train(self, stage: Stage, writer: Writer) -> None:
        """Trains what the stage's source hands out, until it has nothing more or a stop is asked for.

        writer: of the stage's record, which may know some of its trials already.
        """
        planned, progress = self._planned, self._progress
        progress.begin(stage.title, stage.heads, writer.trials, stage.study.training.epochs, planned.slots)
        try:
            self._ray.do(lambda: self._fit(stage, writer))
        finally:
            progress.close()

    def _fit(self, stage: Stage, writer: Writer) -> None:
        from ray import tune

        from orchestrator.trials.head_schedulers import HeadSchedulers
        from orchestrator.trials.recorder import Recorder, StopRequest
        from orchestrator.trials.source_searcher import SourceSearcher, trial_config
        from orchestrator.trials.watchdog import Watch

        study, source, folder = stage.study, stage.source, self._planned.folder
        remaining, trials = source.remaining, writer.trials
        schedulers = HeadSchedulers(study, self._planned.spaces, trials.values())
        interrupted = [trial for trial in trials.values() if trial.status == "running"]
        checkpoints = {name: folder.on_nodes(path.parent) for name, path in newest(folder, interrupted).items()}
        on_cluster = self._planned.fleet.address is not None
        deaths = Deaths(None if on_cluster else writer.scratch, self._planned.memory)
        epochs = study.training.epochs
        recorder = Recorder(writer, folder, source, epochs, self._progress, schedulers, deaths, self._interrupted)
        shared = any(study.resources.of(head).workers > 1 for head in study.heads)  # Tune does not see those workers
        grows = on_cluster and study.search.concurrent_trials == AUTO and not shared  # as many as fit, and one waits
        watch = Watch(study.search, sum(stage.heads.values()), trials, self._signals.stop, self._progress.say)
        task = Task.of(study, sample(self._planned.split.validation_labels), says_where=on_cluster)
        population = study.search.scheduler.takes_population  # all trials at once: Tune then takes no searcher
        given: dict[str, Any] = {}
        if population:
            assignments = [source.next() for _ in range(remaining)]
            configs = [trial_config(each, checkpoints.get(each.name)) for each in assignments if each]
            given = {"param_space": {"trial": tune.grid_search([config["trial"] for config in configs])}}
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(run_trial, data=stage.data, task=task),
                requested(study),
            ),
            tune_config=tune.TuneConfig(
                num_samples=1 if population else remaining,
                search_alg=None if population else SourceSearcher(source, checkpoints),
                scheduler=schedulers,
                max_concurrent_trials=None if population or grows else self._planned.slots,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.config["trial"]["name"]),
            ),
            run_config=tune.RunConfig(
                name=f"attempt-{folder.attempts() + 1}",
                storage_path=folder.ray_storage,
                callbacks=[recorder, watch],
                stop=StopRequest(self._signals.stop, folder.stop_file),
                failure_config=tune.FailureConfig(max_failures=study.search.process_failures),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=study.search.scheduler.kept_checkpoints),
                verbose=0,
            ),
            **given,
        )
        try:
            tuner.fit()
        except tune.TuneError as error:
            if isinstance(error.__context__, CannotRun):  # of the record; Tune has wrapped it into its own
                raise error.__context__ from None
            if cause := interruptions.of(error):
                raise Interrupted(cause.said) from error
            raise
        if watch.broken:
            raise Interrupted(watch.broken)
        open_ones = [f"{name}: {trial.reason}" for name, trial in trials.items() if trial.interrupted]
        if open_ones and not self.stopped:
            raise Interrupted(f"the machine has broken off {'; '.join(open_ones)}")


def requested(study: Study) -> Any:
    """What Tune asks Ray for, for a trial's configuration."""
    from ray import tune

    profiles = {head: _of_tune(study.resources.of(head)) for head in study.heads}
    if len({str(profile) for profile in profiles.values()}) == 1:
        return next(iter(profiles.values()))

    def of_trial(config: dict[str, Any]) -> Any:
        asked = profiles[config["trial"]["head"]]
        named = {kind if kind == "memory" else kind.upper(): amount for kind, amount in asked.items()}
        return tune.PlacementGroupFactory([named])

    return of_trial


def _of_tune(profile: Profile) -> dict[str, float]:
    """What a trial's own process takes: as good as nothing where workers train, for Ray Train asks for those itself.

    Tune refuses a trial that asks for nothing, and no fraction of a core may be missing where workers take whole ones.
    """
    return profile.requested() if profile.workers == 1 else {"cpu": 0, "memory": 1}  # byte


@contextmanager
def session(
    planned: Plan, writer: Writer, progress: Progress, signals: StopSignals, stop_in_s: float | None = None
) -> Iterator[Session]:
    """Starts Ray for a study, and ends it. Raises RayEnded where it ends by itself.

    stop_in_s: when a stop is asked for, from now, by the clock.
    """
    labels = planned.split.validation_labels
    planned.folder.save_labels(labels[sample(labels)])
    data_bytes = planned.split.train_bytes + planned.split.validation_bytes
    progress.say("starting Ray" if planned.fleet.address is None else f"joining Ray at {planned.fleet.address}")
    told = False

    def tell() -> None:
        nonlocal told
        if not told and (signals.asked or planned.folder.stop_file.exists()):
            told = True
            progress.say(f"asked to end: trials at work end now; {signals.safe()}")

    def look() -> None:
        tell()
        signals.end_if_late()

    try:
        with _alarm(signals, stop_in_s), signals.gently():
            try:
                with ray_session.ray_for(
                    planned.fleet, planned.study, planned.slots, data_bytes, writer.scratch, look
                ) as ray:
                    signals.listen()  # again: Ray takes SIGTERM for itself where it can
                    yield Session(planned, progress, signals, ray)
            finally:
                signals.listen()  # for Ray, at its end, lets SIGTERM end a process at once
                tell()
    except RayEnded:
        signals.end_if_asked()
        raise


@contextmanager
def _alarm(signals: StopSignals, in_s: float | None) -> Iterator[None]:
    """Asks for a stop after so many seconds."""
    if in_s is None:
        yield
        return
    timer = threading.Timer(max(0.0, in_s), signals.stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def sample(labels: NDArray[np.int64]) -> NDArray[np.intp]:
    """The validation images whose embeddings are kept after every epoch: the same ones for every trial."""
    return np.flatnonzero(stratified(labels, min(plan.SAMPLE, len(labels)), seed=0))
