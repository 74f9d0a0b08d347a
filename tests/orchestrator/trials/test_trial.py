"""One trial, run in this process with Tune's two calls replaced: what it reports, and how it may end."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning
import torch
from ray import tune

from lightning_modules.data.splits import TrialData
from lightning_modules.heads.arcface import ArcFace
from orchestrator.planning import plan
from orchestrator.study.schema import Profile, Study
from orchestrator.system import fingerprint
from orchestrator.trials.checkpoints import finished_epochs
from orchestrator.trials.trainable import run_trial
from orchestrator.trials.trial import CHECKPOINT, Task, reset_process

SAMPLE = np.arange(0, 1000, 10)
PARAMS = {"lr": 0.01, "head_lr": 0.05, "weight_decay": 0.01, "margin_rad": 0.3, "scale": 15.0}


@pytest.fixture(scope="module")
def data(small_mnist: Path) -> TrialData:
    section = {"source": "idx", "path": str(small_mnist), "validation_images": 1000}
    return plan.load_data(Study.model_validate({"name": "x", "heads": {"arcface": {}}, "data": section}))


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What the trial reports; its checkpoints are copied below tmp_path."""
    told: list[dict[str, Any]] = []

    def report(metrics: dict[str, Any], checkpoint: Any = None) -> None:
        if checkpoint is not None:
            checkpoint.to_directory(str(tmp_path / f"after-{metrics['epoch']}"))
        told.append(metrics)

    monkeypatch.setattr(tune, "report", report)
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    return told


def task(epochs: int = 2) -> Task:
    return Task(epochs, 64, 0, 3, "strided", {"width": 4}, SAMPLE, {"arcface": Profile()})


def config(checkpoint: str | None = None, **params: Any) -> dict[str, Any]:
    return {"trial": {"head": "arcface", "seed": 5, "params": PARAMS | params, "checkpoint": checkpoint}}


def test_a_process_with_other_code_than_its_driver_trains_nothing(
    data: TrialData, reports: list[dict[str, Any]]
) -> None:
    run_trial(config(), data, replace(task(), code="0" * 16))
    said = f"{fingerprint.HOME} has {fingerprint.of_code()}, the driver {'0' * 16}"
    assert reports == [{"other_code": said}]


def test_a_trial_reports_every_epoch_with_measures_times_and_a_sample(
    data: TrialData, reports: list[dict[str, Any]]
) -> None:
    run_trial(config(), data, task())

    assert [row["epoch"] for row in reports] == [1, 2]
    for row in reports:
        assert row["objective"] == row["metrics"]["val/cluster_accuracy"] > 0.3
        assert {"train/loss", "time/train_s", "time/validation_s", "val/target_angle_p95_rad"} <= set(row["metrics"])
        shape, content = row["embedding"]
        assert np.isfinite(np.frombuffer(content, np.float16).reshape(shape)).all()
        assert shape == (100, 3)
    assert reports[0]["metrics"]["time/setup_s"] > 0
    assert reports[1]["metrics"]["time/setup_s"] == 0


def test_a_trial_in_a_used_process_gives_the_same_numbers(data: TrialData, reports: list[dict[str, Any]]) -> None:
    run_trial(config(), data, task())
    torch.set_num_threads(2)
    torch.manual_seed(99)
    run_trial(config(margin_rad=0.1), data, task())
    run_trial(config(), data, task())

    first, other, again = (np.array([row["objective"] for row in reports[i : i + 2]]) for i in (0, 2, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_a_trial_goes_on_from_the_checkpoint_that_it_is_given(
    data: TrialData, reports: list[dict[str, Any]], tmp_path: Path
) -> None:
    run_trial(config(), data, task(epochs=3))
    run_trial(config(checkpoint=str(tmp_path / "after-1")), data, task(epochs=3))

    whole, rest = reports[:3], reports[3:]
    assert [row["epoch"] for row in rest] == [2, 3]
    assert [row["objective"] for row in rest] == [row["objective"] for row in whole[1:]]
    best = "val/cluster_accuracy_best"
    assert [row["metrics"][best] for row in rest] == [row["metrics"][best] for row in whole[1:]]


def test_a_loss_that_is_not_finite_ends_the_trial_as_diverged(
    data: TrialData, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ArcFace.loss
    monkeypatch.setattr(ArcFace, "loss", lambda self, x, y: honest(self, x, y) * (torch.nan if self.global_step else 1))
    run_trial(config(), data, task())

    assert [set(row) for row in reports] == [{"ended"}]
    assert reports[0]["ended"]["status"] == "diverged"
    assert "nan at epoch 1, step 25" in reports[0]["ended"]["reason"]


def test_embeddings_that_are_not_finite_end_the_trial_as_diverged(
    data: TrialData, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArcFace, "forward", broken_in_validation(ArcFace.forward))
    run_trial(config(), data, task())
    assert reports == [{"ended": {"status": "diverged", "reason": "embeddings or loss were not finite after epoch 1"}}]


def test_a_later_epoch_without_finite_embeddings_is_not_given_an_earlier_ones_score(
    data: TrialData, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ArcFace.forward

    def forward(self: Any, images: torch.Tensor) -> torch.Tensor:
        embeddings = honest(self, images)
        return embeddings / 0 if not self.training and self.current_epoch == 1 else embeddings

    monkeypatch.setattr(ArcFace, "forward", forward)
    run_trial(config(), data, task(epochs=3))
    assert reports[0]["epoch"] == 1
    assert reports[1:] == [
        {"ended": {"status": "diverged", "reason": "embeddings or loss were not finite after epoch 2"}}
    ]


def test_half_a_checkpoint_is_none(data: TrialData, reports: list[dict[str, Any]], tmp_path: Path) -> None:
    run_trial(config(), data, task())
    whole = tmp_path / "after-2" / CHECKPOINT
    assert finished_epochs(whole) == 2
    half = tmp_path / "half.ckpt"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert finished_epochs(half) is None


def broken_in_validation(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def forward(self: Any, images: torch.Tensor) -> torch.Tensor:
        embeddings = honest(self, images)
        return embeddings if self.training else embeddings / 0

    return forward


def test_an_error_ends_the_trial_as_failed_with_its_reason_and_traceback(
    data: TrialData, reports: list[dict[str, Any]]
) -> None:
    run_trial(config(scale=-1.0), data, task())

    ended = reports[0]["ended"]
    assert ended["status"] == "failed"
    assert ended["reason"].startswith("ValueError: scale must be at least")
    assert "angular.py" in ended["traceback"]


def test_a_disk_that_a_checkpoint_does_not_fit_on_ends_no_trial(
    data: TrialData, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(self: Any, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pytorch_lightning.Trainer, "save_checkpoint", save)
    with pytest.raises(OSError, match="No space left on device"):  # for Tune, which begins it again
        run_trial(config(), data, task())
    assert reports == [{"broken": {"kind": "disk", "said": "OSError: [Errno 28] No space left on device"}}]


def test_resetting_a_process_sets_every_seed_and_the_threads() -> None:
    drawn = []
    for _ in range(2):
        reset_process(7, threads=1)
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item(), torch.get_num_threads()))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(("gpu", "tpu", "expected"), [(0, 0, "cpu"), (0.5, 0, "cuda"), (0, 4, "tpu")])
def test_the_accelerator_follows_from_the_resources_alone(gpu: float, tpu: int, expected: str) -> None:
    assert Profile(gpu=gpu, tpu=tpu).accelerator == expected


def test_what_trials_receive_holds_no_test_image(data: TrialData, small_mnist: Path) -> None:
    from lightning_modules.data.sources import idx

    train, test = idx.load(small_mnist, "train"), idx.load(small_mnist, "t10k")
    given = {image.tobytes() for part in (data.train, data.validation) for image in part.images}
    assert len(data.train) + len(data.validation) == len(train)
    assert given == {image.tobytes() for image in train.images}
    assert given.isdisjoint(image.tobytes() for image in test.images)


def test_a_trial_process_never_opens_the_test_files(
    data: TrialData, reports: list[dict[str, Any]], tmp_path: Path
) -> None:
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    run_trial(config(), data, task(epochs=1))
    assert opened
    assert not [path for path in opened if "t10k" in path]


def test_the_trial_module_imports_no_wandb() -> None:
    """A trial's process starts without what the driver alone needs."""
    code = "import sys, orchestrator.trials.trial, lightning_modules.heads.arcface; print('wandb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_trains_is_imported_once_and_never_looked_at_by_the_collector() -> None:
    """The start of a trial's process is not slowed by the garbage collector."""
    code = "import gc, sys; from orchestrator.trials.trial import import_at_once as bring\n"
    code += "bring(); known = gc.get_freeze_count(); bring()\n"
    code += "print('pytorch_lightning' in sys.modules, gc.isenabled(), known > 10_000, gc.get_freeze_count() - known)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True", "0"]
