"""What the recorder writes where trials and nodes die."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.errors import CannotRun
from orchestrator.reporting.progress_view import Silent
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.trials.deaths import Deaths
from orchestrator.trials.recorder import Recorder

GIVEN = {"name": "arcface-000", "head": "arcface", "index": 0, "seed": 5, "params": {"lr": 0.1}, "continues": False}


class Saying(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


DEATH = "Failure # 1 (occurred at noon)\nThe actor died unexpectedly before finishing this task.\n\tpid: 4711\n"


def recorded(
    root: Path, happens: Callable[[Recorder, Any], object], error: str = DEATH, last_words: str = ""
) -> tuple[dict[str, Trial], list[str], list[Any]]:
    """What is on record, what was said, and what the source was told, after something happens to a trial.

    error: what Ray says of it. last_words: what its process wrote to its log.
    """
    told: list[Any] = []
    source: Any = SimpleNamespace(end=lambda *given: told.append(given), epoch=lambda *given: None)
    progress, schedulers = Saying(), SimpleNamespace(stopped=set())
    logs = root / "ray/session/logs"
    logs.mkdir(parents=True)
    (logs / "worker-ab12-4711.err").write_text(last_words)
    (root / "error.txt").write_text(error)
    trial = SimpleNamespace(config={"trial": dict(GIVEN)}, num_failures=3, error_file=str(root / "error.txt"))
    folder = StudyFolder(root / "study")
    deaths = Deaths(root / "ray", "2 trials at a time: about 2.0 GB of 1.5 GB")
    with folder.writer() as writer:
        recorder = Recorder(writer, folder, source, 2, progress, schedulers, deaths)  # type: ignore[arg-type]
        happens(recorder, trial)
    return folder.trials(), progress.said, told


def fails(recorder: Recorder, trial: Any) -> None:
    recorder.on_trial_error(0, [], trial)


def reports(**result: Any) -> Callable[[Recorder, Any], None]:
    """Something that a trial says before its process fails."""

    def happens(recorder: Recorder, trial: Any) -> None:
        recorder.on_trial_start(0, [], trial)
        recorder.on_trial_result(0, [], trial, result)
        recorder.on_trial_error(0, [], trial)

    return happens


def test_a_trial_whose_process_dies_before_it_starts_is_on_record_and_has_no_end(tmp_path: Path) -> None:
    trials, said, told = recorded(tmp_path, fails)
    (trial,) = trials.values()
    reason = "its process died, without a word of its own, as by SIGKILL"
    assert (trial.status, trial.reason, trial.interrupted) == ("running", reason, True)
    assert (trial.head, trial.seed, trial.params) == ("arcface", 5, {"lr": 0.1})
    assert told == []
    assert said == [f"arcface-000 is interrupted after epoch 0: {reason}"]


def test_an_error_of_the_machine_is_the_reason_and_is_written_once(tmp_path: Path) -> None:
    full = {"kind": "disk", "said": "OSError: [Errno 28] No space left on device"}
    trials, _, told = recorded(tmp_path, reports(broken=full))
    assert (trials["arcface-000"].status, trials["arcface-000"].reason) == ("running", full["said"])
    assert told == []
    events = StudyFolder(tmp_path / "study").events()
    assert [event["event"] for event in events] == ["start", "interrupted"]


def test_a_process_that_keeps_crashing_by_itself_is_the_trials_own_failure(tmp_path: Path) -> None:
    words = "*** SIGSEGV received at time=1795893456 on cpu 1 ***\nFatal Python error: Segmentation fault"
    trials, _, told = recorded(tmp_path, fails, last_words=words)
    assert (trials["arcface-000"].status, trials["arcface-000"].reason) == (
        "failed",
        "its process crashed 3 times, by SIGSEGV",
    )
    assert told == [("arcface-000", "failed")]


def test_an_error_that_a_trials_code_raises_past_everything_is_its_own(tmp_path: Path) -> None:
    error = "Failure # 1\nray::ImplicitFunc.train() (pid=4711)\nTraceback …\nImportError: no such module\n"
    trials, _, told = recorded(tmp_path, fails, error)
    assert (trials["arcface-000"].status, trials["arcface-000"].reason) == ("failed", "ImportError: no such module")
    assert told == [("arcface-000", "failed")]


def test_what_broke_a_trial_off_is_forgotten_after_its_next_epoch(tmp_path: Path) -> None:
    def happens(recorder: Recorder, trial: Any) -> None:
        fails(recorder, trial)
        row = {"epoch": 1, "objective": 0.5, "metrics": {}, "embedding": ((1, 2), bytes(4))}
        recorder.on_trial_result(0, [], trial, row)

    trials, _, _ = recorded(tmp_path, happens)
    assert not trials["arcface-000"].interrupted


def test_a_trial_that_begins_again_before_it_started_is_said(tmp_path: Path) -> None:
    trials, said, _ = recorded(tmp_path, lambda recorder, trial: recorder.on_trial_recover(0, [], trial))
    assert trials == {}
    reason = "its process died, without a word of its own, as by SIGKILL"
    assert said == [f"arcface-000: {reason}; it goes on after epoch 0"]


def test_where_a_trial_runs_is_on_record_and_no_epoch(tmp_path: Path) -> None:
    def happens(recorder: Recorder, trial: Any) -> None:
        recorder.on_trial_start(0, [], trial)
        recorder.on_trial_result(0, [], trial, {"placed": {"node": "10.0.0.2", "CUDA_VISIBLE_DEVICES": "0"}})

    trials, _, _ = recorded(tmp_path, happens)
    assert trials["arcface-000"].epochs == []
    (placed,) = (event for event in StudyFolder(tmp_path / "study").events() if event["event"] == "placed")
    assert (placed["trial"], placed["node"], placed["CUDA_VISIBLE_DEVICES"]) == ("arcface-000", "10.0.0.2", "0")


def test_a_trial_with_other_code_ends_the_search_and_is_not_over_itself(tmp_path: Path) -> None:
    def happens(recorder: Recorder, trial: Any) -> None:
        recorder.on_trial_start(0, [], trial)
        with pytest.raises(CannotRun, match="trains the code of its driver"):
            recorder.on_trial_result(0, [], trial, {"other_code": "/elsewhere has 1, the driver 2"})

    trials, _, told = recorded(tmp_path, happens)
    assert [trial.status for trial in trials.values()] == ["running"]
    assert told == []


def test_what_a_scheduler_has_decided_after_an_epoch_is_on_record_with_it(tmp_path: Path) -> None:
    embedding = ((1, 2), bytes(4))

    def happens(recorder: Recorder, trial: Any) -> None:
        recorder.on_trial_start(0, [], trial)
        for epoch in (1, 2):  # of two: the last epoch is a trial's end by itself
            recorder._schedulers.stopped.add("arcface-000")
            result = {"epoch": epoch, "objective": 0.5, "metrics": {}, "embedding": embedding}
            recorder.on_trial_result(0, [], trial, result)

    trials, _, _ = recorded(tmp_path, happens)
    assert [row.get("stops") for row in trials["arcface-000"].epochs] == [True, None]
