"""What the tests of the orchestrator share: a tiny dataset, studies of it, folders with a record, an opened study."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.files.atomic import write_atomic
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.system import streams

IMAGES, CLASSES = 120, 4
DRIVER = """
import sys
from pathlib import Path
from orchestrator.storage.study_folder import StudyFolder
with StudyFolder(Path(sys.argv[1])).writer() as writer:
    writer.append({"event": "start", "trial": "a-000", "head": "a", "index": 0, "seed": 0, "params": {}})
    print(writer.scratch, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _what_is_said_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the neighbours of a test keep all cores busy: its streams are read by someone."""
    monkeypatch.setattr(streams, "WAIT_S", 60.0)


@pytest.fixture
def make_idx(tmp_path: Path) -> Callable[..., Path]:
    """make_idx(labels=…): the folder of an IDX dataset of random 6 × 5 images with those labels."""

    def make(labels: Any = None, name: str = "images") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        labels = np.arange(IMAGES) % CLASSES if labels is None else np.asarray(labels)
        pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 6, 5), np.uint8)
        header = struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape)
        (folder / "train-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        header = struct.pack(">4BI", 0, 0, 8, 1, len(labels))
        (folder / "train-labels-idx1-ubyte").write_bytes(header + labels.astype(np.uint8).tobytes())
        return folder

    return make


@pytest.fixture
def tiny_study(make_idx: Callable[..., Path]) -> Callable[..., Study]:
    """tiny_study(search={…}, …): a study of the tiny dataset, two heads with two trials each unless changed."""
    folder = make_idx()

    def make(**changes: Any) -> Study:
        content: dict[str, Any] = {
            "name": "tiny",
            "heads": {"softmax": {}, "arcface": {}},
            "data": {"source": "idx", "path": str(folder), "validation_images": 40},
            "training": {"epochs": 2, "batch_size": 16},
            "search": {"trials_per_head": 2},
        }
        for key, value in changes.items():
            content[key] = {**content[key], **value} if key in ("data", "training", "search") else value
        return Study.model_validate(content)

    return make


@pytest.fixture
def make_record(tmp_path: Path) -> Callable[..., StudyFolder]:
    """make_record(study, (head, index, objectives, status), …): a study's folder with those trials in its record.

    params are one dict for every trial, seeds are 100 plus the trial's number; a running trial has no end.
    """

    def make(study: Study, *trials: tuple[str, int, list[float], str], params: Any = None) -> StudyFolder:
        folder = StudyFolder(tmp_path / "results" / study.name)
        write_atomic(folder.study_file, study.to_yaml())
        with folder.writer() as writer:
            for head, index, objectives, status in trials:
                name = f"{head}-{index:03d}"
                start = {
                    "trial": name,
                    "head": head,
                    "index": index,
                    "seed": 100 + index,
                    "params": params or {"lr": 0.1},
                }
                writer.append({"event": "start", **start})
                for epoch, objective in enumerate(objectives, start=1):
                    metrics = {"time/train_s": 2.0, "time/validation_s": 0.5}
                    row = {"epoch": epoch, "objective": objective, "metrics": metrics}
                    writer.append({"event": "epoch", "trial": name, **row})
                if status != "running":
                    reason = "" if status == "completed" else f"because it {status}"
                    writer.append({"event": "end", "trial": name, "status": status, "reason": reason})
        return folder

    return make


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "study")


@pytest.fixture
def driver(folder: StudyFolder) -> Iterator[subprocess.Popen[str]]:
    """Another process that works on the study, until it reads a line or is killed."""
    command = [sys.executable, "-c", DRIVER, str(folder.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = process.stdout.readline().strip()
        assert said, "it ended before it said where its scratch is"
        own = Path(said)
        yield process
        if process.poll() is None:
            process.communicate("end\n")
    shutil.rmtree(own, ignore_errors=True)
