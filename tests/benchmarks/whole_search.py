"""A whole search against the tutorials' (`tutorial.py`), each from the start of its process to its last trial's end.

With the same body, batch, epochs and number of trials. RayThread it, how long until some configuration reaches 0.98: of
the tutorials', of the same search, and of one with our own recipe in two epochs, which is ended there.
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

from orchestrator.storage.study_folder import StudyFolder
from tests.orchestrator.alone import SEARCH_ALONE

TRIALS, EPOCHS = 8, 3
GOAL = 0.98
QUIET = subprocess.DEVNULL
ALWAYS = ("name=whole", f"search.trials_per_head={TRIALS}", "confirmation.top=0", "tracking.mode=off")
OURS = (*ALWAYS, "heads={arcface: }")
SAME = (
    *ALWAYS,
    "heads={arcface: {magnitude: fixed}}",
    f"training.epochs={EPOCHS}",
    "training.batch_size=256",
    "training.shift_px=0",
)
Moments = list[tuple[float, float]]  # seconds since the start, cluster accuracy


def measure() -> dict[str, Any]:
    """Wall times, their ratio, and the times to the goal with their ratio; nothing where one never gets there."""
    command = [sys.executable, "-m", "tests.benchmarks.tutorial", str(TRIALS), str(EPOCHS)]
    tutorial = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    same_s, same = searched(SAME)
    _, own = searched(OURS, to_goal=True)
    goals = [first(moments) for moments in (tutorial["accuracies"], same, own)]
    return {
        "trials": TRIALS,
        "epochs": EPOCHS,
        "goal": GOAL,
        "tutorial_s": tutorial["wall_s"],
        "same_s": same_s,
        "times_as_fast": tutorial["wall_s"] / same_s,
        "tutorial_trained_epochs": len(tutorial["accuracies"]),
        "same_trained_epochs": len(same),
        "tutorial_best": best(tutorial["accuracies"]),
        "same_best": best(same),
        **dict(zip(("tutorial_to_goal_s", "same_to_goal_s", "own_recipe_to_goal_s"), goals, strict=True)),
        "times_as_fast_to_goal": goals[0] / goals[2] if goals[0] and goals[2] else None,
    }


def searched(overrides: Iterable[str], to_goal: bool = False) -> tuple[float, Moments]:
    """Of our search, in a process of its own: its wall time, and the accuracies by time. to_goal: it is ended there."""
    with tempfile.TemporaryDirectory() as results:
        folder, began = StudyFolder(Path(results) / "whole"), time.time()
        words = ("launch", "mnist_3d", f"--results={results}", *(f"--set={override}" for override in overrides))
        process = subprocess.Popen([sys.executable, "-c", SEARCH_ALONE, *words], stdout=QUIET, stderr=QUIET)
        while process.poll() is None:
            time.sleep(0.2)
            if to_goal and first(accuracies(folder, began)) is not None:
                process.terminate()
                break
        if process.wait() and not to_goal:
            raise RuntimeError("the search failed")
        return time.time() - began, accuracies(folder, began)


def accuracies(folder: StudyFolder, began: float) -> Moments:
    return [(seconds_since(began, event), event["objective"]) for event in folder.events() if event["event"] == "epoch"]


def seconds_since(began: float, event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp() - began


def best(moments: Moments) -> float:
    return max(accuracy for _, accuracy in moments)


def first(moments: Moments) -> float | None:
    """When the goal was reached for the first time."""
    return min((moment for moment, accuracy in moments if accuracy >= GOAL), default=None)
