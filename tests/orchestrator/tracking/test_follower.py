"""The process that mirrors a search: what it reads of the record, how it ends, and that no search waits for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_modules.objectives.accuracy import OBJECTIVE as ACCURACY
from orchestrator.errors import CannotRun, Problem
from orchestrator.files.locks import alone
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.tracking import follower as follows
from orchestrator.tracking.follower import Follower, following
from orchestrator.tracking.follower_process import follow
from orchestrator.tracking.run import SAID
from tests.orchestrator.tracking.conftest import wait_for
from tests.orchestrator.tracking.test_offline import epochs_of, opened
from tests.orchestrator.tracking.wandb_files import read_run, read_what_is_there

MakeFolder = Callable[..., StudyFolder]


class Told:
    """In the mirror's place: what it was told, with what the trial knew then."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, int, str]] = []

    def tell(self, job: str, trial: Trial, event: Event) -> None:
        self.events.append((job, trial.name, event["event"], trial.last_epoch, trial.status))


def told_of(folder: StudyFolder, known: list[int], *steps: Callable[[], object]) -> list[Any]:
    """What a mirror is told of records of which these sizes are known; each step happens between two looks."""
    told, left = Told(), [*steps]

    def over(wait_s: float) -> bool:
        if left:
            left.pop(0)()
        return not left

    follow(folder, known, told, over, ACCURACY)  # type: ignore[arg-type]
    return told.events


def test_every_event_of_every_part_is_told_once_and_in_order(make_folder: MakeFolder) -> None:
    folder = make_folder("offline", confirmed=(1, 2))
    results = Results(folder.root)
    events = told_of(folder, [0, 0, 0])
    assert {(job, name) for job, name, *_ in events} == {(job, trial.name) for job, trial in results.runs}
    assert {job for job, *_ in events} == {"search", "confirmation"}
    for job, trial in results.runs:
        own = [event[2:] for event in events if event[:2] == (job, trial.name)]
        rows = [("epoch", row["epoch"], "running") for row in trial.epochs]
        assert own == [("start", 0, "running"), *rows, ("end", trial.last_epoch, trial.status)]


@pytest.mark.parametrize("torn", [0, 1, 30])
def test_what_was_on_record_before_is_known_and_not_told(make_folder: MakeFolder, torn: int) -> None:
    """Also where a killed driver has left a line without its end, which the next one removes."""
    folder = make_folder("offline")
    lines = folder.trials_file.read_bytes().splitlines(keepends=True)
    before, after = b"".join(lines[:3]), b"".join(lines[3:])
    folder.trials_file.write_bytes(before + lines[3][:torn])
    sizes = [len(before) + torn, 0, 0]
    events = told_of(folder, sizes, lambda: folder.trials_file.write_bytes(before + after))
    assert len(events) == len(lines) - 3
    first = json.loads(lines[3])
    assert events[0][1:4] == (first["trial"], first["event"], first.get("epoch", 0))


def test_a_line_is_told_when_it_is_whole(make_folder: MakeFolder) -> None:
    folder = make_folder("offline")
    content, seen = folder.trials_file.read_bytes(), []
    folder.trials_file.write_bytes(b"")
    told = Told()
    cuts = [*range(0, len(content), 97), len(content)]

    def over(wait_s: float) -> bool:
        seen.append(len(told.events))
        folder.trials_file.write_bytes(content[: cuts[len(seen) - 1]])
        return len(seen) == len(cuts)

    follow(folder, [0, 0, 0], told, over, ACCURACY)  # type: ignore[arg-type]
    assert len(told.events) == content.count(b"\n")
    assert seen == [content[:cut].count(b"\n") for cut in [0, *cuts[:-1]]]


@pytest.fixture
def growing(make_folder: MakeFolder) -> tuple[StudyFolder, list[bytes]]:
    """A study's folder with an empty record, and the lines that are still to come."""
    folder = make_folder("offline")
    lines = folder.trials_file.read_bytes().splitlines(keepends=True)
    folder.trials_file.write_bytes(b"")
    return folder, lines


def append(folder: StudyFolder, lines: list[bytes]) -> None:
    with open(folder.trials_file, "ab") as record:
        record.writelines(lines)


def test_a_study_that_is_followed_has_every_trial_epoch_and_picture_mirrored_when_it_ends(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows has ended by then, and wandb with it: the files are read as they are."""
    monkeypatch.setattr(follows, "CLOSE_S", 800.0)  # its priority is the lowest, and a neighbour may be busy
    folder = make_folder("offline", pictures=True)
    content, said = folder.trials_file.read_bytes(), list[str]()
    folder.trials_file.write_bytes(b"")
    study = Results(folder.root).study
    with following(study, folder, said.append):
        append(folder, [content])
    results, labels = Results(folder.root), folder.labels()
    assert said == []
    for name, known in results.trials.items():
        (path,) = folder.wandb.glob(f"offline-run-*-{name}/*.wandb")
        run = read_what_is_there(path)
        kept = not known.lost
        assert run["id"] == f"{results.provenance['study_id']}-{name}"
        assert (run["group"], run["job_type"], run["exit_code"]) == (study.name, "search", int(known.lost))
        assert run["config"].items() >= (known.params | {"head": known.head, "seed": known.seed}).items()
        assert run["config"]["orchestrator"]["study"] == study.model_dump(mode="json")
        assert run["summary"]["status"] == SAID[known.status]
        assert [logged["_step"] for logged in run["rows"]] == [*range(1, known.last_epoch + 1 + kept)]
        for logged, told in zip(epochs_of(run), known.epochs, strict=True):
            assert logged.items() >= (told["metrics"] | {"objective": told["objective"]}).items()
            with opened(run, "embedding", logged) as picture:
                assert picture.format == "PNG"
                assert len(np.unique(np.asarray(picture.convert("L")))) > 50
        if kept:
            points = folder.embedding(name, known.last_epoch)
            assert points is not None
            assert (np.array(opened(run, "embedding_table")["data"]) == np.column_stack([points, labels])).all()
            with opened(run, "embedding_unfolds") as film:
                assert (film.format, film.n_frames) == ("GIF", len(known.epochs))


def test_the_wandb_of_the_program_around_is_left_alone(growing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook with runs of its own names its service in the environment; the mirror has one of its own."""
    monkeypatch.setenv("WANDB_SERVICE", "3-1-unix-/nowhere")
    folder, lines = growing
    with following(Results(folder.root).study, folder, pytest.fail):
        append(folder, lines)
    assert len(list(folder.wandb.glob("offline-run-*"))) == len(Results(folder.root).trials)


def test_a_study_that_is_not_tracked_starts_nothing(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder("off")
    monkeypatch.setattr(follows, "Follower", lambda *given: pytest.fail("a process was started"))
    with following(Results(folder.root).study, folder, pytest.fail):
        pass


def test_the_search_goes_on_where_no_process_can_be_started(growing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = growing
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    said: list[str] = []
    with following(Results(folder.root).study, folder, said.append):
        pass
    (line,) = said
    assert line.startswith("nothing is kept for W&B: FileNotFoundError")


def test_a_mirror_whose_process_dies_is_told_and_does_not_end_the_search(growing: Any) -> None:
    folder, lines = growing
    said: list[str] = []
    follower = Follower(folder, said.append)
    append(folder, lines[:1])
    wait_for(lambda: list(folder.wandb.glob("offline-run-*/*.wandb")), lambda: "a run begins")
    os.kill(follower._process.pid, signal.SIGSEGV)
    wait_for(lambda: said, lambda: "it is said")
    append(folder, lines[1:])
    follower.close()
    remedy = f"orchestrator sync {folder.root} sends what is missing"
    assert said == [f"W&B: its process ended with -11; {remedy}"]


def test_what_goes_wrong_in_the_process_is_told(growing: Any) -> None:
    folder, _ = growing
    folder.provenance_file.write_text("{")
    said: list[str] = []
    with following(Results(folder.root).study, folder, said.append):
        pass
    (line,) = said
    assert line.startswith("W&B: Expecting property name")
    assert line.endswith(f"; orchestrator sync {folder.root} sends what is missing")


def test_the_second_ctrl_c_waits_for_nothing(growing: Any) -> None:
    folder, _ = growing
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), following(Results(folder.root).study, folder, said.append):
        raise KeyboardInterrupt
    assert said == []


def test_a_process_that_does_not_end_is_ended(growing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = growing
    said: list[str] = []
    monkeypatch.setattr(follows, "CLOSE_S", 0.5)
    monkeypatch.setattr(follows, "GRACE_S", 0.5)
    follower = Follower(folder, said.append)
    os.kill(follower._process.pid, signal.SIGSTOP)
    follower.close()
    assert follower._process.poll() == -signal.SIGKILL
    assert said == [
        f"W&B was not ready 1 s after the study's end; orchestrator sync {folder.root} sends what is missing"
    ]


def test_whoever_is_to_hear_of_a_failure_does_not_wait_for_wandb(growing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = growing
    said: list[str] = []
    started: list[Follower] = []

    class Stopped(Follower):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            os.kill(self._process.pid, signal.SIGSTOP)
            started.append(self)

    monkeypatch.setattr(follows, "Follower", Stopped)
    monkeypatch.setattr(follows, "BROKEN_OFF_S", 0.5)
    with pytest.raises(OSError, match="full"), following(Results(folder.root).study, folder, said.append):
        raise OSError("the disk is full")
    assert started[0]._process.poll() == -signal.SIGKILL
    assert said[0].startswith("W&B was not ready 0.5 s after the study's end; ")


DRIVER = """
import sys, time
from pathlib import Path
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.tracking.follower import Follower
follower = Follower(StudyFolder(Path(sys.argv[1])), print)
print(follower._process.pid, flush=True)
time.sleep(1000)
"""


def test_runs_of_a_driver_that_is_killed_end_as_interrupted(growing: Any) -> None:
    folder, lines = growing
    command = [sys.executable, "-c", DRIVER, str(folder.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout
        pid = int(driver.stdout.readline())
        append(folder, lines[:3])
        wait_for(lambda: list(folder.wandb.glob("offline-run-*/*.wandb")), lambda: "a run begins")
        driver.kill()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), lambda: "the process ends")
    (path,) = folder.wandb.glob("offline-run-*/*.wandb")
    run = read_run(path)
    assert (run["exit_code"], run["summary"]["status"]) == (255, "interrupted")
    assert len(epochs_of(run)) == 2


def test_a_study_is_followed_by_one_process_at_a_time(growing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next waits until that of a driver that was killed has done its work, and then misses nothing."""
    folder, lines = growing
    taken = Problem("a test", "one at a time", "taken")
    said: list[str] = []
    with alone(folder.mirror_lock, taken):
        follower = Follower(folder, said.append)
        append(folder, lines)
        time.sleep(4)
        assert not folder.wandb.exists()
    follower.close()
    assert len(list(folder.wandb.glob("offline-run-*"))) == len(Results(folder.root).trials)
    assert said == []
    with alone(folder.mirror_lock, taken), pytest.raises(CannotRun), alone(folder.mirror_lock, taken, 0.1):
        pass
