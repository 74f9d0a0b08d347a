"""What each measure is called, how it is written, and what it means; of the objectives, they say it themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lightning_modules.objectives import by_key
from lightning_modules.objectives.base import Objective


def _share(value: float) -> str:
    return f"{value:.4f}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _ratio(value: float) -> str:
    return f"{value:.2f}"


def _degrees(value: float) -> str:
    return f"{math.degrees(value):.1f}°"


def _volume(value: float) -> str:
    return f"10^{value / math.log(10):.2f}"


@dataclass(frozen=True)
class Measure:
    """A measure's name for people and its meaning."""

    label: str
    write: Callable[[float], str]
    meaning: str


MEASURES: Mapping[str, Measure] = {
    "cluster_accuracy_spherical": Measure("… by angle", _share, "k-means on the unit sphere"),
    "cluster_accuracy_euclidean": Measure("… by distance", _share, "k-means on the embedding as it is"),
    "nearest_mean_accuracy": Measure("nearest mean", _share, "points nearest to the mean of their own class"),
    "nearest_centre_accuracy": Measure(
        "nearest learned centre", _share, "points nearest by angle to the class centre that the head has learned"
    ),
    "knn_accuracy": Measure("10 nearest neighbours", _share, "points whose 10 nearest others vote for their class"),
    "recall_at_1": Measure("recall@1", _share, "points whose nearest other is of their class"),
    "map_at_r": Measure("MAP@R", _share, "mean average precision among as many neighbours as the class has points"),
    "ami": Measure("AMI", _share, "mutual information of clusters and classes, adjusted: 0 is chance, 1 perfect"),
    "nmi": Measure("NMI", _share, "the same, normalised but not adjusted for chance"),
    "silhouette": Measure(
        "silhouette", _share, "−1 to 1: how much nearer points are to their own class than to the next"
    ),
    "separation_ratio": Measure(
        "separation by angle", _ratio, "smallest angle between class means over the 95% angle to the own mean"
    ),
    "distance_ratio": Measure("separation by distance", _ratio, "the same with distances"),
    "target_angle_p50_rad": Measure("angle to own mean, 50%", _degrees, "median over all points"),
    "target_angle_p95_rad": Measure("angle to own mean, 95%", _degrees, "19 of 20 points are nearer"),
    "min_mean_angle_rad": Measure("smallest angle between means", _degrees, "of the two classes that are nearest"),
    "min_centre_angle_rad": Measure("smallest angle between learned centres", _degrees, "of the two that are nearest"),
    "centre_to_mean_angle_rad": Measure(
        "learned centre to mean", _degrees, "how far on average a learned centre is from its class's mean"
    ),
    "sphere_share": Measure(
        "used share of the sphere", _percent, "area of all classes' 95% caps; above 100% they must overlap"
    ),
    "collapsed_pairs_share": Measure(
        "collapsed pairs", _percent, "pairs of class means nearer than points are to their own mean"
    ),
    "hull_log_volume": Measure("hull of all points", _volume, "volume of the convex hull, in the embedding's units"),
    "hull_share_sum": Measure("… clusters' hulls", _percent, "sum of their volumes over that of the whole"),
    "hull_share_mean": Measure("… one on average", _percent, "mean of the same shares"),
    "ellipsoid_log_volume": Measure("95% ellipsoid of all", _volume, "χ² quantile times the covariance's eigenvalues"),
    "ellipsoid_share_sum": Measure("… clusters' ellipsoids", _percent, "sum of their volumes over that of the whole"),
    "ellipsoid_share_mean": Measure("… one on average", _percent, "mean of the same shares"),
}


def measures(judged_by: Objective) -> Mapping[str, Measure]:
    """All measures in the order of the report: what an objective is stands before its parts, without such first."""
    found = dict(MEASURES)
    for key, objective in reversed([*by_key().items()]):
        meaning = f"the objective: {objective.meaning}" if objective == judged_by else objective.meaning
        own = {key: Measure(objective.label, objective.write, meaning)}
        names = list(found)
        place = min((names.index(part) for part in objective.parts.values()), default=0)
        found = {name: (own | found)[name] for name in [*names[:place], key, *names[place:]]}
    return found


def written(measured: Mapping[str, float | None], judged_by: Objective) -> list[tuple[str, str, str]]:
    """(label, value, meaning) of all measures that were taken. judged_by: the study's objective."""
    rows = []
    for name, measure in measures(judged_by).items():
        value = measured.get(name)
        if value is not None:
            rows.append((measure.label, measure.write(value), measure.meaning))
    return rows
