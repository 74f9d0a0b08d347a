"""A study is ended again and again, each time in another way, and comes to its undisturbed end.

`make ends` tries every way at every stage; here is one of each kind, one after another.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from tests.ends.program import STUDY, Program, content, start, wait_until
from tests.ends.ways import ENDS, STAGES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
KILLED = "SIGKILL"
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
TRAINS = "ray::ImplicitFunc"  # what Ray calls a process that trains; its agents see only later that they are alone
DISTURBED = (  # a stage, and what ends the driver once it is there and a further epoch is on record
    ("Ray starts", "SIGTERM"),
    ("search", KILLED),
    ("search", "raylet killed"),
    ("confirmation", "SIGINT"),
    ("confirmation", "SIGTERM to every process"),
    ("report", "SIGTERM"),
)
HOWS = [f"{how}, {stage}" for stage, how in DISTURBED]
PATIENCE_S = 300  # beside a busy neighbour


@dataclass(frozen=True)
class Ended:
    """A driver that was ended, and what it left.

    status: what the verb told while it was at work. left: processes; of a killed driver, those that train. temporary:
    what lay in its TMPDIR after its end. scratch: what it used; is_left: whether that was there then. driver, trials,
    written: what the study's folder knew then, and its records.
    """

    code: int | None
    status: dict[str, Any]
    said: str
    left: list[int]
    temporary: list[str]
    scratch: Path
    scratch_is_left: bool
    driver: Any
    trials: dict[str, Trial]
    written: dict[Path, bytes]


@dataclass(frozen=True)
class Studies:
    """One study twice. undisturbed: with nobody to read what it says. ends: of the other; said: by its last driver."""

    undisturbed: tuple[int | None, StudyFolder]
    disturbed: tuple[int | None, StudyFolder]
    ends: dict[str, Ended]
    said: str


def end_of(program: Program) -> int | None:
    wait_until(lambda: program.process.poll() is not None, program, PATIENCE_S)
    return program.process.poll()


def epochs_of(folder: StudyFolder) -> int:
    """All that are on record, in any stage."""
    return sum(path.read_text().count('"event": "epoch"') for path in folder.records().values() if path.exists())


@contextmanager
def adopting() -> Iterator[None]:
    """What a program leaves is this process's child, as it is a desktop session's, and not that of process 1."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0)


def disturb(stage: str, how: str, folder: StudyFolder, program: Program) -> Ended:
    """Ends the driver, once the stage is reached; where models train, once they have got further."""
    known = epochs_of(folder) if stage in ("search", "confirmation") else -1
    reached = wait_until(
        lambda: STAGES[stage].reached(folder, program) and epochs_of(folder) > known, program, PATIENCE_S
    )
    assert reached, program.said()
    status = json.loads(CliRunner().invoke(app, ["status", str(folder.root), "--json"]).stdout)
    scratch = Path(json.loads(folder.driver_file.read_text())["scratch"])
    if how == KILLED:
        with adopting():
            os.kill(program.process.pid, signal.SIGKILL)
            code = end_of(program)
    else:
        ENDS[how].apply(program)
        code = end_of(program)
    is_left, temporary = scratch.exists(), [path.name for path in program.room.iterdir()]
    written = {path: path.read_bytes() for path in folder.records().values() if path.exists()}
    left = program.left_after(PATIENCE_S, TRAINS) if how == KILLED else program.processes()
    driver, said = folder.driver(), program.said()
    return Ended(code, status, said, left, temporary, scratch, is_left, driver, folder.trials(), written)


@pytest.fixture(scope="module")
def studies(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studies]:
    root, programs = tmp_path_factory.mktemp("ends"), list[Program]()
    (root / "small.yaml").write_text(STUDY.format(data=small_mnist))
    places = [root / name for name in ("undisturbed", "disturbed")]
    for place, streams in zip(places, ("stderr unread, stdout closed", ""), strict=True):
        words: list[object] = ["launch", root / "small.yaml", "--results", place]
        programs.append(start(words, place, streams))
    folder, ends = StudyFolder(places[1] / "small"), dict[str, Ended]()
    try:
        for (stage, how), name in zip(DISTURBED, HOWS, strict=True):
            ends[name] = disturb(stage, how, folder, programs[-1])
            programs.append(start(["resume", folder.root], places[1] / str(len(programs))))
        resumed = end_of(programs[-1]), folder
        undisturbed = end_of(programs[0]), StudyFolder(places[0] / "small")
        yield Studies(undisturbed, resumed, ends, programs[-1].said())
    finally:
        for program in programs:
            program.end()


def test_nobody_who_reads_ends_nothing(studies: Studies) -> None:
    """A driver whose output nobody reads, and whose stdout is closed, comes to its end."""
    code, folder = studies.undisturbed
    assert code == 0
    assert folder.report_file.exists()
    assert not list((folder.root.parent / "t").iterdir())  # its TMPDIR


@pytest.mark.parametrize("name", [name for name in HOWS if KILLED not in name])
def test_an_end_says_how_to_go_on_and_leaves_nothing(studies: Studies, name: str) -> None:
    ended = studies.ends[name]
    assert ended.code == ENDS[name.partition(", ")[0]].code, ended.said
    assert "what is recorded is safe; go on with: orchestrator resume" in ended.said
    assert "Traceback" not in ended.said
    assert not ended.left
    assert not ended.temporary
    assert not ended.scratch_is_left
    assert ended.driver is None
    assert {trial.status for trial in ended.trials.values()} <= {"running", "completed"}


def test_a_killed_driver_leaves_nothing_that_trains_and_its_trials_go_on(studies: Studies) -> None:
    killed, resumed = (studies.ends[f"{how}, search"] for how in (KILLED, "raylet killed"))
    assert killed.code == -signal.SIGKILL
    assert not killed.left
    assert killed.scratch_is_left
    open_trials = [trial for trial in killed.trials.values() if trial.status == "running"]
    assert open_trials
    for trial in open_trials:
        assert (f"{trial.name} goes on" in resumed.said) == (trial.last_epoch > 0)
    assert not killed.scratch.exists()  # the next driver has removed it


@pytest.mark.parametrize("name", HOWS)
def test_what_is_on_record_stays_as_it_is(studies: Studies, name: str) -> None:
    for path, written in studies.ends[name].written.items():
        assert path.read_bytes().startswith(written[: written.rfind(b"\n") + 1])


@pytest.mark.parametrize("name", HOWS)
def test_a_driver_at_work_is_told_by_status(studies: Studies, name: str) -> None:
    assert studies.ends[name].status["running"]


def test_an_end_of_ray_is_told_from_one_that_was_asked_for(studies: Studies) -> None:
    for name, ended in studies.ends.items():
        assert ("Ray has ended: its raylet was killed by SIGKILL" in ended.said) == ("raylet killed" in name)
        assert ("Ray has ended" in ended.said) == ("raylet killed" in name)


def test_after_all_ends_the_study_is_as_it_would_have_been(studies: Studies) -> None:
    """Each trial began once, each epoch is on record once, and all numbers and models are those of the other study."""
    code, folder = studies.disturbed
    assert code == 0, studies.said
    assert content(folder) == content(studies.undisturbed[1])
