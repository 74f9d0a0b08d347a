"""The W&B mirror: what is in the .wandb files of an offline study equals the record; what goes wrong costs nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from PIL import Image
from wandb.proto import wandb_internal_pb2

from orchestrator import launch, report, winners
from orchestrator.keepsakes import Keepsakes
from orchestrator.plots.style import COLOURS
from orchestrator.records import StudyFolder, Trial
from orchestrator.study import Study
from orchestrator.tracking import Tracker

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7
LABELS = np.arange(200) % 10
AT_THE_END = {"embedding_best", "embedding_table", "embedding_unfolds", "embedding_3d"}


def records(path: Path) -> Iterator[Any]:
    """The protobuf records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    content, position, parts = path.read_bytes(), FILE_HEADER, b""
    while position + RECORD_HEADER <= len(content):
        if BLOCK - position % BLOCK < RECORD_HEADER:
            position += BLOCK - position % BLOCK
            continue
        size, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        position += RECORD_HEADER
        if position + size > len(content):  # still being written
            return
        parts += content[position : position + size]
        position += size
        if kind in (1, 4):  # whole, or the last of several
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def read_run(path: Path) -> dict[str, Any]:
    """Rows, config, exit code and summary of one offline run, once wandb has written its end."""
    for _ in range(300):  # finish() returns some milliseconds before the file is complete
        run = read_what_is_there(path)
        if "exit_code" in run:
            return run
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end")


def read_what_is_there(path: Path) -> dict[str, Any]:
    run: dict[str, Any] = {"rows": [], "config": {}, "summary": {}, "path": path.parent}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run |= {"id": record.run.run_id, "group": record.run.run_group, "job_type": record.run.job_type}
            run["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            items = {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
            run["rows"].append(items)
        elif kind == "summary":
            update = record.summary.update
            run["summary"] |= {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in update}
        elif kind == "exit":
            run["exit_code"] = record.exit.exit_code
    return run


@pytest.fixture
def study(load_small: Callable[..., Study]) -> Study:
    return load_small(heads="{arcface: }", tracking="{project: tests}")


def trial(name: str = "arcface-000") -> Trial:
    return Trial(name, "arcface", 0, 5, {"margin_rad": 0.3, "scale": 15.0})


def row(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "objective": 0.5 + epoch / 10, "metrics": {"train/loss": 1 / epoch}}


def points(seed: int = 0, dimensions: int = 3) -> Any:
    return np.random.default_rng(seed).normal(size=(200, dimensions)).astype(np.float16)


def mirrored(
    study: Study,
    folder: Path,
    objectives: list[float],
    status: Any = "completed",
    earlier: int = 0,
    job: str = "search",
) -> dict[str, Any]:
    """The run of one trial with these objectives, the first of which an earlier driver has seen."""
    tracker, known = Tracker(study, "abcd", folder / "wandb", LABELS, pytest.fail, job), trial()
    rows = [row(epoch) | {"objective": value} for epoch, value in enumerate(objectives, start=1)]
    known.epochs = rows[:earlier]
    for each in known.epochs:
        StudyFolder(folder).save_embedding(known.name, each["epoch"], points(each["epoch"], study.embedding_dim))
    tracker.started(known)
    for each in rows[earlier:]:
        known.epochs.append(each)
        tracker.epoch(known, each, points(each["epoch"], study.embedding_dim))
    if status != "running":
        known.status, known.reason = status, "a reason"
        tracker.ended(known)
    tracker.close()
    (path,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    return read_run(path)


def media(logged: dict[str, Any]) -> set[str]:
    return {key.partition("/")[0] for key in logged if key.startswith("embedding")}


def opened(run: dict[str, Any], key: str) -> Any:
    """A table or a cloud as JSON, anything else as a picture."""
    path = run["path"] / "files" / run["rows"][-1][f"{key}/path"]
    return json.loads(path.read_text()) if path.suffix == ".json" else Image.open(path)


def test_an_offline_study_mirrors_every_trial_epoch_and_picture(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winners, "examine", lambda *given: None)  # what follows the search has tests of its own
    monkeypatch.setattr(report, "write", lambda *given: None)
    results = launch(study, tmp_path)
    found = [read_run(path) for path in results.folder.wandb.glob("offline-run-*/run-*.wandb")]
    study_id = json.loads(results.folder.provenance_file.read_text())["study_id"]
    runs = {run["id"].removeprefix(f"{study_id}-"): run for run in found}

    assert set(runs) == set(results.trials)
    for name, known in results.trials.items():
        run = runs[name]
        assert (run["group"], run["job_type"], run["exit_code"]) == ("small", "search", 0)
        assert run["config"].items() >= (known.params | {"head": "arcface", "seed": known.seed}).items()
        assert run["summary"]["status"] == known.status
        assert [logged["_step"] for logged in run["rows"]] == [row["epoch"] for row in known.epochs]
        for logged, told in zip(run["rows"], known.epochs, strict=True):
            assert logged.items() >= (told["metrics"] | {"objective": told["objective"]}).items()
            with Image.open(run["path"] / "files" / logged["embedding/path"]) as picture:
                assert picture.format == "PNG"
                assert len(np.unique(np.asarray(picture.convert("L")))) > 50
        points = results.folder.embedding(name, known.last_epoch)
        assert points is not None
        table = np.array(opened(run, "embedding_table")["data"])
        assert (table == np.column_stack([points, results.folder.labels()])).all()
        with opened(run, "embedding_unfolds") as film:
            assert (film.format, film.n_frames) == ("GIF", len(known.epochs))


def test_a_finished_run_gets_its_best_picture_its_table_its_film_and_its_cloud_at_the_last_step(
    study: Study, tmp_path: Path
) -> None:
    run = mirrored(study, tmp_path, [0.5, 0.9, 0.9, 0.7])
    *before, last = run["rows"]
    assert [(logged["_step"], logged["objective"], logged["train/loss"]) for logged in run["rows"]] == [
        (1, 0.5, 1), (2, 0.9, 1 / 2), (3, 0.9, 1 / 3), (4, 0.7, 1 / 4),
    ]  # fmt: skip
    assert [media(logged) for logged in before] == [{"embedding"}] * 3
    assert media(last) == {"embedding"} | AT_THE_END
    assert run["summary"]["objective"] == {"last": 0.7}

    assert last["embedding_best/caption"] == "after epoch 2, the best"
    assert last["embedding_best/sha256"] == before[1]["embedding/sha256"] != before[2]["embedding/sha256"]
    with opened(run, "embedding_best") as picture, opened(run, "embedding_unfolds") as film:
        assert (picture.format, film.format, film.n_frames) == ("PNG", "GIF", 4)
        assert film.size == picture.size
    table = opened(run, "embedding_table")
    assert table["columns"] == ["x1", "x2", "x3", "label"]
    assert (np.array(table["data"]) == np.column_stack([points(4), LABELS])).all()
    cloud = np.array(opened(run, "embedding_3d"))
    assert np.allclose(cloud[:, :3], points(4).astype(float), atol=1e-6)
    assert len(np.unique(cloud[:, 3:], axis=0)) == 10


@pytest.mark.parametrize("dimensions", [2, 5])
def test_only_an_embedding_in_space_becomes_a_cloud(
    load_small: Callable[..., Study], tmp_path: Path, dimensions: int
) -> None:
    run = mirrored(load_small(embedding_dim=str(dimensions)), tmp_path, [0.5, 0.6])
    assert media(run["rows"][-1]) == {"embedding"} | AT_THE_END - {"embedding_3d"}
    table = opened(run, "embedding_table")
    assert table["columns"] == [*(f"x{number}" for number in range(1, dimensions + 1)), "label"]
    assert (np.array(table["data"]) == np.column_stack([points(2, dimensions), LABELS])).all()


@pytest.mark.parametrize(
    ("status", "expected"),
    [("completed", AT_THE_END), ("stopped", AT_THE_END), ("diverged", set()), ("failed", set()), ("running", set())],
)
def test_only_a_run_that_was_not_lost_gets_its_keepsakes(
    study: Study, tmp_path: Path, status: str, expected: set[str]
) -> None:
    run = mirrored(study, tmp_path, [0.5, 0.6], status)
    assert media(run["rows"][-1]) == {"embedding"} | expected
    assert len(run["rows"]) == 2
    files = {path.suffix for path in (run["path"] / "files").rglob("*") if path.is_file()}
    assert files == ({".png", ".gif", ".json"} if expected else {".png"})


@pytest.mark.parametrize("status", ["completed", "diverged"])
def test_a_run_without_an_epoch_has_nothing_to_keep(study: Study, tmp_path: Path, status: str) -> None:
    run = mirrored(study, tmp_path, [], status)
    assert run["rows"] == []
    assert run["summary"]["status"] == status


@pytest.mark.parametrize("earlier", [1, 2])
def test_what_an_earlier_driver_has_seen_comes_from_the_folder(study: Study, tmp_path: Path, earlier: int) -> None:
    objectives = [0.9, 0.6, 0.8]
    whole = mirrored(study, tmp_path / "whole", objectives)["rows"][-1]
    resumed = mirrored(study, tmp_path / "resumed", objectives, earlier=earlier)
    for key in AT_THE_END:
        assert resumed["rows"][-1][f"{key}/sha256"] == whole[f"{key}/sha256"], key
    assert resumed["rows"][-1]["embedding_best/caption"] == "after epoch 1, the best"
    assert [logged["_step"] for logged in resumed["rows"]] == ([2, 3] if earlier == 1 else [3])


def test_a_driver_that_was_killed_after_the_last_epoch_costs_no_keepsakes(study: Study, tmp_path: Path) -> None:
    """All epochs are on record, the end is not: the resumed trial reports nothing and ends as completed."""
    run = mirrored(study, tmp_path, [0.5, 0.6], earlier=2)
    assert {key for logged in run["rows"] for key in media(logged)} >= AT_THE_END


def test_keepsakes_recall_only_what_they_have_not_drawn_and_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, known, kept = StudyFolder(tmp_path), trial(), Keepsakes(LABELS)
    known.epochs = [row(epoch) for epoch in (1, 2, 3, 4)]
    folder.save_embedding(known.name, 1, points(1))
    folder.save_embedding(known.name, 3, points(3))
    first = kept.draw(known, known.epochs[3], points(4))
    kept.draw(known, known.epochs[2], points(3))
    drawn: list[int] = []
    honest = Keepsakes.draw
    monkeypatch.setattr(Keepsakes, "draw", lambda self, *given: (drawn.append(given[1]["epoch"]), honest(self, *given)))
    kept.recall(known, folder)
    assert drawn == [1]
    assert sorted(kept.frames) == [1, 3, 4]
    assert kept.frames[4] == first
    assert kept.last is not None
    assert (kept.last == points(4)).all()


def test_the_cloud_has_the_colours_of_the_classes() -> None:
    kept = Keepsakes(LABELS)
    assert kept.cloud() is None
    kept.draw(trial(), row(1), points())
    assert [tuple(map(int, colour)) for colour in kept.cloud()[:10, 3:]] == [
        (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)) for colour in COLOURS
    ]


@pytest.mark.parametrize(
    ("status", "exit_code"), [("completed", 0), ("stopped", 0), ("diverged", 1), ("failed", 1), ("running", 1)]
)
def test_a_run_ends_as_its_trial_did(study: Study, tmp_path: Path, status: Any, exit_code: int) -> None:
    tracker = Tracker(study, "abcd", tmp_path / "wandb", LABELS, pytest.fail)
    known = trial()
    tracker.started(known)
    tracker.epoch(known, row(1), points())
    if status != "running":
        known.status, known.reason = status, "a reason"
        tracker.ended(known)
    tracker.close()

    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    run = read_run(path)
    assert run["exit_code"] == exit_code
    assert run["summary"]["status"] == ("interrupted" if status == "running" else status)


def test_what_fails_in_the_mirror_is_said_once_and_disturbs_nothing(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**settings: Any) -> None:
        raise OSError("no space left on device")

    said: list[str] = []
    monkeypatch.setattr(wandb, "init", refuse)
    tracker = Tracker(study, "abcd", tmp_path / "wandb", LABELS, said.append)
    for name in ("arcface-000", "arcface-001"):
        tracker.started(trial(name))
        tracker.epoch(trial(name), row(1), points())
        tracker.ended(trial(name))
    tracker.close()
    assert said == ["the W&B mirror stopped: OSError: no space left on device; the study's own record goes on"]


def test_online_without_a_key_is_offline_and_said_in_one_line(
    load_small: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    said: list[str] = []
    tracker = Tracker(load_small(tracking="{mode: online}"), "abcd", tmp_path / "wandb", LABELS, said.append)
    tracker.started(trial())
    tracker.epoch(trial(), row(1), points())
    tracker.close()

    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert len(read_run(path)["rows"]) == 1
    assert said == ["no W&B key: runs are kept offline; wandb login, then wandb sync sends them"]


@pytest.mark.parametrize("job", ["confirmation", "final"])
def test_runs_after_the_search_are_known_as_such_and_repeat_no_picture(study: Study, tmp_path: Path, job: str) -> None:
    run = mirrored(study, tmp_path, [0.5, 0.6], job=job)
    assert (run["job_type"], run["exit_code"]) == (job, 0)
    assert [logged["objective"] for logged in run["rows"]] == [0.5, 0.6]
    assert not media(run["rows"][-1])


def test_pictures_can_be_left_out(load_small: Callable[..., Study], tmp_path: Path) -> None:
    run = mirrored(load_small(tracking="{pictures: false}"), tmp_path, [0.5, 0.6], earlier=1)
    assert [logged["objective"] for logged in run["rows"]] == [0.6]
    assert not media(run["rows"][0])
    assert not [path for path in (run["path"] / "files").rglob("*") if path.is_file()]
