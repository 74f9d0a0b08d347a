"""How soon the program answers: `--help`, a plan, and from a launch to the first step of its first trial.

The yardsticks are what nobody can go below in Python: its own start, and the import of torch with Lightning and Ray
Tune, which a search cannot do without.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.storage.study_folder import StudyFolder
from tests.benchmarks.stopwatch import median_s
from tests.orchestrator.alone import SEARCH_ALONE

ROUNDS = 2
PROGRAM = str(Path(sys.executable).parent / "orchestrator")
IMPORTS = "import torch, pytorch_lightning, ray.tune"
SMALL = (
    "--set=name=startup",
    "--set=training.epochs=1",
    "--set=search.trials_per_head=1",
    "--set=confirmation.top=0",
    "--set=heads={arcface: }",
    "--set=search.grace_epochs=1",
    "--no-tracking",
)


def measure() -> dict[str, Any]:
    """Seconds, means of two; and the launch as a ratio to the imports alone."""
    imports_s = command_s(sys.executable, "-c", IMPORTS)
    first_step_s = statistics.median(to_first_step_s() for _ in range(ROUNDS))
    return {
        "python_s": command_s(sys.executable, "-c", ""),
        "imports_s": imports_s,
        "help_s": command_s(PROGRAM, "--help"),
        "plan_s": command_s(PROGRAM, "plan", "quick", "--set=name=startup"),
        "launch_to_first_step_s": first_step_s,
        "launch_to_first_step_over_imports": first_step_s / imports_s,
    }


def command_s(*command: str) -> float:
    """Wall time of a command."""
    with tempfile.TemporaryDirectory() as folder:
        return median_s(lambda: subprocess.run(command, check=True, capture_output=True, cwd=folder), ROUNDS)


def to_first_step_s() -> float:
    """From the command to the first step of its only trial, by the record: what its start and its set-up took.

    The command is that of the program, without what would follow the search.
    """
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        command = (sys.executable, "-c", SEARCH_ALONE, "launch", "quick", *SMALL, f"--results={folder}")
        subprocess.run(command, check=True, capture_output=True)
        events = StudyFolder(Path(folder) / "startup").events()
    started = next(event for event in events if event["event"] == "start")
    setup_s = next(event for event in events if event["event"] == "epoch")["metrics"]["time/setup_s"]
    return datetime.fromisoformat(started["time"]).timestamp() - began + float(setup_s)
