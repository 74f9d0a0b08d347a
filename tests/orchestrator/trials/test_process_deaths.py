"""Processes in which trials train die and stall, on one Ray: what is told of it, and how the trials go on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ray import tune
from typer.testing import CliRunner, Result

from orchestrator.cli import app
from orchestrator.planning import plan
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.trials import tuner
from orchestrator.trials.trainable import run_trial
from orchestrator.trials.trial import Task
from tests.orchestrator.alone import alone
from tests.orchestrator.processes import PATIENCE_S, below, epochs_on_record

STUDY = {
    "heads": "{arcface: , sphereface: }",
    "training": "{epochs: 3, batch_size: 16}",
    "confirmation": "{top: 0}",
}
Found = TypeVar("Found")
Await = Callable[[Callable[[], Found]], Found]
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds Ray's worker processes in /proc"),
    pytest.mark.usefixtures("shared_ray", "_alone"),
]


@pytest.fixture(scope="module")
def _alone() -> Iterator[None]:
    with alone():
        yield


def run(*words: object, disturb: Callable[[Await[list[int]]], None]) -> Result:
    """A command in this process, which a second thread disturbs. That is given what waits until there is something."""
    over = threading.Event()

    def until(look: Callable[[], Found]) -> Found:
        end = time.monotonic() + PATIENCE_S
        while not (found := look()):
            assert not over.wait(0.02), "the search has ended before"
            assert time.monotonic() < end, "the search does not get that far"
        return found

    with ThreadPoolExecutor(1) as pool:
        disturbed = pool.submit(disturb, until)
        try:
            done = CliRunner().invoke(app, [*map(str, words)])
        finally:
            over.set()
        assert disturbed.exception() is None, (disturbed.exception(), done.output)
    return done


def check_exactly_planned(folder: StudyFolder) -> None:
    events = folder.events()
    starts = Counter(event["trial"] for event in events if event["event"] == "start")
    ends = Counter(event["trial"] for event in events if event["event"] == "end")
    epochs = Counter((event["trial"], event["epoch"]) for event in events if event["event"] == "epoch")
    names = [f"{head}-{index:03d}" for head in ("arcface", "sphereface") for index in (0, 1)]

    assert starts == ends == Counter(names)
    assert epochs == Counter((name, epoch) for name in names for epoch in (1, 2, 3))


def test_trial_processes_that_die_or_stall_begin_again(small_study: Callable[..., Path], tmp_path: Path) -> None:
    """A lost process costs no epoch: its trial goes on from its last checkpoint, also where it had only gone silent."""
    search = "{trials_per_head: 2, scheduler: none, process_failures: 2, stalled_after_s: 45}"
    folder = StudyFolder(tmp_path / "small")

    def disturb(until: Await[list[int]]) -> None:
        for epochs, number in ((2, signal.SIGKILL), (5, signal.SIGSTOP)):
            at_work = until(lambda epochs=epochs: below(title=".train") if epochs_on_record(folder) >= epochs else [])
            os.kill(at_work[0], number)

    done = run("launch", small_study(**STUDY | {"search": search}), "--results", tmp_path, disturb=disturb)
    assert done.exit_code == 0, done.output
    assert "; it goes on after epoch" in done.stderr
    assert "no report for 4" in done.stderr
    check_exactly_planned(folder)


def test_a_trial_whose_process_may_not_die_is_interrupted_alone_and_resume_goes_on_with_it(
    small_study: Callable[..., Path], tmp_path: Path
) -> None:
    """The others train to their end; what was broken off is said, with how to go on, and goes on."""
    search = "{trials_per_head: 2, scheduler: none, process_failures: 0}"
    folder = StudyFolder(tmp_path / "small")

    def disturb(until: Await[list[int]]) -> None:
        os.kill(until(lambda: below(title=".train") if epochs_on_record(folder) >= 2 else [])[0], signal.SIGKILL)

    done = run("launch", small_study(**STUDY | {"search": search}), "--results", tmp_path, disturb=disturb)
    (killed,) = (trial for trial in folder.trials().values() if trial.status == "running")
    assert done.exit_code == 1, done.output
    assert killed.reason == "its process died, without a word of its own, as by SIGKILL"
    assert done.stderr.splitlines()[-2:] == [
        f"the machine has broken off {killed.name}: {killed.reason}",
        f"what is recorded is safe; go on with: orchestrator resume {folder}",
    ]
    assert sum(trial.status == "completed" for trial in folder.trials().values()) == 3
    status = CliRunner().invoke(app, ["status", str(folder.root)])
    assert f"{killed.name} interrupted: {killed.reason}" in status.stdout

    resumed = CliRunner().invoke(app, ["resume", str(folder.root)])
    assert resumed.exit_code == 0, resumed.output
    check_exactly_planned(folder)


def undisturbed(study: Study, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a trial reports that trains in this process from its beginning to its end."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", lambda row, checkpoint=None: told.append(row))
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    data = plan.load_data(study)
    given = {"head": trial.head, "seed": trial.seed, "params": trial.params, "checkpoint": None}
    run_trial({"trial": given}, data, Task.of(study, tuner.sample(data.validation.labels)))
    return told


def test_a_trial_of_two_workers_goes_on_where_one_dies_and_is_interrupted_where_too_many_do(
    small_study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost workers cost no epoch: what is on record are the numbers of one worker that nobody disturbs."""
    changes = {
        "heads": "{arcface: {lr: {value: 0.001}, head_lr: {value: 0.001}}}",  # at higher ones rounding grows with steps
        "training": "{epochs: 4, batch_size: 64, seed: 7}",
        "search": "{trials_per_head: 1, scheduler: none, process_failures: 1}",
    }
    study, folder, known = small_study(**STUDY | changes), StudyFolder(tmp_path / "small"), list[int]()

    def pair(epochs: int) -> list[int]:
        """Both workers, begun anew since the last pair, once so many epochs are on record."""
        new = [pid for pid in below(title="RayTrainWorker") if pid not in known]
        return new if len(new) == 2 and epochs_on_record(folder) >= epochs else []

    def disturb(until: Await[list[int]]) -> None:
        for epochs, which in ((1, -1), (2, 0)):  # the one that reports, or its partner
            workers = until(lambda epochs=epochs: pair(epochs))
            os.kill(workers[which], signal.SIGKILL)
            known.extend(workers)

    done = run("launch", study, "--results", tmp_path, "--set", "resources.workers=2", disturb=disturb)
    assert done.exit_code == 1, done.output
    (trial,) = folder.trials().values()
    assert "; it goes on after epoch" in done.stderr
    assert (trial.status, bool(trial.reason)) == ("running", True)
    assert f"the machine has broken off {trial.name}: {trial.reason}" in done.stderr

    epochs = [row["epoch"] for row in trial.epochs]
    assert epochs == [*range(1, len(epochs) + 1)]
    assert len(epochs) >= 2
    end = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}").exists() for pid in known):
        assert time.monotonic() < end, "a worker is left"
        time.sleep(0.02)
    for row, expected in zip(trial.epochs, undisturbed(Study.load(study), trial, monkeypatch), strict=False):
        assert row["metrics"]["train/loss"] == pytest.approx(expected["metrics"]["train/loss"], rel=1e-2)
        own_mean = "val/nearest_mean_accuracy"  # k-means on what is hardly trained yet jumps
        assert row["metrics"][own_mean] == pytest.approx(expected["metrics"][own_mean], abs=0.02)
