"""What Tune runs as a trial: a configuration, trained in this process or over several.

How it ends is reported, with a reason.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning_modules.data.splits import TrialData
from orchestrator.system import fingerprint
from orchestrator.trials.trial import Task, end_with_parent, fit, last_checkpoint, last_words, where


def run_trial(config: dict[str, Any], data: TrialData, task: Task) -> None:
    """Trains one configuration, reporting to Tune; what goes wrong is reported, with a reason."""
    from ray import tune

    started, trial = time.perf_counter(), config["trial"]
    end_with_parent()
    if other := fingerprint.differs(task.code):
        tune.report({"other_code": other})
        return
    try:
        if task.profiles[trial["head"]].workers > 1:
            from orchestrator.trials import data_parallel

            data_parallel.run(trial, data, task, last_checkpoint(trial))
            return
        if task.says_where:
            tune.report({"placed": where()})
        fit(trial, data, task, started, _to_tune, last_checkpoint(trial))
    except Exception as error:
        words = last_words(error)
        tune.report(words)
        if "broken" in words:
            raise


def _to_tune(row: dict[str, Any], folder: Path) -> None:
    from ray import tune

    tune.report(row, checkpoint=tune.Checkpoint.from_directory(str(folder)))
