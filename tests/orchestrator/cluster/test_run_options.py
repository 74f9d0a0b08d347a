"""How long a search may take: what is written, what is left, and that it ends in time with all on record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.cluster import run_options
from orchestrator.cluster.run_options import SAVE_S, RunOptions, seconds
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.trials import tuner
from tests.orchestrator.alone import alone, one_ray
from tests.orchestrator.processes import epochs_on_record


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
    assert RunOptions().left_s is None
    assert not RunOptions().used_up
    assert RunOptions(time_budget_s=12 * 3600).left_s == pytest.approx(12 * 3600 - SAVE_S, abs=5)
    assert RunOptions(time_budget_s=100, began=now).left_s == pytest.approx(90, abs=5)
    assert RunOptions(time_budget_s=100, began=now - 91).used_up


def test_a_search_ends_within_its_time_and_can_go_on(
    small_study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget of an hour ends a search gracefully, a little before it is over; the hour passes after an epoch."""
    folder, passed, alarms = StudyFolder(tmp_path / "small"), threading.Event(), list[float]()

    class Alarm(threading.Thread):
        """In a timer's place: rings once an epoch is on record."""

        def __init__(self, in_s: float, ring: Callable[[], None]) -> None:
            super().__init__(daemon=True)
            self.ring = ring
            alarms.append(in_s)

        def run(self) -> None:
            while not epochs_on_record(folder):
                time.sleep(0.02)
            passed.set()
            self.ring()

        def cancel(self) -> None:
            passed.set()

    monkeypatch.setattr(tuner, "threading", SimpleNamespace(**{**vars(threading), "Timer": Alarm}))
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * passed.is_set())
    monkeypatch.setattr(run_options, "time", clock)
    study = small_study(search="{trials_per_head: 100, scheduler: none, concurrent_trials: 1}")
    with one_ray(cores=1), alone():
        done = CliRunner().invoke(app, ["launch", str(study), "--results", str(tmp_path), "--time-budget", "1h"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert alarms == [pytest.approx(3600 - SAVE_S, abs=600)]
    said = f"the time budget is used up; orchestrator resume {folder.root} goes on"
    assert said in done.stderr.replace("\n", "")
    assert not Results(folder.root).finished
    assert folder.driver() is None
    assert folder.trials()
