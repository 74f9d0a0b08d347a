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

from orchestrator import launch
from orchestrator.records import Trial
from orchestrator.study import Study
from orchestrator.tracking import Tracker

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7
LABELS = np.arange(200) % 10


def records(path: Path) -> Iterator[Any]:
    """The protobuf records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    content, position, parts = path.read_bytes(), FILE_HEADER, b""
    while position + RECORD_HEADER <= len(content):
        if BLOCK - position % BLOCK < RECORD_HEADER:
            position += BLOCK - position % BLOCK
            continue
        size, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        position += RECORD_HEADER
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


def points(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(200, 3)).astype(np.float16)


def test_an_offline_study_mirrors_every_trial_epoch_and_picture(study: Study, tmp_path: Path) -> None:
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


def test_pictures_can_be_left_out(load_small: Callable[..., Study], tmp_path: Path) -> None:
    plain = load_small(tracking="{pictures: false}")
    tracker = Tracker(plain, "abcd", tmp_path / "wandb", LABELS, pytest.fail)
    tracker.started(trial())
    tracker.epoch(trial(), row(1), points())
    tracker.close()
    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert not [key for key in read_run(path)["rows"][0] if key.startswith("embedding")]
