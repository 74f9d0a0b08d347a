"""A driver that is killed or asked to stop loses nothing, and resume goes on to exactly the planned trials."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.planning import plan
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.trials import tuner
from orchestrator.trials.trainable import run_trial
from orchestrator.trials.trial import Task
from tests.orchestrator.processes import PATIENCE_S, below, epochs_on_record, orchestrator, wait_until

STUDY = {
    "heads": "{arcface: , sphereface: }",
    "training": "{epochs: 3, batch_size: 16}",
    "search": "{trials_per_head: 2, scheduler: none}",
}
INTERRUPTED = STUDY | {
    "search": "{trials_per_head: 3, scheduler: none, concurrent_trials: 2}",
    "tracking": "{project: tests, pictures: false}",
}
ASKED = ("Ctrl-C", "SIGTERM", "stop")
HOWS = ("killed", *ASKED)
SIGNALS = {"killed": signal.SIGKILL, "Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}


def said(verb: str, folder: StudyFolder, *words: str) -> str:
    """What the program prints for a verb that looks at a study, or asks something of it, while a driver is at it."""
    done = CliRunner().invoke(app, [verb, str(folder.root), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def launch_until(study: Path, results: Path, epochs: int) -> tuple[subprocess.Popen[str], StudyFolder]:
    """A search in a process of its own, in the middle: so many epochs are on record."""
    folder = StudyFolder(results / "small")
    process = orchestrator("launch", study, "--results", results)
    wait_until(lambda: epochs_on_record(folder) >= epochs, process)
    return process, folder


def check_exactly_planned(folder: StudyFolder, trials_per_head: int = 2) -> None:
    events = folder.events()
    starts = Counter(event["trial"] for event in events if event["event"] == "start")
    ends = Counter(event["trial"] for event in events if event["event"] == "end")
    epochs = Counter((event["trial"], event["epoch"]) for event in events if event["event"] == "epoch")
    names = [f"{head}-{index:03d}" for head in ("arcface", "sphereface") for index in range(trials_per_head)]

    assert starts == ends == Counter(names)
    assert epochs == Counter((name, epoch) for name in names for epoch in (1, 2, 3))


@dataclass(frozen=True)
class Interruption:
    """A driver that was ended in the middle of the search, and what it left.

    code: what it exited with. printed, told: by itself, on stdout and stderr. status, stop: what these verbs printed
    while it ran. driver, trials, written: what the study's folder knew and its record was once it had ended.
    """

    code: int
    printed: str
    told: str
    status: str
    stop: str
    driver: Any
    trials: dict[str, Trial]
    written: bytes

    @property
    def open(self) -> dict[str, Trial]:
        """Trials that had not ended."""
        return {name: trial for name, trial in self.trials.items() if trial.status == "running"}


@dataclass(frozen=True)
class Interrupted:
    """One study, interrupted in every way, one after another, and resumed after each.

    scratch: the folder of its first driver, which was killed. last: the driver that came to the end.
    """

    folder: StudyFolder
    interruptions: dict[str, Interruption]
    scratch: Path
    last: subprocess.CompletedProcess[str]


def interrupt(process: subprocess.Popen[str], folder: StudyFolder, how: str) -> Interruption:
    status = said("status", folder, "--json") if how in ASKED else ""
    stop = said("stop", folder) if how == "stop" else ""
    if not stop:
        process.send_signal(SIGNALS[how])
    printed, told = process.communicate(timeout=PATIENCE_S)
    written = folder.trials_file.read_bytes()
    return Interruption(process.returncode, printed, told, status, stop, folder.driver(), folder.trials(), written)


def first_trials_have_an_epoch(folder: StudyFolder) -> bool:
    return {"arcface-000", "sphereface-000"} <= {name for name, trial in folder.trials().items() if trial.epochs}


def went_on(folder: StudyFolder, before: Interruption) -> bool:
    """Whether all trials that were open have a further epoch on record, or an end, and there are two more epochs."""
    now = folder.trials()
    alike = [name for name, trial in before.open.items() if vars(trial) == vars(now[name])]
    known, total = (sum(trial.last_epoch for trial in trials.values()) for trials in (before.trials, now))
    return not alike and total >= known + 2


@pytest.fixture(scope="module")
def interrupted(write_small: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    root = tmp_path_factory.mktemp("interrupted")
    folder, found = StudyFolder(root / "small"), dict[str, Interruption]()
    process = orchestrator("launch", write_small(root, **INTERRUPTED), "--results", root)
    wait_until(lambda: first_trials_have_an_epoch(folder), process)
    scratch = Path(json.loads(folder.driver_file.read_text())["scratch"])
    for how in HOWS:
        if found:
            before = list(found.values())[-1]
            wait_until(partial(went_on, folder, before), process)
        found[how] = interrupt(process, folder, how)
        if how == "killed":
            assert scratch.exists()
        process = orchestrator("resume", folder.root)
    printed, told = process.communicate(timeout=PATIENCE_S)
    return Interrupted(folder, found, scratch, subprocess.CompletedProcess("", process.returncode, printed, told))


def test_after_all_interruptions_resume_has_finished_the_plan(interrupted: Interrupted) -> None:
    assert interrupted.last.returncode == 0, interrupted.last.stderr
    check_exactly_planned(interrupted.folder, trials_per_head=3)


def test_a_killed_driver_loses_no_record_and_its_trials_go_on(interrupted: Interrupted) -> None:
    killed, resumed = interrupted.interruptions["killed"], interrupted.interruptions["Ctrl-C"]
    assert killed.code == -signal.SIGKILL
    assert killed.open
    for name, trial in killed.open.items():
        assert (f"{name} goes on" in resumed.told) == (trial.last_epoch > 0)
    assert not interrupted.scratch.exists()


@pytest.mark.parametrize("how", HOWS)
def test_what_is_on_record_stays_as_it_is(interrupted: Interrupted, how: str) -> None:
    written = interrupted.interruptions[how].written
    assert interrupted.folder.trials_file.read_bytes().startswith(written[: written.rfind(b"\n") + 1])


def test_going_on_from_a_checkpoint_gives_the_numbers_of_an_undisturbed_run(
    interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.load(interrupted.folder.study_file)
    data = plan.load_data(study)
    task = Task.of(study, tuner.sample(data.validation.labels))
    disturbed = interrupted.interruptions["killed"].open
    assert any(trial.last_epoch for trial in disturbed.values())
    for name in disturbed:
        told: list[dict[str, Any]] = []
        monkeypatch.setattr(tune, "report", lambda row, checkpoint=None, told=told: told.append(row))
        monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
        trial = interrupted.folder.trials()[name]
        given = {"head": trial.head, "seed": trial.seed, "params": trial.params, "checkpoint": None}
        run_trial({"trial": given}, data, task)
        assert [row["objective"] for row in trial.epochs] == [row["objective"] for row in told]


@pytest.mark.parametrize("how", ASKED)
def test_a_driver_that_is_asked_to_stop_ends_gracefully(interrupted: Interrupted, how: str) -> None:
    asked = interrupted.interruptions[how]
    assert json.loads(asked.status)["running"]
    assert ("asked process" in asked.stop) == (how == "stop")
    assert asked.code == 130
    assert f"orchestrator resume {interrupted.folder.root}" in asked.told
    assert asked.driver is None
    assert all(trial.status in ("running", "completed") for trial in asked.trials.values())
    assert len(asked.trials) < 6 or asked.open


def test_a_driver_that_is_ended_while_ray_starts_says_so_too(small_study: Callable[..., Path], tmp_path: Path) -> None:
    process, folder = (
        orchestrator("launch", small_study(**STUDY), "--results", tmp_path),
        StudyFolder(tmp_path / "small"),
    )
    while not folder.study_file.exists():
        time.sleep(0.02)
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "what is recorded is safe; go on with: orchestrator resume" in told
    assert folder.driver() is None


def a_trial_at_work(process: subprocess.Popen[str]) -> int:
    """A process of this driver's Ray in which a trial trains; between two epochs there may be none."""
    return wait_until(lambda: below(process.pid, ".train"), process)[0]


finds_processes = pytest.mark.skipif(sys.platform != "linux", reason="finds Ray's worker processes in /proc")


@finds_processes
def test_trial_processes_that_die_or_stall_begin_again(small_study: Callable[..., Path], tmp_path: Path) -> None:
    search = "{trials_per_head: 2, scheduler: none, process_failures: 2, stalled_after_s: 45}"
    process, folder = launch_until(small_study(**STUDY | {"search": search}), tmp_path, epochs=2)
    os.kill(a_trial_at_work(process), signal.SIGKILL)
    wait_until(lambda: epochs_on_record(folder) >= 5, process)
    os.kill(a_trial_at_work(process), signal.SIGSTOP)
    _, lines = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0, lines
    assert "; it goes on after epoch" in lines
    assert "no report for 4" in lines
    check_exactly_planned(folder)


@finds_processes
def test_a_trial_whose_process_may_not_die_is_interrupted_alone_and_resume_goes_on_with_it(
    small_study: Callable[..., Path], tmp_path: Path
) -> None:
    search = "{trials_per_head: 2, scheduler: none, process_failures: 0}"
    process, folder = launch_until(small_study(**STUDY | {"search": search}), tmp_path, epochs=2)
    os.kill(a_trial_at_work(process), signal.SIGKILL)
    _, lines = process.communicate(timeout=PATIENCE_S)
    (killed,) = (trial for trial in folder.trials().values() if trial.status == "running")

    assert process.returncode == 1, lines
    assert killed.reason == "its process died, without a word of its own, as by SIGKILL"
    assert lines.splitlines()[-2:] == [
        f"the machine has broken off {killed.name}: {killed.reason}",
        f"what is recorded is safe; go on with: orchestrator resume {folder}",
    ]
    assert sum(trial.status == "completed" for trial in folder.trials().values()) == 3
    assert f"{killed.name} interrupted: {killed.reason}" in said("status", folder)

    resumed = orchestrator("resume", folder.root)
    _, lines = resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0, lines
    check_exactly_planned(folder)
