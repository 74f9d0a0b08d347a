"""A study's working copy and its bucket: whatever becomes of a driver or a copy, the bucket has the record."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import CannotRun
from orchestrator.storage import bucket, bucket_sync, log_parts
from orchestrator.storage.bucket import Bucket
from orchestrator.storage.bucket_sync import here, inside, taken
from orchestrator.storage.study_folder import StudyFolder

Machine = Callable[[str], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "PAUSES_S", ())


def event(number: int) -> dict[str, Any]:
    return {"event": "start", "trial": f"a-{number:03d}", "head": "a", "index": number, "seed": 0, "params": {}}


def begun(runs: str, events: int, start: int = 0) -> StudyFolder:
    """The study with so many events more."""
    folder = StudyFolder(inside(runs, "study"))
    folder.root.joinpath("study.yaml").write_text("name: study\n")
    with folder.writer() as writer:
        for number in range(start, start + events):
            writer.append(event(number))
    return folder


def numbers(folder: StudyFolder) -> list[int]:
    return [event["index"] for event in folder.events()]


def test_another_machine_has_every_event_and_goes_on(
    runs: str, machine: Machine, names: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_parts, "PART_BYTES", 300)
    first = begun(runs, 10)
    machine("there")
    second = begun(runs, 5, start=10)
    assert second.root != first.root
    assert numbers(second) == [*range(15)]
    assert len({name for name in names() if name.startswith("trials/")}) > 3
    machine("here")
    assert here(f"{runs}/study") == first.root
    assert numbers(first) == [*range(15)]
    assert first.trials_file.read_bytes() == second.trials_file.read_bytes()


def test_an_event_is_in_the_bucket_before_it_is_in_the_copy(runs: str) -> None:
    from pyarrow.fs import FileSystem

    folder = StudyFolder(inside(runs, "study"))
    with folder.writer() as writer:
        writer.append(event(0))
        system, path = FileSystem.from_uri(f"{runs}?allow_bucket_deletion=true")
        system.delete_dir(path.partition("/")[0])
        with pytest.raises(CannotRun, match="the bucket must be there"):
            writer.append(event(1))
        assert numbers(folder) == [0]
        system, _ = FileSystem.from_uri(f"{runs}?allow_bucket_creation=true")
        system.create_dir(path.partition("/")[0])


def test_a_copy_that_was_cut_anywhere_becomes_whole(runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_parts, "PART_BYTES", 200)
    folder = begun(runs, 12)
    whole = folder.trials_file.read_bytes()
    for length in [0, 1, len(whole) - 1, *random.Random(0).sample(range(len(whole)), 20)]:
        with open(folder.trials_file, "r+b") as file:
            file.truncate(length)
        here(f"{runs}/study")
        assert folder.trials_file.read_bytes() == whole


def test_a_copy_that_says_something_else_is_made_what_the_bucket_is(runs: str) -> None:
    folder = begun(runs, 3)
    whole = folder.trials_file.read_bytes()
    for wrong in (whole.replace(b'"index": 2', b'"index": 7'), whole + b'{"event": "epoch"}\n'):
        folder.trials_file.write_bytes(wrong)
        here(f"{runs}/study")
        assert folder.trials_file.read_bytes() == whole


def test_files_go_up_and_come_down_and_what_is_gone_goes(runs: str, machine: Machine) -> None:
    folder = begun(runs, 1)
    (folder.best / "deep").mkdir(parents=True)
    (folder.best / "deep" / "arcface.yaml").write_text("one")
    (folder.root / "report.html").write_text("page")
    folder.publish()
    machine("there")
    copy = StudyFolder(here(f"{runs}/study"))
    assert (copy.best / "deep" / "arcface.yaml").read_text() == "one"
    (copy.best / "deep" / "arcface.yaml").write_text("two")  # as long as before
    copy.publish()
    Bucket(f"{runs}/study").delete("report.html")
    machine("here")
    here(f"{runs}/study")
    assert (folder.best / "deep" / "arcface.yaml").read_text() == "two"
    assert not (folder.root / "report.html").exists()


def test_nothing_is_sent_or_fetched_twice(runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_sync, "CLOCK_NS", 0)  # whatever is newest might be written again and would be fetched
    folder = begun(runs, 1)
    folder.publish()
    moved: list[str] = []
    monkeypatch.setattr(Bucket, "write", lambda self, name, *given, **more: moved.append(name))
    folder.publish()
    monkeypatch.setattr(Bucket, "read", lambda self, name: moved.append(name))
    assert folder.home
    folder.home.pull()
    assert [name for name in moved if not name.startswith("trials/")] == []


def test_checkpoints_come_only_when_they_are_asked_for(runs: str) -> None:
    folder = begun(runs, 1)
    Bucket(f"{runs}/study").write("ray/attempt-1/a-000/checkpoint_000001/last.ckpt", b"weights")
    Bucket(f"{runs}/study").write("ray/attempt-1/b-000/checkpoint_000001/last.ckpt", b"weights")
    here(f"{runs}/study")
    assert not folder.ray.exists()
    assert folder.attempts() == 1
    assert folder.home
    folder.home.fetch("ray", lambda name: "/a-000/" in name)
    (path,) = folder.ray.rglob("last.ckpt")
    assert path.read_bytes() == b"weights"
    assert folder.on_nodes(path.parent) == f"{runs}/study/ray/attempt-1/a-000/checkpoint_000001"
    here(f"{runs}/study")
    assert path.exists()


def test_an_embedding_is_there_before_its_event(runs: str, names: Callable[[], set[str]]) -> None:
    folder = StudyFolder(inside(runs, "study"))
    with folder.writer():
        folder.save_embedding("a-000", 1, np.zeros((4, 3), np.float16))
        assert "embeddings/a-000/epoch-001.npy" in names()


def test_what_was_removed_from_the_bucket_may_begin_anew(runs: str, names: Callable[[], set[str]]) -> None:
    folder = begun(runs, 2)
    (folder.ray / "attempt-1").mkdir(parents=True)
    assert taken(runs, "study")
    for name in names():
        Bucket(f"{runs}/study").delete(name)
    assert not taken(runs, "study")
    here(f"{runs}/study")
    assert {path.name for path in folder.root.iterdir()} <= {".home", ".copy.lock", ".lock"}


def test_a_folder_is_known_by_where_people_find_it(runs: str, tmp_path: Path) -> None:
    assert str(StudyFolder(inside(runs, "study"))) == f"{runs}/study"
    assert str(StudyFolder(tmp_path / "study")) == str(tmp_path / "study")
    assert os.environ["XDG_CACHE_HOME"] in str(inside(runs, "study"))
