"""Separation: the smallest gap between two classes over the spread within one, on the head's own geometry."""

from __future__ import annotations

import math

from lightning_modules.objectives.base import EmbeddedImages, Objective


def measure(images: EmbeddedImages) -> float:
    """By angle or by distance, as the head tells classes apart."""
    from lightning_modules.metrics.angles import class_health

    health = class_health(*images.points, spherical=images.spherical)
    return health["separation_ratio" if images.spherical else "distance_ratio"]


OBJECTIVE = Objective(
    name="separation",
    key="separation",
    label="separation",
    meaning="of the two below, the one on the head's own geometry",
    measure=measure,
    higher_is_better=True,
    bounds=(0.0, math.inf),
    digits=2,
    parts={"by angle": "separation_ratio", "by distance": "distance_ratio"},
    axis="separation: smallest gap between classes over the spread within one",
    note=(
        "Separation is by angle for angular heads and by distance for the others, so it compares trials of one head,"
        " not heads"
    ),
)
