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
from pathlib import Path

import pytest

from orchestrator.records import StudyFolder

STUDY = {
    "heads": "{arcface: , sphereface: }",
    "training": "{epochs: 3, batch_size: 16}",
    "search": "{trials_per_head: 2, scheduler: none}",
}


PROGRAM = """
from orchestrator import report, winners
from orchestrator.cli import main
report.write = winners.examine = lambda *given: None
main()
"""


def orchestrator(*words: str | Path) -> subprocess.Popen[str]:
    """The program; it keeps no models and draws no report, which has tests of its own."""
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def launch_until(study: Path, results: Path, epochs: int) -> tuple[subprocess.Popen[str], StudyFolder]:
    """A search in a process of its own, in the middle: so many epochs are on record."""
    folder = StudyFolder(results / "small")
    process = orchestrator("launch", study, "--results", results)
    for _ in range(1200):
        if sum(event["event"] == "epoch" for event in folder.events()) >= epochs:
            return process, folder
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("the search did not get that far")


def check_exactly_planned(folder: StudyFolder) -> None:
    events = folder.events()
    starts = Counter(event["trial"] for event in events if event["event"] == "start")
    ends = Counter(event["trial"] for event in events if event["event"] == "end")
    epochs = Counter((event["trial"], event["epoch"]) for event in events if event["event"] == "epoch")
    names = [f"{head}-{index:03d}" for head in ("arcface", "sphereface") for index in range(2)]

    assert starts == ends == Counter(names)
    assert epochs == Counter((name, epoch) for name in names for epoch in (1, 2, 3))


def test_a_killed_driver_loses_no_record_and_resume_finishes_the_plan(
    small_study: Callable[..., Path], tmp_path: Path
) -> None:
    process, folder = launch_until(small_study(**STUDY), tmp_path, epochs=4)
    scratch = Path(json.loads(folder.driver_file.read_text())["scratch"])
    process.send_signal(signal.SIGKILL)
    process.communicate()
    written = folder.trials_file.read_bytes()
    interrupted = {name: trial.last_epoch for name, trial in folder.trials().items() if trial.status == "running"}
    assert scratch.exists()

    resumed = orchestrator("resume", folder.root)
    _, told = resumed.communicate(timeout=200)

    assert resumed.returncode == 0, told
    assert folder.trials_file.read_bytes().startswith(written[: written.rfind(b"\n") + 1])
    check_exactly_planned(folder)
    for name, epoch in interrupted.items():
        assert (f"{name} goes on" in told) == (epoch > 0)
    assert not scratch.exists()


def test_going_on_from_a_checkpoint_gives_the_numbers_of_an_undisturbed_run(
    small_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = small_study(**STUDY | {"search": "{trials_per_head: 1, scheduler: none}"})
    process, folder = launch_until(study, tmp_path / "disturbed", epochs=2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    resumed = orchestrator("resume", folder.root)
    whole = orchestrator("launch", study, "--results", tmp_path / "whole")

    for ended in (resumed, whole):
        ended.communicate(timeout=200)
        assert ended.returncode == 0
    undisturbed = StudyFolder(tmp_path / "whole" / "small").trials()
    for name, trial in folder.trials().items():
        assert [row["objective"] for row in trial.epochs] == [row["objective"] for row in undisturbed[name].epochs]


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "stop"])
def test_a_driver_that_is_asked_to_stop_ends_gracefully_and_can_go_on(
    small_study: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    process, folder = launch_until(
        small_study(**STUDY, tracking="{project: tests}" if how == "Ctrl-C" else "{mode: 'off'}"), tmp_path, epochs=2
    )
    status = orchestrator("status", folder.root, "--json")
    assert json.loads(status.communicate(timeout=60)[0])["running"]
    if how == "stop":
        assert "asked process" in orchestrator("stop", folder.root).communicate(timeout=60)[0]
    else:
        process.send_signal(signal.SIGINT if how == "Ctrl-C" else signal.SIGTERM)
    told, _ = process.communicate(timeout=100)

    assert process.returncode == 130
    assert f"orchestrator resume {folder.root}" in told.replace("\n", "")
    assert folder.driver() is None
    trials = folder.trials()
    assert all(trial.status in ("running", "completed") for trial in trials.values())
    assert len(trials) < 4 or any(trial.status == "running" for trial in trials.values())

    resumed = orchestrator("resume", folder.root)
    resumed.communicate(timeout=200)
    assert resumed.returncode == 0
    check_exactly_planned(folder)


def test_a_driver_that_is_ended_while_ray_starts_says_so_too(small_study: Callable[..., Path], tmp_path: Path) -> None:
    process, folder = (
        orchestrator("launch", small_study(**STUDY), "--results", tmp_path),
        StudyFolder(tmp_path / "small"),
    )
    while not folder.study_file.exists():
        time.sleep(0.02)
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "orchestrator resume" in told
    assert folder.driver() is None


def worker_processes(driver: int) -> list[int]:
    """The processes of this driver's Ray in which a trial is at work."""
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(entry.name)] = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue

    def belongs(pid: int) -> bool:
        return pid == driver or (pid in parents and parents[pid] > 1 and belongs(parents[pid]))

    return [pid for pid, title in titles.items() if title.startswith(b"ray::") and b"rain" in title and belongs(pid)]


@pytest.mark.skipif(sys.platform != "linux", reason="finds Ray's worker processes in /proc")
@pytest.mark.parametrize(("dies", "failures"), [("killed", 0), ("killed", 2), ("stalls", 2)])
def test_a_trial_process_that_dies_costs_at_most_its_own_trial(
    small_study: Callable[..., Path], tmp_path: Path, dies: str, failures: int
) -> None:
    may = f"process_failures: {failures}" + (", stalled_after_s: 45" if dies == "stalls" else "")
    study = small_study(**STUDY | {"search": f"{{trials_per_head: 2, scheduler: none, {may}}}"})
    process, folder = launch_until(study, tmp_path, epochs=2)
    workers = worker_processes(process.pid)
    assert workers
    os.kill(workers[0], signal.SIGKILL if dies == "killed" else signal.SIGSTOP)
    told, lines = process.communicate(timeout=250)
    failed = [trial for trial in folder.trials().values() if trial.status == "failed"]

    assert ("no report for 4" in lines) == (dies == "stalls")
    if failures:
        assert process.returncode == 0, lines
        check_exactly_planned(folder)
    else:
        assert process.returncode == 3, lines
        assert [trial.reason for trial in failed] == ["its process died 1 times"]
        assert failed[0].name in told
        assert sum(trial.status == "completed" for trial in folder.trials().values()) == 3
