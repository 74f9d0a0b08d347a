"""A server that refuses, hangs, drops connections or is gone: the search notices nothing, and `sync` completes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

from orchestrator.errors import CannotRun
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.tracking import mirror as mirroring
from orchestrator.tracking.follower import CLOSE_S
from orchestrator.tracking.sync import sync
from tests.orchestrator.tracking.conftest import Told, check_equal, epochs_of, pictures_of, run_of, wait_for
from tests.wandb_server import Fault, WandbServer

MakeFolder = Callable[..., StudyFolder]
Tell = Callable[[StudyFolder, Callable[[str], None]], Told]
# where wandb's service is ended because its server never answers, a thread of wandb's notices that and says so
pytestmark = pytest.mark.filterwarnings("ignore:Exception in thread wandb-ServiceFinalizer")
HOWS = ("refuse", "too_many", "broken", "hang", "drop")


def check_completed_by_sync(server: WandbServer, folder: StudyFolder) -> None:
    """`sync` sends what is missing; a second one nothing."""
    results = Results(folder.root)
    sync(folder.root, lambda line: None)
    check_equal(server, results)
    for _, trial in results.runs:
        drawn = [row["epoch"] for row in trial.epochs if results.study.tracking.pictures]
        assert pictures_of(run_of(server, results, trial.name)) == drawn
    assert {run.sweep for run in server.runs.values() if run.job_type == "search"} == {"sweep000"}
    before = len(server.requests)
    assert sync(folder.root, pytest.fail).sent == ()
    asked = {kind for _, kind in server.requests[before:]}
    assert not {kind for kind in asked if "Upsert" in kind or "file_stream" in kind or kind.startswith("PUT")}


@pytest.mark.parametrize("how", HOWS)
def test_a_server_that_fails_between_two_runs(
    how: Any, server: WandbServer, make_folder: MakeFolder, tell: Tell, impatient: None
) -> None:
    folder, said = make_folder(), list[str]()
    told = tell(folder, said.append)
    told.until("end", "arcface-000")
    wait_for(lambda: any(run.state == "finished" for run in server.runs.values()), lambda: f"it ends: {said}")
    server.fault = Fault(how)
    told.until("end", "softmax-001")
    told.mirror.close(CLOSE_S)
    assert any("runs are kept offline; orchestrator sync" in line for line in said)
    assert len(said) == len(set(said))
    server.fault = None
    check_completed_by_sync(server, folder)


def test_a_server_that_fails_in_the_middle_of_a_run(
    server: WandbServer,
    make_folder: MakeFolder,
    tell: Tell,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """wandb itself says nothing of it."""
    monkeypatch.delenv("WANDB_SILENT")
    folder, said = make_folder(), list[str]()
    results, told = Results(folder.root), tell(folder, said.append)
    told.until("epoch", "arcface-000", 2)
    wait_for(lambda: server.runs, lambda: f"the server knows a run: {said}")
    server.fault = Fault("hang")
    told.to_the_end()
    assert len(epochs_of(run_of(server, results, "arcface-000"))) < 3
    assert capfd.readouterr() == ("", "")
    server.fault = None
    check_completed_by_sync(server, folder)


@pytest.mark.parametrize("how", ["refuse", "broken", "hang"])
def test_a_server_that_fails_from_the_start(
    how: Any, server: WandbServer, make_folder: MakeFolder, tell: Tell, impatient: None
) -> None:
    folder, said = make_folder(), list[str]()
    server.fault = Fault(how)
    told = tell(folder, said.append)
    told.to_the_end()
    assert not server.runs
    assert len(list(folder.wandb.glob("offline-run-*"))) == 4
    assert any("runs are kept offline; orchestrator sync" in line for line in said)
    server.fault = None
    check_completed_by_sync(server, folder)


@pytest.mark.parametrize("of", ["file_stream", "CreateRunFiles", "UpsertBucket", "UpsertSweep", "UpsertView2", "PUT"])
def test_a_server_of_which_one_part_fails(
    of: str, server: WandbServer, make_folder: MakeFolder, tell: Tell, impatient: None
) -> None:
    """Whichever of a server's parts fails, the study goes on and `sync` sends what is missing."""
    folder = make_folder(pictures=True, trials={"arcface": [([0.6, 0.8], "completed")]})
    server.fault = Fault("broken", of)
    told = tell(folder, lambda line: None)
    told.to_the_end()
    server.fault = None
    check_completed_by_sync(server, folder)


def test_a_server_that_is_gone_and_comes_back(
    server: WandbServer, make_folder: MakeFolder, tell: Tell, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that begin after its return are live again."""
    monkeypatch.setattr(mirroring, "RETRY_S", 0.0)
    folder, said = make_folder(), list[str]()
    results, told = Results(folder.root), tell(folder, said.append)
    told.until("start", "arcface-000")
    wait_for(lambda: server.runs, lambda: "the server knows a run")
    server.disappear()
    told.until("end", "arcface-001")
    wait_for(lambda: list(folder.wandb.glob("offline-run-*-arcface-001")), lambda: f"a run is offline: {said}")
    server.come_back()
    told.to_the_end()
    assert run_of(server, results, "softmax-000").state == "finished"
    assert not list(folder.wandb.glob("offline-run-*softmax*"))
    check_completed_by_sync(server, folder)


def test_the_end_of_a_study_waits_only_so_long(
    server: WandbServer, make_folder: MakeFolder, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, said = make_folder(), list[str]()
    told = tell(folder, said.append)
    wait_for(lambda: server.sweeps, lambda: "there is a sweep")
    server.fault = Fault("hang")
    told.until("end", "softmax-001")
    told.mirror.close(at_most_s=1.0)
    assert said[-1].startswith("W&B was not ready 1 s after the study's end; orchestrator sync")
    server.fault = None
    check_completed_by_sync(server, folder)


@pytest.mark.parametrize("how", ["refuse", "hang"])
def test_sync_that_is_refused_says_so_and_goes_on_later(
    how: Any, server: WandbServer, make_folder: MakeFolder, impatient: None
) -> None:
    folder = make_folder("offline")
    server.fault = Fault(how, "file_stream")
    with pytest.raises(CannotRun, match="orchestrator sync"):
        sync(folder.root, lambda line: None)
    server.fault = None
    check_completed_by_sync(server, folder)


def test_without_a_key_runs_are_kept_offline_and_one_line_says_so(
    server: WandbServer, make_folder: MakeFolder, tell: Tell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder, said = make_folder(), list[str]()
    tell(folder, said.append).to_the_end()
    assert said == [
        "W&B: no W&B key (wandb login stores one); runs are kept offline;"
        f" orchestrator sync {folder.root} sends what is missing",
    ]
    assert len(list(folder.wandb.glob("offline-run-*"))) == 4
    assert not server.requests


def test_a_run_of_the_users_own_outlives_an_outage(
    server: WandbServer, make_folder: MakeFolder, tell: Tell, impatient: None, tmp_path: Path
) -> None:
    """As in a notebook: wandb's service is theirs too."""
    folder, said = make_folder(), list[str]()
    own = wandb.init(mode="offline", id="own", dir=str(tmp_path), reinit="create_new", settings={"silent": True})
    told = tell(folder, said.append)
    told.until("epoch", "arcface-000", 1)
    wait_for(lambda: server.runs, lambda: f"the server knows a run: {said}")
    server.fault = Fault("hang")
    told.to_the_end()
    own.log({"still": "there"})
    assert own.summary["still"] == "there"  # asked of the service
    own.finish()
    server.fault = None
    check_completed_by_sync(server, folder)
