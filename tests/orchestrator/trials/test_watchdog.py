"""A trial that stalls begins again; a study whose trials keep failing ends. With a clock of the test's own."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Search
from orchestrator.trials import watchdog as watching
from orchestrator.trials.watchdog import LEAST_S, MOST_INTERRUPTED, TIMES, Watch


class Clock:
    """The time, as the watch sees it, and the processes that were ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.said = 1000.0, list[str]()
        self.killed: list[Any] = []
        self.stop = threading.Event()
        self.trials: dict[str, Trial] = {}
        monkeypatch.setattr(watching.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(ray, "kill", self.killed.append)

    def watch(self, planned: int = 8, **search: Any) -> Watch:
        return Watch(Search(**search), planned, self.trials, self.stop, self.said.append)

    def record(self, trial: Any, status: Any, reason: str = "") -> None:
        name = trial.config["trial"]["name"]
        self.trials[name] = Trial(name, "arcface", 0, 0, {}, status, reason)

    def pass_by(self, watch: Watch, seconds: float, *trials: Any) -> None:
        self.now += seconds
        watch.on_step_end(0, list(trials))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def trial(name: str = "arcface-000") -> Any:
    return SimpleNamespace(config={"trial": {"name": name}}, temporary_state=SimpleNamespace(ray_actor=f"{name}'s"))


def test_a_trial_that_is_silent_for_too_long_is_ended_once(clock: Clock) -> None:
    watch, silent, busy = clock.watch(stalled_after_s=60), trial(), trial("arcface-001")
    for each in (silent, busy):
        watch.on_trial_start(0, [], each)
    clock.pass_by(watch, 50, silent, busy)
    watch.on_trial_result(0, [], busy, {"epoch": 1})
    clock.pass_by(watch, 11, silent, busy)
    clock.pass_by(watch, 40, silent, busy)
    assert clock.killed == ["arcface-000's"]
    assert clock.said == ["arcface-000: no report for 61 s; its process is ended"]


def test_a_trial_that_waits_for_its_workers_is_not_silent(clock: Clock) -> None:
    watch, known = clock.watch(stalled_after_s=60), trial()
    watch.on_trial_start(0, [], known)
    watch.on_trial_result(0, [], known, {"waiting": True})
    clock.pass_by(watch, 1000, known)
    assert clock.killed == []
    watch.on_trial_result(0, [], known, {"placed": {}})
    clock.pass_by(watch, 61, known)
    assert clock.killed == ["arcface-000's"]


def test_a_trial_that_starts_again_has_all_its_time_again(clock: Clock) -> None:
    watch, known = clock.watch(stalled_after_s=60), trial()
    watch.on_trial_start(0, [], known)
    watch.on_trial_recover(0, [], known)
    clock.pass_by(watch, 100, known)  # it waits for a node
    watch.on_trial_start(0, [], known)
    clock.pass_by(watch, 59, known)
    assert clock.killed == []
    clock.pass_by(watch, 2, known)
    assert clock.killed == ["arcface-000's"]


def test_auto_waits_ten_times_the_longest_wait_so_far(clock: Clock) -> None:
    watch, known = clock.watch(), trial()
    watch.on_trial_start(0, [], known)
    assert watch.stalled_after_s is None  # an epoch may take hours
    clock.pass_by(watch, 1e6, known)
    assert clock.killed == []
    watch = clock.watch()
    watch.on_trial_start(0, [], known)
    clock.now += 30
    watch.on_trial_result(0, [], known, {"epoch": 1})
    assert watch.stalled_after_s == LEAST_S
    clock.now += 300
    watch.on_trial_result(0, [], known, {"epoch": 2})
    assert watch.stalled_after_s == TIMES * 300


def test_nothing_stalls_where_that_is_off_or_the_trial_has_ended(clock: Clock) -> None:
    watch, known = clock.watch(stalled_after_s=0), trial()
    watch.on_trial_start(0, [], known)
    clock.pass_by(watch, 1e6, known)
    watch = clock.watch(stalled_after_s=60)
    clock.record(known, "failed")
    for end in (watch.on_trial_complete, watch.on_trial_error):
        watch.on_trial_start(0, [], known)
        end(0, [], known)
        clock.pass_by(watch, 100, known)
    assert clock.killed == []


@pytest.mark.parametrize(("most", "planned", "may"), [("auto", 8, 3), ("auto", 100, 25), (0, 8, 0), (5, 8, 5)])
def test_a_study_whose_trials_keep_failing_ends(clock: Clock, most: Any, planned: int, may: int) -> None:
    watch = clock.watch(planned, most_failures=most)
    for number in range(may):
        known = trial(f"arcface-{number:03d}")
        if number % 2:
            clock.record(known, "failed")
            watch.on_trial_error(0, [], known)
        else:
            watch.on_trial_result(0, [], known, {"ended": {"status": "failed"}})
    watch.on_trial_result(0, [], trial(), {"ended": {"status": "diverged"}})  # which is a result
    assert not clock.stop.is_set()
    clock.record(trial("one-more"), "failed")
    watch.on_trial_error(0, [], trial("one-more"))
    assert clock.stop.is_set()
    assert clock.said == [f"{may + 1} trials have failed, {may} may (search.most_failures): it ends"]


def test_what_the_machine_does_is_counted_apart_and_ends_a_search_sooner(clock: Clock) -> None:
    watch = clock.watch(100, most_failures=50)
    for number in range(MOST_INTERRUPTED):
        known = trial(f"arcface-{number:03d}")
        clock.record(known, "running", "its process died")
        watch.on_trial_error(0, [], known)
    assert not clock.stop.is_set()
    watch.on_trial_complete(0, [], trial("one-that-came-to-its-end"))
    for number in range(MOST_INTERRUPTED):
        watch.on_trial_error(0, [], trial(f"arcface-{number:03d}"))
    assert not clock.stop.is_set()
    watch.on_trial_error(0, [], trial("arcface-000"))
    assert clock.stop.is_set()
    assert watch.broken == "the machine has broken off 4 trials one after another: its process died"
    assert clock.said == []


def test_a_full_disk_ends_a_search_at_once_and_short_memory_does_not(clock: Clock) -> None:
    watch = clock.watch()
    watch.on_trial_result(0, [], trial(), {"broken": {"kind": "memory", "said": "MemoryError"}})
    assert not clock.stop.is_set()
    full = "OSError: [Errno 28] No space left on device"
    watch.on_trial_result(0, [], trial(), {"broken": {"kind": "disk", "said": full}})
    assert (clock.stop.is_set(), watch.broken) == (True, full)


def test_trials_that_end_with_a_search_that_was_asked_to_end_are_not_counted(clock: Clock) -> None:
    watch = clock.watch()
    clock.stop.set()
    for number in range(MOST_INTERRUPTED + 1):
        known = trial(f"arcface-{number:03d}")
        clock.record(known, "running")
        watch.on_trial_error(0, [], known)
    assert watch.broken == ""
