"""A whole search against the tutorials' (`tutorial.py`), each from the start of its process to its last trial's end.

Twice: with the same body, batch, epochs and number of trials; and with our own recipe. How long until some
configuration reaches 0.98 is told beside.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.records import StudyFolder

TRIALS, EPOCHS = 6, 4
GOAL = 0.98
ALWAYS = ("name=whole", f"search.trials_per_head={TRIALS}", "confirmation.top=0", "tracking.mode=off")
OURS = (*ALWAYS, "heads={arcface: }")
SAME = (
    *ALWAYS,
    "heads={arcface: {magnitude: fixed}}",
    f"training.epochs={EPOCHS}",
    "training.batch_size=256",
    "training.shift_px=0",
)
SEARCH = """
import sys
from orchestrator import Study, launch, report, winners
report.write = winners.examine = lambda *given: None
launch(Study.load("mnist_3d", sys.argv[2:]), sys.argv[1])
"""
Moments = list[tuple[float, float]]  # seconds since the start, cluster accuracy


def measure() -> dict[str, Any]:
    """Wall times, their ratio, and the times to 0.98 with their ratio; nothing where one never gets there."""
    command = [sys.executable, "-m", "tests.benchmarks.tutorial", str(TRIALS), str(EPOCHS)]
    tutorial = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    same_s, same = searched(SAME)
    own_s, own = searched(OURS)
    found = {
        "trials": TRIALS,
        "epochs": EPOCHS,
        "tutorial_s": tutorial["wall_s"],
        "same_s": same_s,
        "times_as_fast": tutorial["wall_s"] / same_s,
        "tutorial_best": best(tutorial["accuracies"]),
        "same_best": best(same),
        "own_recipe_s": own_s,
        "own_recipe_best": best(own),
        "tutorial_to_goal_s": first(tutorial["accuracies"]),
        "same_to_goal_s": first(same),
        "own_recipe_to_goal_s": first(own),
    }
    for way in ("same", "own_recipe"):
        theirs, ours = found["tutorial_to_goal_s"], found[f"{way}_to_goal_s"]
        found[f"{way}_times_as_fast_to_goal"] = theirs / ours if theirs and ours else None
    return found


def searched(overrides: Iterable[str]) -> tuple[float, Moments]:
    """Of our search, in a process of its own: its wall time, and the accuracies by time."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        subprocess.run([sys.executable, "-c", SEARCH, folder, *overrides], check=True, capture_output=True)
        wall_s = time.time() - began
        events = StudyFolder(Path(folder) / "whole").events()
    rows = [(seconds_since(began, event), event["objective"]) for event in events if event["event"] == "epoch"]
    return wall_s, rows


def seconds_since(began: float, event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp() - began


def best(moments: Moments) -> float:
    return max(accuracy for _, accuracy in moments)


def first(moments: Moments) -> float | None:
    """When the goal was reached for the first time."""
    return min((moment for moment, accuracy in moments if accuracy >= GOAL), default=None)
