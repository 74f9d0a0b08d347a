"""WANDB_MODE and WANDB_DISABLED take away what a study asks for, and say so; they add nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import CannotRun
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study import tracking_mode
from orchestrator.study.schema import Study
from orchestrator.tracking import follower as follows
from orchestrator.tracking.fetch import fetch
from orchestrator.tracking.follower import following
from orchestrator.tracking.sync import sync
from tests.orchestrator.tracking.conftest import check_equal
from tests.wandb_server import WandbServer

MakeFolder = Callable[..., StudyFolder]


@pytest.fixture(params=[{"WANDB_MODE": "disabled"}, {"WANDB_DISABLED": "true"}], ids=["mode", "disabled"])
def off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """W&B is switched off, by this variable."""
    ((name, value),) = request.param.items()
    monkeypatch.setenv(name, value)
    return f"{name}={value}"


@pytest.mark.parametrize(
    ("variables", "offline", "online"),
    [
        ({}, "offline", "online"),
        ({"WANDB_MODE": "online", "WANDB_DISABLED": "false"}, "offline", "online"),
        ({"WANDB_MODE": "shared"}, "offline", "online"),
        ({"WANDB_MODE": "offline"}, "offline", "offline"),
        ({"WANDB_MODE": "dryrun"}, "offline", "offline"),
        ({"WANDB_MODE": "disabled"}, "off", "off"),
        ({"WANDB_MODE": "online", "WANDB_DISABLED": "1"}, "off", "off"),
    ],
)
def test_what_is_left_of_a_study_that_is_kept_or_sent(
    variables: dict[str, str], offline: str, online: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for asked, left in (("offline", offline), ("online", online), ("off", "off")):
        study = Study.model_validate({"name": "any", "heads": {"arcface": {}}, "tracking": {"mode": asked}})
        assert tracking_mode.mode_of(study) == left
        assert tracking_mode.said(study).startswith(left)
        assert ("says" in tracking_mode.said(study)) == (left != asked)


class Started:
    """In a follower's place."""

    number = 0

    def __init__(self, folder: StudyFolder, say: Callable[[str], None]) -> None:
        Started.number += 1

    def close(self, at_most_s: float | None) -> None:
        """Nothing is to be waited for."""


@pytest.fixture
def said_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[StudyFolder], list[str]]:
    """said_by(folder): what is said when its study is followed."""
    monkeypatch.setattr(follows, "Follower", Started)
    monkeypatch.setattr(Started, "number", 0)

    def follow(folder: StudyFolder) -> list[str]:
        said = list[str]()
        with following(Results(folder.root).study, folder, said.append):
            pass
        return said

    return follow


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_search_keeps_nothing_where_wandb_is_switched_off_and_says_so(
    off: str, mode: str, make_folder: MakeFolder, said_by: Callable[[StudyFolder], list[str]]
) -> None:
    folder = make_folder(mode)
    remedy = f"orchestrator sync {folder} sends what is missing"
    assert said_by(folder) == [f"nothing is kept for W&B: {off}; {remedy}"]
    assert Started.number == 0


def test_a_search_that_would_send_keeps_its_runs_where_wandb_is_to_be_offline(
    make_folder: MakeFolder, said_by: Callable[[StudyFolder], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder("online")
    assert said_by(folder) == []
    monkeypatch.setenv("WANDB_MODE", "offline")
    (said,) = said_by(folder)
    assert said.startswith("nothing is sent to W&B: offline, as WANDB_MODE=offline says; orchestrator sync ")
    assert Started.number == 2


def test_nothing_is_sent_or_asked_where_wandb_is_switched_off(
    off: str, server: WandbServer, make_folder: MakeFolder, tmp_path: Path
) -> None:
    with pytest.raises(CannotRun, match=f"it is switched off by {off}"):
        sync(make_folder("offline").root, lambda line: None)
    with pytest.raises(CannotRun, match=f"it is switched off by {off}"):
        fetch("someone/project/sweep", tmp_path)
    assert server.requests == []


def test_sync_sends_what_was_kept_offline(
    server: WandbServer, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = make_folder("online")
    sync(folder.root, lambda line: None)
    check_equal(server, Results(folder.root))
