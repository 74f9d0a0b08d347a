"""A driver's scratch folder goes with it, and nothing of a driver that may still be at work is ever touched."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import CannotRun
from orchestrator.files import scratch
from orchestrator.storage.study_folder import TORCH_CACHE, StudyFolder


def scratch_of(folder: StudyFolder) -> Path:
    return Path(json.loads(folder.driver_file.read_text())["scratch"])


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_torchs_caches_are_in_it(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TORCH_CACHE, raising=False)
    with folder.writer() as writer:
        assert Path(os.environ[TORCH_CACHE]).parent == writer.scratch
    assert TORCH_CACHE not in os.environ


def test_the_users_own_place_for_torchs_caches_is_taken(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TORCH_CACHE, "mine")
    with folder.writer():
        assert os.environ[TORCH_CACHE] == "mine"
    assert os.environ[TORCH_CACHE] == "mine"


def test_a_drivers_scratch_folder_goes_with_it(folder: StudyFolder) -> None:
    with folder.writer() as writer:
        (writer.scratch / "socket").touch()
        assert writer.scratch.stat().st_mode & 0o777 == 0o700
        assert len(str(writer.scratch)) < 60  # Ray's sockets below it may have 107 bytes
    assert not writer.scratch.exists()
    with pytest.raises(ZeroDivisionError), folder.writer() as failing:
        _ = 1 / 0
    assert not failing.scratch.exists()


def test_the_scratch_folder_of_a_killed_driver_goes_with_the_next_one(
    folder: StudyFolder, driver: subprocess.Popen[str]
) -> None:
    left = scratch_of(folder)
    kill(driver)
    assert left.is_dir()
    with folder.writer() as writer:
        assert not left.exists()
        assert writer.scratch.is_dir()


def test_a_copy_of_a_running_study_goes_on_and_leaves_the_running_one_whole(
    folder: StudyFolder, driver: subprocess.Popen[str], tmp_path: Path
) -> None:
    own = scratch_of(folder)
    copy = StudyFolder(Path(shutil.copytree(folder.root, tmp_path / "copy" / "study")))
    assert copy.driver() is None
    for _ in range(2):
        with copy.writer() as writer:
            assert writer.scratch != own
            assert list(copy.trials()) == ["a-000"]
        assert (own / scratch.MARK).exists()
        shutil.copy(folder.driver_file, copy.driver_file)
    assert folder.driver()
    driver.communicate("end\n")
    assert not own.exists()


def test_a_copy_clears_up_after_a_driver_that_was_killed(
    folder: StudyFolder, driver: subprocess.Popen[str], tmp_path: Path
) -> None:
    own = scratch_of(folder)
    copy = StudyFolder(Path(shutil.copytree(folder.root, tmp_path / "copy" / "study")))
    kill(driver)
    with copy.writer():
        assert not own.exists()
    with folder.writer():
        pass


def test_a_folder_that_was_moved_is_the_same_study(
    folder: StudyFolder, driver: subprocess.Popen[str], tmp_path: Path
) -> None:
    moved = StudyFolder(folder.root.rename(tmp_path / "moved"))
    assert moved.driver()
    with pytest.raises(CannotRun, match="one driver at a time"), moved.writer():
        pass
    own = scratch_of(moved)
    kill(driver)
    with moved.writer():
        assert not own.exists()


def test_a_folder_is_one_study_by_whichever_path(
    folder: StudyFolder, driver: subprocess.Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(folder.root)
    linked = StudyFolder(tmp_path / "link")
    assert linked.driver() == folder.driver()
    with pytest.raises(CannotRun, match="one driver at a time"), linked.writer():
        pass
    assert scratch_of(linked).is_dir()


def test_no_other_folder_is_taken_for_scratch(folder: StudyFolder, tmp_path: Path) -> None:
    """A study's folder may come from anyone; what its driver.json names is not deleted unread."""
    dead = {**scratch.this_process(), "born": 1}
    for name in ("precious", "heads-precious"):
        precious = tmp_path / name
        precious.mkdir()
        folder.root.mkdir(exist_ok=True)
        folder.driver_file.write_text(json.dumps({**dead, "scratch": str(precious)}))
        with folder.writer():
            assert precious.is_dir()


GONE: dict[str, tuple[dict[str, Any], bool]] = {
    "this very process": ({}, True),
    "another that had its id before": ({"born": 1}, False),
    "before the machine's last boot": ({"boot": "another"}, False),
    "on another machine": ({"host": "elsewhere", "born": 1}, True),
    "in another container": ({"pids": 1, "born": 1}, True),
    "no process": ({"pid": 2**22 + 1}, False),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("case", GONE)
def test_only_who_is_certainly_gone_may_be_cleared_up_after(folder: StudyFolder, case: str) -> None:
    changes, kept = GONE[case]
    driver = {**scratch.this_process(), "started": "then", **changes}
    left = scratch.make(driver)
    folder.root.mkdir()
    folder.driver_file.write_text(json.dumps({**driver, "scratch": str(left)}))
    with folder.writer():
        assert left.exists() == kept
    shutil.rmtree(left, ignore_errors=True)


def test_a_process_that_has_ended_and_waits_to_be_seen_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        known = {**scratch.this_process(), "pid": process.pid, "born": scratch._born(process.pid)}
        assert scratch.may_live(known)
        assert process.stdin
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
        assert not scratch.may_live(known)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", '{"pid": 1}', '{"pid": "1", "host": "a"}', "\0" * 40])
def test_a_driver_file_that_tells_nothing_stops_nobody(folder: StudyFolder, content: str) -> None:
    folder.root.mkdir()
    folder.driver_file.write_text(content)
    assert folder.driver() is None
    with folder.writer():
        assert folder.driver()
    assert folder.driver() is None


def test_a_driver_file_may_lack_what_is_only_shown(tmp_path: Path) -> None:
    (tmp_path / "driver.json").write_text('{"pid": 1, "host": "a", "scratch": "\\u0000"}')
    known = scratch.read(tmp_path / "driver.json")
    assert known
    assert known["started"] == "an unknown time"
    scratch.remove_left(known)


def test_a_scratch_folder_that_cannot_be_marked_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(scratch, "parent", lambda: tmp_path)
    monkeypatch.setattr(scratch, "write_atomic", full)
    with pytest.raises(OSError, match="No space left"):
        scratch.make(scratch.this_process())
    assert not [*tmp_path.iterdir()]
