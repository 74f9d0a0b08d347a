"""How much is confirmed, what is asked for, and who is the best of a head on fresh seeds."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

from orchestrator.selection.candidates import Candidate, judge
from orchestrator.selection.confirmation import Confirmation, ask, ask_by_default, size
from orchestrator.selection.replicates import ReplicationPlan, fresh_seeds
from orchestrator.selection.statistics import MeanEstimate
from orchestrator.storage.event_log import Status, Trial
from orchestrator.study.schema import Study

ENOUGH_TRIALS, FEWEST_SEEDS, MOST = 4, 3, 5


def make_study(trials: int = 20, scheduler: str = "asha", **confirmation: Any) -> Study:
    search = {"trials_per_head": trials, "scheduler": scheduler, "searcher": "random"}
    heads = {"softmax": {}, "arcface": {}, "cosface": {}}
    return Study.model_validate({"name": "c", "heads": heads, "search": search, "confirmation": confirmation})


SCHEDULERS = {"asha": 0.5, "none": 1.0, "pbt": 1.0}  # and what a trial costs, in full runs


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_confirmation_costs_about_the_search_at_most(scheduler: str) -> None:
    for trials in range(ENOUGH_TRIALS, 101):
        top, seeds = size(make_study(trials, scheduler))
        searched = SCHEDULERS[scheduler] * trials
        assert 1 <= top <= MOST, trials
        assert FEWEST_SEEDS <= seeds <= MOST, trials
        assert top * seeds <= max(searched, FEWEST_SEEDS), trials
        assert top * seeds > min(searched, MOST * MOST) / 2, trials
    assert (top, seeds) == (MOST, MOST)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("trials", range(1, ENOUGH_TRIALS))
def test_a_few_trials_are_confirmed_only_when_asked(scheduler: str, trials: int) -> None:
    assert size(make_study(trials, scheduler)) == (0, 0)
    assert size(make_study(trials, scheduler, top=1)) == (1, FEWEST_SEEDS)
    assert size(make_study(trials, scheduler, seeds=2)) == (1, 2)
    assert size(make_study(trials, scheduler, top=9, seeds=7)) == (trials, 7)


@pytest.mark.parametrize(
    ("trials", "scheduler", "expected"),
    [(20, "asha", (2, 5)), (20, "none", (4, 5)), (30, "asha", (3, 5)), (30, "pbt", (5, 5)), (4, "none", (1, 3))],
)
def test_sizes_worked_out_by_hand(trials: int, scheduler: str, expected: tuple[int, int]) -> None:
    assert size(make_study(trials, scheduler)) == expected


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("trials", [1, 3, 4, 10, 100])
def test_what_is_written_wins(scheduler: str, trials: int) -> None:
    for top in range(9):
        for seeds in range(9):
            expected = (min(top, trials), seeds) if top and seeds else (0, 0)
            assert size(make_study(trials, scheduler, top=top, seeds=seeds)) == expected
    for number in range(1, 120):
        assert size(make_study(trials, scheduler, top=number))[0] == min(number, trials)
        top, seeds = size(make_study(trials, scheduler, seeds=number))
        assert seeds == number
        assert top * seeds <= max(number, SCHEDULERS[scheduler] * trials)
    assert size(make_study(trials, scheduler, top=0)) == size(make_study(trials, scheduler, seeds=0)) == (0, 0)


def trial(head: str, index: int, objective: float, status: Status = "completed", **params: Any) -> Trial:
    epochs = [{"epoch": 1, "objective": 0.99}, {"epoch": 2, "objective": objective}]
    return Trial(f"{head}-{index:03d}", head, index, index, params or {"lr": index / 10}, status, "", epochs)


SEARCHED = [
    trial("softmax", 0, 0.7),
    trial("arcface", 0, 0.8),
    trial("arcface", 1, 0.95, lr=0.5, scale=8.0),
    trial("arcface", 2, 0.9),
    trial("arcface", 3, 0.94, scale=8.0, lr=0.5 + 1e-12),
    trial("arcface", 4, 0.99, "stopped"),
    trial("arcface", 5, 0.99, "diverged"),
    trial("arcface", 6, 0.99, "failed"),
    trial("arcface", 7, 0.85),
    trial("cosface", 0, 0.99, "diverged"),
]


def test_the_best_of_each_head_are_asked_for_equal_ones_once() -> None:
    asked = ask(make_study(), SEARCHED, 3, 4, racing=True)
    assert asked.configurations == ("softmax-000", "arcface-001", "arcface-002", "arcface-007")
    assert asked.seeds == tuple(fresh_seeds(make_study(), "seed", 4))
    assert asked.racing
    everyone = ask(make_study(), SEARCHED, 100, 4, racing=False).configurations
    assert everyone[1:] == ("arcface-001", "arcface-002", "arcface-007", "arcface-000", "arcface-004")


def test_the_order_of_the_record_does_not_matter_for_what_is_asked() -> None:
    expected = ask(make_study(), SEARCHED, 2, 3, racing=False)
    for seed in range(20):
        shuffled = random.Random(seed).sample(SEARCHED, len(SEARCHED))
        assert ask(make_study(), iter(shuffled), 2, 3, racing=False) == expected


def test_by_default_the_study_says_what_is_asked() -> None:
    study = make_study(top=1, seeds=2, racing=True)
    assert ask_by_default(study, SEARCHED) == ask(study, SEARCHED, 1, 2, racing=True)
    assert ask_by_default(make_study(top=0), SEARCHED).configurations == ()
    assert ask_by_default(make_study(), [trial("arcface", 0, 0.9, "failed")]).configurations == ()


def test_what_is_asked_comes_back_from_the_record() -> None:
    first, last = (
        ReplicationPlan(("arcface-001",), (1, 2)),
        ReplicationPlan(("arcface-001", "arcface-002"), (1, 2, 3), racing=True),
    )
    assert ReplicationPlan.last([first.event(), {"event": "start"}, last.event(), {"event": "end"}]) == last
    assert ReplicationPlan.last([{"event": "start"}]) is None


def run(name: str, number: int, objective: float | None, status: Status = "completed", seed: int = 0) -> Trial:
    epochs = [] if objective is None else [{"epoch": 1, "objective": objective}]
    return Trial(f"{name}-seed-{number}", name[:-4], number, seed or 500 + number, {}, status, "", epochs)


def candidate(name: str, *objectives: float, lost: int = 0) -> Candidate:
    """A configuration that the search put at 0.99 whatever it is worth; its lost runs come last."""
    runs = [run(name, number, value) for number, value in enumerate(objectives, start=1)]
    runs += [run(name, len(runs) + each, 1.0, ("diverged", "failed")[each % 2]) for each in range(1, lost + 1)]
    return Candidate(trial(name[:-4], int(name[-3:]), 0.99), tuple(runs))


def names(found: Any) -> list[str]:
    return [each.trial.name for each in found.candidates]


def test_only_runs_that_reached_their_end_count() -> None:
    found = Candidate(SEARCHED[1], (*candidate("arcface-000", 0.9, 0.8, lost=2).runs, run("x-000", 9, 0.1, "running")))
    assert found.scores == {501: 0.9, 502: 0.8}
    assert found.lost == 2
    assert found.estimate == MeanEstimate.of([0.9, 0.8])
    assert candidate("arcface-000", lost=3).estimate is None


def test_the_highest_mean_wins_not_the_highest_run() -> None:
    found = judge("arcface", [candidate("arcface-000", 0.99, 0.8, 0.8), candidate("arcface-001", 0.9, 0.9, 0.91)])
    assert found
    assert names(found) == ["arcface-001", "arcface-000"]
    assert found.estimate == MeanEstimate.of([0.9, 0.9, 0.91])
    assert found.best.trial.name == "arcface-001"


def test_what_lost_a_run_or_left_the_race_ranks_behind() -> None:
    found = judge(
        "arcface",
        [
            candidate("arcface-000", 0.97, 0.97, 0.97, 0.97, lost=1),
            candidate("arcface-001", 0.96, 0.96, 0.96),
            candidate("arcface-002", 0.90, 0.90, 0.90, 0.90, 0.90),
            candidate("arcface-003", 0.98, 0.98, 0.98, lost=2),
            candidate("arcface-004", lost=5),
        ],
    )
    assert found
    assert names(found) == ["arcface-002", "arcface-001", "arcface-000", "arcface-003"]


def test_a_head_without_a_run_is_not_judged() -> None:
    assert judge("arcface", []) is None
    assert judge("arcface", [candidate("arcface-000", lost=5), candidate("arcface-001")]) is None


def test_ties_are_what_cannot_be_told_apart_from_the_best() -> None:
    found = judge(
        "arcface",
        [
            candidate("arcface-000", 0.80, 0.81, 0.79, 0.80, 0.80),
            candidate("arcface-001", 0.95, 0.96, 0.94, 0.96, 0.95),
            candidate("arcface-002", 0.96, 0.95, 0.95, 0.94, 0.97),
        ],
    )
    assert found
    assert names(found)[0] == "arcface-002"
    assert found.ties == ("arcface-001",)
    alone = judge("arcface", [candidate("arcface-000", 0.9)])
    assert alone
    assert alone.ties == ()


def test_ties_are_judged_with_as_many_comparisons_as_there_are() -> None:
    """A p of 0.03 alone is a difference; among three such it is none."""
    apart = [0.012, 0.002, 0.011, 0.001, 0.013]
    assert 0.05 / 3 < stats.ttest_1samp(apart, 0).pvalue < 0.05
    best, behind = [0.95] * 5, [0.95 - each for each in apart]
    alone = judge("arcface", [candidate("arcface-000", *best), candidate("arcface-001", *behind)])
    many = judge(
        "arcface", [candidate("arcface-000", *best), *(candidate(f"arcface-00{n}", *behind) for n in (1, 2, 3))]
    )
    assert alone
    assert many
    assert alone.ties == ()
    assert many.ties == ("arcface-001", "arcface-002", "arcface-003")


def confirmation(scores: Mapping[str, list[float]], seeds: tuple[int, ...], *runs: Trial, racing: bool = False) -> Any:
    """A confirmation of these configurations with these objectives, seed by seed, and perhaps other runs."""
    found = [run(name, n, value, seed=seeds[n - 1]) for name, own in scores.items() for n, value in enumerate(own, 1)]
    trials = {name: trial(name[:-4], int(name[-3:]), 0.99) for name in scores}
    return Confirmation(
        ReplicationPlan(tuple(scores), seeds, racing), {each.name: each for each in (*found, *runs)}, trials
    )


SEEDS = (21, 22, 23, 24, 25)
SHARED = np.array([0.02, -0.03, 0.01, 0.04, -0.04])  # what a seed does to every head
ARCFACE = SHARED + np.array([0.950, 0.951, 0.950, 0.949, 0.950])
COSFACE = SHARED + np.array([0.945, 0.944, 0.946, 0.945, 0.944])


def test_nothing_is_confirmed_on_half_of_the_runs() -> None:
    whole = {"arcface-001": ARCFACE.tolist(), "cosface-002": COSFACE.tolist()}
    for missing in range(1, 11):
        kept = {"arcface-001": whole["arcface-001"][: 10 - missing], "cosface-002": whole["cosface-002"][: 5 - missing]}
        if missing >= 5:
            kept["cosface-002"] = []
        half = confirmation(kept, SEEDS)
        assert not half.finished
        assert (half.heads, half.between_heads, half.verdicts()) == ({}, [], [])
    running = confirmation(
        whole | {"cosface-002": whole["cosface-002"][:4]}, SEEDS, run("cosface-002", 5, 1.0, "running")
    )
    assert running.heads == {}
    found = confirmation(whole, SEEDS)
    assert found.finished
    assert list(found.heads) == ["arcface", "cosface"]
    assert found.heads["arcface"].estimate == MeanEstimate.of(whole["arcface-001"])


def test_a_race_is_finished_without_the_runs_of_those_that_left() -> None:
    scores = {"arcface-001": ARCFACE.tolist(), "arcface-002": (ARCFACE - 0.2 + SHARED / 50).tolist()[:3]}
    found = confirmation(scores, SEEDS, racing=True)
    assert found.finished
    assert names(found.heads["arcface"]) == ["arcface-001", "arcface-002"]
    assert not confirmation(scores, SEEDS).finished


def test_a_head_whose_runs_all_failed_is_not_confirmed() -> None:
    failed = [run("cosface-002", number, None, "failed", seed) for number, seed in enumerate(SEEDS, 1)]
    found = confirmation({"arcface-001": ARCFACE.tolist(), "cosface-002": []}, SEEDS, *failed)
    assert found.finished
    assert list(found.heads) == ["arcface"]


def test_heads_are_compared_seed_by_seed() -> None:
    """The seeds spread ten times as far as the heads are apart: without pairs nobody would see a difference."""
    found = confirmation({"cosface-002": COSFACE.tolist(), "arcface-001": ARCFACE.tolist()}, SEEDS)
    (difference,) = found.between_heads
    assert difference.p == pytest.approx(stats.ttest_rel(ARCFACE, COSFACE).pvalue)
    assert stats.ttest_ind(ARCFACE, COSFACE).pvalue > 0.5
    assert found.verdicts() == [f"arcface is better than cosface by 0.0052 at n = 5 (p = {difference.p:.2g})"]


def test_a_lost_run_leaves_the_other_seeds_to_compare() -> None:
    lost = run("cosface-002", 5, 1.0, "diverged", SEEDS[4])
    found = confirmation({"arcface-001": ARCFACE.tolist(), "cosface-002": COSFACE.tolist()[:4]}, SEEDS, lost)
    (difference,) = found.between_heads
    assert difference.estimate == MeanEstimate.of(
        (abs(ARCFACE - COSFACE)[:4] * np.sign(difference.estimate.mean)).tolist()
    )
    assert {difference.first, difference.second} == {"arcface", "cosface"}


def test_the_best_of_a_head_is_what_is_compared_between_heads() -> None:
    better = {"cosface-002": COSFACE.tolist(), "cosface-000": (COSFACE + 0.1).tolist()}
    found = confirmation({"arcface-001": ARCFACE.tolist(), **better}, SEEDS)
    (difference,) = found.between_heads
    assert (difference.first, difference.second) == ("cosface", "arcface")
    assert difference.estimate.mean == pytest.approx(np.mean(COSFACE + 0.1 - ARCFACE))


def test_how_much_is_planned_is_known_from_the_start() -> None:
    found = confirmation({"arcface-001": [], "arcface-002": [], "cosface-002": []}, SEEDS)
    assert found.planned == {"arcface": 10, "cosface": 5}
    assert found.top == 2
    assert found.repeats().remaining == 15
    nothing = confirmation({}, SEEDS)
    assert (nothing.planned, nothing.top, nothing.finished, nothing.heads) == ({}, 0, True, {})
