"""Confirmation as it runs: fresh seeds that all heads share, each run once, whatever interrupts it."""

from __future__ import annotations

import json
import shutil
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune

from orchestrator.errors import CannotRun
from orchestrator.files.atomic import write_atomic
from orchestrator.planning import plan
from orchestrator.selection.results import Results
from orchestrator.stages import launch
from orchestrator.storage.event_log import read_events
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.trials import tuner
from orchestrator.trials.trainable import run_trial
from orchestrator.trials.trial import Task
from tests.orchestrator.alone import alone

MakeStudy = Callable[..., Study]
MakeRecord = Callable[..., StudyFolder]
HEADS, EPOCHS = ("softmax", "cosface"), 2


@pytest.fixture
def copied(confirmed: Any, tmp_path: Path) -> StudyFolder:
    """A copy of the study for a test that changes it."""
    return StudyFolder(Path(shutil.copytree(confirmed.folder.root, tmp_path / "small")))


def planned(results: Results, seeds: int) -> list[str]:
    """The names of all runs, by the record of the search alone."""
    best: dict[str, str] = {}
    for head in HEADS:
        own = [trial for trial in results.trials.values() if trial.head == head and trial.status == "completed"]
        best[head] = max(own, key=lambda trial: trial.objective or 0.0).name
    return [f"{best[head]}-seed-{number}" for number in range(1, seeds + 1) for head in HEADS]


def check_each_once(folder: StudyFolder, names: list[str]) -> None:
    events = [event for event in read_events(folder.confirmation_file) if "trial" in event]
    starts = Counter(event["trial"] for event in events if event["event"] == "start")
    ends = Counter((event["trial"], event["status"]) for event in events if event["event"] == "end")
    epochs = Counter((event["trial"], event["epoch"]) for event in events if event["event"] == "epoch")
    assert list(starts) == names
    assert starts == Counter(names)
    assert ends == Counter((name, "completed") for name in names)
    assert epochs == Counter((name, epoch) for name in names for epoch in range(1, EPOCHS + 1))


def test_a_launch_confirms_the_best_of_each_head_each_run_once_and_to_its_end(confirmed: Any) -> None:
    """The means of the leaderboard rest on whole runs of the best configurations, none of them counted twice."""
    results = Results(confirmed.folder.root)
    assert results.searched
    assert results.finished
    assert len(results.trials) == 4
    check_each_once(confirmed.folder, planned(results, seeds=2))
    assert results.confirmation
    for name, run in results.confirmation.runs.items():
        searched = results.trials[name.rpartition("-seed-")[0]]
        assert (run.head, run.params) == (searched.head, searched.params)
        for epoch in range(1, EPOCHS + 1):
            assert confirmed.folder.embedding(name, epoch) is not None


def test_the_fresh_seeds_are_the_same_for_all_heads_and_none_of_the_searchs(confirmed: Any) -> None:
    results = Results(confirmed.folder.root)
    assert results.confirmation
    seeds: dict[str, list[int]] = {head: [] for head in HEADS}
    for run in results.confirmation.runs.values():
        seeds[run.head].append(run.seed)
    assert seeds["softmax"] == seeds["cosface"] == list(results.confirmation.asked.seeds)
    assert len(set(seeds["softmax"])) == 2
    assert not {*seeds["softmax"]} & {trial.seed for trial in results.trials.values()}


def test_the_leaderboard_has_the_means_of_what_is_on_record(confirmed: Any) -> None:
    results = Results(confirmed.folder.root)
    reached: dict[str, dict[str, float]] = {head: {} for head in HEADS}
    for event in read_events(confirmed.folder.confirmation_file):
        if event["event"] == "epoch":
            reached[event["trial"].partition("-")[0]][event["trial"]] = event["objective"]  # the last one stays
    means = {head: statistics.fmean(own.values()) for head, own in reached.items()}
    assert [row.head for row in results.leaderboard] == sorted(means, key=lambda head: -means[head])
    for row in results.leaderboard:
        assert row.confirmed
        assert row.objective == pytest.approx(means[row.head], abs=1e-12)
        assert row.confirmed.estimate.n == 2


def test_a_stop_in_the_middle_leaves_the_confirmation_open_and_shows_no_mean(confirmed: Any) -> None:
    known = confirmed.interrupted.confirmation
    assert known
    assert confirmed.interrupted.searched
    statuses = {
        name.partition("-")[0]: run.status for name, run in known.runs.items() if run.seed == known.asked.seeds[0]
    }
    assert statuses == {"softmax": "completed", "cosface": "running"}
    assert not known.finished
    assert [row.confirmed for row in confirmed.interrupted.leaderboard] == [None, None]


def test_a_resume_trains_exactly_what_was_missing_and_only_appends(confirmed: Any) -> None:
    written = confirmed.folder.confirmation_file.read_bytes()
    assert written.startswith(confirmed.before)
    assert confirmed.before.endswith(b"\n")
    known = confirmed.interrupted.confirmation
    assert known
    ended = {name for name, run in known.runs.items() if run.status != "running"}
    missing = [name for name in planned(confirmed.interrupted, seeds=2) if name not in ended]
    assert 0 < len(missing) < 4
    assert confirmed.going_on.names == missing
    assert [event["event"] for event in read_events(confirmed.folder.confirmation_file)].count("asked") == 1
    assert "confirming 2 configurations on 2 fresh seeds each" in confirmed.going_on.said


@pytest.mark.parametrize("head", HEADS)
def test_a_run_repeated_with_its_seed_gives_its_numbers_again(
    confirmed: Any, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the one that was interrupted and went on from its checkpoint."""
    results = Results(confirmed.folder.root)
    assert results.confirmation
    run = next(run for run in results.confirmation.runs.values() if run.head == head)
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", lambda row, checkpoint=None: told.append(row))
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    data = plan.load_data(results.study)
    task = Task.of(results.study, tuner.sample(data.validation.labels))
    run_trial({"trial": {"head": head, "seed": run.seed, "params": run.params, "checkpoint": None}}, data, task)
    assert [row["objective"] for row in told] == [row["objective"] for row in run.epochs]
    searched = results.trials[run.name.rpartition("-seed-")[0]]
    assert [row["objective"] for row in told] != [row["objective"] for row in searched.epochs]


def test_more_seeds_train_the_new_ones_alone(confirmed: Any) -> None:
    before, names = confirmed.folder.confirmation_file.read_bytes(), planned(Results(confirmed.folder.root), seeds=3)
    folder = confirmed.more.folder
    assert folder.confirmation_file.read_bytes().startswith(before)
    assert confirmed.further.names == names[4:]
    check_each_once(folder, names)
    assert confirmed.more.finished
    assert [row.confirmed.estimate.n for row in confirmed.more.leaderboard if row.confirmed] == [3, 3]


def test_what_is_confirmed_already_starts_nothing(copied: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "session", lambda *given: pytest.fail("a session was started"))
    before = copied.confirmation_file.read_bytes()
    with alone():
        assert launch.confirm(copied.root, top=1, seeds=1).finished
        assert launch.confirm(copied.root).finished
    assert copied.confirmation_file.read_bytes() == before


@contextmanager
def trains_nothing(*given: object) -> Iterator[Any]:
    """A session without Ray, in which nothing is done."""
    yield SimpleNamespace(stopped=False, train=lambda *given: None)


@pytest.mark.parametrize(
    ("written", "wanted", "asked"),
    [
        ({"top": 0}, {}, (1, 3)),
        ({"top": 0}, {"seeds": 4}, (1, 4)),
        ({"top": 1, "seeds": 2}, {}, (1, 2)),
        ({"top": 1, "seeds": 2}, {"top": 2}, (2, 2)),
        ({"top": 2, "seeds": 3}, {"top": 1, "seeds": 1}, (2, 3)),
        ({"top": 1, "seeds": 1}, {"top": 9, "seeds": 1, "racing": True}, (2, 1)),
    ],
)
def test_a_confirmation_asks_for_what_is_wanted_and_never_for_less(
    tiny_study: MakeStudy,
    make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
    written: dict[str, int],
    wanted: dict[str, Any],
    asked: tuple[int, int],
) -> None:
    study = tiny_study(heads={"arcface": {}}, confirmation=written)
    folder = make_record(study, ("arcface", 0, [0.5, 0.6], "completed"), params={"lr": 0.01})
    with folder.writer() as writer:
        start = {"head": "arcface", "index": 1, "seed": 101, "params": {"lr": 0.02}}
        writer.append({"event": "start", "trial": "arcface-001", **start})
        for epoch in (1, 2):
            row = {"epoch": epoch, "objective": 0.8, "metrics": {}}
            writer.append({"event": "epoch", "trial": "arcface-001", **row})
        writer.append({"event": "end", "trial": "arcface-001", "status": "completed", "reason": ""})
    write_atomic(folder.provenance_file, json.dumps({"classes": 4, "resumed": []}))
    monkeypatch.setattr(tuner, "session", trains_nothing)
    assert not launch.confirm(folder.root, **wanted).finished
    known = Results(folder.root).confirmation
    assert known
    assert (known.asked.configurations, len(known.asked.seeds)) == (
        ("arcface-001", "arcface-000")[: asked[0]],
        asked[1],
    )
    assert known.asked.racing == ("racing" in wanted)


def test_what_is_asked_after_a_look_says_so_whatever_the_clock_says(
    tiny_study: MakeStudy, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [("arcface", index, [0.5, 0.6], "completed") for index in (0, 1)]
    folder = make_record(tiny_study(heads={"arcface": {}}), *trials, params={"lr": 0.01})
    write_atomic(folder.provenance_file, json.dumps({"classes": 4, "resumed": []}))
    monkeypatch.setattr(tuner, "session", trains_nothing)
    assert not launch.confirm(folder.root, seeds=3).chosen_after_a_look
    opened = {"event": "opened", "number": 1, "by": "test", "forced": False, "git": None, "orchestrator": "0.1.0"}
    folder.test_file.write_text(json.dumps({**opened, "time": "2099-01-01T00:00:00.000+00:00"}) + "\n")
    assert not Results(folder.root).chosen_after_a_look
    assert launch.confirm(folder.root, seeds=4).chosen_after_a_look


def test_an_unfinished_search_is_not_confirmed(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study(), ("arcface", 0, [0.5], "completed"), ("softmax", 0, [0.5], "running"))
    with pytest.raises(CannotRun) as caught:
        launch.confirm(folder.root, seeds=3)
    (problem,) = caught.value.problems
    assert (problem.place, problem.rule) == (str(folder.root), "a finished search is confirmed, one with a result")
    assert problem.fix.startswith(f"orchestrator resume {folder.root}")
    assert not folder.confirmation_file.exists()
