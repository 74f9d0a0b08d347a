"""The equal budget: whose turn it is, and that an interrupted contest goes on to exactly the planned trials."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from orchestrator.search.allocation import Assignment, Contest
from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Study
from search_spaces.configurations import starting_point
from search_spaces.heads import HEADS


def make_study(heads: int = 3, trials: int = 4, **search: Any) -> Study:
    content = {
        "name": "contest",
        "heads": {head: {} for head in list(HEADS)[:heads]},
        "search": {"trials_per_head": trials, "searcher": "random", **search},
    }
    return Study.model_validate(content)


def contest_of(study: Study, record: tuple[Trial, ...] = ()) -> Contest:
    return Contest(study, study.spaces(10), record)


def everything(contest: Contest) -> list[Assignment]:
    return list(iter(contest.next, None))


def as_recorded(given: Assignment, status: Any = "completed", objectives: tuple[float, ...] = (0.5, 0.6)) -> Trial:
    epochs = [{"epoch": epoch, "objective": value} for epoch, value in enumerate(objectives, start=1)]
    return Trial(given.name, given.head, given.index, given.seed, given.params, status, "", epochs)


def test_heads_never_differ_by_more_than_one_trial_and_all_get_the_same_number() -> None:
    contest, count = contest_of(make_study(heads=6, trials=5)), Counter[str]()
    while given := contest.next():
        count[given.head] += 1
        assert max(count.values()) - min(count.get(head, 0) for head in contest.study.heads) <= 1
        assert contest.remaining == 30 - count.total()
    assert count == dict.fromkeys(contest.study.heads, 5)
    assert contest.next() is None


def test_a_trial_is_named_by_its_head_and_counted_from_zero() -> None:
    given = everything(contest_of(make_study(heads=2, trials=3)))
    assert [(one.name, one.index) for one in given if one.head == "softmax"] == [
        ("softmax-000", 0), ("softmax-001", 1), ("softmax-002", 2),
    ]  # fmt: skip
    assert not any(one.continues for one in given)


@pytest.mark.parametrize("searcher", ["tpe", "random", "grid"])
def test_a_seed_decides_everything(searcher: str) -> None:
    def played(seed: int) -> list[Assignment]:
        contest = contest_of(make_study(searcher=searcher, seed=seed, trials=6))
        found = []
        while given := contest.next():
            found.append(given)
            contest.epoch(given.name, {"epoch": 1, "objective": given.index / 10})
            contest.end(given.name, "completed")
        return found

    assert played(3) == played(3)
    assert [one.params for one in played(3)] != [one.params for one in played(4)]


def test_the_same_number_of_every_head_trains_with_the_same_seed_and_no_other_does() -> None:
    given = everything(contest_of(make_study(heads=4, trials=5, seed=7)))
    by_index: dict[int, set[int]] = {}
    for one in given:
        by_index.setdefault(one.index, set()).add(one.seed)
    assert all(len(seeds) == 1 for seeds in by_index.values())
    assert len(set.union(*by_index.values())) == 5
    other = everything(contest_of(make_study(seed=8)))
    assert not {one.seed for one in given} & {one.seed for one in other}


def test_a_fixed_training_seed_is_every_trials() -> None:
    study = Study.model_validate({**make_study().model_dump(), "training": {"seed": 11}})
    assert {one.seed for one in everything(contest_of(study))} == {11}


@pytest.mark.parametrize("seed", [0, 20_000, 21_475, 42_950, 2**31 - 1])
@pytest.mark.parametrize("searcher", ["tpe", "random", "grid"])
def test_any_seed_that_a_study_may_have_gives_seeds_that_a_study_may_have(seed: int, searcher: str) -> None:
    """Each must fit into best/<head>.yaml again, and into numpy, which takes 32 bits."""
    for given in everything(contest_of(make_study(seed=seed, searcher=searcher))):
        assert 0 <= given.seed < 2**31


def test_the_first_trial_of_each_head_takes_the_defaults_if_wanted() -> None:
    study = make_study(heads=6, trials=2)
    spaces = study.spaces(10)
    for given in itertools.islice(iter(contest_of(study).next, None), 6):
        assert given.params == starting_point(spaces[given.head])
    for given in everything(contest_of(make_study(heads=6, trials=2, start_from_defaults=False))):
        assert given.params != starting_point(spaces[given.head])


@pytest.mark.parametrize("written", [{"min": 8, "max": 64}, {"distribution": "q_uniform", "min": 8, "max": 64, "q": 8}])
def test_the_defaults_are_taken_without_complaint_where_a_space_has_gaps(written: dict[str, Any]) -> None:
    """Optuna warns, and tests fail, where a proposed value is not in the space."""
    study = Study.model_validate({"name": "gaps", "heads": {"arcface": {"scale": written}}})
    first = contest_of(study).next()
    assert first
    assert first.params["scale"] in (16, 18)


def test_a_condition_leaves_out_what_is_not_read() -> None:
    study = Study.model_validate(
        {"name": "c", "heads": {"sphereface": {}}, "search": {"trials_per_head": 20, "searcher": "random"}}
    )
    given = everything(contest_of(study))
    assert {("scale" in one.params, one.params["magnitude"]) for one in given} == {(True, "fixed"), (False, "feature")}


def test_what_was_interrupted_comes_first_with_its_name_seed_and_params() -> None:
    study = make_study(heads=2, trials=3)
    given = everything(contest_of(study))
    record = (as_recorded(given[0]), as_recorded(given[1], "running"), as_recorded(given[2], "running", ()))
    contest = contest_of(study, record)
    assert contest.remaining == 5
    again = [contest.next(), contest.next()]
    assert again == [Assignment(**{**vars(one), "continues": True}) for one in given[1:3]]
    rest = everything(contest)
    assert [one.name for one in rest] == ["triplet-001", "softmax-002", "triplet-002"]
    assert not any(one.continues for one in rest)


def test_an_interrupted_trial_ends_like_any_other() -> None:
    study = make_study(heads=1, trials=2, searcher="tpe")
    (first, _) = everything(contest_of(study))
    contest = contest_of(study, (as_recorded(first, "running", (0.4,)),))
    given = contest.next()
    assert given
    contest.epoch(given.name, {"epoch": 2, "objective": 0.6})
    contest.end(given.name, "completed")
    assert contest.remaining == 1


def test_a_number_that_never_began_is_given_again() -> None:
    study = make_study(heads=1, trials=4)
    given = everything(contest_of(study))
    contest = contest_of(study, (as_recorded(given[1]), as_recorded(given[3])))
    assert [one.index for one in everything(contest)] == [0, 2]


def test_the_defaults_are_not_tried_again_after_a_resume() -> None:
    study = make_study(heads=1, trials=3)
    spaces = study.spaces(10)
    first, *_ = everything(contest_of(study))
    rest = everything(contest_of(study, (as_recorded(first),)))
    assert first.params == starting_point(spaces["softmax"])
    assert all(one.params != first.params for one in rest)


def test_a_finished_record_leaves_nothing_to_do() -> None:
    study = make_study()
    record = tuple(as_recorded(one) for one in everything(contest_of(study)))
    contest = contest_of(study, record)
    assert contest.remaining == 0
    assert contest.next() is None


STATUSES = ["completed", "stopped", "diverged", "failed", "running"]


@hypothesis.given(
    heads=st.integers(1, 4),
    trials=st.integers(1, 5),
    searcher=st.sampled_from(["random", "grid"]),
    fates=st.lists(st.tuples(st.sampled_from(STATUSES), st.integers(0, 3)), max_size=20),
)
@hypothesis.settings(deadline=None, max_examples=60)
def test_wherever_a_contest_is_cut_it_goes_on_to_exactly_the_budget(
    heads: int, trials: int, searcher: str, fates: list[tuple[str, int]]
) -> None:
    study = make_study(heads, trials, searcher=searcher, grid_points=2 + trials // 2)
    before, record = contest_of(study), []
    for (status, epochs), given in zip(fates, iter(before.next, None), strict=False):
        record.append(as_recorded(given, status, (0.5,) * epochs))
    contest = contest_of(study, tuple(record))
    assert contest.remaining == heads * trials - sum(trial.status != "running" for trial in record)
    rest = everything(contest)
    ended = {trial.name: trial for trial in record if trial.status != "running"}
    names = [*ended, *(given.name for given in rest)]
    assert sorted(names) == sorted(f"{head}-{index:03d}" for head in study.heads for index in range(trials))
    interrupted = [trial.name for trial in record if trial.status == "running"]
    assert [given.name for given in rest if given.continues] == interrupted
    assert all(given.continues for given in rest[: len(interrupted)])
