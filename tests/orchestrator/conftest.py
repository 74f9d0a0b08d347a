"""What the tests of the orchestrator share: a tiny dataset, studies of it, folders with a record, an opened study."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from ray import tune

from lightning_modules.data.sources import idx
from orchestrator.files.atomic import write_atomic
from orchestrator.reporting.progress_view import Silent
from orchestrator.selection.results import Results
from orchestrator.stages import launch
from orchestrator.stages.sealed_test import open_test
from orchestrator.storage.event_log import Trial, read_events
from orchestrator.storage.events import Event
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.system import streams
from orchestrator.trials import source_searcher, tuner
from tests.orchestrator.alone import alone, one_ray

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


class Look(NamedTuple):
    """A file of test images that was opened, what test.jsonl said at that moment, and which readers opened it."""

    name: str
    events: list[Event]
    readers: list[str]

    @property
    def is_of_metadata(self) -> bool:
        """Whether no image could be seen: the header of their file, or the labels."""
        return self.readers[:2] == ["shape_of" if "images" in self.name else "read", "metadata"]


WATCHED: list[tuple[Path, list[Look]]] = []


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


def watch(event: str, given: tuple[Any, ...]) -> None:
    """Sees every file of test images that this process opens, however it does."""
    if event == "open" and WATCHED and Path(str(given[0])).name.startswith("t10k"):
        record, looks = WATCHED[-1]
        looks.append(Look(Path(given[0]).name, read_events(record), readers()))


def readers() -> list[str]:
    """The functions of the reader of images that are at work, the innermost first."""
    frames = (frame for frame, _ in traceback.walk_stack(None))
    return [frame.f_code.co_name for frame in frames if frame.f_code.co_filename == idx.__file__]


sys.addaudithook(watch)


@contextmanager
def watched(folder: StudyFolder) -> Iterator[list[Look]]:
    looks: list[Look] = []
    WATCHED.append((folder.test_file, looks))
    try:
        yield looks
    finally:
        WATCHED.pop()


@pytest.fixture(scope="session")
def looks_at_the_test() -> Callable[[StudyFolder], Any]:
    """with looks_at_the_test(folder) as looks: files of test images opened meanwhile, and the study's record then."""
    return watched


class StopAfterARun(Silent):
    """Asks for a stop once a run has ended."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder

    def ended(self, trial: Trial) -> None:
        write_atomic(self.folder.stop_file, "")


@dataclass(frozen=True)
class Opened:
    """A study that was opened after its final models were interrupted.

    shipped: for search, confirmation and final, all that Tune was given for its trials. sealed: the results at the
    interruption. looks: what was read of the test files, by when.
    """

    folder: StudyFolder
    shipped: dict[str, list[Any]]
    sealed: Results
    looks: dict[str, list[Look]]


@pytest.fixture(scope="session")
def opened(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Two heads, one trial each, confirmed on one seed, tested with two; no report is drawn, no model examined."""
    study = Study.model_validate(
        {
            "name": "small",
            "heads": {"softmax": {}, "cosface": {}},
            "data": {"source": "idx", "path": str(small_mnist), "validation_images": 1000},
            "body": {"width": 4},
            "training": {"epochs": 1, "batch_size": 64},
            "search": {"trials_per_head": 1, "concurrent_trials": 1},
            "confirmation": {"top": 1, "seeds": 1},
            "test": {"seeds": 2},
            "tracking": {"mode": "off"},
        }
    )
    folder = StudyFolder(tmp_path_factory.mktemp("opened") / "small")
    shipped: dict[str, list[Any]] = {}
    looks: dict[str, list[Look]] = {}
    train, with_parameters, trial_config = tuner.Session.train, tune.with_parameters, source_searcher.trial_config

    def staged(session: tuner.Session, stage: tuner.Stage, *given: Any) -> None:
        parts = {"small": "search", "small, confirmation": "confirmation"}
        shipped.setdefault(parts.get(stage.title, "final"), [])
        train(session, stage, *given)

    def with_recorded(trainable: Any, **given: Any) -> Any:
        list(shipped.values())[-1].append(given)
        return with_parameters(trainable, **given)

    def recorded_config(*given: Any) -> dict[str, Any]:
        config = trial_config(*given)
        list(shipped.values())[-1].append(config)
        return config

    with one_ray(), alone(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuner.Session, "train", staged)
        patch.setattr(tune, "with_parameters", with_recorded)
        patch.setattr(source_searcher, "trial_config", recorded_config)
        with watched(folder) as looks["launch"]:
            launch.launch(study, folder.root.parent)
        with watched(folder) as looks["final models"]:
            sealed = open_test(folder.root, progress=StopAfterARun(folder))
            _ = sealed.test, sealed.leaderboard  # read now, before there is more
        with watched(folder) as looks["opening"]:
            open_test(folder.root)
    return Opened(folder, shipped, sealed, looks)


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
