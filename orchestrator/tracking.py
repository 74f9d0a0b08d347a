"""The Weights & Biases mirror: one thread of the driver owns all runs, fed through a queue.

A trial imports no wandb and no key reaches a worker. The study's own record is the truth: whatever goes wrong here is
said once, and the search goes on. The only file that imports wandb.
"""

from __future__ import annotations

import io
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.keepsakes import Keepsakes
from orchestrator.records import Event, StudyFolder, Trial
from orchestrator.study import Study

Points = NDArray[np.float16]

LEAN = {  # a run opens in 0.02 s instead of 0.3 s, and tells W&B nothing about the machine
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "disable_git": True,
    "disable_code": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 1.0,
    "console": "off",
    "silent": True,
}


@dataclass(frozen=True)
class OpenRun:
    """A trial with its W&B run and the pictures that go with it."""

    trial: Trial
    run: Any
    kept: Keepsakes


class Tracker:
    """Mirrors trials to W&B. Every method returns at once; `close` waits until all is written."""

    def __init__(
        self,
        study: Study,
        study_id: str,
        folder: Path,
        labels: NDArray[np.int64],
        warn: Callable[[str], None],
        job: str = "search",
    ) -> None:
        self._study, self._study_id, self._folder, self._labels, self._warn = (
            study,
            study_id,
            folder,
            labels,
            warn,
        )
        self._job = job
        self._pictures = study.tracking.pictures and job == "search"  # the others repeat what was drawn already
        self._open_runs: dict[str, OpenRun] = {}
        self._mode: Literal["online", "offline"] | None = None  # known once W&B was asked for a key
        self._failed = False
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="wandb-mirror", daemon=True)
        self._thread.start()

    def started(self, trial: Trial) -> None:
        self._queue.put(lambda: self._open(trial))

    def epoch(self, trial: Trial, row: Event, points: Points) -> None:
        self._queue.put(lambda: self._log(trial, row, points))

    def ended(self, trial: Trial) -> None:
        status, reason = trial.status, trial.reason
        self._queue.put(lambda: self._finish(trial, status, reason))

    def close(self) -> None:
        """Ends the runs that are still open as interrupted, and waits for the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            self._attempt(job)
        for run in list(self._open_runs.values()):
            self._attempt(partial(self._finish, run.trial, "interrupted", "the search was interrupted"))

    def _attempt(self, job: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            job()
        except Exception as error:
            self._failed = True
            self._warn(f"the W&B mirror stopped: {type(error).__name__}: {error}; the study's own record goes on")

    def _online(self) -> bool:
        """Whether runs are sent at once: asked for, and W&B has a key. It is never asked for one: that would wait."""
        if self._study.tracking.mode != "online":
            return False
        import wandb
        from wandb.sdk.lib.wbauth import authenticate_session

        if authenticate_session(host=wandb.setup().settings.base_url, source="orchestrator", prompt=False):
            return True
        self._warn("no W&B key: runs are kept offline; wandb login, then wandb sync sends them")
        return False

    def _open(self, trial: Trial) -> None:
        if trial.name in self._open_runs:
            return
        import wandb

        study = self._study
        if self._mode is None:
            self._mode = "online" if self._online() else "offline"
        os.makedirs(self._folder, exist_ok=True)
        common = {
            "epochs": study.training.epochs,
            "batch_size": study.training.batch_size,
            "body": study.body.name,
        }
        run = wandb.init(
            project=study.tracking.project,
            entity=study.tracking.entity,
            mode=self._mode,
            dir=str(self._folder.parent),  # wandb makes its own folder "wandb" in it
            id=f"{self._study_id}-{trial.name}",
            name=trial.name,
            group=study.name,
            job_type=self._job,
            tags=[trial.head, f"{study.embedding_dim}-D"],
            config={
                "head": trial.head,
                "seed": trial.seed,
                "embedding_dim": study.embedding_dim,
                **common,
                **trial.params,
            },
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(**LEAN),
        )
        run.define_metric("objective", summary="last")  # what the trial's model is worth in the end
        self._open_runs[trial.name] = OpenRun(trial, run, Keepsakes(self._labels))

    def _log(self, trial: Trial, row: Event, points: Points) -> None:

        known = self._open_runs[trial.name]
        logged = {"epoch": row["epoch"], "objective": row["objective"], **row["metrics"]}
        if self._pictures:
            logged["embedding"] = _image(known.kept.draw(trial, row, points), f"after epoch {row['epoch']}")
        known.run.log(logged, step=row["epoch"])

    def _finish(self, trial: Trial, status: str, reason: str) -> None:
        known = self._open_runs.pop(trial.name)
        run = known.run
        if self._pictures and status in ("completed", "stopped"):
            known.kept.recall(trial, StudyFolder(self._folder.parent))
            if known.kept.frames:
                self._part_with(known)
        run.summary.update({"status": status, "reason": reason})
        run.finish(exit_code=0 if status in ("completed", "stopped") else 1)

    def _part_with(self, known: OpenRun) -> None:
        """Once, at a run's end: its best epoch, and its last embedding as a table, in space and as it unfolded."""
        import wandb

        run, kept = known.run, known.kept
        best = kept.best_epoch
        columns, rows = kept.table()
        logged: dict[str, Any] = {
            "embedding_best": _image(kept.frames[best], f"after epoch {best}, the best"),
            "embedding_table": wandb.Table(columns=columns, data=rows),
        }
        if (cloud := kept.cloud()) is not None:
            logged["embedding_3d"] = wandb.Object3D(cloud)
        path = Path(run.dir) / "unfolding.gif"
        path.write_bytes(kept.animation())
        logged["embedding_unfolds"] = wandb.Video(str(path), format="gif")
        run.log(logged, step=max(kept.frames))


def _image(png: bytes, caption: str) -> Any:
    import wandb
    from PIL import Image

    return wandb.Image(Image.open(io.BytesIO(png)), caption=caption)
