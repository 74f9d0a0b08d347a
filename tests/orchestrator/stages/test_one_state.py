"""A process that works on a study reads its records once; what it knows afterwards is what stands on disk."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.planning import continuity
from orchestrator.selection.results import Results
from orchestrator.stages.launch import launch, resume
from orchestrator.storage.record_writer import Writer
from orchestrator.study.schema import Study
from orchestrator.trials import tuner
from orchestrator.trials.tuner import Stage
from tests.made import build
from tests.orchestrator.alone import alone

RECORDS = ("trials.jsonl", "confirmation.jsonl", "test.jsonl")
READINGS: list[Counter[str]] = []


def watch(event: str, given: tuple[Any, ...]) -> None:
    """Counts how often this process opens a record to read it."""
    if event == "open" and READINGS and (name := Path(str(given[0])).name) in RECORDS and given[1] in ("r", "rb"):
        READINGS[-1][name] += 1


sys.addaudithook(watch)


@contextmanager
def readings() -> Iterator[Counter[str]]:
    READINGS.append(Counter())
    try:
        yield READINGS[-1]
    finally:
        READINGS.pop()


@contextmanager
def trains_at_once(planned: Any, writer: Writer, *more: Any) -> Iterator[Any]:
    """A session without Ray, in which every trial ends at once; its seed says what it has reached."""

    def train(stage: Stage, record: Writer) -> None:
        while given := stage.source.next():
            start = {"head": given.head, "index": given.index, "seed": given.seed, "params": given.params}
            row = {"epoch": 1, "objective": given.seed % 997 / 997, "metrics": {"val/separation": 1.0}}
            record.append({"event": "start", "trial": given.name, **start})
            record.append({"event": "epoch", "trial": given.name, **row})
            stage.source.epoch(given.name, row)
            record.append({"event": "end", "trial": given.name, "status": "completed", "reason": ""})
            stage.source.end(given.name, "completed")

    yield SimpleNamespace(stopped=False, train=train)


@pytest.fixture
def study(tiny_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two heads with two trials each and a confirmation, trained by nobody."""
    monkeypatch.setattr(tuner, "session", trains_at_once)
    changes = {"training": {"epochs": 1}, "confirmation": {"top": 1, "seeds": 2}}
    return tiny_study(**changes, tracking={"mode": "off"})


def check_equal_on_disk(results: Results) -> None:
    """What the process has in memory is what anyone reads from disk."""
    on_disk = Results(results.folder.root)
    assert results.trials == on_disk.trials
    assert results.events == on_disk.events
    assert results.confirmation == on_disk.confirmation
    assert results.test == on_disk.test
    assert results.leaderboard == on_disk.leaderboard


def test_a_launch_reads_each_record_at_most_once(study: Study, tmp_path: Path) -> None:
    """From its first trial to its report; so does each further step of the same study."""
    with readings() as read:
        results = launch(study, tmp_path)
    assert results.finished
    assert (results.folder.root / "report.html").exists()
    assert max(read.values()) == 1, read
    check_equal_on_disk(results)


def test_a_study_that_goes_on_reads_each_record_once_before_and_no_more_while_it_works(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process wrote between the look at a study and its lock is read too, and only that."""
    with alone():
        folder = launch(study, tmp_path).folder
    refuse = continuity.refuse_changed

    def someone_is_quicker(known: Results) -> None:
        refuse(known)
        assert known.confirmation
        asked = known.confirmation.asked
        with folder.writer() as writer, writer.beside(writer.state.confirmation) as record:
            record.append(replace(asked, seeds=(*asked.seeds, 5)).event())

    monkeypatch.setattr(continuity, "refuse_changed", someone_is_quicker)
    with alone(), readings() as read:
        results = resume(folder.root)
    assert results.confirmation
    assert 5 in {run.seed for run in results.confirmation.runs.values()}
    assert results.finished
    assert read == dict.fromkeys(RECORDS, 3), read  # twice by this process: all, then under the lock what is new
    check_equal_on_disk(results)


def test_results_of_a_study_at_work_are_always_current(tmp_path: Path) -> None:
    folder = build(tmp_path, trials={"softmax": [([0.9], "completed")], "arcface": [([0.5], "completed")]})
    with folder.writer() as writer:
        results = Results(folder.root, state=writer.state)
        assert next(iter(results.best)) == "softmax"
        assert results.leaderboard is results.leaderboard  # nothing is worked out twice of the same record
        start = {"head": "arcface", "index": 1, "seed": 1, "params": results.best["arcface"].params}
        writer.append({"event": "start", "trial": "arcface-001", **start})
        writer.append({"event": "epoch", "trial": "arcface-001", "epoch": 1, "objective": 0.95, "metrics": {}})
        writer.append({"event": "end", "trial": "arcface-001", "status": "completed", "reason": ""})
        assert next(iter(results.best.values())).name == "arcface-001"
        check_equal_on_disk(results)
