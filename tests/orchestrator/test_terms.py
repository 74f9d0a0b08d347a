"""How long a search may take: what is written, what is left, and that it ends in time with all on record."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.records import StudyFolder
from orchestrator.results import Results
from orchestrator.terms import SAVE_S, Terms, seconds
from tests.orchestrator.processes import orchestrator


@pytest.mark.parametrize(
    ("written", "meant"),
    [("12h", 43200), ("90m", 5400), ("90min", 5400), ("1h30m", 5400), ("45s", 45), ("0.5h", 1800), (" 1h2m3s ", 3723)],
)
def test_a_duration_means(written: str, meant: float) -> None:
    assert seconds(written) == meant


@pytest.mark.parametrize(
    "written", ["", "12", "h", "12 h", "-1h", "1h-2m", "0h", "1d", "30m1h", "nan", "87601h", "9" * 400 + "h"]
)
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="a duration is written like 12h"):
        seconds(written)
    done = CliRunner().invoke(app, ["resume", "anywhere", "--time-budget", written])
    assert done.exit_code == 2
    assert "a duration is written like 12h" in done.stderr


def test_some_time_is_kept_to_save_in() -> None:
    now = time.monotonic()
    assert Terms().left_s is None
    assert not Terms().used_up
    assert Terms(time_budget_s=12 * 3600).left_s == pytest.approx(12 * 3600 - SAVE_S, abs=5)
    assert Terms(time_budget_s=100, began=now).left_s == pytest.approx(90, abs=5)
    assert Terms(time_budget_s=100, began=now - 91).used_up


def test_a_search_ends_within_its_time_and_can_go_on(small_study: Callable[..., Path], tmp_path: Path) -> None:
    study = small_study(search="{trials_per_head: 100, scheduler: none, concurrent_trials: 1}")
    search = orchestrator("launch", study, "--results", tmp_path, "--time-budget", "40s")
    _, told = search.communicate()
    assert search.returncode == 0, told
    folder = StudyFolder(tmp_path / "small")
    assert f"the time budget is used up; orchestrator resume {folder.root} goes on" in told.replace("\n", "")
    assert not Results(folder.root).finished
    assert folder.driver() is None
    assert folder.trials()
