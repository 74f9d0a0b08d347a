"""Runs on fresh seeds: their order and seeds, what a record brings back, and who leaves a race."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import StudyError
from orchestrator.search.allocation import Assignment, Contest
from orchestrator.selection import statistics
from orchestrator.selection.replicates import (
    RACING_FROM,
    Replicates,
    ReplicationPlan,
    configuration_of,
    fresh_seeds,
    run_name,
)
from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Study

NAMES = ("arcface-003", "arcface-001", "cosface-000")
SEEDS = (11, 12, 13, 14, 15)


def configurations(names: tuple[str, ...] = NAMES) -> list[Trial]:
    return [Trial(name, name[:-4], int(name[-3:]), 7, {"lr": int(name[-3:]) / 10}, "completed") for name in names]


def as_recorded(run: Assignment, objective: float | None = None, status: Any = "completed") -> Trial:
    epochs = (
        [] if objective is None else [{"epoch": 1, "objective": objective / 2}, {"epoch": 2, "objective": objective}]
    )
    return Trial(run.name, run.head, run.index, run.seed, run.params, status, "", epochs)


Score = Callable[[Assignment], float]


def play(repeats: Replicates, score: Score = lambda run: 0.5, most: int = 10**6, fate: Any = None) -> list[Trial]:
    """Up to `most` runs, one after the other, as they would stand in the record."""
    done: list[Trial] = []
    while len(done) < most and (run := repeats.next()):
        status = fate(run) if fate else "completed"
        if status != "failed":
            repeats.epoch(run.name, {"epoch": 1, "objective": score(run) / 2})
            repeats.epoch(run.name, {"epoch": 2, "objective": score(run)})
        repeats.end(run.name, status)
        done.append(as_recorded(run, None if status == "failed" else score(run), status))
    return done


def repeats_of(asked: ReplicationPlan, record: list[Trial] | None = None) -> Replicates:
    return Replicates(asked, configurations(asked.configurations), "seed", record or [])


def test_a_round_is_one_seed_of_everyone_in_the_order_asked() -> None:
    runs = play(repeats_of(ReplicationPlan(NAMES, SEEDS[:2])))
    assert [(run.name, run.head, run.index, run.seed, run.params) for run in runs] == [
        ("arcface-003-seed-1", "arcface", 1, 11, {"lr": 0.3}),
        ("arcface-001-seed-1", "arcface", 1, 11, {"lr": 0.1}),
        ("cosface-000-seed-1", "cosface", 1, 11, {"lr": 0.0}),
        ("arcface-003-seed-2", "arcface", 2, 12, {"lr": 0.3}),
        ("arcface-001-seed-2", "arcface", 2, 12, {"lr": 0.1}),
        ("cosface-000-seed-2", "cosface", 2, 12, {"lr": 0.0}),
    ]


def test_what_remains_is_counted() -> None:
    repeats = repeats_of(ReplicationPlan(NAMES, SEEDS))
    for left in range(14, -1, -1):
        assert repeats.next()
        assert repeats.remaining == left
    assert repeats.next() is None


def test_nothing_asked_is_nothing_to_do() -> None:
    assert repeats_of(ReplicationPlan((), SEEDS)).next() is None
    assert repeats_of(ReplicationPlan(NAMES, ())).remaining == 0


@pytest.mark.parametrize("name", ["arcface-003", "pml.ProxyAnchorLoss-012", "my-head-seed-1-000"])
@pytest.mark.parametrize("kind", ["seed", "final"])
def test_a_runs_name_tells_its_configuration(name: str, kind: Any) -> None:
    assert run_name(name, kind, 12) == f"{name}-{kind}-12"
    assert configuration_of(run_name(name, kind, 12), kind) == name


def study(seed: int = 0, training_seed: Any = "auto", trials: int = 200) -> Study:
    search = {"seed": seed, "trials_per_head": trials, "searcher": "random"}
    content = {"name": "fresh", "heads": {"softmax": {}}, "search": search, "training": {"seed": training_seed}}
    return Study.model_validate(content)


@pytest.mark.parametrize("seed", [0, 1, 21_474, 2**31 - 1])
def test_fresh_seeds_are_nobody_elses(seed: int) -> None:
    asked = study(seed)
    contest = Contest(asked, asked.spaces(10))
    searched = {run.seed for run in iter(contest.next, None)}
    fresh, final = fresh_seeds(asked, "seed", 60), fresh_seeds(asked, "final", 60)
    assert len({*searched, *fresh, *final}) == 200 + 60 + 60
    assert all(0 <= each < 2**31 for each in (*fresh, *final))
    assert not {*fresh, *final} & {
        *fresh_seeds(study(seed ^ 1), "seed", 60),
        *fresh_seeds(study(seed ^ 1), "final", 60),
    }


@pytest.mark.parametrize("kind", ["seed", "final"])
def test_a_fixed_training_seed_is_no_fresh_one(kind: Any) -> None:
    usual = fresh_seeds(study(), kind, 5)
    assert fresh_seeds(study(training_seed=3), kind, 5) == usual
    for place, taken in enumerate(usual):
        found = fresh_seeds(study(training_seed=taken), kind, 5)
        assert len(set(found)) == 5
        assert found[:4] == usual[:place] + usual[place + 1 :]


def test_more_seeds_than_anyone_trains_with_are_refused() -> None:
    with pytest.raises(StudyError, match="at most 1000"):
        fresh_seeds(study(), "seed", 10**9)


@given(seed=st.integers(0, 2**31 - 1), few=st.integers(0, 10), more=st.integers(0, 10), fixed=st.integers(0, 12))
def test_more_seeds_begin_with_those_of_fewer(seed: int, few: int, more: int, fixed: int) -> None:
    taken = fresh_seeds(study(seed), "seed", 13)[fixed]
    for asked in (study(seed), study(seed, taken)):
        assert fresh_seeds(asked, "seed", few + more)[:few] == fresh_seeds(asked, "seed", few)


def test_more_seeds_and_configurations_go_on_with_what_is_there() -> None:
    record = play(repeats_of(ReplicationPlan(NAMES[:1], SEEDS[:2])))
    more = play(repeats_of(ReplicationPlan(NAMES, SEEDS[:3]), record))
    assert {run.name for run in record} & {run.name for run in more} == set()
    assert sorted(run.name for run in record + more) == sorted(
        run_name(name, "seed", number) for name in NAMES for number in (1, 2, 3)
    )


def by_luck(run: Assignment) -> float:
    """An objective of a run that a seed and a configuration decide: arcface-001 is clearly behind."""
    behind = 0.05 if run.name.startswith("arcface-001") else 0.0
    return 0.9 - behind + random.Random(f"{run.seed} {run.params}").gauss(0, 0.004)


@pytest.mark.parametrize("racing", [False, True])
@pytest.mark.parametrize("cut", range(15))
def test_a_record_from_the_middle_goes_on_as_if_nothing_had_happened(racing: bool, cut: int) -> None:
    asked = ReplicationPlan(NAMES, SEEDS, racing)
    whole = play(repeats_of(asked), by_luck)
    record = whole[:cut]
    again = repeats_of(asked, record)
    assert record + play(again, by_luck) == whole
    assert len(whole) == (13 if racing else 15)


def test_what_was_interrupted_goes_on_first_with_its_seed_and_settings() -> None:
    repeats = repeats_of(ReplicationPlan(NAMES, SEEDS[:2]))
    ended, cut, begun = (repeats.next() for _ in range(3))
    assert ended
    assert cut
    assert begun
    record = [as_recorded(ended, 0.9), as_recorded(cut, 0.8, "running"), as_recorded(begun, None, "running")]
    again = repeats_of(ReplicationPlan(NAMES, SEEDS[:2]), record)
    assert again.remaining == 5
    rest = list(iter(again.next, None))
    assert rest[:2] == [Assignment(**{**vars(run), "continues": True}) for run in (cut, begun)]
    assert [run.name for run in rest[2:]] == [run_name(name, "seed", 2) for name in NAMES]
    assert not any(run.continues for run in rest[2:])


@pytest.mark.parametrize("status", ["failed", "diverged"])
@pytest.mark.parametrize("racing", [False, True])
def test_a_run_that_failed_is_not_run_again_and_its_configuration_stays(status: str, racing: bool) -> None:
    asked = ReplicationPlan(NAMES[:2], SEEDS, racing)
    fate: Callable[[Assignment], str] = lambda run: status if run.index == 2 and "003" in run.name else "completed"  # noqa: E731
    repeats = repeats_of(asked)
    runs = play(repeats, lambda run: 0.9, fate=fate)
    assert len(runs) == 10
    assert repeats.dropped == set()
    assert repeats_of(asked, runs).next() is None


def test_what_diverges_counts_for_nothing_in_a_race() -> None:
    """Its last objective, before it diverged, is no result: so three rounds give only two common seeds."""
    asked = ReplicationPlan(NAMES[:2], SEEDS[:3], racing=True)
    repeats = repeats_of(asked)
    play(repeats, by_luck, fate=lambda run: "diverged" if run.index == 3 and "001" in run.name else "completed")
    assert repeats.dropped == set()


def scored(table: Mapping[str, list[float]]) -> Score:
    return lambda run: table[configuration_of(run.name, "seed")][run.index - 1]


CLEAR = {"arcface-003": [0.95, 0.952, 0.951, 0.953, 0.95], "arcface-001": [0.85, 0.853, 0.851, 0.852, 0.85]}


@pytest.mark.parametrize("names", [NAMES[:2], NAMES[1::-1]])
def test_a_race_drops_what_is_clearly_behind_and_goes_on_with_the_rest(names: tuple[str, ...]) -> None:
    repeats = repeats_of(ReplicationPlan(names, SEEDS, racing=True))
    runs = play(repeats, scored(CLEAR))
    assert repeats.dropped == {"arcface-001"}
    assert [run.index for run in runs if run.name.startswith("arcface-001")] == [1, 2, 3]
    assert [run.index for run in runs if run.name.startswith("arcface-003")] == [1, 2, 3, 4, 5]


def test_without_racing_everyone_gets_every_seed() -> None:
    repeats = repeats_of(ReplicationPlan(NAMES[:2], SEEDS))
    assert len(play(repeats, scored(CLEAR))) == 10
    assert repeats.dropped == set()


def test_a_race_compares_only_within_a_head() -> None:
    repeats = repeats_of(ReplicationPlan(("arcface-003", "cosface-000"), SEEDS, racing=True))
    play(repeats, scored({"arcface-003": CLEAR["arcface-003"], "cosface-000": CLEAR["arcface-001"]}))
    assert repeats.dropped == set()


def test_nobody_leaves_a_race_for_a_seed_that_the_other_lost() -> None:
    """arcface-003 leads on average by a seed that arcface-001 lost, but is clearly behind on those that both have."""
    lucky = {"arcface-003": [0.99, 0.90, 0.91, 0.905, 0.9], "arcface-001": [0.99, 0.92, 0.931, 0.9255, 0.92]}
    repeats = repeats_of(ReplicationPlan(NAMES[:2], SEEDS[:4], racing=True))
    play(repeats, scored(lucky), fate=lambda run: "diverged" if run.name == "arcface-001-seed-1" else "completed")
    assert "arcface-001" not in repeats.dropped


VALUES = st.lists(st.floats(0, 1).map(lambda value: round(value, 2)), min_size=5, max_size=5)


@given(table=st.lists(VALUES, min_size=2, max_size=4))
@settings(deadline=None, max_examples=60)
def test_nobody_leaves_a_race_early_or_ahead(table: list[list[float]]) -> None:
    names = tuple(f"arcface-{number:03d}" for number in range(len(table)))
    score = scored(dict(zip(names, table, strict=True)))
    repeats, ended = (
        repeats_of(ReplicationPlan(names, SEEDS, racing=True)),
        {name: dict[int, float]() for name in names},
    )
    while run := repeats.next():
        before = set(repeats.dropped)
        repeats.epoch(run.name, {"epoch": 1, "objective": score(run)})
        repeats.end(run.name, "completed")
        ended[configuration_of(run.name, "seed")][run.seed] = score(run)
        racing = [name for name in names if name not in before]
        for name in repeats.dropped - before:
            common = [[ended[name][seed], ended[other][seed]] for other in racing for seed in ended[name]
                      if seed in ended[other]]  # fmt: skip
            assert len(ended[name]) >= RACING_FROM
            assert any(own < other for own, other in common)
        full = [name for name in racing if len(ended[name]) >= RACING_FROM]
        if full:
            assert (
                max(full, key=lambda name: statistics.MeanEstimate.of(ended[name].values()).mean) not in repeats.dropped
            )
    assert len(repeats.dropped) < len(names)


def test_a_race_of_runs_side_by_side_comes_back_as_it_was() -> None:
    """Runs that train at the same time end in any order, but a record tells of them in the order of their start."""
    differs = []
    for seed in range(100):
        luck, asked = random.Random(seed), ReplicationPlan((*NAMES[:2], "arcface-005"), SEEDS, racing=True)
        level = {"arcface-003": 0.95, "arcface-001": 0.943, "arcface-005": 0.945}
        live, running, record = repeats_of(asked), list[Trial](), list[Trial]()
        while True:
            while len(running) < 4 and (run := live.next()):
                record.append(as_recorded(run, level[configuration_of(run.name, "seed")] + luck.gauss(0, 0.002)))
                running.append(record[-1])
            if not running:
                break
            ended = running.pop(luck.randrange(len(running)))
            live.epoch(ended.name, {"epoch": 1, "objective": ended.objective})
            live.end(ended.name, "completed")
        again = repeats_of(asked, record)
        if again.remaining or again.dropped != live.dropped:
            differs.append((seed, again.remaining, again.dropped, live.dropped))
    assert differs == []
