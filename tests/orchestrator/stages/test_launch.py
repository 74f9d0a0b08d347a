"""Whole searches on Ray, small: all six heads, and every searcher and scheduler."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from orchestrator import Results, launch, resume
from orchestrator.cluster.run_options import refuse_connected
from orchestrator.errors import CannotRun, Interrupted, Problem
from orchestrator.storage import record_writer
from orchestrator.storage.record_writer import Writer
from orchestrator.study.schema import Study
from orchestrator.system import fingerprint
from search_spaces.heads import HEADS
from tests.orchestrator.alone import alone, one_ray

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


def test_all_six_heads_are_searched_equally_recorded_and_handed_back(
    load_small: Callable[..., Study], tmp_path: Path
) -> None:
    """A launch as users start it, on a Ray of its own: every head gets its trials, best file, model and pictures."""
    study = load_small(heads=SIX, training="{epochs: 3, batch_size: 64}", search="{trials_per_head: 2, seed: 3}")
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
    pictures = {path.name for path in folder.plots.iterdir()}
    assert {f"{head}{ending}" for head in [*HEADS, "heads"] for ending in (".png", ".svg")} <= pictures
    assert {f"{head}-epochs.gif" for head in HEADS} <= pictures
    assert {path.name for path in folder.models.iterdir()} == set(HEADS)
    assert folder.report_file.exists()
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
def test_one_trial_at_a_time_gives_the_same_search_again(undisturbed: Results, tmp_path: Path) -> None:
    """Also where it is kept for W&B, and the other is not."""
    tracking = {"mode": "offline", "pictures": False}
    again = launch(Study.model_validate(undisturbed.study.model_dump() | {"tracking": tracking}), tmp_path)
    check_the_same(undisturbed, again)
    kept = {path.name.partition(f"{again.provenance['study_id']}-")[2] for path in again.folder.wandb.glob("*-run-*")}
    assert kept == set(again.trials)


@pytest.mark.usefixtures("search_alone")
def test_a_full_disk_breaks_a_search_off_and_costs_it_nothing(
    undisturbed: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []

    def write(file: int, line: bytes) -> None:
        if len(written) == 5:
            os.write(file, line[:20])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.write(file, line)
        written.append(line)

    with monkeypatch.context() as patch:
        patch.setattr(record_writer, "_write", write)
        with pytest.raises(Interrupted, match="No space left on device") as told:
            launch(undisturbed.study, tmp_path)
    folder = tmp_path / undisturbed.study.name
    assert (folder / "trials.jsonl").read_bytes() == b"".join(written)
    assert str(told.value).splitlines()[-1] == f"what is recorded is safe; go on with: orchestrator resume {folder}"
    assert not (folder / "driver.json").exists()
    check_the_same(undisturbed, resume(folder))


@pytest.mark.usefixtures("search_alone")
def test_a_grid_without_a_scheduler_trains_every_trial_to_its_end(
    load_small: Callable[..., Study], tmp_path: Path
) -> None:
    blocks = "{softmax: {lr: {values: [0.005, 0.02]}, head_lr: 0.05}, cosface: {lr: 0.01, head_lr: 0.05, scale: 20}}"
    search = "{trials_per_head: 2, searcher: grid, grid_points: 2, scheduler: none, concurrent_trials: 1}"
    results = launch(load_small(heads=blocks, search=search), tmp_path / "results")

    assert {trial.status for trial in results.trials.values()} == {"completed"}
    assert {t.params["lr"] for t in results.trials.values() if t.head == "softmax"} == {0.005, 0.02}
    assert len({t.params["margin_cos"] for t in results.trials.values() if t.head == "cosface"}) == 2
    assert not results.folder.wandb.exists()


@pytest.mark.usefixtures("search_alone")
@pytest.mark.parametrize(
    ("trials", "heads"), [(3, "{softmax: , arcface: {scale: auto}}"), (4, "{arcface: {scale: auto}}")]
)
def test_pbt_moves_margins_while_models_train(
    load_small: Callable[..., Study], tmp_path: Path, trials: int, heads: str
) -> None:
    """Populations of any size, one and several, go to their end, and only what may is changed in them."""
    study = load_small(
        heads=heads,
        training="{epochs: 5, batch_size: 64}",
        search=f"{{trials_per_head: {trials}, searcher: random, scheduler: pbt}}",
    )
    results = launch(study, tmp_path / "results")
    changes = [event for event in results.folder.events() if event["event"] == "params"]
    space = study.spaces(10)["arcface"]

    assert results.finished
    assert by_head(results) == dict.fromkeys(study.heads, trials)
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
