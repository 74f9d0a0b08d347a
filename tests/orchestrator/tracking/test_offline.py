"""The W&B mirror: what is in the .wandb files of an offline study equals the record; what goes wrong costs nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from PIL import Image

from orchestrator.files.atomic import write_atomic
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.tracking.follower import CLOSE_S
from orchestrator.tracking.mirror import Mirror
from orchestrator.tracking.run import row_of
from orchestrator.tracking.update_queue import Inbox
from tests.orchestrator.tracking.wandb_files import read_run

LABELS = np.arange(200) % 10
EACH_EPOCH = {"embedding", "embedding_3d"}
STARTED, ENDED = {"event": "start"}, {"event": "end"}
AT_THE_END = {"embedding_best", "embedding_table", "embedding_unfolds"}


@pytest.fixture
def study(load_small: Callable[..., Study]) -> Study:
    return load_small(heads="{arcface: }", tracking="{project: tests}")


def trial(name: str = "arcface-000") -> Trial:
    return Trial(name, "arcface", 0, 5, {"margin_rad": 0.3, "scale": 15.0})


def row(epoch: int) -> dict[str, Any]:
    return {"event": "epoch", "epoch": epoch, "objective": 0.5 + epoch / 10, "metrics": {"train/loss": 1 / epoch}}


def points(seed: int = 0, dimensions: int = 3) -> Any:
    return np.random.default_rng(seed).normal(size=(200, dimensions)).astype(np.float16)


def begun(study: Study, root: Path) -> StudyFolder:
    """The folder of a study of which no trial has started."""
    folder = StudyFolder(root)
    write_atomic(folder.study_file, study.to_yaml())
    write_atomic(folder.provenance_file, json.dumps({"study_id": "abcd", "classes": 10}))
    folder.save_labels(LABELS)
    return folder


def mirrored(
    study: Study,
    root: Path,
    objectives: list[float],
    status: Any = "completed",
    earlier: int = 0,
    job: str = "search",
) -> dict[str, Any]:
    """The run of one trial with these objectives, the first of which an earlier driver has seen."""
    folder, known = begun(study, root), trial()
    rows = [row(epoch) | {"objective": value} for epoch, value in enumerate(objectives, start=1)]
    for each in rows:
        folder.save_embedding(known.name, each["epoch"], points(each["epoch"], study.embedding_dim))
    known.epochs = rows[:earlier]
    mirror = Mirror(folder, pytest.fail)
    mirror.tell(job, known, STARTED)
    for each in rows[earlier:]:
        known.epochs.append(each)
        mirror.tell(job, known, each)
    if status != "running":
        known.status, known.reason = status, "a reason"
        mirror.tell(job, known, ENDED)
    mirror.close(CLOSE_S)
    return only_run(folder)


def only_run(folder: StudyFolder) -> dict[str, Any]:
    (path,) = folder.wandb.glob("offline-run-*/run-*.wandb")
    return read_run(path)


def epochs_of(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that tell of an epoch; the one after them holds what a run gets at its end."""
    return [logged for logged in run["rows"] if "epoch" in logged]


def media(logged: dict[str, Any]) -> set[str]:
    return {key.partition("/")[0] for key in logged if key.startswith("embedding")}


def opened(run: dict[str, Any], key: str, logged: dict[str, Any] | None = None) -> Any:
    """What a row, the last unless given, holds: a table or a cloud as JSON, anything else as a picture."""
    path = run["path"] / "files" / (logged or run["rows"][-1])[f"{key}/path"]
    return json.loads(path.read_text()) if path.suffix == ".json" else Image.open(path)


def test_a_finished_run_gets_its_best_picture_its_table_and_its_film_after_its_last_row(
    study: Study, tmp_path: Path
) -> None:
    run = mirrored(study, tmp_path, [0.5, 0.9, 0.9, 0.7])
    *before, last = run["rows"]
    assert [(logged["_step"], logged["objective"], logged["train/loss"]) for logged in before] == [
        (1, 0.5, 1), (2, 0.9, 1 / 2), (3, 0.9, 1 / 3), (4, 0.7, 1 / 4),
    ]  # fmt: skip
    assert [media(logged) for logged in before] == [EACH_EPOCH] * 4
    assert (last["_step"], media(last)) == (5, AT_THE_END)
    assert not {"epoch", "objective", "train/loss"} & set(last)
    assert (run["summary"]["objective"], run["summary"]["best_objective"], run["summary"]["best_epoch"]) == (
        0.7,
        0.9,
        2,
    )
    assert run["summary"]["objective_by_epoch"] == [0.5, 0.9, 0.9, 0.7]

    assert last["embedding_best/caption"] == "after epoch 2, the best"
    assert last["embedding_best/sha256"] == before[1]["embedding/sha256"] != before[2]["embedding/sha256"]
    with opened(run, "embedding_best") as picture, opened(run, "embedding_unfolds") as film:
        assert (picture.format, film.format, film.n_frames) == ("PNG", "GIF", 4)
        assert film.size == picture.size
    table = opened(run, "embedding_table")
    assert table["columns"] == ["x1", "x2", "x3", "label"]
    assert (np.array(table["data"]) == np.column_stack([points(4), LABELS])).all()
    for number, logged in enumerate(before, start=1):
        cloud = np.array(opened(run, "embedding_3d", logged))
        assert np.allclose(cloud[:, :3], points(number).astype(float), atol=1e-6)
        assert len(np.unique(cloud[:, 3:], axis=0)) == 10


@pytest.mark.parametrize("dimensions", [2, 5])
def test_only_an_embedding_in_space_becomes_a_cloud(
    load_small: Callable[..., Study], tmp_path: Path, dimensions: int
) -> None:
    run = mirrored(load_small(embedding_dim=str(dimensions)), tmp_path, [0.5, 0.6])
    assert [media(logged) for logged in run["rows"]] == [{"embedding"}, {"embedding"}, AT_THE_END]
    table = opened(run, "embedding_table")
    assert table["columns"] == [*(f"x{number}" for number in range(1, dimensions + 1)), "label"]
    assert (np.array(table["data"]) == np.column_stack([points(2, dimensions), LABELS])).all()


@pytest.mark.parametrize(
    ("status", "said", "exit_code", "keepsakes"),
    [
        ("completed", "finished", 0, True),
        ("stopped", "stopped early", 0, True),
        ("diverged", "diverged", 1, False),
        ("failed", "failed", 1, False),
        ("running", "interrupted", 255, False),
    ],
)
def test_a_run_ends_as_its_trial_did_and_only_one_that_was_not_lost_gets_keepsakes(
    study: Study, tmp_path: Path, status: str, said: str, exit_code: int, keepsakes: bool
) -> None:
    run = mirrored(study, tmp_path, [0.5, 0.6], status)
    assert (run["summary"]["status"], run["exit_code"]) == (said, exit_code)
    assert [media(logged) for logged in run["rows"]] == [EACH_EPOCH] * 2 + [AT_THE_END] * keepsakes
    files = {path.suffix for path in (run["path"] / "files").rglob("*") if path.is_file()}
    assert files == ({".png", ".gif", ".json"} if keepsakes else {".png", ".json"})


@pytest.mark.parametrize("status", ["completed", "diverged"])
def test_a_run_without_an_epoch_has_nothing_to_keep(study: Study, tmp_path: Path, status: str) -> None:
    run = mirrored(study, tmp_path, [], status)
    assert run["rows"] == []
    assert run["summary"]["status"] == {"completed": "finished"}.get(status, status)


@pytest.mark.parametrize("earlier", [1, 2, 3])
def test_a_resumed_run_is_written_whole_and_once(study: Study, tmp_path: Path, earlier: int) -> None:
    """What an earlier driver has seen comes from the record; what it has written of the run is replaced."""
    objectives = [0.9, 0.6, 0.8]
    whole = mirrored(study, tmp_path / "whole", objectives)
    mirrored(study, tmp_path / "resumed", objectives[:earlier], "running")
    resumed = mirrored(study, tmp_path / "resumed", objectives, earlier=earlier)
    assert [logged["_step"] for logged in resumed["rows"]] == [1, 2, 3, 4]
    for one, other in zip(whole["rows"], resumed["rows"], strict=True):
        assert {key: value for key, value in one.items() if "sha256" in key} == {
            key: value for key, value in other.items() if "sha256" in key
        }
    assert resumed["summary"]["status"] == "finished"


def test_what_fails_in_the_mirror_is_said_once_and_disturbs_nothing(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**settings: Any) -> None:
        raise OSError("no space left on device")

    said: list[str] = []
    monkeypatch.setattr(wandb, "init", refuse)
    mirror = Mirror(begun(study, tmp_path), said.append)
    for name in ("arcface-000", "arcface-001"):
        known = trial(name)
        mirror.tell("search", known, STARTED)
        known.epochs.append(row(1))
        mirror.tell("search", known, known.epochs[-1])
        known.status = "completed"
        mirror.tell("search", known, ENDED)
    mirror.close(CLOSE_S)
    assert said == ["W&B: OSError: no space left on device; the study's own record goes on"]


@pytest.mark.parametrize("job", ["confirmation", "final"])
def test_runs_after_the_search_are_known_as_such_and_repeat_no_picture(study: Study, tmp_path: Path, job: str) -> None:
    run = mirrored(study, tmp_path, [0.5, 0.6], job=job)
    assert (run["job_type"], run["exit_code"]) == (job, 0)
    assert [logged["epoch"] for logged in run["rows"]] == [1, 2]
    assert [logged.get("objective") for logged in run["rows"]] == ([0.5, 0.6] if job == "confirmation" else [None] * 2)
    assert not media(run["rows"][-1])


def test_what_a_final_model_reaches_on_images_that_it_trains_on_is_not_called_validation() -> None:
    told = {"epoch": 2, "objective": 0.99, "metrics": {"val/cluster_accuracy": 0.99, "train/loss": 0.1}}
    assert row_of(told, "final") == {"epoch": 2, "trained_images/cluster_accuracy": 0.99, "train/loss": 0.1}


def test_pictures_can_be_left_out(load_small: Callable[..., Study], tmp_path: Path) -> None:
    run = mirrored(load_small(tracking="{pictures: false}"), tmp_path, [0.5, 0.6], earlier=1)
    assert [logged["objective"] for logged in run["rows"]] == [0.5, 0.6]
    assert not media(run["rows"][0])
    assert not [path for path in (run["path"] / "files").rglob("*") if path.is_file()]


def test_a_mirror_that_is_behind_leaves_out_pictures_and_never_a_row(study: Study, tmp_path: Path) -> None:
    """Only so many pictures may wait; the others are left out, counted and said."""
    folder, known, said, free = begun(study, tmp_path), trial(), list[str](), threading.Event()

    class Slow(Inbox):
        def take(self) -> Any:
            free.wait()  # as if drawing took very long
            return super().take()

    mirror = Mirror(folder, said.append, Slow(room=3))
    mirror.tell("search", known, STARTED)
    for epoch in range(1, 11):
        folder.save_embedding(known.name, epoch, points(epoch))
        known.epochs.append(row(epoch))
        mirror.tell("search", known, known.epochs[-1])
    known.status = "completed"
    mirror.tell("search", known, ENDED)
    free.set()
    mirror.close(CLOSE_S)
    run = only_run(folder)
    assert [logged["objective"] for logged in epochs_of(run)] == [each["objective"] for each in known.epochs]
    assert [logged["epoch"] for logged in epochs_of(run) if media(logged)] == [1, 2, 3]
    assert run["summary"]["pictures_left_out"] == 7
    assert said == ["7 pictures were left out at W&B, so that it kept up; every row is there"]


def test_pbt_changes_the_configuration_of_a_run(study: Study, tmp_path: Path) -> None:
    folder, known = begun(study, tmp_path), trial()
    known.epochs = [row(1)]
    mirror = Mirror(folder, pytest.fail)
    mirror.tell("search", known, STARTED)
    while not list(folder.wandb.glob("offline-run-*")):
        time.sleep(0.01)
    known.params = {"margin_rad": 0.4, "scale": 15.0}
    known.status = "completed"
    mirror.tell("search", known, ENDED)
    mirror.close(CLOSE_S)
    assert only_run(folder)["config"]["margin_rad"] == 0.4
