"""A study's record: what its lines mean, and that a crash at any byte loses nothing that was written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.files.atomic import remove_unfinished, write_atomic, write_npy
from orchestrator.storage.event_log import apply, read_events, replay
from orchestrator.storage.study_folder import StudyFolder

START = {"event": "start", "trial": "arcface-000", "head": "arcface", "index": 0, "seed": 7, "params": {"lr": 0.01}}
EVENTS: list[dict[str, Any]] = [
    START,
    {"event": "epoch", "trial": "arcface-000", "epoch": 1, "objective": 0.5, "metrics": {"time/train_s": 2.0}},
    {"event": "start", "trial": "softmax-000", "head": "softmax", "index": 0, "seed": 7, "params": {"note": "θ\n×"}},
    {"event": "epoch", "trial": "arcface-000", "epoch": 2, "objective": 0.75, "metrics": {"time/validation_s": 1.0}},
    {"event": "params", "trial": "arcface-000", "epoch": 2, "params": {"lr": 0.02}},
    {"event": "end", "trial": "softmax-000", "status": "failed", "reason": "no [memory]\n"},
]


def untimed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key != "time"} for event in events]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "study")


def test_what_is_appended_is_read_again_with_its_time(folder: StudyFolder) -> None:
    assert folder.events() == []
    with folder.writer() as writer:
        for number, event in enumerate(EVENTS, start=1):
            writer.append(event)
            assert untimed(folder.events()) == EVENTS[:number]  # on disk when append returns
    assert all(event["time"].endswith("+00:00") for event in folder.events())
    assert folder.trials_file.read_bytes().count(b"\n") == len(EVENTS)


def test_cut_at_any_byte_the_complete_lines_are_read_and_the_next_one_stands_alone(
    folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # some thousand times; nothing here loses power
    with folder.writer() as writer:
        for event in EVENTS:
            writer.append(event)
    whole = folder.trials_file.read_bytes()
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        folder.trials_file.write_bytes(whole[:cut])
        complete = EVENTS[: sum(end <= cut for end in ends)]
        assert untimed(read_events(folder.trials_file)) == complete, cut
        with folder.writer() as writer:
            assert untimed(read_events(folder.trials_file)) == complete, cut
            writer.append(EVENTS[0])
        assert untimed(read_events(folder.trials_file)) == [*complete, EVENTS[0]], cut
        assert all(json.loads(line) for line in folder.trials_file.read_text().splitlines()), cut


def test_opening_to_write_leaves_complete_lines_untouched(folder: StudyFolder) -> None:
    with folder.writer() as writer:
        writer.append(START)
    before = folder.trials_file.read_bytes()
    with folder.writer():
        pass
    assert folder.trials_file.read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_know_is_never_written(folder: StudyFolder, value: float) -> None:
    with folder.writer() as writer:
        writer.append(START)
        with pytest.raises(ValueError, match="not JSON compliant"):
            writer.append({"event": "epoch", "trial": "arcface-000", "epoch": 1, "objective": value, "metrics": {}})
    assert untimed(folder.events()) == [START]


def test_a_record_tells_of_its_trials() -> None:
    arcface, softmax = replay(EVENTS).values()
    assert (arcface.name, arcface.head, arcface.index, arcface.seed) == ("arcface-000", "arcface", 0, 7)
    assert (arcface.status, arcface.last_epoch, arcface.objective) == ("running", 2, 0.75)
    assert arcface.params == {"lr": 0.02}
    assert (softmax.status, softmax.reason) == ("failed", "no [memory]\n")
    assert (softmax.last_epoch, softmax.objective) == (0, None)


def test_repeated_events_change_nothing() -> None:
    once = replay(EVENTS[:4])
    assert replay(EVENTS[:1] * 3 + EVENTS[1:4] + EVENTS[:4]) == once
    assert replay([*EVENTS, EVENTS[-1]]) == replay(EVENTS)


def test_an_epoch_that_is_trained_again_does_not_replace_the_one_on_record() -> None:
    trials = replay(EVENTS)
    apply(trials, {**EVENTS[1], "objective": 0.1})
    assert [row["objective"] for row in trials["arcface-000"].epochs] == [0.5, 0.75]


def test_trials_come_in_the_order_of_their_start() -> None:
    assert list(replay(EVENTS)) == ["arcface-000", "softmax-000"]


@pytest.mark.parametrize("content", ["new", b"new"])
def test_a_file_is_written_with_its_folders(tmp_path: Path, content: str | bytes) -> None:
    write_atomic(tmp_path / "a" / "b" / "file", content)
    assert (tmp_path / "a" / "b" / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_an_interrupted_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")

    def interrupted(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new and longer")
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_atomic(path, "new")
    assert path.read_text() == "new"


def test_a_file_is_on_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("sync"), sync(file))[1])
    monkeypatch.setattr(os, "replace", lambda source, target: (done.append("replace"), replace(source, target))[1])
    write_atomic(tmp_path / "file", "content")
    assert done[:2] == ["sync", "replace"]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3), np.float32),
        np.array([[np.nan, np.inf, -0.0]], np.float16),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.arange(20, dtype=np.uint8)[::-2],
        np.array(7),
    ],
    ids=lambda array: str(array.dtype),
)
def test_an_array_is_read_again_with_its_type_and_shape(tmp_path: Path, array: Any) -> None:
    write_npy(tmp_path / "new" / "array.npy", array)
    again = np.load(tmp_path / "new" / "array.npy", allow_pickle=False)
    assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["array.npy"]


def test_an_array_is_written_whole_or_not_at_all_and_never_pickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "array.npy"
    write_npy(path, np.arange(5))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_npy(path, np.array([{}], object))

    def crash(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_npy(path, np.arange(9))
    assert np.load(path).tolist() == [0, 1, 2, 3, 4]


def test_what_an_ended_process_left_half_written_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    kept = {"report.html", ".lock", ".report.html.77", ".report.html.1", "heads.png.7", "plots/.heads.png.17"}
    for name in kept:
        write_atomic(tmp_path / name, "whole, or another's")
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: 7)
        patched.setattr(os, "replace", crash)
        for name in ("report.html", "plots/heads.png", "a/b/c"):
            with pytest.raises(KeyboardInterrupt):
                write_atomic(tmp_path / name, "half")
    before = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert before == kept | {".report.html.7", "plots/.heads.png.7", "a/b/.c.7"}

    remove_unfinished(tmp_path, 7)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == kept
    remove_unfinished(tmp_path, 7)
    remove_unfinished(tmp_path / "nowhere", 7)


def test_embeddings_and_labels_are_read_again_exactly(folder: StudyFolder) -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float16)
    points[0] = [np.nan, np.inf, -0.0]
    folder.save_embedding("arcface-000", 12, points)
    again = folder.embedding("arcface-000", 12)
    assert again is not None
    assert again.dtype == np.float16
    assert again.tobytes() == points.tobytes()
    assert folder.embedding("arcface-000", 1) is None
    assert folder.embedding("arcface-001", 12) is None
    folder.save_labels(np.arange(50))
    assert folder.labels().tolist() == list(range(50))


def test_an_embedding_is_never_unpickled(folder: StudyFolder) -> None:
    folder.save_embedding("arcface-000", 1, np.zeros((1, 2), np.float16))
    path = folder.embeddings / "arcface-000" / "epoch-001.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    assert folder.embedding("arcface-000", 1) is None


def test_a_folder_is_a_studys_once_it_holds_the_study(folder: StudyFolder) -> None:
    assert not folder.exists()
    write_atomic(folder.study_file, "name: a")
    assert folder.exists()
