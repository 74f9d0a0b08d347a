"""The searchers of a contest: TPE learns from what trials reached, a grid gives every point once."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import Any

import pytest

from orchestrator.search.allocation import Assignment, Contest
from orchestrator.search.samplers.grid import grid, grid_size
from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Study
from search_spaces.configurations import Searched
from search_spaces.distributions import Choice, Parameter, Range
from search_spaces.heads import HEADS

TRIALS = 30


def make_study(searcher: str, seed: int = 0, trials: int = TRIALS, **search: Any) -> Study:
    search = {"searcher": searcher, "seed": seed, "trials_per_head": trials, **search}
    return Study.model_validate({"name": "toy", "heads": {"arcface": {}}, "search": search})


def space_of(*parameters: Parameter, when: tuple[str, Any] | None = None) -> dict[str, Searched]:
    """Parameters a, b, … that start at their first value; the last one under a condition."""
    return {
        name: Searched(
            item, item.values[0] if item.values else item.low, "", when if name == "abcd"[len(parameters) - 1] else None
        )
        for name, item in zip("abcd", parameters, strict=False)
    }


TOY = {"arcface": space_of(Range(0.0, 1.0))}


def peak(params: dict[str, Any]) -> float:
    """A one-dimensional objective with its best, 1.0, at 0.7."""
    return float(1 - abs(params["a"] - 0.7))


def play(contest: Contest, fate: Callable[[Assignment], str] = lambda given: "completed") -> list[Assignment]:
    """Every trial of a contest, trained for two epochs on the toy objective, one after the other."""
    played = []
    while given := contest.next():
        played.append(given)
        status = fate(given)
        if status != "failed":
            contest.epoch(given.name, {"epoch": 1, "objective": peak(given.params) / 2})
        if status == "completed":
            contest.epoch(given.name, {"epoch": 2, "objective": peak(given.params)})
        contest.end(given.name, status)
    return played


def late_mean(played: list[Assignment]) -> float:
    return mean(peak(given.params) for given in played[-10:])


def test_what_tpe_proposes_late_is_better_than_what_chance_does() -> None:
    tpe = [late_mean(play(Contest(make_study("tpe", seed), TOY))) for seed in range(5)]
    random = [late_mean(play(Contest(make_study("random", seed), TOY))) for seed in range(5)]
    assert mean(tpe) > mean(random) + 0.1
    assert mean(tpe) > 0.8


def test_tpe_remembers_the_record_after_a_resume() -> None:
    found = []
    for seed in range(5):
        study = make_study("tpe", seed)
        record = [
            Trial(one.name, one.head, one.index, one.seed, one.params, "completed", "",
                  [{"epoch": 1, "objective": peak(one.params)}])
            for one in play(Contest(study, TOY))[: TRIALS - 10]
        ]  # fmt: skip
        found.append(late_mean(play(Contest(study, TOY, record))))
    assert mean(found) > 0.8


def test_tpe_keeps_away_from_where_trials_diverge() -> None:
    def fate(given: Assignment) -> str:
        return "diverged" if given.params["a"] > 0.3 else "completed"

    played = [play(Contest(make_study("tpe", seed), TOY), fate) for seed in range(20)]
    late = [given.params["a"] for trials in played for given in trials[-10:]]
    assert mean(value > 0.3 for value in late) < 0.5  # by chance 0.7; by the objective alone nearly 1


@pytest.mark.parametrize("status", ["failed", "diverged", "stopped"])
@pytest.mark.parametrize("searcher", ["tpe", "random", "grid"])
def test_a_contest_in_which_nothing_is_completed_still_gives_every_trial(searcher: str, status: str) -> None:
    study = make_study(searcher, trials=15, grid_points=15)
    played = play(Contest(study, TOY), lambda given: status)
    assert len({given.name for given in played}) == 15
    assert all(0 <= given.params["a"] <= 1 for given in played)


@pytest.mark.parametrize("status", ["failed", "diverged", "stopped"])
def test_a_trial_that_reported_nothing_may_end_in_any_way(status: str) -> None:
    contest = Contest(make_study("tpe", trials=2), TOY)
    given = contest.next()
    assert given
    contest.end(given.name, status)
    assert contest.remaining == 1


def test_several_trials_at_a_time_are_proposed_apart() -> None:
    contest = Contest(make_study("tpe", trials=20), TOY)
    values = [given.params["a"] for given in iter(contest.next, None)]
    assert len(set(values)) == 20


def test_a_grid_holds_what_a_condition_makes_equal_only_once() -> None:
    space = space_of(Choice(("feature", "fixed")), Range(1.0, 2.0), Range(8.0, 32.0), when=("a", "fixed"))
    configurations = grid(space, 3)
    assert len(configurations) == 3 + 3 * 3
    assert all(("c" in params) == (params["a"] == "fixed") for params in configurations)
    assert len({tuple(params.items()) for params in configurations}) == len(configurations) == grid_size(space, 3)


@pytest.mark.parametrize("head", HEADS)
def test_the_size_of_a_grid_is_told_without_making_it(head: str) -> None:
    study = {"name": "toy", "heads": {head: {"lr": {"values": [0.01, 0.02]}}}, "embedding_dim": 16}
    space = Study.model_validate(study).spaces(10)[head]
    assert grid_size(space, 2) == len(grid(space, 2))


def test_a_grid_contest_gives_every_point_once_in_an_order_of_the_seed() -> None:
    spaces = {"arcface": space_of(Choice(("x", "y")), Range(0.0, 1.0))}

    def order(seed: int) -> list[tuple[Any, ...]]:
        contest = Contest(make_study("grid", seed, trials=8, grid_points=4), spaces)
        return [tuple(given.params.values()) for given in iter(contest.next, None)]

    assert sorted(order(0)) == sorted(grid_values(spaces["arcface"], 4))
    assert order(0) != order(1)
    assert sorted(order(0)) == sorted(order(1))


def grid_values(space: dict[str, Searched], points: int) -> list[tuple[Any, ...]]:
    return [tuple(params.values()) for params in grid(space, points)]


def test_a_resumed_grid_goes_on_with_the_points_that_are_left() -> None:
    spaces, study = {"arcface": space_of(Range(0.0, 1.0))}, make_study("grid", trials=6, grid_points=6)
    given = list(iter(Contest(study, spaces).next, None))
    record = [
        Trial(one.name, one.head, one.index, one.seed, one.params, status)
        for one, status in zip(given, ("completed", "failed", "running"), strict=False)
    ]
    rest = list(iter(Contest(study, spaces, record).next, None))
    assert [one.params for one in rest] == [one.params for one in given[2:]]
