"""What a finished search keeps of each head's best trial: its model, and every measure of its embedding.

The measures are taken on all validation images. They are the images that chose the trial, so its numbers flatter it.
The model's thresholds are calibrated on them too, that is on classes that training has seen. For new identities the
real false-accept rate is usually higher: calibrate on images of your own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lightning_modules import objectives
from lightning_modules.models import model_config
from lightning_modules.objectives.base import EmbeddedImages
from orchestrator.files.atomic import write_atomic
from orchestrator.planning.plan import Plan
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.trials import checkpoints, trial


def examine(planned: Plan, results: Results, say: Callable[[str], None]) -> None:
    """Writes `models/<head>/` and `analysis/<head>.json` for each head's best; those that are there stay."""
    todo = [best for best in results.best.values() if not _is_examined(results, best)]
    found = checkpoints.newest(results.folder, todo)
    for best in todo:
        path = found.get(best.name)
        if path is None or checkpoints.finished_epochs(path) != best.last_epoch:
            say(f"{best.name}: no checkpoint of epoch {best.last_epoch} is left, so no model and no analysis of it")
            continue
        started = time.perf_counter()
        _examine(planned, results, best, path)
        say(f"{best.name}: model kept, embedding measured in {time.perf_counter() - started:.1f} s")


def _is_examined(results: Results, best: Trial) -> bool:
    """Whether its model and its measures are there, and whole."""
    folder = results.folder.models / best.head
    about = model_config.about(folder)
    same = (about.get("trial"), about.get("epoch")) == (best.name, best.last_epoch)
    return same and model_config.is_whole(folder) and results.analysis(best.head) is not None


def _examine(planned: Plan, results: Results, best: Trial, checkpoint: Path) -> None:
    import torch

    from lightning_modules.metrics import measures, verification

    data, folder = planned.data, results.folder
    design = trial.blueprint(best.head, best.params, data, trial.Task.of(planned.study, np.empty(0, np.intp)))
    module = design.build()
    module.load_state_dict(checkpoints.load(checkpoint)["state_dict"])
    about = {
        "study": planned.study.name,
        "trial": best.name,
        "epoch": best.last_epoch,
        "seed": best.seed,
        "objective": best.objective,
        "objective_is": f"{best.judged_by.label} on {len(data.validation)} validation images, which chose this trial",
    }
    points_ND = model_config.embed(module, data.validation.images)
    labels_N = torch.from_numpy(data.validation.labels)
    try:
        calibration = verification.calibrate(points_ND, labels_N, spherical=module.spherical)
    except verification.CalibrationError:  # too few pairs for any threshold
        calibration = None
    model_config.save(folder.models / best.head, design, module.state_dict(), about, calibration)
    centres_CD = getattr(module, "centres", None)
    found = measures.final(
        points_ND,
        labels_N,
        data.num_classes,
        spherical=module.spherical,
        centres_CD=None if centres_CD is None else centres_CD.detach(),
    )
    images = EmbeddedImages(points_ND, labels_N, data.num_classes, module.spherical)
    found["measures"] = objectives.measured(images, planned.study.search.objectives, found["measures"])
    content = {"trial": best.name, "epoch": best.last_epoch, "images": "validation", **found}
    write_atomic(folder.analysis / f"{best.head}.json", json.dumps(content, allow_nan=False) + "\n")
