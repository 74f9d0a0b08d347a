"""One driver at a time, on whichever machine; one that dies is given up, one that was passed over writes no more."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from orchestrator.errors import CannotRun
from orchestrator.files import scratch
from orchestrator.storage import lease
from orchestrator.storage.bucket import Bucket
from orchestrator.storage.bucket_sync import here, inside
from orchestrator.storage.study_folder import StudyFolder, request_stop

EVENT = {"event": "start", "trial": "a-000", "head": "a", "index": 0, "seed": 0, "params": {}}
Machine = Callable[[str], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SETTLE_S", 0.0)
    monkeypatch.setattr(lease, "LOOK_S", 0.2)
    monkeypatch.setattr(lease, "RENEW_S", 0.4)


def study(runs: str) -> StudyFolder:
    return StudyFolder(inside(runs, "study"))


def test_a_driver_elsewhere_is_seen_and_a_second_one_refused(runs: str, machine: Machine) -> None:
    with study(runs).writer() as writer:
        machine("there")
        copy, said = study(runs), list[str]()
        known = copy.driver()
        with pytest.raises(CannotRun) as refused, copy.writer(said.append):
            pass
        writer.append(EVENT)
    assert known
    (problem,) = refused.value.problems
    assert problem.rule == "one driver at a time works on a study"
    assert f"process {known['pid']} on {known['host']}" in problem.value
    assert f"orchestrator stop {runs}/study" in problem.fix
    assert "waiting whether it is still at work" in said[0]
    assert copy.driver() is None
    with copy.writer(said.append):
        assert len(copy.events()) == 1
    assert len(said) == 1


def test_a_driver_that_died_elsewhere_is_given_up(runs: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_S", 3.0)
    folder = study(runs)
    assert folder.home
    died = lease.Lease(folder.home, {"pid": 1, "host": "gone", "started": "then"}, folder.stop_file, print)
    died.take()  # and never renews it
    machine("there")
    said: list[str] = []
    with study(runs).writer(said.append) as writer:
        writer.append(EVENT)
    assert "process 1 on gone has this study" in said[0]


def test_a_driver_that_died_here_is_known_to_be_dead(runs: str) -> None:
    folder, said = study(runs), list[str]()
    assert folder.home
    dead = {**scratch.this_process(), "born": 1, "started": "then"}
    lease.Lease(folder.home, dead, folder.stop_file, print).take()
    assert folder.driver() is None
    with folder.writer(said.append) as writer:
        writer.append(EVENT)
    assert said == []


def test_a_copy_of_a_working_copy_leaves_the_lease_to_a_driver_that_lives(runs: str) -> None:
    """As where the folder of working copies was copied while a driver was at work, with all that tells it apart."""
    folder, said = study(runs), list[str]()
    assert folder.home
    other = lease.Lease(folder.home, {**scratch.this_process(), "started": "then"}, folder.stop_file, print)
    other.take()
    other.begin()
    try:
        assert folder.driver()
        with pytest.raises(CannotRun, match="one driver at a time"), folder.writer(said.append):
            pass
        other.check()
    finally:
        other.end()
    assert "waiting whether it is still at work" in said[0]


def test_a_clock_that_steps_back_does_not_let_a_lease_run_out(runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study(runs)
    with folder.writer():
        bucket = Bucket(f"{runs}/study")
        taken, now = bucket.written_ns(lease.LEASE), time.time()
        monkeypatch.setattr(time, "time", lambda: now - 3600)
        end = time.monotonic() + 300
        while bucket.written_ns(lease.LEASE) == taken:
            assert time.monotonic() < end, "it was not renewed"
            time.sleep(0.05)


def test_a_driver_that_was_passed_over_writes_no_more(
    runs: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LOOK_S", 1000.0)  # as if it were suspended
    folder = study(runs)
    with folder.writer() as suspended:
        suspended.append(EVENT)
        machine("there")
        other = study(runs)
        assert other.home
        lease.Lease(other.home, {"pid": 2, "host": "there", "started": "now"}, other.stop_file, print)._write()
        monkeypatch.setattr(lease, "LEASE_S", 0.0)
        with pytest.raises(CannotRun, match="another one has taken over"):
            suspended.append(EVENT)
        assert folder.stop_file.exists()
    assert Bucket(f"{runs}/study").read(lease.LEASE)  # the other's, left alone
    assert len(StudyFolder(here(f"{runs}/study")).events()) == 1


def test_a_stop_from_another_machine_arrives(runs: str, machine: Machine) -> None:
    folder = study(runs)
    with folder.writer():
        machine("there")
        said = request_stop(study(runs))
        end = time.monotonic() + 300
        while not folder.stop_file.exists():
            assert time.monotonic() < end, "the stop did not arrive"
            time.sleep(0.05)
    assert f"orchestrator resume {runs}/study" in said
    assert not folder.stop_file.exists()
    with pytest.raises(CannotRun, match="no driver is at work"):
        request_stop(study(runs))


def test_what_changes_goes_up_while_it_works(runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "PUSH_S", 0.4)
    folder = study(runs)
    with folder.writer():
        (folder.root / "report.html").write_text("page")
        end = time.monotonic() + 300
        while Bucket(f"{runs}/study").read("report.html") != b"page":
            assert time.monotonic() < end, "nothing was sent"
            time.sleep(0.05)
