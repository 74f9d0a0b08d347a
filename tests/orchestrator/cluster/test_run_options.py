"""How long a search may take: what is written, and what is left."""

from __future__ import annotations

import time

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.cluster.run_options import SAVE_S, RunOptions, seconds


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
