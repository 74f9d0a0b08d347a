"""A study's folder: append-only records, atomic writes, one writer at a time.

`trials.jsonl` is the truth of a study; one line an event, only ever appended. A line counts once its newline is on
disk, so a crash at any byte loses at most the line that was being written, and never one that had been written.

    {"event": "start", "trial": "arcface-003", "head": …, "index": …, "seed": …, "params": {…}, "time": …}
    {"event": "epoch", "trial": …, "epoch": 1, "objective": …, "metrics": {…}, "time": …}
    {"event": "placed", "trial": …, "node": …, "node_id": …}       on a cluster: where it runs from now on
    {"event": "params", "trial": …, "epoch": 2, "params": {…}}     where PBT changed them after that epoch
    {"event": "end", "trial": …, "status": "completed", "reason": "", "time": …}

`confirmation.jsonl` and `test.jsonl` tell of the runs after the search in the same way, under the same lock. What
they say beside that, such as what was asked for, has no "trial".
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.commands import ours
from orchestrator.errors import CannotRun, Problem
from orchestrator.files import write_atomic, write_npy
from orchestrator.locks import alone, free
from orchestrator.storage.bucket import below
from orchestrator.storage.home import Home
from orchestrator.storage.lease import Lease, ask_to_stop, held, holder
from orchestrator.storage.parts import Parts

Event = dict[str, Any]
Status = Literal["running", "completed", "stopped", "diverged", "failed"]
SCRATCH = "heads-"
LOOK_S = 0.5  # someone who only looks whether a study has a driver holds the lock for an instant


def now() -> str:
    """The present time in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Trial:
    """What the record says of one trial. status "running" also means interrupted: it has no end yet."""

    name: str
    head: str
    index: int
    seed: int
    params: dict[str, Any]
    status: Status = "running"
    reason: str = ""
    epochs: list[Event] = field(default_factory=list)

    @property
    def last_epoch(self) -> int:
        return int(self.epochs[-1]["epoch"]) if self.epochs else 0

    @property
    def lost(self) -> bool:
        """Whether it ended without a model that is worth anything."""
        return self.status in ("failed", "diverged")

    @property
    def objective(self) -> float | None:
        """The objective after the last epoch: what the trial's model is worth, not its luckiest moment."""
        return self.epochs[-1]["objective"] if self.epochs else None


def apply(trials: dict[str, Trial], event: Event) -> None:
    """Adds what one event tells to the trials that are known. A repeated event changes nothing."""
    kind, name = event["event"], event["trial"]
    if kind == "start":
        known = {key: event[key] for key in ("head", "index", "seed", "params")}
        trials.setdefault(name, Trial(name, **known))
    elif kind == "epoch" and event["epoch"] > trials[name].last_epoch:
        trials[name].epochs.append(event)
    elif kind == "params":
        trials[name].params = event["params"]
    elif kind == "end":
        trials[name].reason = event["reason"]  # first: another thread looks at the status
        trials[name].status = event["status"]


def replay(events: list[Event]) -> dict[str, Trial]:
    """The trials that a record tells of, in order of their start."""
    trials: dict[str, Trial] = {}
    for event in events:
        if "trial" in event:
            apply(trials, event)
    return trials


def read_lines(path: Path) -> list[Event]:
    """All complete lines of a JSON-lines file; an unfinished last one was never written."""
    return whole_lines(path, 0)[0]


def whole_lines(path: Path, start: int, end: int | None = None) -> tuple[list[Event], int]:
    """The complete lines of a JSON-lines file between two positions, and where the last of them ends."""
    if not path.exists():
        return [], start
    with open(path, "rb") as file:
        file.seek(start)
        content = file.read(-1 if end is None else max(0, end - start))
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line], start + len(whole)


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
        self.home = Home.of(root)

    def __str__(self) -> str:
        """Where people find it: the bucket that it is a working copy of, or the folder itself."""
        return self.home.uri if self.home else str(self.root)

    def exists(self) -> bool:
        return self.study_file.exists()

    def records(self) -> dict[str, Path]:
        """The records, each with the part of the study that it tells of."""
        return {"search": self.trials_file, "confirmation": self.confirmation_file, "final": self.test_file}

    def events(self) -> list[Event]:
        return read_lines(self.trials_file)

    def trials(self) -> dict[str, Trial]:
        return replay(self.events())

    def driver(self) -> dict[str, Any] | None:
        """Process id, host and start of the driver at work on this study, or None if there is none."""
        if free(self.lock_file):
            elsewhere = holder(self.home) if self.home else None
            return elsewhere if elsewhere and self.home and elsewhere["copy"] != self.home.copy else None
        try:
            driver: dict[str, Any] = json.loads(self.driver_file.read_text())
            return driver
        except FileNotFoundError:  # it is just beginning, or just ending
            return None

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
    def writer(self, say: Callable[[str], None] = print) -> Iterator[Writer]:
        """The one that may write; the lock goes with the process, however it ends. Raises CannotRun if taken.

        say: is told why it takes long, as it does where a driver on another machine was killed a moment ago.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        fix = f"watch it: {ours('status', self)}, or end it: {ours('stop', self)}"
        taken = Problem(str(self), "one driver at a time works on a study", "another is at work", fix)
        with alone(self.lock_file, taken, LOOK_S):
            self._clear_scratch()  # of a driver that was killed
            self.stop_file.unlink(missing_ok=True)
            scratch = tempfile.mkdtemp(prefix=SCRATCH, dir=scratch_parent())
            driver = {"pid": os.getpid(), "host": os.uname().nodename, "started": now(), "scratch": scratch}
            write_atomic(self.driver_file, json.dumps(driver))
            try:
                with (
                    held(self.home, driver, self.stop_file, say) if self.home else nullcontext() as lease,
                    Writer.on(self.trials_file, self, Path(scratch), lease) as writer,
                ):
                    yield writer
            finally:
                self._clear_scratch()
                self.stop_file.unlink(missing_ok=True)
                self.driver_file.unlink()

    def _clear_scratch(self) -> None:
        """Removes the temporary folder of the driver that driver.json names, if it was on this machine."""
        if self.driver_file.exists():
            driver = json.loads(self.driver_file.read_text())
            scratch = Path(driver["scratch"])
            ours = scratch.parent == scratch_parent() and scratch.name.startswith(SCRATCH)
            if ours and driver["host"] == os.uname().nodename:
                shutil.rmtree(driver["scratch"], ignore_errors=True)

    def save_embedding(self, trial: str, epoch: int, points: NDArray[np.float16]) -> None:
        path = self.embeddings / trial / f"epoch-{epoch:03d}.npy"
        write_npy(path, points)
        if self.home:  # before the record tells of it
            self.home.put(path)

    def embedding(self, trial: str, epoch: int) -> NDArray[np.float16] | None:
        """The sampled validation embeddings (n, D) of a trial after an epoch, if they were kept."""
        path = self.embeddings / trial / f"epoch-{epoch:03d}.npy"
        return np.load(path, allow_pickle=False) if path.exists() else None

    def save_labels(self, labels: NDArray[np.int64]) -> None:
        write_npy(self.embeddings / "labels.npy", labels)

    def labels(self) -> NDArray[np.int64]:
        """The classes (n,) of the sampled validation images, the same for every trial."""
        labels: NDArray[np.int64] = np.load(self.embeddings / "labels.npy", allow_pickle=False)
        return labels


class Writer:
    """Appends events to a record. scratch: a temporary folder of this driver's own.

    An event is on disk when `append` returns; of a study in a bucket, it is in the bucket, and after that on disk.
    """

    def __init__(self, folder: StudyFolder, scratch: Path, file: IO[bytes], lease: Lease | None) -> None:
        self.folder, self.scratch, self._file, self._lease = folder, scratch, file, lease
        self._parts = Parts(lease, Path(file.name)) if lease else None

    @classmethod
    @contextmanager
    def on(cls, record: Path, folder: StudyFolder, scratch: Path, lease: Lease | None) -> Iterator[Writer]:
        """Opens a record to append to."""
        with open(record, "ab") as file:
            _cut_unfinished(file, record)
            yield cls(folder, scratch, file, lease)

    def beside(self, record: Path) -> AbstractContextManager[Writer]:
        """Appends to another record of the same study, under the same lock."""
        return Writer.on(record, self.folder, self.scratch, self._lease)

    def append(self, event: Event) -> None:
        line = json.dumps({**event, "time": now()}, allow_nan=False).encode() + b"\n"
        if self._parts:
            self._parts.append(line)
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())


def scratch_parent() -> Path:
    """Where scratch folders are made. Ray puts sockets below them, whose whole paths have at most 107 bytes."""
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= 30 else Path("/tmp")


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


def _cut_unfinished(file: IO[bytes], path: Path) -> None:
    """Removes a last line that a crash left without its end, so that the next one begins on a line of its own."""
    content = path.read_bytes()
    file.truncate(content.rfind(b"\n") + 1)
