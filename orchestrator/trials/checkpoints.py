"""Finds the checkpoints that Tune has left in a study's folder, in whichever attempt they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.trials.trial import CHECKPOINT


def newest(folder: StudyFolder, trials: Iterable[Trial]) -> dict[str, Path]:
    """Of each trial the newest checkpoint that the record has reached, where it has one.

    A killed driver may leave one that is an epoch ahead of the record; going on from it would skip that epoch's row.
    """
    wanted = {trial.name: trial for trial in trials}
    if folder.home and wanted:
        folder.home.fetch("ray", lambda name: name.endswith(f"/{CHECKPOINT}") and name.split("/")[2] in wanted)
    found: dict[str, tuple[int, Path]] = {}
    for path in folder.ray.glob(f"attempt-*/*/checkpoint_*/{CHECKPOINT}"):
        trial = wanted.get(path.parent.parent.name)
        epochs = finished_epochs(path) if trial else None
        if trial and epochs is not None and found.get(trial.name, (0, path))[0] < epochs <= trial.last_epoch:
            found[trial.name] = epochs, path
    return {name: path for name, (_, path) in found.items()}


def load(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint holds; raises whatever torch makes of half a file. Only tensors and plain values are read."""
    import torch

    content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return content


def finished_epochs(checkpoint: Path) -> int | None:
    """How many epochs a checkpoint holds; None for one that was not written to its end."""
    try:
        return int(load(checkpoint)["epoch"]) + 1
    except Exception:
        return None
