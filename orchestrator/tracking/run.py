"""One run at W&B, made from the record of one trial. The live mirror and `sync` both write through it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator import __version__
from orchestrator.errors import CannotRun, Problem
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.system.commands import ours
from orchestrator.tracking import connection
from orchestrator.tracking.connection import LEAN, PATIENCE, quiet
from orchestrator.tracking.media import RunMedia

SAID = {  # what W&B is told of a trial's status
    "completed": "finished",
    "stopped": "stopped early",
    "diverged": "diverged",
    "failed": "failed",
    "running": "interrupted",
}
EXIT_CODES = {"completed": 0, "stopped": 0, "running": 255}  # W&B shows 255 as killed and any other as failed
SWEPT = ("search", "confirmation")  # jobs whose runs belong to the sweep; final models were trained on all images


@dataclass(frozen=True)
class About:
    """What all runs of a study share."""

    study: Study
    study_id: str
    classes: int
    folder: StudyFolder

    @classmethod
    def of(cls, results: Results) -> About:
        """Of a study's folder. Raises CannotRun while nothing has begun there, or nobody knows any more what it is."""
        if not (study_id := results.provenance.get("study_id")):
            rule, fix = "only what is on record can be sent", ours("resume", results.folder)
            raise CannotRun([Problem(str(results.folder), rule, "its search has not begun", fix)])
        return cls(results.study, study_id, results.num_classes, results.folder)

    def id_of(self, name: str) -> str:
        """The id of a trial's run: the same at every resume, and different in every study."""
        return f"{self.study_id}-{name}"

    def config(self) -> dict[str, Any]:
        """The study in its normal form, every default written out, beside what people filter runs by."""
        study = self.study
        return {
            "study": study.name,
            "study_id": self.study_id,
            "embedding_dim": study.embedding_dim,
            "epochs": study.training.epochs,
            "batch_size": study.training.batch_size,
            "body": study.body.name,
            "orchestrator": {
                "version": __version__,
                "classes": self.classes,
                "study": study.model_dump(mode="json"),  # to filter by; W&B drops what is empty in it
                "yaml": study.to_yaml(),  # to read it again
            },
        }


def open_run(
    about: About,
    name: str,
    job: str,
    path: str,
    tags: list[str],
    notes: str,
    config: dict[str, Any],
    sweep: str | None = None,
    patience_s: float = 0.0,
) -> Any:
    """wandb's run of that name, new or gone on with. Raises what wandb raises, in time.

    path: entity/project where it is sent; "" keeps it here.
    patience_s: how long its end may take to be uploaded, if that is longer than usual.
    """
    import wandb

    study, folder = about.study, about.folder
    if not path:  # the record has all of it: a run that was begun here before is written anew, not a second time
        for earlier in folder.wandb.glob(f"offline-run-*-{about.id_of(name)}"):
            shutil.rmtree(earlier)
    folder.wandb.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {**LEAN, **PATIENCE, "x_disable_stats": not study.tracking.system_metrics}
    settings["finish_timeout"] = max(settings["finish_timeout"], patience_s)
    if sweep:
        settings["sweep_id"] = sweep
    entity, _, project = path.partition("/")
    return wandb.init(
        project=project or study.tracking.project,
        entity=entity or study.tracking.entity,
        mode="online" if path else "offline",
        dir=str(folder.root),  # wandb makes its own folder "wandb" in it
        id=about.id_of(name),
        name=name,
        group=study.name,
        job_type=job,
        tags=tags,
        notes=notes,
        config={**about.config(), **config},
        resume="allow",
        reinit="create_new",
        settings=wandb.Settings(**settings),
    )


def close_run(run: Any, exit_code: int) -> None:
    """Ends a run once all of it has arrived. Raises what wandb raises, in time."""
    with quiet():
        run.finish(exit_code=exit_code)


class TrialRun:
    """A trial's run: `tell` brings it up to its record, `end` closes it. Nothing is told twice."""

    def __init__(
        self, about: About, trial: Trial, job: str, path: str = "", sweep: str = "", patience_s: float = 0.0
    ) -> None:
        self.trial, self.job, self.online = trial, job, bool(path)
        self._folder = about.folder
        study = about.study
        pictures = study.tracking.pictures and job == "search"  # the others repeat what was drawn already
        self._kept = RunMedia(about.folder.labels()) if pictures else None
        self._undrawn: set[int] = set()
        self._params = trial.params
        tags = [trial.head, f"{study.embedding_dim}-D", job]
        notes = f"{study.description or study.name}: {job}, {trial.head}, seed {trial.seed}."
        about_trial = {"head": trial.head, "index": trial.index, "seed": trial.seed, **trial.params}
        about_trial["settings"] = list(trial.params)  # which of all keys those are
        swept = sweep if job in SWEPT else None
        self._run = open_run(about, trial.name, job, path, tags, notes, about_trial, swept, patience_s)
        self._next = max(1, self._run.starting_step) if path else 1

    def tell(self, undrawn: Container[int] = ()) -> None:
        """Logs every epoch that the run does not have yet; the pictures of those in `undrawn` are left out."""
        trial = self.trial
        params, rows = trial.params, trial.epochs[:]  # the driver changes both
        if params is not self._params:  # a scheduler gave it another's margins
            self._run.config.update(params, allow_val_change=True)
            self._params = params
        news = [row for row in rows if row["epoch"] >= self._next]
        for row in news:
            self._log(row, row["epoch"] not in undrawn)
            self._next = row["epoch"] + 1
        if news and self.job != "final":
            self._run.summary["objective_by_epoch"] = [row["objective"] for row in rows]

    def end(self) -> None:
        """Closes the run as its trial has ended; one that has not was interrupted. Raises what wandb raises."""
        trial, run, kept = self.trial, self._run, self._kept
        if kept and trial.epochs and self._next == trial.last_epoch + 1 and trial.status in ("completed", "stopped"):
            kept.recall(trial, self._folder)
            if kept.frames:
                run.log(self._keepsakes(kept), step=self._next, commit=True)
        run.summary.update(summary(trial, self.job) | ({"pictures_left_out": len(self._undrawn)} if kept else {}))
        close_run(run, EXIT_CODES.get(trial.status, 1))

    def give_up(self) -> None:
        """Lets go of a run whose server is away, without waiting: its id can be used again once wandb has noticed."""
        with suppress(Exception):
            connection.within(0.0, partial(close_run, self._run, EXIT_CODES["running"]), "a run was given up")

    def _log(self, row: Event, draw: bool) -> None:
        logged = row_of(row, self.job)
        kept, trial = self._kept, self.trial
        points = self._folder.embedding(trial.name, row["epoch"]) if kept and draw else None
        if kept and points is not None:
            logged["embedding"] = _image(kept.draw(trial, row, points), f"after epoch {row['epoch']}")
            if (cloud := kept.cloud()) is not None:
                logged["embedding_3d"] = _cloud(cloud)
        elif kept:
            self._undrawn.add(row["epoch"])
        self._run.log(logged, step=row["epoch"], commit=True)

    def _keepsakes(self, kept: RunMedia) -> dict[str, Any]:
        """Once, at the end: the best epoch, the last embedding as a table, and how it unfolded."""
        import wandb

        best = kept.best_epoch
        columns, rows = kept.table()
        return {
            "embedding_best": _image(kept.frames[best], f"after epoch {best}, the best"),
            "embedding_table": wandb.Table(columns=columns, data=rows),
            "embedding_unfolds": wandb.Video(io.BytesIO(kept.animation()), format="gif"),
        }


def row_of(row: Event, job: str) -> dict[str, Any]:
    """An epoch as W&B shows it. A final model is measured on images that it trains on: no objective, and not val/…"""
    if job == "final":
        seen = {name.replace("val/", "trained_images/"): value for name, value in row["metrics"].items()}
        return {"epoch": row["epoch"], **seen}
    return {"epoch": row["epoch"], "objective": row["objective"], **row["metrics"]}


def summary(trial: Trial, job: str) -> dict[str, Any]:
    """What stands beside a run's last row: how it ended, and its best epoch."""
    found: dict[str, Any] = {"status": SAID[trial.status], "reason": trial.reason}
    if (best := trial.best_epoch) and job != "final":
        found |= {"best_objective": best["objective"], "best_epoch": best["epoch"]}
    return found


def _image(png: bytes, caption: str) -> Any:
    import wandb
    from PIL import Image

    return wandb.Image(Image.open(io.BytesIO(png)), caption=caption)


def _cloud(points: Any) -> Any:
    import wandb

    return wandb.Object3D(points)
