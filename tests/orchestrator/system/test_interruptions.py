"""Whose an end is: the machine's are told from the trial's own, by what was raised and by what a death has left."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from orchestrator.errors import CannotRun, Interrupted, Problem
from orchestrator.files.atomic import write_atomic, write_npy
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.system import cgroups, interruptions
from orchestrator.system.interruptions import Cause
from orchestrator.trials.deaths import Deaths, death
from orchestrator.trials.trial import Diverged, WorkerDied, last_words

MEMORY = "2 trials at a time: about 2.0 GB of 1.5 GB"


def full(number: int = errno.ENOSPC) -> OSError:
    return OSError(number, os.strerror(number))


def raised_from(cause: BaseException, error: BaseException, attribute: str = "__cause__") -> BaseException:
    setattr(error, attribute, cause)
    return error


class OfRay(Exception):
    """As Ray wraps what a task has raised."""

    cause: BaseException


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (full(), "disk"),
        (full(errno.EDQUOT), "disk"),
        (full(errno.EIO), "disk"),
        (full(errno.EROFS), "disk"),
        (full(errno.ENOMEM), "memory"),
        (MemoryError(), "memory"),
        (full(errno.ETIMEDOUT), "other"),
        (ConnectionResetError(), "other"),
        (OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"), "disk"),
        (OSError("When uploading part: AWS Error NETWORK_CONNECTION during UploadPart operation"), "other"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"), "disk"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "disk"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), "memory"),
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), "disk"),  # safetensors
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "device"),
        (RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), "device"),
        (raised_from(full(), RuntimeError("while saving")), "disk"),
        (raised_from(full(), RuntimeError("while saving"), "__context__"), "disk"),
        (raised_from(full(), OfRay("in a task"), "cause"), "disk"),
    ],
)
def test_what_the_machine_did_is_known_by_its_error(error: Exception, kind: str) -> None:
    cause = interruptions.of(error)
    assert cause
    assert (cause.kind, cause.comes_again) == (kind, kind == "disk")
    assert last_words(error) == {"broken": {"kind": kind, "said": cause.said}}


@pytest.mark.parametrize(
    "error",
    [
        ValueError("scale must be at least 0"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),  # it will not fit again
        RuntimeError("CUDA error: device-side assert triggered"),
        ZeroDivisionError(),
    ],
)
def test_what_a_configuration_does_is_its_own(error: Exception) -> None:
    assert interruptions.of(error) is None
    ended = last_words(error)["ended"]
    assert (ended["status"], ended["reason"]) == ("failed", f"{type(error).__name__}: {error}")


def test_a_trial_that_diverges_on_a_full_disk_has_diverged() -> None:
    error = raised_from(full(), Diverged("the loss became nan"), "__context__")
    assert isinstance(error, Diverged)
    assert last_words(error) == {"ended": {"status": "diverged", "reason": "the loss became nan"}}


def test_a_lost_worker_is_the_machines() -> None:
    assert last_words(WorkerDied("ActorDiedError:\n\tthe node is gone")) == {
        "broken": {"kind": "process", "said": "ActorDiedError: the node is gone"}
    }
    full = pickle.loads(pickle.dumps(WorkerDied(said="OSError: [Errno 28] No space left on device", kind="disk")))
    assert last_words(full)["broken"] == {"kind": "disk", "said": str(full)}


def test_an_error_that_comes_from_itself_is_looked_at_once() -> None:
    error = ValueError("round")
    other = raised_from(error, KeyError("and round"))
    error.__context__ = other
    assert interruptions.of(error) is None


@pytest.mark.parametrize(
    ("text", "last", "oom", "kind", "said"),
    [
        ("The actor died unexpectedly.", "", False, "process", "its process died, without a word of its own, as by SI"),
        ("Worker exited with exit code 137", "", False, "process", "its process died with exit code 137"),
        ("The actor died.", "", True, "memory", "its process was ended by the kernel because memory was short (oom_"),
        (
            "Task was killed due to the node running low on memory.",
            "",
            False,
            "memory",
            "its process was ended because",
        ),
        ("The actor died because its node has died.", "", False, "process", "its node was lost"),
        ("It was killed by `ray.kill(actor)`", "", False, "process", "it had reported nothing for so long that its"),
        ("died", "*** SIGBUS received at time=1 on cpu 0 ***", False, "process", "its process ended by SIGBUS"),
    ],
)
def test_what_is_known_of_a_death_is_said(text: str, last: str, oom: bool, kind: str, said: str) -> None:
    cause = death(text, last, oom, MEMORY)
    assert (cause.kind, cause.said[: len(said)]) == (kind, said)
    assert (MEMORY in cause.said) == (kind == "memory")


def test_a_rise_of_the_kernels_count_is_one_deaths_reason_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([3, 4, 4])
    monkeypatch.setattr(cgroups, "oom_kills", lambda: next(counts))
    deaths = Deaths(tmp_path, MEMORY)
    assert [deaths.of("died").kind for _ in range(2)] == ["memory", "process"]


class Disk:
    """A file system of this test's own: so many bytes fit, and `fsync` may fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes_free, self.syncs = 10**9, True
        write, sync = os.write, os.fsync

        def limited(file: int, content: bytes) -> int:
            fits = content[: self.bytes_free]
            if not fits:
                raise full()
            self.bytes_free -= len(fits)
            return write(file, fits)

        def synced(file: int) -> None:
            if not self.syncs:
                raise full(errno.EIO)
            sync(file)

        monkeypatch.setattr(os, "write", limited)
        monkeypatch.setattr(os, "fsync", synced)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


EPOCH = {"event": "epoch", "trial": "softmax-000", "objective": 0.5, "metrics": {}}
FIRST = {"event": "start", "trial": "softmax-000", "head": "softmax", "index": 0, "seed": 1, "params": {}}


@pytest.mark.parametrize("fits", [0, 1, 20, 60, "no sync"])
def test_a_line_that_does_not_fit_is_cut_away_and_nothing_follows_it(tmp_path: Path, disk: Disk, fits: Any) -> None:
    folder = StudyFolder(tmp_path / "study")
    with pytest.raises(Interrupted), folder.writer() as writer:  # noqa: PT012
        writer.append(FIRST)
        before = folder.trials_file.read_bytes()
        disk.bytes_free, disk.syncs = (10**9, False) if fits == "no sync" else (fits, True)
        try:
            writer.append(EPOCH | {"epoch": 1})
        except OSError:
            assert folder.trials_file.read_bytes() == before
        disk.bytes_free, disk.syncs = 10**9, True  # someone has made room, but an event is missing
        writer.append(EPOCH | {"epoch": 2})
    assert folder.trials_file.read_bytes() == before
    with folder.writer() as writer:
        writer.append(EPOCH | {"epoch": 1})
    assert folder.trials()["softmax-000"].last_epoch == 1


def test_what_an_earlier_version_ended_for_a_death_stays_ended(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    end = {"event": "end", "trial": "softmax-000", "status": "failed", "reason": "its process died 3 times"}
    with folder.writer() as writer:
        for event in (FIRST, EPOCH | {"epoch": 1}, end):
            writer.append(event)
    trial = folder.trials()["softmax-000"]
    assert (trial.status, trial.lost, trial.interrupted) == ("failed", True, False)


def test_a_file_that_does_not_fit_leaves_nothing(tmp_path: Path, disk: Disk) -> None:
    write_atomic(tmp_path / "whole", "before")
    disk.syncs = False
    with pytest.raises(OSError, match="Input/output error"):
        write_atomic(tmp_path / "whole", "after")
    with pytest.raises(OSError, match="Input/output error"):
        write_npy(tmp_path / "new.npy", torch.zeros(3).numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert (tmp_path / "whole").read_text() == "before"


def test_what_is_safe_and_how_to_go_on_is_said(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "a study")
    with pytest.raises(Interrupted) as before, folder.writer():
        raise full()
    assert str(before.value).splitlines()[1] == "nothing was begun; launch it again"
    folder.study_file.write_text("name: a")
    with pytest.raises(Interrupted) as after, folder.writer(goes_on="test"):
        raise Interrupted("the machine has broken off arcface-000")
    safe = f"what is recorded is safe; go on with: orchestrator test '{folder}'"
    assert str(after.value).splitlines() == ["the machine has broken off arcface-000", safe]


def test_where_room_is_short_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**7 if path == tmp_path else 10**12))
    with pytest.raises(Interrupted) as told, StudyFolder(tmp_path).writer():
        raise full()
    assert str(told.value).startswith(f"OSError: [Errno 28] No space left on device; 0.0 GB free at {tmp_path}\n")


@pytest.mark.parametrize("error", [CannotRun([Problem("a", "b")]), ConnectionError("elsewhere"), ValueError("a bug")])
def test_what_is_not_the_machines_passes(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), StudyFolder(tmp_path / "study").writer():
        raise error


def test_a_cause_tells_whether_another_try_is_of_use() -> None:
    assert [Cause(kind, "").comes_again for kind in ("disk", "memory", "device")] == [True, False, False]  # type: ignore[arg-type]
