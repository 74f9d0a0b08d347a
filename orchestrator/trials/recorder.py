"""Writes down what Tune's trials report, in the driver: first the record, then progress."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune import Stopper

from orchestrator.errors import CannotRun, Problem
from orchestrator.storage.record_writer import Writer
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.system.interruptions import Cause
from orchestrator.trials.deaths import Deaths
from orchestrator.trials.driver_only import DriverOnly
from orchestrator.trials.head_schedulers import HeadSchedulers
from orchestrator.trials.progress import Progress
from orchestrator.trials.source_searcher import Source

OF_A_TASK = "ray::"  # in the text of an error that a trial's own code has raised


class Recorder(DriverOnly, tune.Callback):
    """Tune's callback: turns its events into the study's record and tells their source how each trial ended."""

    def __init__(
        self,
        writer: Writer,
        folder: StudyFolder,
        source: Source,
        epochs: int,
        progress: Progress,
        schedulers: HeadSchedulers,
        deaths: Deaths,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._writer, self._source, self._trials, self._epochs = writer, source, writer.trials, epochs
        self._folder, self._progress, self._schedulers = folder, progress, schedulers
        self._deaths, self._interrupted = deaths, interrupted
        self._last_words: dict[str, dict[str, str]] = {}
        self._broken: dict[str, Cause] = {}  # trials that the machine has broken off, until they report again

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        given = trial.config["trial"]
        name = given["name"]
        again = name in self._trials
        if not again:
            self._begin(given)
        elif given["params"] != self._trials[name].params:  # a scheduler gave it another's margins
            epoch = self._trials[name].last_epoch
            self._writer.append({"event": "params", "trial": name, "epoch": epoch, "params": given["params"]})
        if not again or given["continues"]:
            self._progress.started(self._trials[name])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        name = trial.config["trial"]["name"]
        if "placed" in result:
            self._writer.append({"event": "placed", "trial": name, **result["placed"]})
            return
        if "other_code" in result:
            raise _other_code(name, result["other_code"])
        if "ended" in result:
            self._last_words[name] = result["ended"]
            return
        if "broken" in result:
            self._broken[name] = cause = Cause(**result["broken"])
            if cause.comes_again:  # the search ends, before Tune says that this trial has
                self._interrupt(name, cause)
            return
        if "objective" not in result:
            return
        shape, content = result.pop("embedding")  # taken out, so that Tune keeps no copy of it
        known = self._trials[name]
        if result["epoch"] <= known.last_epoch:
            return
        points = np.frombuffer(content, np.float16).reshape(shape)
        metrics = {key: value for key, value in result["metrics"].items() if math.isfinite(value)}
        self._folder.save_embedding(name, result["epoch"], points)
        row = {"epoch": result["epoch"], "objective": result["objective"], "metrics": metrics}
        if name in self._schedulers.stopped and row["epoch"] < self._epochs:
            row["stops"] = True
        self._writer.append({"event": "epoch", "trial": name, **row})
        self._source.epoch(name, row)
        self._progress.epoch(known, row)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]["name"]
        known, said = self._trials[name], self._last_words.pop(name, None)
        if said:
            self._end(name, **said)
        elif known.last_epoch >= self._epochs:
            self._end(name, "completed")
        elif name in self._schedulers.stopped:
            self._end(name, "stopped", known.stopped_because)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]["name"]
        epochs = self._trials[name].last_epoch if name in self._trials else 0
        cause = self._broken.pop(name, None) or self._deaths.of(_error(trial))
        self._progress.say(f"{name}: {cause.said}; it goes on after epoch {epochs}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        given = trial.config["trial"]
        name = given["name"]
        if name not in self._trials:  # its node died before it could start
            self._begin(given)
        if self._interrupted():  # it ends with the whole search, and goes on with it
            return
        text, cause = _error(trial), self._broken.pop(name, None)
        if cause is None and (signal := self._deaths.crash(text)):
            self._end(name, "failed", f"its process crashed {trial.num_failures} times, by {signal}", text)
        elif cause is None and OF_A_TASK in text:
            self._end(name, "failed", text.strip().splitlines()[-1], text)
        else:
            self._interrupt(name, cause or self._deaths.of(text))

    def _interrupt(self, name: str, cause: Cause) -> None:
        """Writes down that the machine has broken off a trial. That is no end: its source will hear of no other."""
        known = self._trials[name]
        if known.reason == cause.said:
            return
        self._writer.append({"event": "interrupted", "trial": name, "epoch": known.last_epoch, "reason": cause.said})
        self._progress.say(f"{name} is interrupted after epoch {known.last_epoch}: {cause.said}")

    def _begin(self, given: dict[str, Any]) -> None:
        about = {key: given[key] for key in ("head", "index", "seed", "params")}
        self._writer.append({"event": "start", "trial": given["name"], **about})

    def _end(self, name: str, status: str, reason: str = "", traceback: str = "") -> None:
        detail = {"traceback": traceback} if traceback else {}
        self._writer.append({"event": "end", "trial": name, "status": status, "reason": reason, **detail})
        self._source.end(name, status)
        self._progress.ended(self._trials[name])


def _error(trial: Any) -> str:
    """What Ray says of a trial's last failure."""
    try:
        return Path(trial.error_file).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    except (OSError, TypeError):  # the disk is full, or there is none
        return ""


def _other_code(name: str, value: str) -> CannotRun:
    """Ends the whole search, whose other trials go on with a resume: numbers of two programs are not one contest's."""
    rule = "a trial trains the code of its driver"
    fix = "leave the program as it is while a study runs, the same on all nodes; orchestrator resume then goes on"
    return CannotRun([Problem(f"{name}'s process", rule, value, fix)])


class StopRequest(DriverOnly, Stopper):
    """Ends the whole search, gracefully, once `stop` is set or `stop_file` is there."""

    def __init__(self, stop: threading.Event, stop_file: Path) -> None:
        self._stop, self._stop_file = stop, stop_file

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._stop.is_set() or self._stop_file.exists()
