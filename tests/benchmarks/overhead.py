"""What a search costs besides training: 12 one-epoch trials, the time of each split up.

What follows a search, its report above all, is left out.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import datetime
from typing import Any

from orchestrator import Results, Study, launch
from tests.orchestrator.alone import alone

OVERRIDES = (
    "name=overhead",
    "training.epochs=1",
    "search.trials_per_head=6",
    "search.scheduler=none",
    "search.grace_epochs=1",
    "confirmation.top=0",
    "heads={arcface: , cosface: }",
)


def measure() -> dict[str, Any]:
    """Seconds a trial spends outside training; later trials are those in a process that has run one before."""
    study = Study.load("quick", OVERRIDES)
    with alone(), tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        results = launch(study, folder)
        wall_s = time.perf_counter() - began
        return figures(results, wall_s)


def figures(results: Results, wall_s: float) -> dict[str, Any]:
    trials = list(results.trials.values())
    slots = 2
    measures = [trial.epochs[0]["metrics"] for trial in trials]
    training_s = sum(row["time/train_s"] for row in measures)
    later = measures[slots:]
    return {
        "trials": len(trials),
        "wall_s": wall_s,
        "training_s_per_trial": training_s / len(trials),
        "outside_training_s_per_trial": (slots * wall_s - training_s) / len(trials),
        "outside_training_share_of_wall": 1 - training_s / (slots * wall_s),
        "setup_s_first_in_a_process": statistics.mean(row["time/setup_s"] for row in measures[:slots]),
        "setup_s_later_median": statistics.median(row["time/setup_s"] for row in later),
        "setup_s_later_worst": max(row["time/setup_s"] for row in later),
        "validation_s_median": statistics.median(row["time/validation_s"] for row in measures),
        "end_to_next_first_step_s_median": statistics.median(gaps(results)),
        "end_to_next_first_step_s_worst": max(gaps(results)),
    }


def gaps(results: Results) -> list[float]:
    """Seconds from each trial's end to the first step of the trial that starts next."""
    events = results.folder.events()
    found, ended = [], []
    for event in events:
        moment = datetime.fromisoformat(event["time"]).timestamp()
        if event["event"] == "end":
            ended.append(moment)
        elif event["event"] == "start" and ended:
            setup_s = results.trials[event["trial"]].epochs[0]["metrics"]["time/setup_s"]
            found.append(moment - ended.pop(0) + setup_s)
    return found
