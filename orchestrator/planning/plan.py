"""What a study will do and what it will cost: a plan, as values. `preflight` refuses what cannot run.

Imports neither torch nor Ray, so that a plan answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_modules.data import sources, splits
from lightning_modules.data.images import DataError
from lightning_modules.data.splits import TrialData
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
    """A study that can run: its data, its spaces, its cost and its folder."""

    study: Study
    data: TrialData
    spaces: dict[str, dict[str, Searched]]
    fleet: Fleet
    slots: int
    folder: StudyFolder
    disk_bytes: int
    warnings: tuple[str, ...]

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
        there, taken = self.fleet.memory_bytes / 1e9, _memory_bytes(self.study, self.data, self.slots) / 1e9
        fewer = f"; search.concurrent_trials may be lowered in {self.folder.study_file}" if self.slots > 1 else ""
        return f"{counted(self.slots, 'trial')} at a time: about {taken:.1f} GB of {there:.1f} GB{fewer}"

    @property
    def image_passes(self) -> int:
        return self.epochs * len(self.data.train)

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
            "classes": self.data.num_classes,
            "train_images": len(self.data.train),
            "validation_images": len(self.data.validation),
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
        data = load_data(study)
        if data.num_classes < 2:
            raise DataError("there is one class only, and nothing to tell apart")
    except DataError as error:
        raise CannotRun([*preflight.taken_name(folder, resuming), preflight.unfit(error)]) from error
    spaces, disk_bytes = study.spaces(data.num_classes), _disk_bytes(study, data)
    if refusals := [*preflight.refusals(study, data, spaces, fleet, folder, disk_bytes, resuming)]:
        raise CannotRun(refusals)
    slots = _slots(study, fleet)
    warnings = *_memory(study, data, fleet, slots), *cautions.of(study, data.num_classes), temporary.note()
    return Plan(study, data, spaces, fleet, slots, folder, disk_bytes, tuple(filter(None, warnings)))


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


def load_data(study: Study) -> TrialData:
    """Train and validation images of a study; test images and unseen classes are in neither. Raises DataError."""
    data = splits.without(sources.load(study.data.source, study.data.folder, "train"), study.data.unseen_classes)
    return splits.split(data, study.data.validation_images, study.data.split_seed)


def classes_of(study: Study) -> int:
    """How many classes the data of a study has. Raises CannotRun."""
    try:
        return load_data(study).num_classes
    except DataError as error:
        raise CannotRun([Problem("data", "the images must be readable", str(error))]) from error


def free_name(study: Study, results: str | Path) -> Study:
    """The study, renamed to name-2, name-3, … if its folder is taken."""
    numbered = (study.name if number == 1 else f"{study.name[:58]}-{number}" for number in range(1, 10_000))
    free = next(name for name in numbered if not taken(results, name))
    return study.model_copy(update={"name": free})


def parameters_of(study: Study, data: TrialData) -> int:
    """How many weights a trial trains: the body's, and the class centres' with an offset each."""
    body = study.body.size(data.train.image_shape, study.embedding_dim)
    return body.parameters + data.num_classes * (study.embedding_dim + 1)


def _disk_bytes(study: Study, data: TrialData) -> int:
    top, seeds = confirmation.size(study)
    trials = len(study.heads) * (study.search.trials_per_head + top * seeds)
    an_epoch = SAMPLE * study.embedding_dim * 2
    checkpoint = 3 * 4 * parameters_of(study, data)  # AdamW keeps two moments of every weight
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


def _memory_bytes(study: Study, data: TrialData, slots: int) -> int:
    """About what so many trials at a time take."""
    workers = max(study.resources.of(head).workers for head in study.heads)
    processes = slots * (workers if workers == 1 else workers + 1)  # a trial's own leads its workers
    return processes * TRIAL_MEMORY_BYTES + 3 * data.train.images.nbytes


def _memory(study: Study, data: TrialData, fleet: Fleet, slots: int) -> Iterable[str]:
    asked = study.search.concurrent_trials
    fit = fleet.slots(map(study.resources.of, study.heads))
    if asked != AUTO and asked > fit:
        yield f"search.concurrent_trials is {asked}, but only {fit} fit {fleet.where} at a time"
    needed = _memory_bytes(study, data, slots)
    if 0 < 0.9 * fleet.memory_bytes < needed:  # of nodes that are not there yet it is not known
        there = f"{needed / 1e9:.1f} GB of the {fleet.memory_bytes / 1e9:.1f} GB of memory"
        yield f"{slots} trials at a time need about {there}"
