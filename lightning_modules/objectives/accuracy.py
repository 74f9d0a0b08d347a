"""Cluster accuracy: the share of images whose k-means cluster is their class's, on the head's own geometry."""

from __future__ import annotations

from lightning_modules.metrics.proportions import wilson
from lightning_modules.objectives.base import EmbeddedImages, Interval, Objective


def measure(images: EmbeddedImages) -> float:
    """k-means with as many clusters as classes, matched to them one to one."""
    from lightning_modules.metrics.clusters import cluster_accuracy

    return cluster_accuracy(*images.points, spherical=images.spherical)


OBJECTIVE = Objective(
    name="accuracy",
    key="cluster_accuracy",
    label="cluster accuracy",
    heading="accuracy",
    described="k-means cluster accuracy",
    meaning="k-means clusters matched to classes, on the head's own geometry",
    measure=measure,
    higher_is_better=True,
    bounds=(0.0, 1.0),
    interval=Interval("Wilson", "images", lambda value, support: wilson(value, support.images)),
    parts={"by angle": "cluster_accuracy_spherical", "by distance": "cluster_accuracy_euclidean"},
    note="Accuracy is by angle or by distance, as the head's loss measures",
    few_classes=(
        "as many clusters as there are classes are looked for, so the accuracy will be lower than with all of them"
    ),
)
