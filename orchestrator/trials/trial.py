"""One trial: a configuration in, a Lightning fit, metrics out after every epoch. Runs in a worker process.

Worker processes are used again for later trials, so everything global (seeds, threads, warnings) is set anew.
It imports no wandb and sees no test image. How Tune starts a trial is `trainable`'s, how one spreads over several
processes is `data_parallel`'s.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_modules import objectives
from lightning_modules.data.splits import TrialData
from lightning_modules.models.model_config import Blueprint
from orchestrator.system import fingerprint, interruptions

if TYPE_CHECKING:
    from lightning_modules.data.batches import ImageBatches
    from lightning_modules.heads.base import EmbeddingModule
    from orchestrator.study.schema import Profile, Study

CHECKPOINT = "last.ckpt"
PR_SET_PDEATHSIG = 1  # prctl(2)
DEVICES = ("CUDA_VISIBLE_DEVICES", "TPU_VISIBLE_CHIPS")


@dataclass(frozen=True)
class Task:
    """What all trials of a study have in common.

    sample: the validation images whose embeddings are reported. objectives: what is measured of them all, the first of
    which ranks the trial. profiles: what a trial of each head gets.
    says_where: whether a trial reports the node and the devices that it was given. code: the driver's fingerprint.
    """

    epochs: int
    batch_size: int
    shift_px: int
    embedding_dim: int
    body: str
    body_options: dict[str, Any]
    sample: NDArray[np.intp]
    profiles: dict[str, Profile]
    objectives: tuple[str, ...] = ("accuracy",)
    says_where: bool = False
    code: str = field(default_factory=lambda: fingerprint.of_code())

    @classmethod
    def of(cls, study: Study, sample: NDArray[np.intp], says_where: bool = False) -> Task:
        return cls(
            epochs=study.training.epochs,
            batch_size=study.training.batch_size,
            shift_px=study.training.shift_px,
            embedding_dim=study.embedding_dim,
            body=study.body.name,
            body_options=study.body.options(),
            sample=sample,
            profiles={head: study.resources.of(head) for head in study.heads},
            objectives=tuple(study.search.objectives),
            says_where=says_where,
        )


Report = Callable[[dict[str, Any], Path], None]  # takes a row, and a folder with the checkpoint that belongs to it


class Diverged(Exception):
    """Training left the finite numbers; the message says where."""


class WorkerDied(Exception):
    """A process of several that train together is gone; the trial goes on from its last checkpoint, like any other.

    kind: of what the machine did to it.
    """

    def __init__(self, said: str, kind: str = "process") -> None:
        super().__init__(said, kind)  # both, for Ray copies exceptions by their arguments
        self.said, self.kind = " ".join(said.split())[:300], kind

    def __str__(self) -> str:
        return self.said


def last_words(error: Exception) -> dict[str, dict[str, str]]:
    """What is reported of an error, before anything else.

    ended: the trial's own end, with status, reason, and the traceback of what should not have happened. broken: what
    the machine did, which ends nothing; it is also raised, and the trial begins again from its last checkpoint.
    """
    if isinstance(error, Diverged):
        return {"ended": {"status": "diverged", "reason": str(error)}}
    if isinstance(error, WorkerDied):
        return {"broken": {"kind": error.kind, "said": error.said}}
    if cause := interruptions.of(error):
        return {"broken": {"kind": cause.kind, "said": cause.said}}
    reason = f"{type(error).__name__}: {error}"
    return {"ended": {"status": "failed", "reason": reason, "traceback": "".join(traceback.format_exception(error))}}


def blueprint(head: str, params: dict[str, Any], data: TrialData, task: Task) -> Blueprint:
    """What a configuration builds."""
    return Blueprint(
        head=head,
        params=params,
        body=task.body,
        body_options=task.body_options,
        embedding_dim=task.embedding_dim,
        num_classes=data.num_classes,
        image_shape=data.train.image_shape,
        pixel_mean=data.pixel_mean,
        pixel_std=data.pixel_std,
    )


def model(head: str, params: dict[str, Any], data: TrialData, task: Task) -> EmbeddingModule:
    """A configuration as a network with fresh weights, which measures what the study is judged by."""
    module = blueprint(head, params, data, task).build()
    module.objectives = task.objectives
    return module


def where() -> dict[str, Any]:
    """The node that this trial runs on, and the accelerators that Ray lets it see."""
    import ray

    devices = {name: os.environ[name] for name in DEVICES if name in os.environ}
    return {"node": ray.util.get_node_ip_address(), "node_id": ray.get_runtime_context().get_node_id(), **devices}


def precision(accelerator: str) -> str:
    """Of the body, as Lightning names it: bfloat16 where a GPU computes in it; heads stay in float32 (AngularHead)."""
    import torch

    fast = accelerator == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if fast else "32-true"


def end_with_parent() -> None:
    """Ends this process of Ray's together with its raylet, however that ends. Linux only; elsewhere Ray does it.

    Ray's processes look whether their parent is process 1. Where someone else adopts what a killed driver leaves, as a
    desktop's session does, it never is, and a trial would stay for good, with its memory.
    """
    import ray

    if sys.platform == "linux" and ray.is_initialized() and ray.get_runtime_context().get_actor_id():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def import_at_once() -> None:
    """Imports what trains, once a process. It is never garbage: no collection interrupts it, or looks at it later.

    A fifth of the seconds that a process needs before its first trial.
    """
    if "pytorch_lightning" in sys.modules:
        return
    gc.disable()
    try:
        import_module("lightning_modules.heads.base")
    finally:
        gc.freeze()
        gc.enable()


def reset_process(seed: int, threads: int) -> None:
    """Undoes what an earlier trial in this process may have left."""
    import logging

    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    warnings.resetwarnings()
    warnings.filterwarnings("ignore", module="pytorch_lightning|ray|torch")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def trainer_of(profile: Profile, epochs: int, callback: Any, **together: Any) -> Any:
    """What trains a head on what a trial gets: the same for a trial and for whoever measures how long one takes.

    together: what Lightning's Trainer needs where several processes train together.
    """
    import pytorch_lightning as pl

    return pl.Trainer(
        max_epochs=epochs,
        accelerator=profile.accelerator,
        devices=1,
        precision=precision(profile.accelerator),  # type: ignore[arg-type]
        callbacks=[callback],
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **together,
    )


def batches_for(module: EmbeddingModule, data: TrialData, task: Task, seed: int) -> ImageBatches:
    """What a head is fed with: the same for a trial and for whoever measures how long one takes."""
    from lightning_modules.data.batches import ImageBatches

    return ImageBatches(data, task.batch_size, seed, module.images_per_class, task.shift_px)


def fit(
    trial: dict[str, Any], data: TrialData, task: Task, started: float, report: Report, checkpoint: Any, **together: Any
) -> None:
    """Trains a configuration in this process, from a checkpoint of Ray's where there is one.

    report: called after every epoch. together: for `trainer_of`.
    """
    profile = task.profiles[trial["head"]]
    import_at_once()
    reset_process(trial["seed"], max(1, int(profile.cpu)))
    module = model(trial["head"], trial["params"], data, task)
    trainer = trainer_of(profile, task.epochs, _reporter(task, started, report), **together)
    batches = batches_for(module, data, task, trial["seed"])
    with _opened(checkpoint) as path:
        trainer.fit(module, datamodule=batches, ckpt_path=path, weights_only=True)


def last_checkpoint(trial: dict[str, Any]) -> Any:
    """Where to go on: what Tune hands over after a lost process, else what the driver found after a resume."""
    from ray import tune

    handed = tune.get_checkpoint()
    if handed is None and trial["checkpoint"]:
        handed = tune.Checkpoint(trial["checkpoint"])
    return handed


@contextmanager
def _opened(checkpoint: Any) -> Iterator[str | None]:
    if checkpoint is None:
        yield None
        return
    with checkpoint.as_directory() as folder:
        yield str(Path(folder, CHECKPOINT))


def _short(value: Any) -> float:
    """A float32 measure with the seven digits that it has: 0.9411, not 0.941100001335144."""
    return float(f"{float(value):.7g}")


def _reporter(task: Task, started: float, report: Report) -> Any:
    """A Lightning callback that reports each epoch with its checkpoint, and ends a diverged fit.

    Of several processes that train together the first one reports; all of them take part in the checkpoint.
    """
    import pytorch_lightning as pl

    objective = objectives.named(task.objectives[0])

    class Reporter(pl.Callback):
        CHECK_EVERY_STEPS = 25  # reading a loss waits for the device

        def __init__(self) -> None:
            self.best: float | None = None
            self.times = {"time/setup_s": 0.0}

        def state_dict(self) -> dict[str, Any]:
            return {"best": self.best}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.best = state_dict["best"]

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            self.epoch_started = time.perf_counter()
            if not trainer.current_epoch or "time/train_s" not in self.times:
                self.times["time/setup_s"] = self.epoch_started - started
            self.losses: list[Any] = []

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.losses.append(outputs["loss"].detach())
            if batch_idx % self.CHECK_EVERY_STEPS == 0 and not math.isfinite(float(self.losses[-1])):
                raise Diverged(
                    f"the loss became {float(self.losses[-1])} at epoch {trainer.current_epoch + 1}, step {batch_idx}"
                )

        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            self.times["time/train_s"] = time.perf_counter() - self.epoch_started

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            row = self._row(trainer, pl_module) if trainer.is_global_zero else {}
            with tempfile.TemporaryDirectory() as folder:
                trainer.save_checkpoint(Path(folder, CHECKPOINT))
                if trainer.is_global_zero:
                    report(row, Path(folder))
            self.times["time/setup_s"] = 0.0

        def _row(self, trainer: Any, pl_module: Any) -> dict[str, Any]:
            measured = {name: _short(value) for name, value in trainer.callback_metrics.items()}
            measured["train/loss"] = _short(sum(self.losses) / len(self.losses))
            validation_s = time.perf_counter() - self.epoch_started - self.times["time/train_s"]
            self.times["time/validation_s"] = validation_s
            if measured["val/non_finite_share"] > 0 or not math.isfinite(measured["train/loss"]):
                raise Diverged(f"embeddings or loss were not finite after epoch {trainer.current_epoch + 1}")
            value = measured[objective.metric]
            if not objective.holds(value):
                raise Diverged(f"{objective.label} was {value} after epoch {trainer.current_epoch + 1}")
            self.best = value if self.best is None else max(self.best, value, key=objective.merit)
            sample = pl_module.validation_embeddings[task.sample].cpu().numpy().astype(np.float16)
            return {
                "epoch": trainer.current_epoch + 1,
                "objective": value,
                "metrics": {**measured, f"{objective.metric}_best": self.best, **self.times},
                "embedding": (sample.shape, sample.tobytes()),
            }

    return Reporter()
