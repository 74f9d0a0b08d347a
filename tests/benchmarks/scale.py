"""What the driver costs when there are many trials: 300 that train nothing, with everything else as it is.

In a process of its own, so that its memory is its own. W&B is left out: it has a process beside.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator import Study, launch
from orchestrator.reporting.progress_view import Silent
from orchestrator.storage.event_log import Trial
from orchestrator.trials import tuner
from tests.orchestrator.alone import alone

MARKS = (50, 150, 300)
OVERRIDES = (
    "name=scale",
    "training.epochs=1",
    f"search.trials_per_head={MARKS[-1] // 2}",
    "search.scheduler=none",
    "search.grace_epochs=1",
    "confirmation.top=0",
    "tracking.mode=off",
    "heads={arcface: , cosface: }",
)


def measure() -> dict[str, Any]:
    """Seconds a trial and memory of the driver, at so many trials."""
    done = subprocess.run([sys.executable, "-m", "tests.benchmarks.scale"], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def resident_mb() -> float:
    """What this process has in memory now, shared libraries and all."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def trains_nothing(config: dict[str, Any], data: Any, task: Any) -> None:
    """A trial that reports what a real one does, at once; the objective depends on the learning rate alone."""
    from ray import tune

    points = np.zeros((len(task.sample), task.embedding_dim), np.float16)
    objective = 1.0 / (1.0 + abs(config["trial"]["params"]["lr"] - 0.01))
    embedding = (points.shape, points.tobytes())
    tune.report({"epoch": 1, "objective": objective, "metrics": {"train/loss": 1.0}, "embedding": embedding})


class Marks(Silent):
    """Notes the time and the memory when so many trials have ended."""

    def __init__(self) -> None:
        self.began, self.ends = 0.0, 0
        self.found: dict[str, Any] = {}
        self.last = (0, 0.0)

    def started(self, trial: Trial) -> None:
        if not self.began:
            self.began = time.perf_counter()

    def ended(self, trial: Trial) -> None:
        self.ends += 1
        if self.ends in MARKS:
            now, (before, then) = time.perf_counter() - self.began, self.last
            self.found[f"seconds_per_trial_{before}_to_{self.ends}"] = (now - then) / (self.ends - before)
            self.found[f"driver_mb_at_{self.ends}"] = resident_mb()
            self.last = self.ends, now


def main() -> None:
    """The search, in this process."""
    tuner.run_trial = trains_nothing
    marks = Marks()
    with alone(), tempfile.TemporaryDirectory() as folder:
        results = launch(Study.load("quick", OVERRIDES), folder, marks)
        sizes = {"record_mb": (Path(folder) / "scale" / "trials.jsonl").stat().st_size / 1e6}
        assert len(results.trials) == MARKS[-1]
    print(json.dumps(marks.found | sizes))


if __name__ == "__main__":
    main()
