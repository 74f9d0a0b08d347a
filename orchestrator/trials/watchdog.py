"""Watches trials while they run: one that has stalled begins again, and a study whose trials keep failing ends.

What the machine does to trials is counted apart: it ends a search sooner, and says nothing of the study.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray import tune

from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import AUTO, Search
from orchestrator.system.interruptions import Cause
from orchestrator.trials.driver_only import DriverOnly

LEAST_S, TIMES = 600.0, 10.0  # auto: stalled after ten times the longest wait for a report so far, but ten minutes
LEAST_FAILURES, SHARE = 3, 0.25  # auto: as many as a quarter of all trials may fail, but three
MOST_INTERRUPTED = 3  # trials that the machine may break off, one after another, while none comes to its end


class Watch(DriverOnly, tune.Callback):
    """Tune's callback. It ends the process of a stalled trial, which Tune then starts again as after any death.

    trials: the record, which another callback has kept up to date by then. broken: what the machine did, once the
    search has ended for that.
    """

    def __init__(
        self,
        search: Search,
        planned: int,
        trials: Mapping[str, Trial],
        stop: threading.Event,
        say: Callable[[str], None],
    ) -> None:
        self._asked, self._trials, self._stop, self._say = search.stalled_after_s, trials, stop, say
        self.broken = ""
        self._interrupted = 0
        most = search.most_failures
        self.most_failures = max(LEAST_FAILURES, int(SHARE * planned)) if most == AUTO else int(most)
        self._heard: dict[str, float] = {}  # of trials at work, when they last reported
        self._longest_s = 0.0
        self._failures = 0

    @property
    def stalled_after_s(self) -> float | None:
        """How long a trial may be silent; None while that is not known, or where it is for ever."""
        if self._asked == AUTO:
            return max(LEAST_S, TIMES * self._longest_s) if self._longest_s else None
        return float(self._asked) or None

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._heard[_name(trial)] = time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "waiting" in result:  # until its workers have a place, which may take as long as other trials do
            self._heard.pop(_name(trial), None)
            return
        now = time.monotonic()
        self._longest_s = max(self._longest_s, now - self._heard.get(_name(trial), now))
        self._heard[_name(trial)] = now
        if result.get("ended", {}).get("status") == "failed":
            self._failed()
        if "broken" in result and (cause := Cause(**result["broken"])).comes_again:
            self._break_off(cause.said)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._heard.pop(_name(trial), None)
        self._interrupted = 0

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._heard.pop(_name(trial), None)  # until it starts again

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._heard.pop(_name(trial), None)
        known = self._trials[_name(trial)]
        if known.lost:
            self._failed()
            return
        if self._stop.is_set():  # it ends with the whole search
            return
        self._interrupted += 1
        if self._interrupted > MOST_INTERRUPTED:
            self._break_off(f"the machine has broken off {self._interrupted} trials one after another: {known.reason}")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        after_s, now = self.stalled_after_s, time.monotonic()
        if after_s is None:
            return
        for trial in trials:
            silent_s = now - self._heard.get(_name(trial), now)
            if silent_s > after_s and trial.temporary_state.ray_actor:
                self._heard.pop(_name(trial))
                self._say(f"{_name(trial)}: no report for {silent_s:.0f} s; its process is ended")
                ray.kill(trial.temporary_state.ray_actor)

    def _failed(self) -> None:
        self._failures += 1
        if self._failures == self.most_failures + 1:
            self._say(f"{self._failures} trials have failed, {self.most_failures} may (search.most_failures): it ends")
            self._stop.set()

    def _break_off(self, reason: str) -> None:
        self.broken = self.broken or reason
        self._stop.set()


def _name(trial: Any) -> str:
    return str(trial.config["trial"]["name"])
