"""Which configuration is a head's best, and which heads lead."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from lightning_modules.metrics.proportions import wilson
from orchestrator.selection.ranking import leaderboard, rank, standing
from orchestrator.storage.event_log import Trial


def trial(index: int, objectives: list[float], status: Any = "completed", head: str = "arcface") -> Trial:
    epochs = [{"epoch": epoch, "objective": value} for epoch, value in enumerate(objectives, start=1)]
    return Trial(f"{head}-{index:03d}", head, index, 0, {"lr": 0.1}, status, "", epochs)


def names(trials: list[Trial]) -> list[str]:
    return [one.name for one in trials]


def test_the_last_epoch_counts_not_the_luckiest() -> None:
    lucky, steady = trial(0, [0.99, 0.5]), trial(1, [0.1, 0.6])
    assert names(rank([lucky, steady])) == ["arcface-001", "arcface-000"]


def test_a_completed_trial_stands_before_a_better_one_that_was_stopped() -> None:
    ranked = rank([trial(0, [0.9], "stopped"), trial(1, [0.2, 0.3]), trial(2, [0.95], "stopped")])
    assert names(ranked) == ["arcface-001", "arcface-002", "arcface-000"]


def test_what_runs_failed_diverged_or_reported_nothing_is_no_candidate() -> None:
    none = [trial(number, [0.9], status) for number, status in enumerate(("running", "failed", "diverged"))]
    assert rank([*none, trial(3, [], "completed"), trial(4, [], "stopped")]) == []


def test_ties_are_named_and_the_earlier_trial_is_taken() -> None:
    row = standing("arcface", [trial(2, [0.8]), trial(0, [0.8]), trial(1, [0.8], "stopped"), trial(3, [0.7])])
    assert row.best
    assert row.best.name == "arcface-000"
    assert row.ties == ("arcface-002",)
    assert row.objective == 0.8
    assert row.counts == {"completed": 3, "stopped": 1}


def test_the_order_in_which_trials_come_does_not_matter() -> None:
    trials = [trial(n, [value], status) for n, (value, status) in enumerate(
        itertools.product((0.5, 0.7, 0.7), ("completed", "stopped", "failed"))
    )]  # fmt: skip
    expected = standing("arcface", trials)
    for seed in range(20):
        shuffled = random.Random(seed).sample(trials, len(trials))
        assert standing("arcface", shuffled) == expected


def test_a_head_without_a_candidate_has_no_best() -> None:
    row = standing("arcface", [trial(0, [], "failed"), trial(1, [0.5], "running")])
    assert (row.best, row.ties, row.counts) == (None, (), {"failed": 1, "running": 1})
    assert row.merit == -math.inf


def test_an_objective_of_zero_is_one() -> None:
    row = standing("arcface", [trial(0, [0.0])])
    assert row.best
    assert row.objective == 0.0


def test_the_leaderboard_has_every_head_once_the_best_first() -> None:
    trials = [
        trial(0, [0.7]), trial(0, [0.9], head="cosface"), trial(1, [0.8], head="cosface"),
        trial(0, [0.0], head="softmax"),
    ]  # fmt: skip
    rows = leaderboard(["hybrid", "softmax", "arcface", "cosface"], trials)
    assert [row.head for row in rows] == ["cosface", "arcface", "softmax", "hybrid"]
    assert [row.best.name if row.best else None for row in rows] == ["cosface-000", "arcface-000", "softmax-000", None]


def test_heads_with_equal_scores_keep_the_studys_order() -> None:
    trials = [trial(0, [0.5], head=head) for head in ("softmax", "arcface", "cosface")]
    assert [row.head for row in leaderboard(["cosface", "softmax", "arcface"], trials)] == [
        "cosface",
        "softmax",
        "arcface",
    ]


@pytest.mark.parametrize("number", [1, 2, 7, 40, 1000, 10_000, 1_000_000])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9735, 0.999, 1.0])
def test_the_interval_of_a_share_is_wilsons(share: float, number: int) -> None:
    right = round(share * number)
    expected = binomtest(right, number).proportion_ci(0.95, method="wilson")
    assert wilson(right / number, number) == pytest.approx((expected.low, expected.high), abs=1e-8)


@given(number=st.integers(1, 10**6), right=st.floats(0, 1))
@settings(deadline=None)
def test_an_interval_holds_its_share_and_mirrors_that_of_the_rest(number: int, right: float) -> None:
    share = round(right * number) / number
    low, high = wilson(share, number)
    assert low <= share + 1e-12
    assert high >= share - 1e-12
    mirrored = wilson(1 - share, number)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_interval_stays_a_share(share: float) -> None:
    """Else a table would say -0.0000."""
    for number in range(1, 2000):
        low, high = wilson(share, number)
        assert 0 <= low <= high <= 1, number
        assert not f"{low:.4f}".startswith("-"), number
