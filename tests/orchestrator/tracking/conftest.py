"""A W&B server on loopback for one test, studies that are told to a mirror, and what must be equal in the end."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
import wandb.apis.public
from PIL import Image

from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial, apply
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.tracking import connection, publish, remote_state
from orchestrator.tracking import mirror as mirroring
from orchestrator.tracking import sync as syncing
from orchestrator.tracking.follower import CLOSE_S
from orchestrator.tracking.mirror import Mirror
from orchestrator.tracking.run import SAID, row_of
from tests.orchestrator import processes
from tests.orchestrator.alone import PROGRAM, SEARCH_ALONE
from tests.orchestrator.processes import epochs_on_record, wait_until
from tests.wandb_server import Run, WandbServer

TRIALS: Any = {
    "arcface": [([0.6, 0.8, 0.9], "completed"), ([0.5], "stopped")],
    "softmax": [([0.3, 0.7, 0.8], "completed"), ([0.4], "diverged")],
}


def end_wandb() -> None:
    """Ends wandb's service in this process; of one that was abandoned wandb says so, or exits with its code."""
    with suppress(SystemExit, ConnectionError):
        wandb.teardown()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """The server that wandb in this process talks to; it must have understood everything that it was asked."""
    end_wandb()  # its settings are read once a process
    with WandbServer() as running:
        for name, value in running.environment(tmp_path / "client").items():
            monkeypatch.setenv(name, value)
        yield running
        end_wandb()
        assert (running.unknown, running.errors) == ([], [])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for a server are short, so that tests of servers that never answer are."""
    monkeypatch.setitem(connection.PATIENCE, "finish_timeout", 2.0)
    monkeypatch.setattr(remote_state, "LAG_S", 0.0)
    monkeypatch.setattr(mirroring, "UPLOAD_S", 3.0)
    for module in (publish, syncing):
        monkeypatch.setattr(module, "UPLOAD_S", 3.0)
    monkeypatch.setitem(connection.PATIENCE, "init_timeout", 3.0)
    monkeypatch.setattr(connection, "ANSWER_S", 5.0)


@pytest.fixture
def make_folder(build_study: Callable[..., StudyFolder], tmp_path: Path) -> Callable[..., StudyFolder]:
    """make_folder(mode, pictures, **changes): a finished study of four trials, of which W&B knows nothing."""

    def make(mode: str = "online", pictures: bool = False, **changes: Any) -> StudyFolder:
        tracking = {"mode": mode, "pictures": pictures}
        given = {"trials": TRIALS, "examined": False, "tracking": tracking} | changes
        return build_study(tmp_path, tuple(given["trials"]), **given)

    return make


class Told:
    """A study that runs once more, as far as a mirror can see: event by event its record grows, and is told."""

    def __init__(self, folder: StudyFolder, say: Callable[[str], None]) -> None:
        self.folder, self._lines = folder, folder.trials_file.read_text().splitlines(keepends=True)
        self._trials: dict[str, Trial] = {}
        folder.trials_file.write_text("")
        self.mirror = Mirror(folder, say)

    def until(self, event: str, trial: str, epoch: int = 0) -> None:
        """Goes on to that event, and tells it."""
        while self._one() != (event, trial, epoch):
            pass

    def to_the_end(self) -> None:
        """Tells all that is left, and closes the mirror."""
        while self._lines:
            self._one()
        self.mirror.close(CLOSE_S)

    def _one(self) -> tuple[str, str, int]:
        line = self._lines.pop(0)
        with open(self.folder.trials_file, "a") as record:
            record.write(line)
        event = json.loads(line)
        apply(self._trials, event)
        self.mirror.tell("search", self._trials[event["trial"]], event)
        return event["event"], event["trial"], event.get("epoch", 0)


@pytest.fixture
def tell() -> Iterator[Callable[[StudyFolder, Callable[[str], None]], Told]]:
    """tell(folder, say): a mirror that is told of the study; closed when the test ends."""
    begun: list[Told] = []

    def begin(folder: StudyFolder, say: Callable[[str], None]) -> Told:
        begun.append(Told(folder, say))
        return begun[-1]

    yield begin
    for told in begun:
        told.mirror.close(at_most_s=0.0)


def run_of(server: WandbServer, results: Results, name: str) -> Run:
    """A trial's run at the server. Raises KeyError before there is one."""
    return server.runs[f"{results.provenance['study_id']}-{name}"]


def wait_for(condition: Callable[[], Any], what: Callable[[], str], seconds: float = processes.PATIENCE_S) -> None:
    """Looks again and again until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it never came to be that {what()}"
        time.sleep(0.02)


def epochs_of(run: Run) -> list[dict[str, Any]]:
    """The rows that tell of an epoch; the one after them holds what a run gets at its end."""
    return [row for row in run.rows if "epoch" in row]


def check_equal(server: WandbServer, results: Results) -> None:
    """What the server holds of a study equals its record: each run once, each epoch's row once, how each ended."""
    study_id = results.provenance["study_id"]
    known = {run.id.removeprefix(f"{study_id}-"): run for run in server.runs.values()}
    assert set(known) - {"study"} == {trial.name for _, trial in results.runs}
    for job, trial in results.runs:
        run = known[trial.name]
        assert (run.job_type, run.group) == (job, results.study.name)
        assert [row["_step"] for row in run.rows] == list(range(1, len(run.rows) + 1)), trial.name
        rows = epochs_of(run)
        assert len(rows) == len(trial.epochs), trial.name
        for row, event in zip(rows, trial.epochs, strict=True):
            assert row.items() >= row_of(event, job).items()
        assert run.summary["status"] == SAID[trial.status]
        assert run.state == ("failed" if trial.lost else "killed" if trial.status == "running" else "finished")
        assert run.config.items() >= trial.params.items()
        assert (run.config["head"], run.config["seed"]) == (trial.head, trial.seed)


def pictures_of(run: Run, key: str = "embedding") -> list[int]:
    """After which epochs a run has a picture; each is opened."""
    found = []
    for row in epochs_of(run):
        if key in row:
            with Image.open(io.BytesIO(run.files[row[key]["path"]])) as picture:
                assert picture.format == "PNG"
                assert len(np.unique(np.asarray(picture.convert("L")))) > 50
            found.append(row["epoch"])
    return found


def orchestrator(*words: str | Path, program: str = PROGRAM, **environment: str) -> subprocess.Popen[str]:
    """The program in a process of its own, as from a fresh terminal."""
    around = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    return processes.orchestrator(*words, program=program, environment={**around, **environment})


def launch_until(epochs: int, *words: str | Path, **environment: str) -> tuple[subprocess.Popen[str], StudyFolder]:
    """A search alone of a study "small", at work, with so many epochs on record."""
    folder = StudyFolder(Path(words[-1]) / "small" if words[0] == "launch" else Path(words[-1]))
    process = orchestrator(*words, program=SEARCH_ALONE, **environment)
    wait_until(lambda: epochs_on_record(folder) >= epochs, process)
    return process, folder
