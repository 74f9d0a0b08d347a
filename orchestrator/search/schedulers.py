"""Tune's side of the equal contest: one searcher and one scheduler that multiplex one of each per head.

A slow starter is stopped early only against its own kind. Knows Ray.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, Protocol

from ray import tune
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import Searcher

from orchestrator.search.allocation import Assignment
from orchestrator.search.driver_only import DriverOnly
from orchestrator.search.samplers import Space
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from orchestrator.study.schema import Study
from search_spaces.distributions import Range

EPOCH, OBJECTIVE = "epoch", "objective"


def trial_config(assignment: Assignment, checkpoint: str | None = None) -> dict[str, Any]:
    """What a trial receives; checkpoint: where an interrupted one goes on."""
    return {"trial": {**vars(assignment), "checkpoint": checkpoint}}


class Source(Protocol):
    """Where trials come from: a Contest, or the Replicates of known configurations."""

    @property
    def remaining(self) -> int: ...

    def next(self) -> Assignment | None: ...

    def epoch(self, name: str, row: Event) -> None: ...

    def end(self, name: str, status: str) -> None: ...


class SourceSearcher(DriverOnly, Searcher):
    """Tune's searcher: hands out a source's assignments. The source learns from the recorder."""

    def __init__(self, source: Source, checkpoints: Mapping[str, str]) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        self.source, self.checkpoints = source, checkpoints

    def suggest(self, trial_id: str) -> Any:
        assignment = self.source.next()
        if assignment is None:
            return Searcher.FINISHED
        return trial_config(assignment, self.checkpoints.get(assignment.name))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The recorder has told the contest already, with the trial's real status."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a search resumes from trials.jsonl."""

    restore = save


class _OnlyHead:
    """Tune's controller as the scheduler of one head should see it: with that head's trials alone."""

    def __init__(self, controller: Any, head: str) -> None:
        self._controller, self._head = controller, head

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def get_trials(self) -> list[Any]:
        return [trial for trial in self._controller.get_trials() if _head(trial) == self._head]

    def get_live_trials(self) -> list[Any]:
        return [trial for trial in self._controller.get_live_trials() if _head(trial) == self._head]


def _head(trial: Any) -> str:
    return str(trial.config["trial"]["head"])


def _name(trial: Any) -> str:
    return str(trial.config["trial"]["name"])


class HeadPopulation(PopulationBasedTraining):
    """Population based training of one head: a poor trial takes a good one's weights, and its margins changed."""

    def __init__(self, scheduled: Mapping[str, Range], every_epochs: int, epochs: int) -> None:
        self._scheduled, self._epochs = scheduled, epochs
        ranges = {name: tune.uniform(parameter.low, parameter.high) for name, parameter in scheduled.items()}
        super().__init__(
            time_attr=EPOCH,
            metric=OBJECTIVE,
            mode="max",
            perturbation_interval=every_epochs,
            hyperparam_mutations={"trial": {"params": ranges}},
            resample_probability=0.0,
            log_config=False,
        )

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """After its last epoch a trial takes nothing over, and no other takes over a model that is done."""
        if result[EPOCH] >= self._epochs:
            return TrialScheduler.CONTINUE  # type: ignore[no-any-return]
        return super().on_trial_result(tune_controller, trial, result)  # type: ignore[no-any-return]

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The clone's configuration, changed, inside the space, under the trial's own name."""
        config, operations = super()._get_new_config(trial, trial_to_clone)
        params = config["trial"]["params"]
        params |= {name: parameter.clipped(params[name]) for name, parameter in self._scheduled.items()}
        return {"trial": {**trial.config["trial"], "params": params}}, operations


class HeadSchedulers(DriverOnly, TrialScheduler):
    """Delegates every call to the scheduler of the trial's own head."""

    def __init__(self, study: Study, spaces: Mapping[str, Space], record: Iterable[Trial] = ()) -> None:
        super().__init__()
        self._metric = OBJECTIVE
        self.stopped: set[str] = set()  # names of the trials that a scheduler ended early
        self._asha = study.search.scheduler == "asha"
        one = _scheduler(study, {}) if study.search.joint else None  # one search, so one ladder for all heads
        self._by_head = {head: one or _scheduler(study, space) for head, space in spaces.items()}
        if self._asha:
            for trial in record:
                self._replay(trial)

    def _replay(self, trial: Trial) -> None:
        """Fills ASHA's rungs with what the record knows; Tune itself forgets them."""
        scheduler, known = self._by_head[trial.head], SimpleNamespace(trial_id=trial.name)
        scheduler.on_trial_add(None, known)
        for row in trial.epochs:
            scheduler.on_trial_result(None, known, {EPOCH: row["epoch"], OBJECTIVE: row["objective"]})

    def _for(self, controller: Any, trial: Any) -> tuple[TrialScheduler, Any, Any]:
        """The trial's scheduler, the controller as it should see it, and the trial.

        ASHA, which looks at no more than an id, gets the name: the same before and after a resume.
        """
        shown = SimpleNamespace(trial_id=_name(trial)) if self._asha else trial
        return self._by_head[_head(trial)], _OnlyHead(controller, _head(trial)), shown

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        scheduler, view, shown = self._for(tune_controller, trial)
        scheduler.on_trial_add(view, shown)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        scheduler, view, shown = self._for(tune_controller, trial)
        scheduler.on_trial_error(view, shown)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = TrialScheduler.CONTINUE
        if OBJECTIVE not in result:  # the last word of a diverged or failed trial
            return decision
        scheduler, view, shown = self._for(tune_controller, trial)
        decision = scheduler.on_trial_result(view, shown, result)
        if decision == TrialScheduler.STOP:
            self.stopped.add(_name(trial))
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        scheduler, view, shown = self._for(tune_controller, trial)
        scheduler.on_trial_complete(view, shown, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        scheduler, view, shown = self._for(tune_controller, trial)
        scheduler.on_trial_remove(view, shown)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        chosen = (
            scheduler.choose_trial_to_run(_OnlyHead(tune_controller, head)) for head, scheduler in self._by_head.items()
        )
        waiting = [trial for trial in chosen if trial is not None]
        return min(waiting, key=lambda trial: (trial.last_result or {}).get(EPOCH, 0), default=None)

    def debug_string(self) -> str:
        return "one scheduler a head"


def _scheduler(study: Study, space: Space) -> Any:
    search, epochs = study.search, study.training.epochs
    if search.scheduler == "asha":
        return AsyncHyperBandScheduler(
            time_attr=EPOCH,
            metric=OBJECTIVE,
            mode="max",
            max_t=epochs,
            grace_period=search.grace_epochs,
            reduction_factor=search.reduction_factor,
        )
    scheduled = {  # margins, crossovers and scales: what may change while a model trains
        name: item.parameter
        for name, item in space.items()
        if item.role and isinstance(item.parameter, Range) and item.when is None
    }
    if search.scheduler == "none" or not scheduled:
        return FIFOScheduler()
    return HeadPopulation(scheduled, search.perturb_every_epochs, epochs)
