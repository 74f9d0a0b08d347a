"""A study's folder: the names in it, its one writer, and who that is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_modules.formats import npy
from lightning_modules.objectives.base import Objective
from orchestrator.errors import CannotRun, Problem
from orchestrator.files import disk, json_documents, scratch
from orchestrator.files.atomic import remove_left, write_atomic, write_npy
from orchestrator.files.json_documents import Analysis, Provenance
from orchestrator.files.locks import alone, free
from orchestrator.storage.broken_off import broken_off
from orchestrator.storage.bucket import below
from orchestrator.storage.bucket_sync import BucketSync
from orchestrator.storage.event_log import Trial, now, read_events, replay
from orchestrator.storage.events import Event
from orchestrator.storage.lease import ask_to_stop, held, holder
from orchestrator.storage.record_writer import Writer
from orchestrator.storage.study_state import StudyState
from orchestrator.system.commands import ours
from orchestrator.system.environment import kept

GIVE_UP = "put it back from a copy; without one, remove it: the study then goes on with a new one, and says so"
TORCH_CACHE = "TORCHINDUCTOR_CACHE_DIR"
LOOK_S = 0.5  # someone who only looks whether a study has a driver holds the lock for an instant


class StudyFolder:
    """The folder of one study and the names in it. Reading needs no lock; writing goes through `writer`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.study_file = root / "study.yaml"
        self.provenance_file = root / "provenance.json"
        self.trials_file = root / "trials.jsonl"
        self.confirmation_file = root / "confirmation.jsonl"
        self.test_file = root / "test.jsonl"
        self.wider_file = root / "wider.yaml"
        self.driver_file = root / "driver.json"
        self.best = root / "best"
        self.plots = root / "plots"
        self.embeddings = root / "embeddings"
        self.analysis = root / "analysis"
        self.models = root / "models"
        self.final_models = root / "final"
        self.report_file = root / "report.html"
        self.wandb = root / "wandb"
        self.wandb_file = root / "wandb.json"
        self.ray = root / "ray"
        self.lock_file = root / ".lock"
        self.mirror_lock = root / ".mirror.lock"
        self.sync_lock = root / ".sync.lock"
        self.stop_file = root / "stop"
        self.home = BucketSync.of(root)

    def __str__(self) -> str:
        """Where people find it: the bucket that it is a working copy of, or the folder itself."""
        return self.home.uri if self.home else str(self.root)

    def exists(self) -> bool:
        return self.study_file.exists()

    def records(self) -> dict[str, Path]:
        """The records, each with the part of the study that it tells of."""
        return {"search": self.trials_file, "confirmation": self.confirmation_file, "final": self.test_file}

    def events(self, objective: Objective | None = None) -> list[Event]:
        return read_events(self.trials_file, objective=objective)

    def trials(self, objective: Objective | None = None) -> dict[str, Trial]:
        return replay(self.events(objective), objective)

    def driver(self) -> dict[str, Any] | None:
        """Process id, host and start of the driver at work on this study, or None if there is none."""
        if free(self.lock_file):
            elsewhere = holder(self.home) if self.home else None
            killed = elsewhere and self.home and elsewhere["copy"] == self.home.copy and not scratch.may_live(elsewhere)
            return None if killed else elsewhere
        return scratch.read(self.driver_file)  # none: it is just beginning, or just ending

    def publish(self) -> None:
        """Sends what has changed to the bucket, if this is a working copy."""
        if self.home:
            self.home.push()

    def attempts(self) -> int:
        """How often trials have been trained, from the launch on: the folders that `ray` has."""
        if self.home:  # where Google lists no folders, only what lies in them
            names = {name.split("/")[1] for name in self.home.bucket.objects("ray")}
        else:
            names = {path.name for path in self.ray.glob("*")}
        return sum(name.startswith("attempt-") for name in names)

    @property
    def ray_storage(self) -> str:
        """Where trials write their checkpoints, on whichever node they run."""
        return below(self.home.uri, "ray") if self.home else str(self.ray.resolve())

    def on_nodes(self, path: Path) -> str:
        """How a trial on any node names something in `ray`."""
        path = path.relative_to(self.ray)
        return below(self.home.uri, f"ray/{path.as_posix()}") if self.home else str(self.ray.resolve() / path)

    @contextmanager
    def writer(
        self, say: Callable[[str], None] = print, goes_on: str = "resume", state: StudyState | None = None
    ) -> Iterator[Writer]:
        """The one that may write; the lock goes with the process, however it ends.

        say: is told why it takes long, as it does where a driver on another machine was killed a moment ago. goes_on:
        the verb that goes on where the machine breaks it off, as a full disk does, which raises Interrupted. state:
        what this process has read of the study before, if anything; only what came since is read. Raises CannotRun
        where another is at work, or a record is damaged.
        """
        with broken_off(self, goes_on), self._writer(say, state or self.state()) as writer:
            yield writer

    def state(self, objective: Objective | None = None) -> StudyState:
        """How far the study is, of which nothing is read yet. objective: what it is judged by."""
        return StudyState(self.records(), objective)

    @contextmanager
    def _writer(self, say: Callable[[str], None], state: StudyState) -> Iterator[Writer]:
        disk.make(self.root)
        fix = f"watch it: {ours('status', self)}, or end it: {ours('stop', self)}"
        taken = Problem(str(self), "one driver at a time works on a study", "another is at work", fix)
        with alone(self.lock_file, taken, LOOK_S):
            if killed := scratch.read(self.driver_file):
                scratch.remove_left(killed)
            self.stop_file.unlink(missing_ok=True)
            for left in self.root.glob(f".{self.driver_file.name}.*"):  # only who has the lock writes one
                left.unlink(missing_ok=True)
            remove_left(self.root)
            driver = {**scratch.this_process(), "started": now()}
            own = scratch.make(driver)
            try:
                driver |= {"scratch": str(own)}
                write_atomic(self.driver_file, json.dumps(driver))
                with (
                    _caches(own),
                    held(self.home, driver, self.stop_file, say) if self.home else nullcontext() as lease,
                ):
                    state.catch_up().require_whole()
                    with Writer.on(state, state.search, own, lease) as writer:
                        yield writer
            finally:
                shutil.rmtree(own, ignore_errors=True)
                self.stop_file.unlink(missing_ok=True)
                self.driver_file.unlink(missing_ok=True)

    def save_embedding(self, trial: str, epoch: int, points: NDArray[np.float16]) -> None:
        path = self.embeddings / trial / f"epoch-{epoch:03d}.npy"
        write_npy(path, points)
        if self.home:  # before the record tells of it
            self.home.put(path)

    def embedding(self, trial: str, epoch: int) -> NDArray[np.float16] | None:
        """The sampled validation embeddings (n, D) of a trial after an epoch; None where none are left."""
        points = _array(self.embeddings / trial / f"epoch-{epoch:03d}.npy")
        return points if points is not None and points.ndim == 2 and points.dtype == np.float16 else None

    def save_labels(self, labels: NDArray[np.int64]) -> None:
        write_npy(self.embeddings / "labels.npy", labels)

    def labels(self) -> NDArray[np.int64]:
        """The classes (n,) of the sampled validation images, the same for every trial."""
        labels = _array(self.embeddings / "labels.npy")
        if labels is None or labels.ndim != 1 or labels.dtype != np.int64 or not len(labels) or labels.min() < 0:
            rule, fix = "it holds the classes of the sampled images", f"{ours('resume', self)} writes it anew"
            raise CannotRun([Problem(str(self.embeddings / "labels.npy"), rule, "it is missing or broken", fix)])
        return labels

    def provenance(self) -> dict[str, Any] | None:
        """Where the numbers come from; None where nothing says so. Raises CannotRun where that is broken."""
        return json_documents.read(self.provenance_file, Provenance, GIVE_UP)

    def kept_analysis(self, head: str) -> dict[str, Any] | None:
        """Every measure of a head's best trial; None where it was not taken yet, or has to be taken anew."""
        try:
            return json_documents.read(self.analysis / f"{head}.json", Analysis, "")
        except CannotRun:
            return None


@contextmanager
def _caches(own: Path) -> Iterator[None]:
    """Caches in a driver's scratch, unless its user has a place for them: torch makes a folder when it is imported."""
    with kept(TORCH_CACHE):
        os.environ.setdefault(TORCH_CACHE, str(own / "torch"))
        yield


def _array(path: Path) -> NDArray[Any] | None:
    """An array that is kept for pictures; None where there is none that is whole: a picture less is no harm."""
    try:
        return npy.read(path)
    except (OSError, ValueError):
        return None


def request_stop(folder: StudyFolder) -> str:
    """Asks the driver at work on a study to end gracefully; says what was done. Raises CannotRun if it cannot be."""
    driver = folder.driver()
    if driver is None:
        raise CannotRun([Problem(str(folder), "only a running study can be stopped", "no driver is at work on it")])
    if folder.home:
        ask_to_stop(folder.home)
    else:
        write_atomic(folder.stop_file, "")
    return f"asked process {driver['pid']} to stop; {ours('resume', folder)} goes on with it"
