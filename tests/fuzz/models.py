"""Kept models that are broken: a model that embeds, or a ModelError."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np

from lightning_modules.metrics.verification import Calibration, CalibrationError, OperatingPoint
from lightning_modules.models import model_config
from lightning_modules.models.embedder import Embedder, ImageError
from lightning_modules.models.model_config import CONFIG, WEIGHTS, Blueprint, ModelError
from tests.fuzz import mutations
from tests.fuzz.child import Case

CASES = 2000
HEADS = {
    "softmax": {},
    "arcface": {"margin_rad": 0.3, "scale": 16.0},
    "triplet": {"margin_dist": 0.5, "mining": "semi_hard"},
}
IMAGES = np.random.default_rng(0).integers(256, size=(3, 8, 8), dtype=np.uint8)


def prepare(folder: Path) -> Case:
    """Small models of three heads, of which each case breaks one file; the hash of the weights may fit, or be gone."""
    valid = []
    for head, params in HEADS.items():
        design = Blueprint(head, params, "strided", {"width": 2, "hidden": 4}, 3, 4, (8, 8, 1), 100.0, 50.0)
        weights = design.build().state_dict()
        model_config.save(folder, design, weights, {"trial": f"{head}-000", "epoch": 3}, calibration())
        valid.append(((folder / CONFIG).read_bytes(), (folder / WEIGHTS).read_bytes()))

    def case(random: Random) -> str:
        config, weights = random.choice(valid)
        how = random.random()
        if how < 0.4:
            config = mutations.written(mutations.of_json(json.loads(config), random))
        elif how < 0.55:
            config = mutations.of_bytes(config, random)
        else:
            weights = mutations.of_bytes(weights, random)
            if random.random() < 0.8:  # as of a version that kept none
                config = config.replace(b"weights_sha256", b"weights_sha")
        (folder / CONFIG).write_bytes(config)
        (folder / WEIGHTS).write_bytes(weights)
        model_config.about(folder)
        model_config.centres(folder)
        whole = model_config.is_whole(folder)
        try:
            embedder = Embedder.load(folder)
        except ModelError:
            return "refused, noticed at once" if not whole else "refused"
        try:
            embedder.embed(IMAGES)
        except ImageError:  # its config may now ask for others
            return "loaded, for other images"
        if embedder.calibration:
            with suppress(CalibrationError):
                embedder.verify(IMAGES[0], IMAGES[1], 0.01)
        return "loaded"

    return case


def calibration() -> Calibration:
    """A calibration of one threshold."""
    point = OperatingPoint(0.01, 0.5, 4, 80, 0.009, 0.8)
    return Calibration(True, 40, 4, 100, 500, 2**-20, 0.05, 0.4, (point,))
