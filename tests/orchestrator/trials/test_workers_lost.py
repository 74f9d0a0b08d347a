"""A trial of two workers loses a worker, then its driver, and goes on to what an undisturbed trial of one reaches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from orchestrator.planning import plan
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.trials import tuner
from orchestrator.trials.trainable import run_trial
from orchestrator.trials.trial import Task
from tests.orchestrator.processes import PATIENCE_S, below, orchestrator, wait_until

STUDY = {
    "heads": "{arcface: {lr: {value: 0.001}, head_lr: {value: 0.001}}}",  # at higher ones rounding grows with the steps
    "training": "{epochs: 4, batch_size: 64, seed: 7}",
    "search": "{trials_per_head: 1, scheduler: none, process_failures: 1}",
    "confirmation": "{top: 0}",
}
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds Ray's worker processes in /proc"),
]


def wait_for_epoch(epoch: int, folder: StudyFolder, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: any(event.get("epoch") == epoch for event in folder.events()), process)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    return below(process.pid, "RayTrainWorker")


def test_lost_workers_and_a_lost_driver_cost_no_epoch(
    small_study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that trains in two processes survives the loss of one, and of the driver, from its last checkpoint."""
    study, folder = small_study(**STUDY), StudyFolder(tmp_path / "two" / "small")
    launched = orchestrator("launch", study, "--results", tmp_path / "two", "--set", "resources.workers=2")
    wait_for_epoch(1, folder, launched)
    known = workers_of(launched)
    assert len(known) == 2
    os.kill(known[-1], signal.SIGKILL)
    wait_for_epoch(2, folder, launched)
    known += workers_of(launched)
    assert len(set(known)) == 4  # both began again
    launched.send_signal(signal.SIGKILL)
    _, said = launched.communicate()
    assert "; it goes on after epoch 1" in said

    resumed = orchestrator("resume", folder.root)
    _, said = resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0, said
    trial = folder.trials()["arcface-000"]
    assert trial.status == "completed"
    assert [row["epoch"] for row in trial.epochs] == [1, 2, 3, 4]
    assert not [pid for pid in known if Path(f"/proc/{pid}").exists()]

    undisturbed: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", lambda row, checkpoint=None: undisturbed.append(row))
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    alone = Study.load(study)
    data = plan.load_data(alone)
    given = {"head": trial.head, "seed": trial.seed, "params": trial.params, "checkpoint": None}
    run_trial({"trial": given}, data, Task.of(alone, tuner.sample(data.validation.labels)))
    for row, expected in zip(trial.epochs, undisturbed, strict=True):
        assert row["metrics"]["train/loss"] == pytest.approx(expected["metrics"]["train/loss"], rel=1e-2)
        own_mean = "val/nearest_mean_accuracy"  # k-means on what is hardly trained yet jumps
        assert row["metrics"][own_mean] == pytest.approx(expected["metrics"][own_mean], abs=0.02)


def test_a_trial_whose_workers_die_too_often_is_interrupted(small_study: Callable[..., Path], tmp_path: Path) -> None:
    study = small_study(**STUDY | {"search": "{trials_per_head: 1, scheduler: none, process_failures: 0}"})
    folder = StudyFolder(tmp_path / "small")
    launched = orchestrator("launch", study, "--results", tmp_path, "--set", "resources.workers=2")
    wait_for_epoch(1, folder, launched)
    os.kill(workers_of(launched)[0], signal.SIGKILL)  # the one that reports, or its partner
    _, said = launched.communicate(timeout=PATIENCE_S)
    assert launched.returncode == 1, said
    trial = folder.trials()["arcface-000"]
    assert (trial.status, bool(trial.reason)) == ("running", True)
    assert f"the machine has broken off arcface-000: {trial.reason}" in said
