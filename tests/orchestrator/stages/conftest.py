"""The reference study: searched, confirmed with an interruption, opened with one. Most tests of stages look at it."""

from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
from orchestrator.trials import source_searcher, tuner
from tests.orchestrator.alone import alone, one_ray

HEADS = ("softmax", "cosface")


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


class Watched(Silent):
    """Remembers what began and what was said; asks for a stop after the first epoch of a run, if one is named."""

    def __init__(self, folder: StudyFolder, stop_at: tuple[str, str] | None = None) -> None:
        self.folder, self.stop_at = folder, stop_at
        self.said: list[str] = []
        self.names: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def started(self, trial: Trial) -> None:
        self.names.append(trial.name)

    def epoch(self, trial: Trial, row: Event) -> None:
        if self.stop_at and trial.name.startswith(self.stop_at[0]) and trial.name.endswith(self.stop_at[1]):
            write_atomic(self.folder.stop_file, "")


@dataclass(frozen=True)
class Confirmed:
    """The study whose confirmation was interrupted, and resumed to its end; `more` of its copy has a further seed."""

    folder: StudyFolder
    interrupted: Results
    before: bytes
    going_on: Watched
    more: Results
    further: Watched


@dataclass(frozen=True)
class Opened:
    """The study opened after its final models were interrupted.

    shipped: for search, confirmation and final, all that Tune was given for its trials. sealed: the results at the
    interruption. looks: what was read of the test files, by when.
    """

    folder: StudyFolder
    shipped: dict[str, list[Any]]
    sealed: Results
    looks: dict[str, list[Look]]


@contextmanager
def shipping() -> Iterator[dict[str, list[Any]]]:
    """What Tune is given meanwhile for its trials, by the part of a study."""
    shipped: dict[str, list[Any]] = {}
    train, with_parameters, trial_config = tuner.Session.train, tune.with_parameters, source_searcher.trial_config

    def staged(session: tuner.Session, stage: tuner.Stage, *given: Any) -> None:
        parts = {"small": "search", "small, confirmation": "confirmation"}
        part = parts.get(stage.title, "final")
        shipped[part] = shipped.pop(part, [])  # the last of them is at work
        train(session, stage, *given)

    def with_recorded(trainable: Any, **given: Any) -> Any:
        list(shipped.values())[-1].append(given)
        return with_parameters(trainable, **given)

    def recorded_config(*given: Any) -> dict[str, Any]:
        config = trial_config(*given)
        list(shipped.values())[-1].append(config)
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuner.Session, "train", staged)
        patch.setattr(tune, "with_parameters", with_recorded)
        patch.setattr(source_searcher, "trial_config", recorded_config)
        yield shipped


@pytest.fixture(scope="session")
def reference(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Confirmed, Opened]:
    """Two heads, two trials each, confirmed on two seeds, tested with two; no report is drawn, no model examined."""
    study = Study.model_validate(
        {
            "name": "small",
            "heads": {head: {} for head in HEADS},
            "data": {"source": "idx", "path": str(small_mnist), "validation_images": 1000},
            "body": {"width": 4},
            "training": {"epochs": 2, "batch_size": 64},
            "search": {"trials_per_head": 2, "scheduler": "asha", "concurrent_trials": 1},
            "confirmation": {"top": 1, "seeds": 2},
            "test": {"seeds": 2},
            "tracking": {"mode": "off"},
        }
    )
    parent, looks = tmp_path_factory.mktemp("reference"), dict[str, list[Look]]()
    folder, copies = StudyFolder(parent / "small"), [StudyFolder(parent / name / "small") for name in ("two", "three")]
    with one_ray(cores=1), alone(), shipping() as shipped:
        with watched(folder) as looks["launch"]:
            interrupted = launch.launch(study, parent, Watched(folder, ("cosface", "-seed-1")))
            assert not interrupted.finished
            _ = interrupted.confirmation, interrupted.trials  # read now, before there is more
            before, going_on, further = folder.confirmation_file.read_bytes(), Watched(folder), Watched(copies[1])
            launch.resume(folder.root, going_on)
        for copied in copies:
            shutil.copytree(folder.root, copied.root)
        with watched(folder) as looks["final models"]:
            sealed = open_test(folder.root, progress=StopAfterARun(folder))
            _ = sealed.test, sealed.leaderboard
        with watched(folder) as looks["opening"]:
            open_test(folder.root)
        more = launch.confirm(copies[1].root, seeds=3, progress=further)
    confirmed = Confirmed(copies[0], interrupted, before, going_on, more, further)
    return confirmed, Opened(folder, shipped, sealed, looks)


@pytest.fixture(scope="session")
def confirmed(reference: tuple[Confirmed, Opened]) -> Confirmed:
    return reference[0]


@pytest.fixture(scope="session")
def opened(reference: tuple[Confirmed, Opened]) -> Opened:
    return reference[1]
