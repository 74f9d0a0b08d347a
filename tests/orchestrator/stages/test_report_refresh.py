"""The report that is written while a search runs: by one child at a time, which ends with the search."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.stages.report_refresh import Refresher
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study

OFTEN_S = 0.01
LAUNCHED = '[ "$1 $2 $3 $4" = "-P -m orchestrator report" ] || exit 9\ncd "$5" || exit 9\n'


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """child(script): lets that shell script stand for the verb `report`; returns the study's folder, where it runs."""
    folder = tmp_path / "study"
    folder.mkdir()

    def make(script: str) -> Path:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{LAUNCHED}{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return folder

    return make


def wait_until(reached: Callable[[], bool]) -> None:
    for _ in range(9000):
        if reached():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come so far")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def refresher_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "report-refresh"]


def test_the_report_of_a_running_study_appears_while_the_context_lasts(
    tiny_study: Callable[..., Study], make_record: Callable[..., StudyFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a long search can open its report meanwhile: the real verb writes it, whole."""
    folder = make_record(
        tiny_study(heads={"softmax": {}}), ("softmax", 0, [0.4, 0.5], "completed"), ("softmax", 1, [0.3], "running")
    )
    folder.save_labels(np.arange(40) % 4)
    with Refresher(folder.root, OFTEN_S):
        wait_until(folder.report_file.exists)
        report = folder.report_file.read_text()
    assert "softmax-000" in report
    assert report.rstrip().endswith("</html>")
    assert not list(folder.root.rglob(".*.[0-9]*"))


def test_the_report_is_written_again_and_again_and_never_two_at_a_time(child: Callable[[str], Path]) -> None:
    folder = child("mkdir busy || touch two\nsleep 0.03\nrmdir busy\necho done >> runs")
    with Refresher(folder, OFTEN_S):
        wait_until(lambda: lines(folder / "runs") >= 4)
        assert len(refresher_threads()) == 1
    assert not (folder / "two").exists()
    assert not refresher_threads()


def test_a_folder_whose_name_looks_like_an_option_has_a_report_too(
    child: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = child("echo run >> runs")
    folder = folder.rename(folder.with_name("-rf"))
    monkeypatch.chdir(folder.parent)
    with Refresher(Path("-rf"), OFTEN_S):
        wait_until(lambda: lines(folder / "runs") > 0)


def test_leaving_ends_the_child_and_removes_what_it_has_half_written(child: Callable[[str], Path]) -> None:
    folder = child(
        "mkdir plots\n"
        "touch whole.png .lock plots/.hidden .report.html.1\n"
        "echo half > .report.html.$$; echo half > plots/.heads.png.$$\n"
        "echo $$ >> pids; exec sleep 1000"
    )
    with Refresher(folder, OFTEN_S):
        wait_until(lambda: lines(folder / "pids") > 0)
    (pid,) = (folder / "pids").read_text().split()
    assert not alive(int(pid))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "whole.png", ".lock", "plots/.hidden", ".report.html.1", "pids",
    }  # fmt: skip


def test_the_child_is_ended_too_when_the_search_fails(child: Callable[[str], Path]) -> None:
    folder = child("echo $$ >> pids; exec sleep 1000")

    def search() -> None:
        with Refresher(folder, OFTEN_S):
            wait_until(lambda: lines(folder / "pids") > 0)
            raise RuntimeError("the search failed")

    with pytest.raises(RuntimeError, match="the search failed"):
        search()
    (pid,) = (folder / "pids").read_text().split()
    assert not alive(int(pid))


def test_a_search_that_ends_sooner_starts_no_child(child: Callable[[str], Path]) -> None:
    folder = child("echo run >> runs")
    with Refresher(folder):
        assert len(refresher_threads()) == 1
    assert not (folder / "runs").exists()
    assert not refresher_threads()


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$", "echo words; echo words >&2; exit 3"])
def test_a_child_that_fails_is_followed_by_the_next(
    child: Callable[[str], Path], capfd: pytest.CaptureFixture[str], script: str
) -> None:
    folder = child(f"echo run >> runs\n{script}")
    with Refresher(folder, OFTEN_S):
        wait_until(lambda: lines(folder / "runs") >= 3)
    assert capfd.readouterr() == ("", "")


def test_a_child_that_cannot_be_started_is_followed_by_the_next(
    child: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, honest, tried = child("echo run >> runs"), subprocess.Popen, []

    def start(*given: Any, **named: Any) -> Any:
        tried.append(given)
        if len(tried) == 1:
            raise OSError("Cannot allocate memory")
        return honest(*given, **named)

    monkeypatch.setattr(subprocess, "Popen", start)
    with Refresher(folder, OFTEN_S):
        wait_until(lambda: lines(folder / "runs") > 0 or not refresher_threads())
    assert lines(folder / "runs") > 0


@pytest.mark.parametrize("nice", [True, False])
def test_the_child_has_the_lowest_priority_where_there_is_one_and_one_thread(
    child: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, nice: bool
) -> None:
    if nice and not shutil.which("nice"):
        pytest.skip("there is no nice here")
    if not nice:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    folder = child('echo "$(nice) $OMP_NUM_THREADS" >> told')
    with Refresher(folder, OFTEN_S):
        wait_until(lambda: lines(folder / "told") > 0)
    priority, threads = (folder / "told").read_text().splitlines()[0].split()
    assert threads == "1"
    assert int(priority) == (19 if nice else os.nice(0))
