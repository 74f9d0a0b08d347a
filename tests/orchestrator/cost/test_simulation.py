"""When trials run: epochs under ASHA against Ray's own scheduler, and schedules worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orchestrator.cluster.resources import Fleet, Node
from orchestrator.cost.simulation import Run, Usage, scheduled, usual_epochs
from orchestrator.search.schedulers.asha import Asha
from orchestrator.study.schema import Prices, Profile, Study

MakeStudy = Callable[..., Study]
CORE = Profile()


def study_of(trials: int, epochs: int, **search: Any) -> Study:
    content = {"name": "any", "heads": {"arcface": {}, "softmax": {}}, "training": {"epochs": epochs}}
    return Study.model_validate(content | {"search": {"trials_per_head": trials} | search})


@pytest.mark.parametrize(
    ("scores", "epochs"),
    [
        ([0.5], [9]),  # there is none to be worse than
        ([0.5, 0.4], [9, 1]),
        ([0.5, 0.6], [9, 9]),
        (
            [0.9, 0.3, 0.8],
            [9, 1, 3],
        ),  # 0.8 is above 0.7, two thirds of the way from 0.3 to 0.9; at 3 there is 0.9 alone
        ([0.9, 0.3, 0.6], [9, 1, 1]),
    ],
)
def test_epochs_under_asha(scores: list[float], epochs: list[int]) -> None:
    """Rungs at 1 and 3 of 9 epochs; a third of the trials goes on."""
    assert Asha(grace_epochs=1, reduction_factor=3).simulated_epochs(scores, 9) == epochs


@pytest.mark.parametrize(
    ("epochs", "grace", "factor"), [(3, 2, 2), (12, 1, 3), (9, 1, 3), (30, 2, 4), (5, 5, 2), (1, 1, 3)]
)
def test_rays_scheduler_gives_the_same_epochs(epochs: int, grace: int, factor: int) -> None:
    scheduler = Asha(grace_epochs=grace, reduction_factor=factor)
    for seed in range(20):
        scores = np.random.default_rng(seed).random(25).tolist()
        ray = scheduler.for_tune({}, epochs)
        given = []
        for number, score in enumerate(scores):
            trial = SimpleNamespace(trial_id=str(number))
            ray.on_trial_add(None, trial)
            rows = ({"epoch": epoch, "objective": score} for epoch in range(1, epochs + 1))
            given.append(next(row["epoch"] for row in rows if ray.on_trial_result(None, trial, row) == "STOP"))
        assert scheduler.simulated_epochs(scores, epochs) == given


def test_epochs_of_a_trial_on_average() -> None:
    half = (6 * 2 + 1 + 5 / 2) / 6  # all to the rung at 2; there the first goes on, and of the others those above half
    assert usual_epochs(study_of(6, 3, grace_epochs=2, reduction_factor=2)) == pytest.approx(half, rel=0.02)
    joint = study_of(3, 3, grace_epochs=2, reduction_factor=2, joint=True)  # one ladder for both heads
    assert usual_epochs(joint) == pytest.approx(half, rel=0.02)
    assert usual_epochs(study_of(6, 3, grace_epochs=3, reduction_factor=2)) == 3
    assert usual_epochs(study_of(1, 9)) == 9
    assert usual_epochs(study_of(6, 3, scheduler="none")) == 3
    assert usual_epochs(study_of(6, 3, scheduler="pbt", searcher="random")) == 3


def test_trials_share_the_slots_and_their_processes() -> None:
    two = Fleet((Node(2),))
    used = scheduled([Run(10, CORE)] * 3, two, 2, process_s=1)
    assert used.wall_s == 21  # two start a process each, the third takes over one
    assert used.cpu_hours == pytest.approx((11 + 11 + 10) / 3600)
    assert (used.gpu_hours, used.tpu_hours) == (0, 0)
    assert scheduled([Run(10, CORE)] * 3, two, 1, process_s=1).wall_s == 31
    assert scheduled([], two, 2, process_s=1) == Usage()


def test_a_long_trial_at_the_end_is_waited_for() -> None:
    runs = [Run(seconds, CORE) for seconds in (10, 10, 10, 30)]
    assert scheduled(runs, Fleet((Node(2),)), 2, 0).wall_s == 40


def test_what_does_not_fit_lets_others_go_first() -> None:
    large, small = Run(10, Profile(cpu=4)), Run(10, CORE)
    used = scheduled([large, small, large, small], Fleet((Node(4),)), 4, 0)
    assert used.wall_s == 30  # a large one, both small ones together, a large one
    assert used.cpu_hours == pytest.approx((2 * 40 + 2 * 10) / 3600)


def test_a_process_serves_only_trials_of_its_own_profile() -> None:
    assert scheduled([Run(10, Profile(cpu=2)), Run(10, CORE)], Fleet((Node(2),)), 1, process_s=5).wall_s == 30


def test_a_gpu_is_shared_by_as_many_as_fit_on_it() -> None:
    used = scheduled([Run(10, Profile(gpu=0.4))] * 5, Fleet((Node(16, gpu=2),)), 8, 0)
    assert used.wall_s == 20  # two on each GPU, then one
    assert used.gpu_hours == pytest.approx(5 * 0.4 * 10 / 3600)


def test_trials_run_where_their_devices_are() -> None:
    fleet = Fleet((Node(2), Node(2, gpu=1), Node(4, tpu=4, number=2)), "10.0.0.1:6379")
    runs = [Run(10, Profile(gpu=1)), Run(10, Profile(tpu=4)), Run(10, Profile(tpu=4)), *[Run(10, CORE)] * 3]
    used = scheduled(runs, fleet, 6, 0)
    assert used.wall_s == 10
    assert (used.gpu_hours, used.tpu_hours) == pytest.approx((10 / 3600, 80 / 3600))


def test_a_cost_is_of_what_has_a_price() -> None:
    used = Usage(wall_s=100, cpu_hours=10, gpu_hours=2, tpu_hours=1)
    assert used.cost(Prices(cpu_hour=0.04, gpu_hour=0.7, tpu_hour=1.2)) == pytest.approx(0.4 + 1.4 + 1.2)
    assert used.cost(Prices(gpu_hour=0.7)) == pytest.approx(1.4)
    assert used.cost(Prices(cpu_hour=0.0)) == 0
    assert used.cost(Prices()) is None
