"""`sync`: all that W&B lacks of a study, from its records alone, and nothing twice."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

from orchestrator.errors import CannotRun
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.tracking import connection, workspace
from orchestrator.tracking import sync as syncing
from orchestrator.tracking.run import About, TrialRun
from orchestrator.tracking.sync import sync
from tests.orchestrator.tracking.conftest import TRIALS, Told, check_equal, pictures_of, run_of
from tests.wandb_server import WandbServer

MakeFolder = Callable[..., StudyFolder]
Tell = Callable[[StudyFolder, Callable[[str], None]], Told]


def changes(server: WandbServer, since: int) -> set[str]:
    """The requests that change something, after the first so many."""
    asked = {kind for _, kind in server.requests[since:]}
    return {kind for kind in asked if "Upsert" in kind or "file_stream" in kind or kind.startswith("PUT")}


def sent(folder: StudyFolder) -> tuple[str, ...]:
    return sync(folder.root, lambda line: None).sent


def test_an_offline_study_becomes_a_sweep_with_all_its_runs_attached(
    server: WandbServer, make_folder: MakeFolder
) -> None:
    """A study that ran without a network is at W&B afterwards as if it had been online."""
    folder, said = make_folder("offline", True, confirmed=(1, 2), examined=True), list[str]()
    synced = sync(folder.root, said.append)
    results = Results(folder.root)
    check_equal(server, results)
    (sweep,) = server.sweeps.values()
    assert set(sweep.prior_runs) == {run.id for run in server.runs.values() if run.job_type != "study"}
    assert {run.sweep for run in server.runs.values() if run.job_type != "study"} == {sweep.id}
    for name, trial in results.trials.items():
        assert pictures_of(run_of(server, results, name)) == [row["epoch"] for row in trial.epochs]
    assert synced.runs == len(synced.sent) == len(results.runs)
    assert said[-1] == f"{synced.sent[-1]} sent ({len(results.runs)}/{len(results.runs)})"
    assert f"sweep      {server.url}/someone/embedding-heads/sweeps/{sweep.id}" in str(synced)
    assert {each.name for each in server.artifacts if each.type == "model"} == {"made-3d-arcface", "made-3d-softmax"}


def test_twice_sends_nothing_twice(server: WandbServer, make_folder: MakeFolder) -> None:
    folder = make_folder("offline")
    sync(folder.root, lambda line: None)
    before = len(server.requests)
    again = sync(folder.root, pytest.fail)
    assert (again.sent, again.published, again.damaged) == ((), False, ())
    assert changes(server, before) == set()


def test_without_its_note_the_study_is_found_again(server: WandbServer, make_folder: MakeFolder) -> None:
    folder = make_folder("offline")
    sync(folder.root, lambda line: None)
    folder.wandb_file.unlink()
    before = len(server.requests)
    assert sent(folder) == ()
    assert len(server.sweeps) == 1
    assert {kind for kind in changes(server, before) if "View" not in kind} == set()


def test_what_has_come_since_is_sent(server: WandbServer, make_folder: MakeFolder) -> None:
    folder = make_folder("offline")
    whole = folder.trials_file.read_text()
    lines = whole.splitlines(keepends=True)
    folder.trials_file.write_text("".join(lines[:3]))  # a start and two epochs: the study was interrupted
    assert sent(folder) == ("arcface-000",)
    assert run_of(server, Results(folder.root), "arcface-000").state == "killed"
    folder.trials_file.write_text(whole)
    assert sent(folder) == ("arcface-000", "arcface-001", "softmax-000", "softmax-001")
    results = Results(folder.root)
    check_equal(server, results)
    assert {run.sweep for run in server.runs.values() if run.job_type == "search"} == {"sweep000"}


def test_a_run_that_lost_rows_at_the_server_is_named(server: WandbServer, make_folder: MakeFolder) -> None:
    folder = make_folder("offline")
    sync(folder.root, lambda line: None)
    run = run_of(server, Results(folder.root), "arcface-000")
    lines = run.lines["wandb-history.jsonl"]
    run.lines = run.lines | {"wandb-history.jsonl": {at: line for at, line in lines.items() if at != min(lines)}}
    again = sync(folder.root, pytest.fail)
    assert again.damaged == ("arcface-000",)
    assert "arcface-000: W&B lost rows of it" in str(again)


def test_a_study_without_tracking_can_be_sent_too(server: WandbServer, make_folder: MakeFolder) -> None:
    folder = make_folder("off")
    assert len(sent(folder)) == 4
    check_equal(server, Results(folder.root))


def test_runs_that_were_kept_offline_are_marked_as_sent(
    server: WandbServer, make_folder: MakeFolder, tell: Tell
) -> None:
    folder = make_folder("offline")
    tell(folder, pytest.fail).to_the_end()
    kept = list(folder.wandb.glob("offline-run-*"))
    assert len(kept) == 4
    assert not server.requests
    sync(folder.root, lambda line: None)
    assert [len(list(run.glob("*.wandb.synced"))) for run in kept] == [1, 1, 1, 1]
    check_equal(server, Results(folder.root))


def test_two_studies_of_one_name_stay_apart(
    server: WandbServer, make_folder: MakeFolder, tmp_path: Path, build_study: Callable[..., StudyFolder]
) -> None:
    """A name that is used again mixes no runs of the first study into the second one's sweep."""
    first = make_folder("offline")
    other = build_study(tmp_path / "other", tuple(TRIALS), trials=TRIALS, examined=False)
    sync(first.root, lambda line: None)
    assert len(sent(other)) == 4
    assert (sent(first), sent(other)) == ((), ())
    assert len(server.sweeps) == 2
    assert len([run for run in server.runs.values() if run.job_type == "search"]) == 8


def test_a_search_that_sends_its_runs_itself_is_left_to_it(server: WandbServer, make_folder: MakeFolder) -> None:
    folder = make_folder("online")
    with folder.writer(), pytest.raises(CannotRun, match="its search sends them now") as refused:
        sync(folder.root, pytest.fail)
    assert f"orchestrator stop {folder.root}" in str(refused.value)
    assert not server.requests


def test_an_offline_search_at_work_is_sent_as_far_as_it_has_come(server: WandbServer, make_folder: MakeFolder) -> None:
    folder = make_folder("offline")
    whole = folder.trials_file.read_text()
    cut = whole.index("\n", whole.index('"start", "trial": "softmax-000"')) + 1
    folder.trials_file.write_text(whole[:cut])
    with folder.writer():
        assert sent(folder) == ("arcface-000", "arcface-001")
        assert len(server.runs) == 3
        folder.trials_file.write_text(whole)
        assert sent(folder) == ("softmax-000", "softmax-001")
    check_equal(server, Results(folder.root))


def test_a_folder_in_which_nothing_has_begun_is_refused(server: WandbServer, make_folder: MakeFolder) -> None:
    folder = make_folder("offline")
    folder.provenance_file.unlink()
    with pytest.raises(CannotRun, match="its search has not begun"):
        sync(folder.root, pytest.fail)


def test_without_a_key_it_is_refused_with_what_to_do(
    server: WandbServer, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CannotRun, match="wandb login"):
        sync(make_folder("offline").root, pytest.fail)


def test_without_the_extra_there_is_no_workspace_and_it_is_said(
    server: WandbServer, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "find_spec", lambda name: None)
    said: list[str] = []
    synced = sync(make_folder("offline").root, said.append)
    assert synced.place.workspace == ""
    assert not server.views
    assert said[-1].endswith("pip install 'embedding-head-orchestrator[workspace]'")


def test_a_workspace_that_cannot_be_saved_is_no_reason_to_send_nothing(
    server: WandbServer, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> None:
        raise connection.Unavailable("no views today")

    monkeypatch.setattr(workspace, "_save", fail)
    said: list[str] = []
    folder = make_folder("offline")
    assert len(sync(folder.root, said.append).sent) == 4
    assert said[-1] == "no workspace was made for it: Unavailable: no views today"
    assert json.loads(folder.wandb_file.read_text())["workspace"] == ""


def test_what_it_is_told_on_the_way_prints_nothing(
    server: WandbServer, make_folder: MakeFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    sync(make_folder("offline").root, lambda line: None)
    assert capfd.readouterr() == ("", "")


def test_the_entity_of_wandbs_own_settings_is_the_studys(
    server: WandbServer, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_ENTITY", "team")
    folder = make_folder("offline")
    assert len(sent(folder)) == 4
    assert (
        {run.entity for run in server.runs.values()} == {sweep.entity for sweep in server.sweeps.values()} == {"team"}
    )
    assert sent(folder) == ()


def test_a_run_that_is_refused_does_not_keep_the_others_back(
    server: WandbServer, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deleted(TrialRun):
        def __init__(self, about: About, trial: Trial, *given: Any, **more: Any) -> None:
            if trial.name == "arcface-001":
                raise wandb.errors.CommError("it was created before and deleted")
            super().__init__(about, trial, *given, **more)

    monkeypatch.setattr(syncing, "TrialRun", Deleted)
    folder = make_folder("offline")
    synced = sync(folder.root, lambda line: None)
    assert synced.sent == ("arcface-000", "softmax-000", "softmax-001")
    assert synced.refused == {"arcface-001": "CommError: it was created before and deleted"}
    assert "arcface-001: W&B refuses it: CommError" in str(synced)
    assert len(server.sweeps["sweep000"].prior_runs) == 3


def test_one_sync_at_a_time(server: WandbServer, make_folder: MakeFolder) -> None:
    folder = make_folder("offline")
    with open(folder.root / ".sync.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CannotRun, match="another is at work"):
            sync(folder.root, pytest.fail)
    assert len(sent(folder)) == 4
