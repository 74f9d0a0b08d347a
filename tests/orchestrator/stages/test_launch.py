"""Whole searches, small, on one Ray: all six heads, a grid, populations, and what breaks a search off."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator import Results, launch, resume
from orchestrator.cli import app
from orchestrator.cluster import run_options
from orchestrator.cluster.run_options import SAVE_S, refuse_connected
from orchestrator.errors import CannotRun, Interrupted, Problem
from orchestrator.reporting import report
from orchestrator.storage import record_writer
from orchestrator.storage.record_writer import Writer
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.system import fingerprint
from orchestrator.trials import tuner
from search_spaces.heads import HEADS
from tests.orchestrator.alone import alone, one_ray
from tests.orchestrator.processes import epochs_on_record

SIX = "{" + ", ".join(f"{head}: " for head in HEADS) + "}"


@pytest.fixture(scope="module")
def shared_ray() -> Iterator[None]:
    with one_ray():
        with pytest.raises(CannotRun, match="a search has one here"):  # outside of tests one is not shared
            refuse_connected()
        yield


@pytest.fixture
def search_alone(shared_ray: None) -> Iterator[None]:
    with alone():
        yield


def by_head(results: Results) -> Counter[str]:
    return Counter(trial.head for trial in results.trials.values())


@pytest.mark.usefixtures("shared_ray")
def test_all_six_heads_are_searched_equally_recorded_and_handed_back(
    load_small: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every head gets its trials, best file and model, and a best file repeats its trial to the last digit."""
    monkeypatch.setattr(report, "write", lambda *given: None)  # pictures of every head have tests of their own
    study = load_small(
        heads=SIX, training="{epochs: 3, batch_size: 64}", search="{trials_per_head: 2, seed: 3, concurrent_trials: 1}"
    )
    results = launch(study, tmp_path / "results")
    folder = results.folder

    assert results.finished
    assert by_head(results) == dict.fromkeys(HEADS, 2)
    assert {trial.status for trial in results.trials.values()} <= {"completed", "stopped"}
    assert set(results.best) == set(HEADS)
    for trial in results.trials.values():
        assert [row["epoch"] for row in trial.epochs] == list(range(1, trial.last_epoch + 1))
        assert (trial.status == "completed") == (trial.last_epoch == 3)
        best = [row["metrics"]["val/cluster_accuracy_best"] for row in trial.epochs]
        assert best == np.maximum.accumulate([row["objective"] for row in trial.epochs]).tolist()
        for row in trial.epochs:
            points = folder.embedding(trial.name, row["epoch"])
            assert points is not None
            assert points.shape == (1000, 3)
    assert all(trial.objective > 0.3 for trial in results.best.values() if trial.objective is not None)
    assert {path.name for path in folder.models.iterdir()} == set(HEADS)
    assert {path.stem for path in folder.best.iterdir()} == set(HEADS)
    assert json.loads(folder.provenance_file.read_text())["seeds"]["search"] == 3
    assert not folder.driver_file.exists()

    with pytest.raises(CannotRun, match="is there already"):
        launch(study, tmp_path / "results")

    with alone():
        again = launch(Study.load(folder.best / "hybrid.yaml"), tmp_path / "results")
    found, repeated = results.best["hybrid"], again.best["hybrid"]
    assert [row["objective"] for row in repeated.epochs] == [row["objective"] for row in found.epochs]
    assert (repeated.params, repeated.seed) == (found.params, found.seed)


@pytest.fixture(scope="module")
def undisturbed(
    shared_ray: None, write_small: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Results:
    """A search that nobody disturbs, one trial at a time."""
    root = tmp_path_factory.mktemp("undisturbed")
    path = write_small(root, search="{trials_per_head: 2, concurrent_trials: 1}")
    with alone():
        return launch(Study.load(path), root / "results")


def check_the_same(first: Results, second: Results) -> None:
    assert list(first.trials) == list(second.trials)
    for name, trial in first.trials.items():
        assert trial.params == second.trials[name].params
        assert [row["objective"] for row in trial.epochs] == [row["objective"] for row in second.trials[name].epochs]


@pytest.mark.usefixtures("search_alone")
def test_a_full_disk_breaks_a_search_off_and_costs_it_nothing(
    undisturbed: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One trial at a time gives the same search again, also with a resume, and where one is kept for W&B."""
    written: list[bytes] = []

    def write(file: int, line: bytes) -> None:
        if len(written) == 5:
            os.write(file, line[:20])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.write(file, line)
        written.append(line)

    tracking = undisturbed.study.tracking.model_copy(update={"mode": "offline", "pictures": False})
    with monkeypatch.context() as patch:
        patch.setattr(record_writer, "_write", write)
        with pytest.raises(Interrupted, match="No space left on device") as told:
            launch(undisturbed.study.model_copy(update={"tracking": tracking}), tmp_path)
    folder = tmp_path / undisturbed.study.name
    assert (folder / "trials.jsonl").read_bytes() == b"".join(written)
    assert str(told.value).splitlines()[-1] == f"what is recorded is safe; go on with: orchestrator resume {folder}"
    assert not (folder / "driver.json").exists()
    resumed = resume(folder)
    check_the_same(undisturbed, resumed)
    study_id = resumed.provenance["study_id"]
    kept = {path.name.partition(f"{study_id}-")[2] for path in resumed.folder.wandb.glob("*-run-*")}
    assert kept == set(resumed.trials)


@pytest.mark.usefixtures("search_alone")
def test_a_grid_without_a_scheduler_trains_every_trial_to_its_end(
    load_small: Callable[..., Study], tmp_path: Path
) -> None:
    """A grid tries each of its points, and what nobody stops is trained whole."""
    blocks = "{softmax: {lr: {values: [0.005, 0.02]}, head_lr: 0.05}, cosface: {lr: 0.01, head_lr: 0.05, scale: 20}}"
    search = "{trials_per_head: 2, searcher: grid, grid_points: 2, scheduler: none, concurrent_trials: 1}"
    results = launch(load_small(heads=blocks, search=search), tmp_path / "results")

    assert {trial.status for trial in results.trials.values()} == {"completed"}
    assert {t.params["lr"] for t in results.trials.values() if t.head == "softmax"} == {0.005, 0.02}
    assert len({t.params["margin_cos"] for t in results.trials.values() if t.head == "cosface"}) == 2
    assert not results.folder.wandb.exists()


@pytest.mark.usefixtures("search_alone")
def test_pbt_moves_margins_while_models_train(load_small: Callable[..., Study], tmp_path: Path) -> None:
    """Two populations, each larger than what trains at a time, go to their end, and only what may is changed."""
    study = load_small(
        heads="{softmax: , arcface: {scale: auto}}",
        training="{epochs: 5, batch_size: 64}",
        search="{trials_per_head: 3, searcher: random, scheduler: pbt}",
    )
    results = launch(study, tmp_path / "results")
    changes = [event for event in results.folder.events() if event["event"] == "params"]
    space = study.spaces(10)["arcface"]

    assert results.finished
    assert by_head(results) == dict.fromkeys(study.heads, 3)
    assert {trial.status for trial in results.trials.values()} == {"completed"}
    assert {trial.last_epoch for trial in results.trials.values()} == {5}
    assert changes
    assert {results.trials[event["trial"]].head for event in changes} == {"arcface"}
    for event in changes:
        assert space["margin_rad"].parameter.contains(event["params"]["margin_rad"])
        assert space["scale"].parameter.contains(event["params"]["scale"])


def test_a_record_that_takes_no_more_ends_the_search_with_its_own_words(
    load_small: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the record cannot be written nothing is trained on, and the reason is what the storage says."""

    def append(self: Writer, event: object) -> None:
        raise CannotRun([Problem("s3://bucket/runs/small", "the bucket must be there, and answer", "it does not")])

    monkeypatch.setattr(Writer, "append", append)
    study = load_small(heads="{arcface: }", search="{trials_per_head: 1, concurrent_trials: 1}")
    with pytest.raises(CannotRun, match="the bucket must be there"):
        launch(study, tmp_path / "results")
    assert Results(tmp_path / "results" / "small").folder.driver() is None


@pytest.mark.usefixtures("search_alone")
def test_a_search_whose_code_was_changed_meanwhile_ends_and_goes_on_with_a_resume(
    load_small: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No trial is trained by other code than its study says; once that is written down it goes on."""
    few = {"heads": "{arcface: }", "search": "{trials_per_head: 1}", "confirmation": "{top: 0}"}
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "of_code", lambda: "0" * fingerprint.DIGITS)  # in this process alone
        with pytest.raises(CannotRun, match="a trial trains the code of its driver"):
            launch(load_small(**few), tmp_path / "results")
    (trial,) = Results(tmp_path / "results" / "small").trials.values()
    assert (trial.status, trial.epochs) == ("running", [])
    results = resume(tmp_path / "results" / "small", other_code=True)  # for the launch has written the wrong one down
    assert results.finished
    assert [trial.status for trial in results.trials.values()] == ["completed"]


@pytest.mark.usefixtures("search_alone")
def test_a_search_ends_within_its_time_and_can_go_on(
    small_study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget of an hour ends a search gracefully, a little before it is over; the hour passes after an epoch."""
    folder, passed, alarms = StudyFolder(tmp_path / "small"), threading.Event(), list[float]()

    class Alarm(threading.Thread):
        """In a timer's place: rings once an epoch is on record."""

        def __init__(self, in_s: float, ring: Callable[[], None]) -> None:
            super().__init__(daemon=True)
            self.ring = ring
            alarms.append(in_s)

        def run(self) -> None:
            while not epochs_on_record(folder):
                time.sleep(0.02)
            passed.set()
            self.ring()

        def cancel(self) -> None:
            passed.set()

    monkeypatch.setattr(tuner, "threading", SimpleNamespace(**{**vars(threading), "Timer": Alarm}))
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * passed.is_set())
    monkeypatch.setattr(run_options, "time", clock)
    study = small_study(search="{trials_per_head: 100, scheduler: none, concurrent_trials: 1}")
    done = CliRunner().invoke(app, ["launch", str(study), "--results", str(tmp_path), "--time-budget", "1h"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert alarms == [pytest.approx(3600 - SAVE_S, abs=600)]
    said = f"the time budget is used up; orchestrator resume {folder.root} goes on"
    assert said in done.stderr.replace("\n", "")
    assert not Results(folder.root).finished
    assert folder.driver() is None
    assert folder.trials()
