"""One driver at a time, on whichever machine; one that dies is given up, one that was passed over writes no more."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError

from orchestrator.errors import CannotRun
from orchestrator.files import scratch
from orchestrator.storage import conditional_writes, lease, log_parts
from orchestrator.storage.bucket import Bucket
from orchestrator.storage.bucket_sync import BucketSync, here, inside
from orchestrator.storage.study_folder import StudyFolder, request_stop

EVENT = {"event": "start", "trial": "a-000", "head": "a", "index": 0, "seed": 0, "params": {}}
Machine = Callable[[str], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
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
        monkeypatch.setattr(lease, "LEASE_S", -1.0)
        lease.Lease(other.home, {"pid": 2, "host": "there", "started": "now"}, other.stop_file, print).take()
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


def test_of_two_who_want_the_lease_at_once_one_has_it(
    runs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred times, with writes that take as long as they like."""
    monkeypatch.setattr(lease, "LOOK_S", 0.01)
    monkeypatch.setattr(conditional_writes, "require", lambda *given: None)
    put, delays = obstore.put, random.Random(0)

    def slow(*given: Any, **more: Any) -> Any:
        time.sleep(delays.uniform(0, 0.02))
        return put(*given, **more)

    monkeypatch.setattr(obstore, "put", slow)
    for number in range(100):
        assert len(race(f"{runs}/study-{number}", tmp_path / str(number))) == 1


def race(uri: str, root: Path) -> list[str]:
    """Who has the lease of two that want it at once."""
    begin, others, winners = threading.Barrier(2), threading.Semaphore(0), list[str]()

    def want(name: str) -> None:
        (root / name).mkdir(parents=True)
        driver = {"pid": 1, "host": name, "started": "now"}
        mine = lease.Lease(BucketSync(root / name, uri, name), driver, root / name / "stop", lambda said: None)
        begin.wait()
        try:
            mine.take()
            winners.append(name)
            while len(winners) == 1 and not others.acquire(timeout=0.01):
                mine.check(sure=True)
        except CannotRun:
            pass
        finally:
            others.release()

    threads = [threading.Thread(target=want, args=(name,)) for name in ("a", "b")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return winners


@pytest.mark.parametrize("part_bytes", [1, 2**16])
def test_a_driver_that_wakes_in_the_middle_of_a_write_overwrites_nothing(
    runs: str, machine: Machine, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    """It had looked at its lease before it was suspended; another has taken over, and not written an event yet."""
    monkeypatch.setattr(log_parts, "PART_BYTES", part_bytes)
    with study(runs).writer() as suspended:
        suspended.append(EVENT)
        assert suspended._lease
        monkeypatch.setattr(suspended._lease, "check", lambda sure=False: None)
        machine("there")
        with monkeypatch.context() as patch:
            patch.setattr(lease, "LEASE_S", -1.0)
            passed_over = study(runs).writer()
            writer = passed_over.__enter__()
        with pytest.raises(CannotRun, match="someone else has written into the record"):
            suspended.append(EVENT | {"trial": "late"})
        writer.append(EVENT | {"trial": "b-000"})
        passed_over.__exit__(None, None, None)
    machine("a third one")
    assert [event["trial"] for event in study(runs).events()] == ["a-000", "b-000"]


def test_a_lease_whose_answer_was_lost_is_still_ours(runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, put, lost = study(runs), obstore.put, iter([True])

    def unheard(*given: Any, **more: Any) -> Any:
        answer = put(*given, **more)
        if next(lost, False):
            raise GenericError("connection reset")
        return answer

    with folder.writer() as writer:
        assert writer._lease
        monkeypatch.setattr(obstore, "put", unheard)
        with pytest.raises(CannotRun, match="connection reset"):
            writer._lease.check(sure=True)
        writer._lease.check(sure=True)
        writer.append(EVENT)


@pytest.mark.parametrize("answer", ["it writes all the same", "501 Not Implemented"])
def test_a_bucket_that_overlooks_conditions_is_refused(runs: str, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    put = obstore.put

    def unconditional(*given: Any, mode: Any = None, **more: Any) -> Any:
        if mode and answer.startswith("501"):
            raise GenericError(answer)
        return put(*given, **more)

    monkeypatch.setattr(obstore, "put", unconditional)
    folder = study(runs)
    with (
        pytest.raises(CannotRun, match="a bucket in which studies run writes on a condition") as refused,
        folder.writer(),
    ):
        pass
    assert ("501" in str(refused.value)) == answer.startswith("501")
    assert f"orchestrator fetch {runs}/study" in refused.value.problems[-1].fix
    assert Bucket(f"{runs}/study").objects() == {}
