"""A process of a calibration: trains a head for some seconds as a trial does, and tells how long what took.

Run as `python -m orchestrator.cost.benchmark_worker SPAWNED`, by `benchmark` alone. Reads a study, then names of
heads, a line each; answers each with a line of JSON. What it writes, it writes to the temporary folder that it was
given.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from lightning_modules.data.splits import TrialData
from orchestrator.cluster import ray_session
from orchestrator.planning import plan
from orchestrator.search.allocation import starts
from orchestrator.study.schema import Study
from orchestrator.trials import trial
from search_spaces.configurations import starting_point

FEWEST_BATCHES, MOST_BATCHES, MEASURED_S = 20, 300, 5.0
WARM_BATCHES = 10  # the first ones are slower; what they cost more counts as setup
RAY = "Ray"  # asked for like a head: how long Ray takes to start


def main(spawned: str, lines: IO[str], answer: Callable[[dict[str, Any]], None]) -> None:
    """Measures what the lines ask for, the study first. spawned: when this process was, in seconds since the epoch."""
    study = Study.model_validate_json(lines.readline())
    began = time.perf_counter()
    from orchestrator.trials import head_schedulers  # noqa: F401  imports Ray's Tune, as trials and their driver do

    tune_s = time.perf_counter() - began
    data = plan.load_data(study)
    loading_s = time.perf_counter() - began - tune_s  # a trial gets the images from Ray
    spaces = study.spaces(data.num_classes)
    task = trial.Task.of(study, np.empty(0, np.intp))

    def measure(head: str, most_batches: int) -> tuple[dict[str, float], float]:
        params = (starts(study, head, spaces[head]) or [starting_point(spaces[head])])[0]
        began = time.perf_counter()
        return fit(head, params, data, task, most_batches), time.perf_counter() - began

    first = next(iter(study.heads))
    measure(first, 2)  # imports everything, and finds whatever is used for the first time
    again_s = measure(first, 2)[1]
    answer({"process_s": max(0.0, time.time() - float(spawned) - loading_s - 2 * again_s)})
    for line in lines:
        what = line.strip()
        answer({"ray_s": tune_s + _ray_s()} if what == RAY else measure(what, MOST_BATCHES)[0])


def fit(head: str, params: dict[str, Any], data: TrialData, task: trial.Task, most_batches: int) -> dict[str, float]:
    """Seconds of a trial: setup_s before its first epoch, train_s and validation_s of each epoch.

    core_share: how much of its cores it got. Trains as a trial does, until there are enough batches; validates once.
    """
    started, profile = time.perf_counter(), task.profiles[head]
    threads = max(1, int(profile.cpu))
    trial.reset_process(0, threads)
    module = trial.model(head, params, data, task)
    batches = trial.batches_for(module, data, task, 0)
    clock = _clock(started, min(most_batches, len(batches.train_dataloader())))
    trial.trainer_of(profile, task.epochs, clock).fit(module, datamodule=batches)
    measured_s = clock.trained - clock.warm
    batch_s = measured_s / (clock.number - clock.warm_batches)
    return {
        "setup_s": max(0.0, clock.warm - started - clock.warm_batches * batch_s),
        "train_s": batch_s * len(batches.train_dataloader()),
        "validation_s": clock.ended - clock.trained,
        "core_share": clock.core_s / measured_s / threads,
    }


def _clock(started: float, most_batches: int) -> Any:
    """A Lightning callback that notes when what was done, and ends a fit within its first epoch."""
    import pytorch_lightning as pl

    class Clock(pl.Callback):
        CHECK_EVERY = 25  # like a trial, which reads a loss to see whether it is finite

        def __init__(self) -> None:
            self.number, self.warm_batches = 0, min(WARM_BATCHES, most_batches // 2)

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            self._warm_now()

        def _warm_now(self) -> None:
            self.warm, self.core_s = time.perf_counter(), -time.process_time()

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.number += 1
            enough = self.number >= FEWEST_BATCHES and time.perf_counter() - self.warm > MEASURED_S
            last = enough or self.number == most_batches
            if last or self.number == self.warm_batches or batch_idx % self.CHECK_EVERY == 0:
                float(outputs["loss"])  # waits for the device
            if self.number == self.warm_batches:
                self._warm_now()
            trainer.should_stop = last

        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            self.trained = time.perf_counter()
            self.core_s += time.process_time()

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            with tempfile.TemporaryDirectory() as folder:  # a trial writes a checkpoint after every epoch
                trainer.save_checkpoint(Path(folder, trial.CHECKPOINT))
            self.ended = time.perf_counter()
            trainer.should_stop = True

    return Clock()


def _ray_s() -> float:
    """How long a Ray of our own takes to start, once it is imported."""
    began = time.perf_counter()
    with ray_session.local_ray(1, 0, 0, Path(tempfile.gettempdir())):
        return time.perf_counter() - began


if __name__ == "__main__":
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever prints, prints nowhere

    def answer(content: dict[str, Any]) -> None:
        """A line to whoever started this process."""
        print(json.dumps(content), file=said, flush=True)

    os.nice(int(ray_session.OUR_OWN["RAY_worker_niceness"]))  # as trials have it
    try:
        with open(0, encoding="utf-8", closefd=False) as lines:
            main(sys.argv[1], lines, answer)
    except Exception as error:
        answer({"failed": f"{type(error).__name__}: {error}"})
