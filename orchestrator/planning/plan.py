"""What a study will do and what it will cost: a plan, as values. `preflight` refuses what cannot run.

Imports neither torch nor Ray, so that a plan answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_modules.data import splits
from lightning_modules.data.images import DataError
from lightning_modules.data.splits import Split, TrialData
from orchestrator.cluster.resources import Fleet, counted
from orchestrator.errors import CannotRun, Problem, StudyError
from orchestrator.files import temporary
from orchestrator.planning import cautions, preflight
from orchestrator.selection import confirmation
from orchestrator.selection.results import Results
from orchestrator.storage.bucket_sync import inside, taken
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study import tracking_mode, validation
from orchestrator.study.schema import AUTO, Study
from search_spaces.configurations import Searched

SAMPLE = 2000  # validation embeddings kept of every epoch, for pictures
PICTURE_BYTES, CLOUD_BYTES = 75_000, 100_000  # of an epoch, in the W&B folder
KEEPSAKES_BYTES = 260_000  # of a run at its end
CHECKPOINTS = 4  # of each trial, at most
TRIAL_MEMORY_BYTES = 700_000_000  # torch and Lightning in one process


@dataclass(frozen=True)
class Plan:
    """A study that can run: which images are for what, its spaces, its cost and its folder. No image is read for it."""

    study: Study
    split: Split
    spaces: dict[str, dict[str, Searched]]
    fleet: Fleet
    slots: int
    folder: StudyFolder
    disk_bytes: int
    warnings: tuple[str, ...]

    @cached_property
    def data(self) -> TrialData:
        """The images themselves, read when they are first asked for. Raises CannotRun."""
        try:
            return self.split.take(self.study.data.images("train"))
        except DataError as error:
            raise CannotRun([preflight.unfit(error)]) from error

    def with_images(self) -> Plan:
        """This plan, once its images are read: what is about to begin reads them before it makes a folder."""
        _ = self.data
        return self

    @property
    def trials(self) -> int:
        return len(self.study.heads) * self.study.search.trials_per_head

    @property
    def confirming(self) -> int:
        """How many runs the confirmation has, at most."""
        top, seeds = confirmation.size(self.study)
        return len(self.study.heads) * top * seeds

    @property
    def epochs(self) -> int:
        """Of search and confirmation, at most; a scheduler stops trials earlier."""
        return (self.trials + self.confirming) * self.study.training.epochs

    @property
    def memory(self) -> str:
        """What the trials at a time take, what is there, and what may be changed, in words."""
        there, taken = self.fleet.memory_bytes / 1e9, _memory_bytes(self.study, self.split, self.slots) / 1e9
        fewer = f"; search.concurrent_trials may be lowered in {self.folder.study_file}" if self.slots > 1 else ""
        return f"{counted(self.slots, 'trial')} at a time: about {taken:.1f} GB of {there:.1f} GB{fewer}"

    @property
    def image_passes(self) -> int:
        return self.epochs * len(self.split.train)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        heads = {
            head: {
                name: {**item.parameter.to_wandb(), "start": item.start, "reason": item.reason}
                for name, item in space.items()
            }
            for head, space in self.spaces.items()
        }
        return {
            "study": self.study.name,
            "folder": str(self.folder),
            "heads": heads,
            "classes": self.split.num_classes,
            "train_images": len(self.split.train),
            "validation_images": len(self.split.validation),
            "trials": self.trials,
            "confirmation_runs": self.confirming,
            "most_epochs": self.epochs,
            "most_image_passes": self.image_passes,
            "trials_at_a_time": self.slots,
            "disk_bytes": self.disk_bytes,
            "warnings": list(self.warnings),
        }


def make(study: Study, results: str | Path = "results", *, resuming: bool = False, fleet: Fleet | None = None) -> Plan:
    """The plan of a study whose folder is made in `results`. fleet: what may be used, this machine unless given.

    Raises StudyError for one that makes no sense, and CannotRun with all that stands in its way.
    """
    if problems := validation.problems(study):
        raise StudyError(problems)
    folder, fleet = StudyFolder(inside(results, study.name)), fleet or Fleet.here()
    try:
        split = divide(study)
        if split.num_classes < 2:
            raise DataError("there is one class only, and nothing to tell apart")
    except DataError as error:
        raise CannotRun([*preflight.taken_name(folder, resuming), preflight.unfit(error)]) from error
    spaces, disk_bytes = study.spaces(split.num_classes), _disk_bytes(study, split)
    if refusals := [*preflight.refusals(study, split, spaces, fleet, folder, disk_bytes, resuming)]:
        raise CannotRun(refusals)
    slots = _slots(study, fleet)
    warnings = *_memory(study, split, fleet, slots), *cautions.of(study, split.num_classes), temporary.note()
    return Plan(study, split, spaces, fleet, slots, folder, disk_bytes, tuple(filter(None, warnings)))


def again(results: Results, fleet: Fleet | None = None) -> Plan:
    """The plan of a study that has begun. Raises CannotRun where it cannot go on here."""
    root = results.folder.root
    if results.damage:
        raise CannotRun(results.damage)
    if results.study.name != root.resolve().name:
        rule, fix = "a study's folder bears the study's name", f"rename it to {results.study.name}"
        raise CannotRun([Problem(str(root), rule, root.resolve().name, fix)])
    parent = root.parent if root.name == results.study.name else root.resolve().parent
    return make(results.study, parent, resuming=True, fleet=fleet)


def divide(study: Study) -> Split:
    """Which images of a study are for what; test images and unseen classes are in no part. Raises DataError."""
    data = study.data
    return splits.divide(data.metadata("train"), data.validation_images, data.split_seed, data.unseen_classes)


def load_data(study: Study) -> TrialData:
    """Train and validation images of a study. Raises DataError."""
    return divide(study).take(study.data.images("train"))


def classes_of(study: Study) -> int:
    """How many classes the data of a study has. Raises CannotRun."""
    try:
        return divide(study).num_classes
    except DataError as error:
        raise CannotRun([Problem("data", "the images must be readable", str(error))]) from error


def free_name(study: Study, results: str | Path) -> Study:
    """The study, renamed to name-2, name-3, … if its folder is taken."""
    numbered = (study.name if number == 1 else f"{study.name[:58]}-{number}" for number in range(1, 10_000))
    free = next(name for name in numbered if not taken(results, name))
    return study.model_copy(update={"name": free})


def parameters_of(study: Study, split: Split) -> int:
    """How many weights a trial trains: the body's, and the class centres' with an offset each."""
    body = study.body.size(split.image_shape, study.embedding_dim)
    return body.parameters + split.num_classes * (study.embedding_dim + 1)


def _disk_bytes(study: Study, split: Split) -> int:
    top, seeds = confirmation.size(study)
    trials = len(study.heads) * (study.search.trials_per_head + top * seeds)
    an_epoch = SAMPLE * study.embedding_dim * 2
    checkpoint = 3 * 4 * parameters_of(study, split)  # AdamW keeps two moments of every weight
    mirrored = 0
    if tracking_mode.mode_of(study) != "off" and study.tracking.pictures:
        drawn = PICTURE_BYTES + (CLOUD_BYTES if study.embedding_dim == 3 else 0)
        mirrored = len(study.heads) * study.search.trials_per_head * (study.training.epochs * drawn + KEEPSAKES_BYTES)
    return trials * (CHECKPOINTS * checkpoint + study.training.epochs * an_epoch) + mirrored + temporary.NEEDED_BYTES


def _slots(study: Study, fleet: Fleet) -> int:
    """How many trials run at a time. A cluster may grow: there, as many as are asked for."""
    fit = fleet.slots(map(study.resources.of, study.heads))
    asked = study.search.concurrent_trials
    return fit if asked == AUTO else asked if fleet.address else min(fit, asked)


def _memory_bytes(study: Study, split: Split, slots: int) -> int:
    """About what so many trials at a time take."""
    workers = max(study.resources.of(head).workers for head in study.heads)
    processes = slots * (workers if workers == 1 else workers + 1)  # a trial's own leads its workers
    return processes * TRIAL_MEMORY_BYTES + 3 * split.train_bytes


def _memory(study: Study, split: Split, fleet: Fleet, slots: int) -> Iterable[str]:
    asked = study.search.concurrent_trials
    fit = fleet.slots(map(study.resources.of, study.heads))
    if asked != AUTO and asked > fit:
        yield f"search.concurrent_trials is {asked}, but only {fit} fit {fleet.where} at a time"
    needed = _memory_bytes(study, split, slots)
    if 0 < 0.9 * fleet.memory_bytes < needed:  # of nodes that are not there yet it is not known
        there = f"{needed / 1e9:.1f} GB of the {fleet.memory_bytes / 1e9:.1f} GB of memory"
        yield f"{slots} trials at a time need about {there}"
