"""What the recorder writes where trials and nodes die."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from orchestrator.event_log import Trial
from orchestrator.progress import Silent
from orchestrator.recorder import Recorder
from orchestrator.records import StudyFolder

GIVEN = {"name": "arcface-000", "head": "arcface", "index": 0, "seed": 5, "params": {"lr": 0.1}, "continues": False}


class Saying(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def recorded(root: Path, happens: Callable[[Recorder, Any], object]) -> tuple[dict[str, Trial], list[str], list[Any]]:
    """What is on record, what was said, and what the source was told, after something happens to a trial."""
    told: list[Any] = []
    source: Any = SimpleNamespace(end=lambda *given: told.append(given), epoch=lambda *given: None)
    progress, schedulers = Saying(), SimpleNamespace(stopped=set())
    trial = SimpleNamespace(config={"trial": dict(GIVEN)}, num_failures=3, get_error=lambda: "its node is gone")
    folder = StudyFolder(root / "study")
    with folder.writer() as writer:
        recorder = Recorder(writer, source, 2, {}, progress, schedulers)  # type: ignore[arg-type]
        happens(recorder, trial)
    return folder.trials(), progress.said, told


def test_a_trial_whose_node_dies_before_it_starts_is_on_record_as_failed(tmp_path: Path) -> None:
    trials, _, told = recorded(tmp_path, lambda recorder, trial: recorder.on_trial_error(0, [], trial))
    (trial,) = trials.values()
    assert (trial.status, trial.reason) == ("failed", "its process died 3 times")
    assert (trial.head, trial.seed, trial.params) == ("arcface", 5, {"lr": 0.1})
    assert told == [("arcface-000", "failed")]


def test_a_trial_that_begins_again_before_it_started_is_said(tmp_path: Path) -> None:
    trials, said, _ = recorded(tmp_path, lambda recorder, trial: recorder.on_trial_recover(0, [], trial))
    assert trials == {}
    assert said == ["arcface-000: its process died; it goes on after epoch 0"]


def test_where_a_trial_runs_is_on_record_and_no_epoch(tmp_path: Path) -> None:
    def happens(recorder: Recorder, trial: Any) -> None:
        recorder.on_trial_start(0, [], trial)
        recorder.on_trial_result(0, [], trial, {"placed": {"node": "10.0.0.2", "CUDA_VISIBLE_DEVICES": "0"}})

    trials, _, _ = recorded(tmp_path, happens)
    assert trials["arcface-000"].epochs == []
    (placed,) = (event for event in StudyFolder(tmp_path / "study").events() if event["event"] == "placed")
    assert (placed["trial"], placed["node"], placed["CUDA_VISIBLE_DEVICES"]) == ("arcface-000", "10.0.0.2", "0")
