"""A calibration: real processes that train for a moment, what they are refused, and what they leave behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lightning_modules.heads.base import EmbeddingModule
from orchestrator.cli import app
from orchestrator.cluster.resources import Fleet, Node
from orchestrator.cost import benchmark, benchmark_worker
from orchestrator.cost.estimate import Speed
from orchestrator.errors import CannotRun
from orchestrator.planning import plan
from orchestrator.study.schema import Study
from orchestrator.trials import trial

MakeStudy = Callable[..., Study]
ONE = {"trials_per_head": 2, "concurrent_trials": 1}


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[subprocess.Popen[str]]:
    """The processes that a calibration starts; temporary files go to a folder of the test's own."""
    found = []

    class Recorded(subprocess.Popen[str]):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            found.append(self)

    monkeypatch.setattr(benchmark.subprocess, "Popen", Recorded)
    return found


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty folder with a short path, in which scratch folders are made."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(benchmark.temporary, "parent", lambda: Path(folder))
        yield Path(folder)


def test_a_plan_is_calibrated_on_the_command_line(
    tiny_study: MakeStudy, tmp_path: Path, scratch: Path, spawned: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An estimate rests on processes that trained here and on a Ray that started; nothing of them is left."""
    file = tmp_path / "tiny.yaml"
    prices = {"currency": "EUR", "cpu_hour": 0.04}
    file.write_text(
        tiny_study(search=ONE, resources={"prices": prices}, heads={"triplet": {}, "arcface": {}}).to_yaml()
    )
    words = ["plan", str(file), "--results", str(tmp_path / "results"), "--calibrate", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    found = told["estimate"]
    assert told["trials"] == 4
    assert set(found["heads"]) == {"triplet", "arcface"}
    for speed in found["heads"].values():
        assert speed["at_a_time"] == 1
        assert speed["train_s"] > 0
        assert speed["validation_s"] > 0
        assert speed["setup_s"] >= 0
        assert 0 < speed["core_share"] < 2  # clocks are coarse, and work before the mark may end after it
    assert found["process_start_s"] > 0
    assert found["ray_start_s"] > 0
    most, expected = (found["launch"][name] for name in ("most", "expected"))
    assert 0 < expected["wall_s"] <= most["wall_s"]
    assert most["cost"] == pytest.approx(0.04 * most["cpu_hours"])
    assert found["currency"] == "EUR"
    said = [line.partition(" ")[2] for line in done.stderr.splitlines()]
    assert said == [
        "calibrating: 1 process starts, as many as trials run at a time here",
        "calibrating triplet: 1 at a time",
        "calibrating arcface: 1 at a time",
        "calibrating the start of Ray",
    ]
    assert not (tmp_path / "results").exists()
    assert [*scratch.iterdir()] == []
    assert [process.poll() is not None for process in spawned] == [True]


def test_heads_are_measured_with_as_many_at_a_time_as_fit_here(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster, whose Ray runs already; the numbers are the means of what all processes say."""
    asked = []

    def ask(processes: list[int], what: str) -> list[dict[str, float]]:
        asked.append((what, processes))
        return [
            {"setup_s": 0.0, "train_s": 1.0 + number, "validation_s": 1.0, "core_share": 1.0} for number in processes
        ]

    monkeypatch.setattr(Fleet, "here", staticmethod(lambda: Fleet((Node(2, memory_bytes=16 * 10**9),))))
    monkeypatch.setattr(benchmark, "_processes", lambda study, number: nullcontext([*range(number)]))
    monkeypatch.setattr(benchmark, "_answer", lambda process: {"process_s": 2.0 + process})
    monkeypatch.setattr(benchmark, "_ask", ask)
    cluster = Fleet((Node(8, memory_bytes=64 * 10**9),), "10.0.0.1:6379")
    study = tiny_study(resources={"heads": {"arcface": {"cpu": 2}}})
    measured = benchmark.calibrate(plan.make(study, tmp_path, fleet=cluster))
    assert asked == [("softmax", [0, 1]), ("arcface", [0])]
    assert measured.heads == {"softmax": Speed(0.0, 1.5, 1.0, 1.0, 2), "arcface": Speed(0.0, 1.0, 1.0, 1.0, 1)}
    assert (measured.process_s, measured.ray_s) == (2.5, 0.0)


def test_a_head_trains_for_some_batches_of_its_first_epoch_and_validates_once(
    small_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, validated = [], []
    step, measure = EmbeddingModule.training_step, EmbeddingModule.measure

    def counted(module: EmbeddingModule, batch: Any, batch_idx: int) -> Any:
        trained.append(module.trainer.estimated_stepping_batches)
        return step(module, batch, batch_idx)

    def looked_at(module: EmbeddingModule, embeddings_ND: Any, labels_N: Any) -> Any:
        validated.append(len(labels_N))
        return measure(module, embeddings_ND, labels_N)

    monkeypatch.setattr(EmbeddingModule, "training_step", counted)
    monkeypatch.setattr(EmbeddingModule, "measure", looked_at)
    content = {
        "name": "small",
        "heads": {"softmax": {}},
        "data": {"source": "idx", "path": str(small_mnist), "validation_images": 1000},
        "body": {"width": 4},
        "training": {"epochs": 3, "batch_size": 64},
    }
    study = Study.model_validate(content)
    data, task = plan.load_data(study), trial.Task.of(study, np.empty(0, np.intp))
    with warnings.catch_warnings():
        found = benchmark_worker.fit("softmax", {"lr": 0.01, "head_lr": 0.01}, data, task, most_batches=6)
        whole = benchmark_worker.fit("softmax", {"lr": 0.01, "head_lr": 0.01}, data, task, most_batches=300)
    assert trained == [3 * 31] * (6 + 31)  # under the schedule of the whole training
    assert validated == [1000, 1000]
    assert min(*found.values(), *whole.values()) >= 0
    assert list(found) == ["setup_s", "train_s", "validation_s", "core_share"]


@pytest.mark.parametrize(
    ("resources", "place", "rule"),
    [
        ({"heads": {"arcface": {"gpu": 1}}}, "resources.heads.arcface.gpu", "this machine has 0 GPUs"),
        ({"tpu": 4}, "resources.tpu", "this machine has 0 TPU chips"),
        ({"cpu": 8}, "resources.cpu", "this machine has 2 cores"),
    ],
)
def test_what_a_trial_gets_and_this_machine_lacks_is_refused(
    tiny_study: MakeStudy,
    tmp_path: Path,
    spawned: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    resources: dict[str, Any],
    place: str,
    rule: str,
) -> None:
    """Seconds of a core say nothing of a GPU's."""
    monkeypatch.setattr(Fleet, "here", staticmethod(lambda: Fleet((Node(2, memory_bytes=16 * 10**9),))))
    cluster = Fleet((Node(8, gpu=1, tpu=4, memory_bytes=64 * 10**9),), "10.0.0.1:6379")
    planned = plan.make(tiny_study(resources=resources), tmp_path, fleet=cluster)
    with pytest.raises(CannotRun) as caught:
        benchmark.calibrate(planned)
    (problem,) = caught.value.problems
    assert problem.place == f"--calibrate, {place}"
    assert problem.rule == f"a calibration trains on what a trial gets, and {rule}"
    assert "plan without --calibrate" in problem.fix
    assert spawned == []


def test_several_workers_are_not_calibrated(tiny_study: MakeStudy, tmp_path: Path, spawned: list[Any]) -> None:
    planned = plan.make(tiny_study(resources={"workers": 2}), tmp_path, fleet=Fleet((Node(8),)))
    with pytest.raises(CannotRun, match="a calibration trains a trial with one worker"):
        benchmark.calibrate(planned)
    assert spawned == []


def test_what_goes_wrong_in_a_process_is_said(
    tiny_study: MakeStudy, tmp_path: Path, scratch: Path, spawned: list[Any]
) -> None:
    """What a measuring process could not do is told by the command that started it."""
    study = tiny_study(search=ONE)
    planned = plan.make(study, tmp_path / "results")
    assert study.data.path
    shutil.rmtree(study.data.path)
    with pytest.raises(CannotRun) as caught:
        benchmark.calibrate(planned)
    (problem,) = caught.value.problems
    assert problem.rule == "every head must train here"
    assert "DataError" in problem.value
    assert [process.poll() is not None for process in spawned] == [True]
    assert [*scratch.iterdir()] == []


def test_a_process_that_is_killed_is_said(
    tiny_study: MakeStudy, tmp_path: Path, scratch: Path, spawned: list[Any]
) -> None:
    def kill(line: str) -> None:
        spawned[0].kill()

    with pytest.raises(CannotRun) as caught:
        benchmark.calibrate(plan.make(tiny_study(search=ONE), tmp_path / "results"), kill)
    assert caught.value.problems[0].value == "its process ended with -9"


def test_an_interrupted_calibration_leaves_no_process(
    tiny_study: MakeStudy, tmp_path: Path, scratch: Path, spawned: list[Any]
) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark.calibrate(plan.make(tiny_study(search=ONE), tmp_path / "results"), interrupt)
    assert [process.poll() is not None for process in spawned] == [True]
    assert [*scratch.iterdir()] == []
