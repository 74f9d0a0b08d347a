"""Tune's scheduler: one of the study's schedulers for each head, so that a slow starter is judged by its own kind.

Knows Ray.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from orchestrator.search.report_keys import EPOCH, OBJECTIVE
from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Study
from orchestrator.trials.driver_only import DriverOnly
from search_spaces.configurations import Space


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


class HeadSchedulers(DriverOnly, TrialScheduler):
    """Delegates every call to the scheduler of the trial's own head."""

    def __init__(self, study: Study, spaces: Mapping[str, Space], record: Iterable[Trial] = ()) -> None:
        super().__init__()
        self._metric, self._objective = OBJECTIVE, study.objective
        self.stopped: set[str] = set()  # names of the trials that a scheduler ended early
        chosen, epochs = study.search.scheduler, study.training.epochs
        self._by_name = chosen.needs_record
        one = chosen.for_tune({}, epochs) if study.search.joint else None  # one search, so one ladder for all heads
        self._by_head = {head: one or chosen.for_tune(space, epochs) for head, space in spaces.items()}
        if chosen.needs_record:
            for trial in record:
                self._replay(trial)

    def _replay(self, trial: Trial) -> None:
        """Tells a scheduler what the record knows; Tune itself forgets it."""
        scheduler, known = self._by_head[trial.head], SimpleNamespace(trial_id=trial.name)
        scheduler.on_trial_add(None, known)
        for row in trial.epochs:
            scheduler.on_trial_result(None, known, self._merits({EPOCH: row["epoch"], OBJECTIVE: row["objective"]}))

    def _merits(self, result: dict[str, Any]) -> dict[str, Any]:
        """A result in which higher is better, whichever way the study's objective goes."""
        return {**result, OBJECTIVE: self._objective.merit(result[OBJECTIVE])} if OBJECTIVE in result else result

    def _for(self, controller: Any, trial: Any) -> tuple[TrialScheduler, Any, Any]:
        """The trial's scheduler, the controller as it should see it, and the trial.

        A scheduler that needs the record looks at no more than an id, and gets the name: the same after a resume.
        """
        shown = SimpleNamespace(trial_id=_name(trial)) if self._by_name else trial
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
        decision = scheduler.on_trial_result(view, shown, self._merits(result))
        if decision == TrialScheduler.STOP:
            self.stopped.add(_name(trial))
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        scheduler, view, shown = self._for(tune_controller, trial)
        scheduler.on_trial_complete(view, shown, self._merits(result))

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
