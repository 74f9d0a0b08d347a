"""One process at a time, also where a file system has no locks, as Lustre without flock or NFS without lockd."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from errno import EDQUOT, EIO, ENOENT, ENOLCK, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM
from pathlib import Path

import pytest

from orchestrator.errors import CannotRun, Problem
from orchestrator.files import lock_links
from orchestrator.files.locks import alone, free
from orchestrator.planning import plan, preflight
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study

TAKEN = Problem("here", "one at a time", "another is at work", "wait")
HOLDS = """
import fcntl, sys
from pathlib import Path
def flock(*given): raise OSError(38, "Function not implemented")
fcntl.flock = flock
from orchestrator.errors import Problem
from orchestrator.files.locks import alone
with alone(Path(sys.argv[1]), Problem("", "")):
    print("has it", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(params=[ENOLCK, ENOSYS, EOPNOTSUPP])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*given: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuses)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def refused(lock: Path) -> Problem:
    with pytest.raises(CannotRun) as caught, alone(lock, TAKEN):
        pass
    (problem,) = caught.value.problems
    return problem


def test_a_lock_is_held_by_one_and_let_go(without_locks: None, lock: Path) -> None:
    for _ in range(3):
        assert free(lock)
        with alone(lock, TAKEN):
            assert not free(lock)
            said = refused(lock)
            assert said.value == f"process {os.getpid()} on {os.uname().nodename} holds it, as {lock}.* say"
            assert said.fix == "wait; only if that process is certainly gone, remove those"
    assert free(lock)
    assert len(os.listdir(lock.parent)) == 2  # the lock and one link, however often it was taken


@pytest.mark.parametrize("ending", ["let go", "killed"])
def test_a_lock_goes_with_the_process_that_holds_it(without_locks: None, lock: Path, ending: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(lock)], text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "has it\n"
        assert not free(lock)
        assert str(process.pid) in refused(lock).value
        process.kill() if ending == "killed" else process.communicate("end\n")
    assert free(lock)
    with alone(lock, TAKEN):
        assert not free(lock)


def test_what_a_killed_one_left_while_it_let_go_is_in_nobodys_way(without_locks: None, lock: Path) -> None:
    with alone(lock, TAKEN):
        (own,) = lock.parent.glob(f"{lock.name}.*")
        own.with_name(f"{own.name}.{os.getpid()}").symlink_to("free")
    with alone(lock, TAKEN):
        pass


@pytest.mark.parametrize("error", [ENOSPC, EDQUOT, EIO, ENOENT])
def test_a_lock_that_cannot_be_let_go_harms_no_work(
    without_locks: None, lock: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def full(*given: object) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch, alone(lock, TAKEN):
        patch.setattr(os, "symlink", full)
    assert not free(lock)  # until this process has ended


def test_of_many_that_try_at_once_one_has_it(without_locks: None, lock: Path) -> None:
    """Each takes it over from one that was killed, as often as it can, and is alone for as long."""
    os.symlink(json.dumps({"pid": 1, "host": os.uname().nodename, "boot": "another", "folder": 0}), f"{lock}.1")
    inside, most, had = list[int](), list[int](), list[int]()

    def work(number: int) -> None:
        while len(had) < 50:
            if own := lock_links.take(lock):
                inside.append(number)
                time.sleep(0.001)
                most.append(len(inside))
                inside.remove(number)
                had.append(number)
                lock_links.release(own)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert lock_links.owner(lock) is None


def test_an_owner_on_another_machine_has_it_until_people_say_otherwise(without_locks: None, lock: Path) -> None:
    with alone(lock, TAKEN):
        (link,) = lock.parent.glob(".lock.*")
        elsewhere = json.loads(os.readlink(link)) | {"host": "elsewhere"}
    link.unlink()
    link.symlink_to(json.dumps(elsewhere))
    assert not free(lock)
    assert "on elsewhere holds it" in refused(lock).value
    link.unlink()
    with alone(lock, TAKEN):
        pass


@pytest.mark.parametrize("said", ["gone", "[]", "{}", "[" * 1000, '{"pid": "\\u0000", "host": "here"}', None])
def test_what_is_only_called_like_a_link_is_nobodys(without_locks: None, lock: Path, said: str | None) -> None:
    odd = lock.with_name(".lock.3")
    odd.symlink_to(said) if said else odd.touch()
    assert free(lock)
    with alone(lock, TAKEN):
        assert not free(lock)
    assert sorted(os.listdir(lock.parent)) == [".lock", ".lock.4"]


def test_a_machine_that_has_locks_heeds_one_that_has_none(lock: Path) -> None:
    lock.touch()
    own = lock_links.take(lock)
    assert own
    assert not free(lock)
    assert "holds it" in refused(lock).value
    lock_links.release(own)
    with alone(lock, TAKEN):
        assert not free(lock)


def test_a_copy_of_a_folder_in_which_someone_is_at_work_is_free(
    without_locks: None, lock: Path, tmp_path: Path
) -> None:
    (tmp_path / "study").mkdir()
    lock = tmp_path / "study" / ".lock"
    with alone(lock, TAKEN):
        shutil.copytree(tmp_path / "study", tmp_path / "copy", symlinks=True)
        assert not free(lock)
        assert free(tmp_path / "copy" / ".lock")


def test_without_locks_and_links_nothing_begins(
    without_locks: None, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*given: object) -> None:
        raise OSError(EPERM, os.strerror(EPERM))

    monkeypatch.setattr(os, "symlink", refuses)
    assert refused(lock) == Problem(
        "here",
        "one process at a time works in a folder, by its locks or links",
        f"{lock}: Operation not permitted",
        "use another file system",
    )


def test_another_error_is_not_taken_for_a_lack_of_locks(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object) -> None:
        raise OSError(EIO, os.strerror(EIO))

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(OSError, match="Input/output"), alone(lock, TAKEN):
        pass


def test_a_study_has_one_driver_and_its_name_is_free_after_a_try(
    without_locks: None, tiny_study: Callable[..., Study], tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "tiny")
    with folder.writer():
        assert folder.driver()
        with pytest.raises(CannotRun, match="one driver at a time"), StudyFolder(folder.root).writer():
            pass
        preflight.refuse_taken(folder)
    assert folder.driver() is None
    plan.make(tiny_study(), tmp_path)
