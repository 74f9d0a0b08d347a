"""One driver at a time works on a study; the lock goes with its process, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from orchestrator.errors import CannotRun
from orchestrator.storage.study_folder import StudyFolder, request_stop

SECOND = """
import sys
from pathlib import Path
from orchestrator.storage.study_folder import StudyFolder
try:
    with StudyFolder(Path(sys.argv[1])).writer():
        print("written")
except Exception as error:
    print(type(error).__name__)
"""


def test_a_second_writer_in_the_same_process_is_refused(folder: StudyFolder) -> None:
    with folder.writer() as writer:
        with pytest.raises(CannotRun) as caught, folder.writer():
            pass
        writer.append({"event": "start", "trial": "a", "head": "a", "index": 0, "seed": 0, "params": {}})
    assert len(folder.events()) == 1
    (problem,) = caught.value.problems
    assert problem.rule == "one driver at a time works on a study"
    assert f"orchestrator status {folder.root}" in problem.fix
    assert f"orchestrator stop {folder.root}" in problem.fix


def test_a_second_process_is_refused_and_the_first_goes_on(folder: StudyFolder) -> None:
    with folder.writer():
        second = subprocess.run(
            [sys.executable, "-c", SECOND, str(folder.root)], capture_output=True, text=True, check=True
        )
        assert second.stdout == "CannotRun\n"
        known = folder.driver()
        assert known
        assert known["pid"] == os.getpid()


def test_a_study_in_another_process_is_seen_and_not_written(folder: StudyFolder, driver: subprocess.Popen[str]) -> None:
    known = folder.driver()
    assert known
    assert (known["pid"], known["host"]) == (driver.pid, os.uname().nodename)
    with pytest.raises(CannotRun), folder.writer():
        pass
    assert list(folder.trials()) == ["a-000"]  # reading needs no lock


def test_a_killed_driver_frees_the_study_and_its_record_stays(
    folder: StudyFolder, driver: subprocess.Popen[str]
) -> None:
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert folder.driver_file.exists()
    assert folder.driver() is None
    with folder.writer() as writer:
        writer.append({"event": "end", "trial": "a-000", "status": "failed", "reason": ""})
    assert folder.trials()["a-000"].status == "failed"


def test_a_driver_is_known_only_while_it_works(folder: StudyFolder) -> None:
    assert folder.driver() is None
    with folder.writer():
        assert folder.driver() is not None
        assert folder.driver() is not None  # asking takes nothing away
    assert folder.driver() is None


def test_an_error_in_the_driver_frees_the_study(folder: StudyFolder) -> None:
    with pytest.raises(ZeroDivisionError), folder.writer():
        _ = 1 / 0
    assert folder.driver() is None
    with folder.writer() as writer:
        writer.append({"event": "start", "trial": "a", "head": "a", "index": 0, "seed": 0, "params": {}})


def test_a_driver_is_asked_to_end_by_a_file_that_goes_with_it(folder: StudyFolder) -> None:
    with folder.writer():
        assert not folder.stop_file.exists()
        said = request_stop(folder)
        assert folder.stop_file.exists()
        assert f"process {os.getpid()}" in said
        assert f"orchestrator resume {folder.root}" in said
    assert not folder.stop_file.exists()


def test_a_request_that_came_too_late_does_not_stop_the_next_driver(folder: StudyFolder) -> None:
    with folder.writer():
        pass
    folder.stop_file.touch()
    with folder.writer():
        assert not folder.stop_file.exists()


def test_only_a_running_study_is_asked_to_stop(folder: StudyFolder) -> None:
    for _ in ("without a folder", "after a run"):
        with pytest.raises(CannotRun) as caught:
            request_stop(folder)
        (problem,) = caught.value.problems
        assert (problem.place, problem.value) == (str(folder.root), "no driver is at work on it")
        with folder.writer():
            pass
