"""What stands in a study's way, here and now: all of it is found, and refused, before anything starts.

Pure but for a look at the folder, the disk and the network; it knows nothing of plans.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from lightning_modules.data import splits
from lightning_modules.data.images import DataError
from lightning_modules.data.splits import Split
from orchestrator.cluster.resources import Fleet, loopback, misfits
from orchestrator.errors import CannotRun, Problem
from orchestrator.files import disk, temporary
from orchestrator.files.disk import Spot
from orchestrator.files.lock_links import unlinked
from orchestrator.storage.bucket_sync import OF_A_COPY
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.field_types import SMALLEST_BATCH
from orchestrator.study.schema import Study
from orchestrator.system.commands import ours
from search_spaces.configurations import Searched

UNFIT = {  # what is wrong with data that can be read: place, rule and fix
    splits.UnseenClassError: (
        "data.unseen_classes",
        "unseen classes are left out of the data's",
        "name classes of these data, and leave two others at least",
    ),
    splits.SplitError: (
        "data.validation_images",
        "validation images are some of the training images of each class, never all",
        "write another number: a sixth of all is usual",
    ),
}


def refusals(
    study: Study,
    split: Split,
    spaces: dict[str, dict[str, Searched]],
    fleet: Fleet,
    folder: StudyFolder,
    disk_bytes: int,
    resuming: bool,
) -> Iterable[Problem]:
    """Everything that a study whose data can be read cannot run with."""
    yield from taken_name(folder, resuming)
    yield from misfits(study, fleet)
    yield from _network(fleet)
    yield from _disk(folder.root, disk_bytes, resuming)
    yield from _temporary(fleet)
    yield from _batches(study, split)
    yield from _proposed(study, spaces)


def unfit(error: DataError) -> Problem:
    """What is wrong with the data of a study."""
    place, rule, fix = UNFIT.get(type(error), ("data", "the images must be readable", ""))
    return Problem(place, rule, str(error), fix)


def taken_name(folder: StudyFolder, resuming: bool) -> Iterable[Problem]:
    """A word where another study, or something else, has its place."""
    begun = {folder.lock_file, folder.driver_file, folder.trials_file, folder.provenance_file}
    begun |= {folder.root / name for name in OF_A_COPY}
    if not resuming and folder.root.exists() and (not folder.root.is_dir() or {*unlinked(folder.root)} - begun):
        fix = f"{ours('resume', folder)}, or launch with --set name=…, or with --next-name"
        yield Problem("name", "each study has a folder of its own", f"{folder} is there already", fix)


def refuse_taken(folder: StudyFolder) -> None:
    """Raises CannotRun if a study has begun in this folder."""
    if problems := [*taken_name(folder, resuming=False)]:
        raise CannotRun(problems)


def _disk(root: Path, needed: int, resuming: bool) -> Iterable[Problem]:
    """A study that goes on needs no more than what it has not written yet."""
    spot, elsewhere = Spot.of(root), "use --results elsewhere"
    if resuming and spot.free_bytes < needed:  # only then, for there may be very many files
        needed -= disk.used_bytes(root)
    if spot.obstacle:
        if not root.is_file():  # then its name is taken
            yield Problem("results", "the folder of the results must be one to write in", spot.obstacle, elsewhere)
    elif spot.free_bytes < needed:
        value = f"{spot}, about {needed / 1e9:.1f} GB needed"
        yield Problem("results", "the disk must have room for the results", value, f"free some, or {elsewhere}")


def _network(fleet: Fleet) -> Iterable[Problem]:
    if fleet.address is None and (problem := loopback()):
        yield problem


def _temporary(fleet: Fleet) -> Iterable[Problem]:
    found = temporary.problem(0 if fleet.address else temporary.NEEDED_BYTES)
    return [found] if found else []


def _batches(study: Study, split: Split) -> Iterable[Problem]:
    size, images = study.training.batch_size, len(split.train)
    if size > images:
        place, rule = "training.batch_size", f"a batch has at most all {images} training images"
        yield Problem(place, rule, str(size), _smaller_batch(study, images))


def _smaller_batch(study: Study, images: int) -> str:
    """A fix that holds: a size that the workers can share, or more images where no batch is as small."""
    together = math.lcm(*(study.resources.of(head).workers for head in study.heads))
    powers = [2**power for power in range(20, 3, -1) if 2**power <= images]  # from 2²⁰ down to 2⁴, the smallest
    if powers and together == 1:
        return f"write {powers[0]} or less"
    shared = [
        size for size in (*powers, images // together * together) if size >= SMALLEST_BATCH and not size % together
    ]
    few = f"use {max(SMALLEST_BATCH, together)} images or more to train on: a batch has {SMALLEST_BATCH} at least"
    return f"write {shared[0]}" if shared else few


def _proposed(study: Study, spaces: dict[str, dict[str, Searched]]) -> Iterable[Problem]:
    """Whether the sampler can propose as many trials as each head gets."""
    sampler, trials = study.search.sampler, study.search.trials_per_head
    return (problem for head, space in spaces.items() for problem in sampler.problems(head, space, trials))
