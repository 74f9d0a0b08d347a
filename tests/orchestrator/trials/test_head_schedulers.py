"""Tune's side of a contest: a head is judged against itself alone, also after a resume; PBT leaves names alone."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from orchestrator.search.allocation import Assignment, Contest
from orchestrator.search.head_population import HeadPopulation
from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Study
from orchestrator.trials.head_schedulers import HeadSchedulers
from orchestrator.trials.recorder import StopRequest
from orchestrator.trials.source_searcher import SourceSearcher, trial_config
from search_spaces.distributions import Range

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


def study(scheduler: str = "asha", searcher: str = "tpe") -> Study:
    search = {"trials_per_head": 4, "scheduler": scheduler, "searcher": searcher, "reduction_factor": 2}
    return Study.model_validate({"name": "x", "heads": {"softmax": {}, "arcface": {}}, "search": search})


class TuneTrial:
    """As much of Tune's trial as schedulers look at."""

    def __init__(self, head: str, number: int, status: str = "RUNNING", **params: float) -> None:
        self.trial_id, self.status, self.experiment_tag = f"{head}{number}", status, ""
        self.last_result: dict[str, Any] = {}
        self.config = trial_config(Assignment(f"{head}-{number:03d}", head, number, number, params))
        kept = SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=4))
        self.run_metadata = SimpleNamespace(checkpoint_manager=kept)


def told(epoch: int, objective: float) -> dict[str, Any]:
    return {"epoch": epoch, "objective": objective}


def test_a_slow_starter_is_stopped_only_against_its_own_kind() -> None:
    schedulers = HeadSchedulers(study(), study().spaces(10))
    decisions = []
    for head, objective in [("softmax", 0.9), ("softmax", 0.95), ("arcface", 0.4), ("arcface", 0.5), ("arcface", 0.3)]:
        trial = TuneTrial(head, len(decisions))
        schedulers.on_trial_add(None, trial)
        decisions.append(schedulers.on_trial_result(None, trial, told(1, objective)))
    assert decisions == [CONTINUE, CONTINUE, CONTINUE, CONTINUE, STOP]


def test_after_a_resume_the_rungs_are_what_the_record_says() -> None:
    record = [Trial("arcface-000", "arcface", 0, 0, {}, "completed", epochs=[told(1, 0.8), told(2, 0.9)])]
    for known, decision in ((record, STOP), ([], CONTINUE)):
        schedulers, trial = HeadSchedulers(study(), study().spaces(10), known), TuneTrial("arcface", 1)
        schedulers.on_trial_add(None, trial)
        assert schedulers.on_trial_result(None, trial, told(1, 0.7)) == decision


def test_a_trial_that_goes_on_after_a_resume_counts_once_in_every_rung() -> None:
    record = [Trial("arcface-000", "arcface", 0, 0, {}, epochs=[told(1, 0.4)])]
    schedulers = HeadSchedulers(study(), study().spaces(10), record)
    resumed, new = TuneTrial("arcface", 0), TuneTrial("arcface", 1)
    for trial in (resumed, new):
        schedulers.on_trial_add(None, trial)
    assert schedulers.on_trial_result(None, resumed, told(2, 0.8)) == CONTINUE
    assert schedulers.on_trial_result(None, new, told(1, 0.5)) == CONTINUE
    assert schedulers.stopped == set()
    assert schedulers.on_trial_result(None, new, told(2, 0.5)) == STOP
    assert schedulers.stopped == {"arcface-001"}


def test_a_search_ends_at_a_signal_or_at_a_stop_file(tmp_path: Path) -> None:
    stop = threading.Event()
    request = StopRequest(stop, tmp_path / "stop")
    assert not request.stop_all()
    (tmp_path / "stop").touch()
    assert request.stop_all()
    (tmp_path / "stop").unlink()
    stop.set()
    assert request.stop_all()


def test_the_last_word_of_a_broken_trial_is_no_result() -> None:
    schedulers, trial = HeadSchedulers(study(), study().spaces(10)), TuneTrial("arcface", 0)
    schedulers.on_trial_add(None, trial)
    assert schedulers.on_trial_result(None, trial, {"ended": {"status": "diverged"}}) == CONTINUE


def test_without_a_scheduler_nothing_is_stopped() -> None:
    schedulers = HeadSchedulers(study("none"), study().spaces(10))
    for number, objective in enumerate([0.9, 0.1]):
        trial = TuneTrial("arcface", number)
        schedulers.on_trial_add(None, trial)
        assert schedulers.on_trial_result(None, trial, told(1, objective)) == CONTINUE


def test_pbt_changes_margins_crossovers_and_scales_and_nothing_of_the_training() -> None:
    warmup = {"margin_warmup_epochs": {"min": 0.0, "max": 2.0}}
    fixed = {"magnitude": "fixed"}
    heads = {
        "triplet": warmup,
        "arcface": warmup | fixed,
        "hybrid": warmup | fixed,
        "softmax": warmup,
        "cosface": warmup,
    }
    asked = {"name": "x", "heads": heads, "embedding_dim": 16, "search": {"scheduler": "pbt", "searcher": "random"}}
    changed = {}
    for head, space in Study.model_validate(asked).spaces(10).items():
        found = HeadSchedulers(study("pbt", "random"), {head: space})._by_head[head]
        changed[head] = {*found._scheduled} if isinstance(found, HeadPopulation) else set()
    assert changed == {
        "triplet": {"margin_dist"},
        "arcface": {"margin_rad", "scale"},
        "hybrid": {"margin_rad", "crossover_rad", "scale"},
        "softmax": set(),
        "cosface": {"margin_cos"},  # its scale is read on a condition
    }


def test_pbt_takes_anothers_margins_inside_the_space_and_keeps_its_own_name() -> None:
    population = HeadPopulation({"margin_rad": Range(0.1, 0.5)}, every_epochs=1, epochs=5)
    poor, good = TuneTrial("arcface", 0, margin_rad=0.2, lr=0.01), TuneTrial("arcface", 1, margin_rad=0.49, lr=0.02)
    found = set()
    for _ in range(50):
        config, _ = population._get_new_config(poor, good)
        assert config["trial"] | {"params": None} == poor.config["trial"] | {"params": None}
        assert config["trial"]["params"]["lr"] == 0.02
        found.add(round(config["trial"]["params"]["margin_rad"], 3))
    assert found == {0.392, 0.5}
    assert good.config["trial"]["params"]["margin_rad"] == 0.49


def test_pbt_takes_nothing_over_from_a_trial_after_its_last_epoch_nor_gives_it_anything() -> None:
    """Whoever took over a model that was done had nothing left to train, and no last epoch."""
    population = HeadPopulation({"margin_rad": Range(0.1, 0.5)}, every_epochs=1, epochs=2)
    trials = [TuneTrial("arcface", number, margin_rad=0.2) for number in range(2)]
    saved: list[Any] = []
    controller: Any = SimpleNamespace(
        search_alg=None, get_trials=lambda: trials, _schedule_trial_save=lambda *given, **more: saved.append(more)
    )
    for trial in trials:
        trial.is_finished = lambda: False  # type: ignore[attr-defined]
        population.on_trial_add(controller, trial)
        population._trial_state[trial].last_score = 0.5
    assert population.on_trial_result(controller, trials[0], told(2, 0.9)) == CONTINUE
    assert saved == []
    assert population._trial_state[trials[0]].last_score == 0.5


def test_pbt_with_heads_side_by_side_shows_each_scheduler_its_own_trials() -> None:
    waiting = [TuneTrial("arcface", 0, "PENDING", margin_rad=0.2, scale=9.0), TuneTrial("softmax", 0, "PENDING")]
    executor = SimpleNamespace(has_resources_for_trial=lambda trial: True)
    controller = SimpleNamespace(get_trials=lambda: waiting, search_alg=None, trial_executor=executor)
    schedulers = HeadSchedulers(study("pbt", "random"), study().spaces(10))
    for trial in waiting:
        schedulers.on_trial_add(controller, trial)
    assert schedulers.choose_trial_to_run(controller) in waiting
    waiting[0].status = "RUNNING"
    assert schedulers.choose_trial_to_run(controller) is waiting[1]
    waiting[1].status = "RUNNING"
    assert schedulers.choose_trial_to_run(controller) is None


def test_the_searcher_hands_out_the_budget_and_then_says_so() -> None:
    contest = Contest(study(), study().spaces(10))
    searcher = SourceSearcher(contest, {"arcface-001": "somewhere"})
    configs = [searcher.suggest(str(number)) for number in range(9)]
    assert configs.pop() == Searcher.FINISHED
    names = [config["trial"]["name"] for config in configs]
    assert sorted(names) == sorted(f"{head}-{number:03d}" for head in ("softmax", "arcface") for number in range(4))
    given = {config["trial"]["name"]: config["trial"]["checkpoint"] for config in configs}
    assert given.pop("arcface-001") == "somewhere"
    assert set(given.values()) == {None}


@pytest.mark.parametrize(
    "part",
    [
        SourceSearcher(Contest(study(), study().spaces(10)), {}),
        HeadSchedulers(study(), study().spaces(10)),
        StopRequest(threading.Event(), Path("stop")),
    ],
    ids=lambda part: type(part).__name__,
)
def test_what_belongs_to_the_driver_is_neither_copied_nor_saved(part: Any) -> None:
    assert copy.deepcopy(part) is part
    assert vars(pickle.loads(pickle.dumps(part))) == {}
