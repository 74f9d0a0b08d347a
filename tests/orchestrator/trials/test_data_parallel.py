"""Trials of two workers on a real Ray against the same trials of one: every row and every end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune

from orchestrator.planning import plan
from orchestrator.study.schema import Study
from orchestrator.trials import tuner
from orchestrator.trials.driver_only import DriverOnly
from orchestrator.trials.trainable import run_trial
from orchestrator.trials.trial import Task
from tests.orchestrator.processes import below

EPOCHS, STOPPED_AFTER = 3, 2
RECIPE = {"lr": 0.0002, "head_lr": 0.001, "weight_decay": 0.01}
ARCFACE = {**RECIPE, "margin_rad": 0.3, "scale": 15.0}
TRIPLET = {"lr": 0.0002, "weight_decay": 0.01, "margin_dist": 0.2, "mining": "batch_all", "soft_margin": True}
TRIALS: dict[str, tuple[str, dict[str, Any]]] = {
    "triplet": ("triplet", TRIPLET),  # is stopped by Tune, with an epoch to come
    "diverging": ("arcface", ARCFACE | {"lr": 1e30}),
}
# Float32 sums in another order (a batch's statistics, gradients over workers) differ by about 1e-7 of their value, and
# that grows with every step of Adam; test_shards.py shows in float64 that nothing else differs. So the learning rate is
# low here, all triplets count, and clusters, which jump, are compared by their nearest means.
LOSS_SHARE = 1e-3  # measured: at most 9e-5 of the loss; with five times the learning rate 9e-4
ACCURACY = 0.01  # of the nearest mean: ten of the 1,000 validation images


class Listener(DriverOnly, tune.Callback):
    """Keeps what trials report, and how many workers there are at that moment."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TRIALS}
        self.workers: dict[str, int] = {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        self.rows[trial.config["trial"]["name"]].append(dict(result))
        self.workers[trial.config["trial"]["name"]] = len(below(title="RayTrainWorker"))

    def epochs(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.rows[name] if "objective" in row]

    def end(self, name: str) -> dict[str, str]:
        return next(row["ended"] for row in self.rows[name] if "ended" in row)


def trained(study: Study, folder: Path) -> Listener:
    """All trials one after the other, as a search runs them."""
    data, listener = plan.load_data(study), Listener()
    configs = [
        {"name": name, "head": head, "seed": 5, "params": params, "checkpoint": None, "continues": False}
        for name, (head, params) in TRIALS.items()
    ]
    task = Task.of(study, tuner.sample(data.validation.labels))
    tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, data=data, task=task), tuner.requested(study)),
        param_space={"trial": tune.grid_search(configs)},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.config["trial"]["name"]),
        ),
        run_config=tune.RunConfig(
            name=f"{study.resources.workers}",
            storage_path=str(folder),
            callbacks=[listener],
            stop=StopOne(),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            verbose=0,
        ),
    ).fit()
    return listener


class StopOne(DriverOnly, tune.Stopper):
    """Ends the trial of triplets before its last epoch, as a scheduler does."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return result["config"]["trial"]["name"] == "triplet" and result.get("epoch") == STOPPED_AFTER

    def stop_all(self) -> bool:
        return False


@pytest.fixture(scope="module")
def heard(shared_ray: None, small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Listener]:
    """What was heard of the trials with one worker, and of those with two."""
    content: dict[str, Any] = {
        "name": "small",
        "heads": {"arcface": {}, "triplet": {}},
        "data": {"source": "idx", "path": str(small_mnist), "validation_images": 1000},
        "body": {"width": 4},
        "training": {"epochs": EPOCHS, "batch_size": 64},
    }
    folder = tmp_path_factory.mktemp("workers")
    return {
        workers: trained(Study.model_validate({**content, "resources": {"workers": workers}}), folder)
        for workers in (1, 2)
    }


pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds Ray's worker processes in /proc"),
]


def test_two_workers_learn_what_one_learns(heard: dict[int, Listener]) -> None:
    """A trial spread over two workers has the losses and accuracies of the same trial in one, every epoch."""
    one, two = (heard[workers].epochs("triplet") for workers in (1, 2))
    assert [row["epoch"] for row in two] == [row["epoch"] for row in one] == list(range(1, STOPPED_AFTER + 1))
    for row, shared in zip(one, two, strict=True):
        assert shared["metrics"].keys() == row["metrics"].keys()
        assert shared["embedding"][0] == row["embedding"][0]
        loss, same = row["metrics"]["train/loss"], shared["metrics"]["train/loss"]
        print(f"\nepoch {row['epoch']}: loss {loss:.6f} and {same:.6f}, {abs(same / loss - 1):.1e} apart")
        assert same == pytest.approx(loss, rel=LOSS_SHARE)
        accuracy, shared_accuracy = (each["metrics"]["val/nearest_mean_accuracy"] for each in (row, shared))
        assert shared_accuracy == pytest.approx(accuracy, abs=ACCURACY)
        assert shared["objective"] == shared["metrics"]["val/cluster_accuracy"]


def test_the_sample_of_embeddings_is_of_the_same_images_in_the_same_order(heard: dict[int, Listener]) -> None:
    one, two = (heard[workers].epochs("triplet")[0]["embedding"][1] for workers in (1, 2))
    first, second = (np.frombuffer(content, np.float16).astype(np.float32) for content in (one, two))
    assert np.abs(first - second).max() < 0.05 * np.abs(first).max()


def test_two_workers_end_for_the_same_reason_as_one(heard: dict[int, Listener]) -> None:
    one, two = (heard[workers].end("diverging") for workers in (1, 2))
    assert two["status"] == one["status"] == "diverged"
    assert two["reason"] == one["reason"]


def test_a_trial_that_tune_stops_leaves_its_place_to_the_next(heard: dict[int, Listener]) -> None:
    assert heard[2].epochs("triplet")[-1]["done"]
    assert heard[2].end("diverging")  # which needs both cores
    assert (heard[2].workers["triplet"], heard[1].workers["triplet"]) == (2, 0)


def test_a_trial_says_that_it_waits_and_then_where_it_is(heard: dict[int, Listener]) -> None:
    first, second, *_ = heard[2].rows["triplet"]
    assert first["waiting"]
    assert {"node", "node_id"} <= second["placed"].keys()
