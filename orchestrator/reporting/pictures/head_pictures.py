"""Pictures of the best of each head: its embedding, its classes, and how it unfolded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_modules.heads.margin_curve import Margin, is_spherical, margin_of
from lightning_modules.models import model_config
from lightning_modules.objectives.base import Objective
from orchestrator.figures import animation, classes, embedding, sphere
from orchestrator.figures.embedding import Panel
from orchestrator.figures.style import Picture
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Best:
    """The best trial of a head, with all that the folder has of its embedding."""

    results: Results
    trial: Trial
    points: Array  # (n, D), the sampled validation embeddings after its last epoch
    labels: NDArray[np.int64]

    @property
    def head(self) -> str:
        return self.trial.head

    @property
    def dimensions(self) -> int:
        return int(self.points.shape[1])

    @cached_property
    def spherical(self) -> bool:
        return is_spherical(self.head, self.trial.params)

    @cached_property
    def analysis(self) -> dict[str, Any] | None:
        return self.results.analysis(self.head)

    @cached_property
    def learned_centres(self) -> Array | None:
        """The class centres (C, D) of its model; None while there is no model, or where the head has none."""
        found = model_config.centres(self.results.folder.models / self.head) if self.analysis else None
        return None if found is None else found.astype(np.float64)

    @cached_property
    def means(self) -> Array:
        """Class means (C, D) of the sampled points, of their directions on a sphere; NaN where a class has no point."""
        points = sphere.units(self.points) if self.spherical else self.points
        number = self.results.num_classes
        means = np.full((number, self.dimensions), np.nan)
        for label in np.unique(self.labels):
            means[label] = points[self.labels == label].mean(0)
        return means

    @property
    def centres(self) -> Array:
        return self.means if self.learned_centres is None else self.learned_centres

    @property
    def centres_are(self) -> str:
        return "class means" if self.learned_centres is None else "learned class centres"

    @cached_property
    def margin(self) -> Margin | None:
        return margin_of(self.head, self.trial.params)

    @property
    def title(self) -> str:
        return f"{self.trial.name}, epoch {self.trial.last_epoch}: {self.trial.reached}"

    @property
    def number(self) -> str:
        return f"{len(self.points):,} of {self.results.study.data.validation_images:,} validation images"


def bests(results: Results) -> list[Best]:
    """The best of each head whose embedding was kept, the best head first."""
    found = []
    for trial in results.best.values():
        points = results.folder.embedding(trial.name, trial.last_epoch)
        if points is not None:
            found.append(Best(results, trial, points.astype(np.float64), results.folder.labels()))
    return found


def side_by_side(results: Results, found: list[Best]) -> Picture:
    """All heads on one sheet."""
    panels = [
        Panel(best.points, best.labels, f"{best.head}: {best.trial.reached}\n{_how(best)}", _rays(best))
        for best in found
    ]
    dimensions, images = results.study.embedding_dim, results.study.data.validation_images
    objective = results.study.objective
    heading = (
        f"{results.study.name}: {dimensions}-D embeddings of {len(found[0].points):,} validation images, each number a"
        f" class;\nabove each head its {objective.in_full} on all {images:,} (n = 1 run)"
    )
    shown = "as it is" if dimensions <= 3 else "in its first three principal components"
    caption = (
        f"The embedding of each head's best trial {shown}, each point an image, each colour and number a class."
        f" Angular heads spread their classes as rays: only the direction counts, so {_good_by_angle(objective)}"
        " where the points of two classes come close near the origin."
    )
    if dimensions <= 3 and any(_rays(best) is not None for best in found):
        caption += " Thin lines lead to the learned class centres."
    alt = f"Scatter plots of the embeddings of {', '.join(best.head for best in found)}, one cloud for each class."
    return Picture("heads", "Embeddings side by side", caption, alt, embedding.side_by_side(panels, heading))


def pictures(best: Best) -> Iterator[Picture]:
    """The pictures of one head's best, one after the other, so that no two figures are in memory at once."""
    yield _embedding(best)
    if best.spherical and best.dimensions <= 3:
        yield _sphere(best)
    if best.dimensions > 3:
        yield _projections(best)
    yield _nearest(best)
    if best.analysis:
        yield from _measured(best, best.analysis)


def unfolding(best: Best) -> bytes | None:
    """A GIF of the best trial's embedding after every epoch; None if fewer than two were kept."""
    panels = []
    for row in best.trial.epochs:
        points = best.results.folder.embedding(best.trial.name, row["epoch"])
        if points is not None:
            title = f"{best.head}, epoch {row['epoch']}: {best.trial.judged_by.write(row['objective'])}"
            panels.append(Panel(points, best.labels, title))
    return animation.unfolding(panels) if len(panels) > 1 else None


def _how(best: Best) -> str:
    return f"by {'angle' if best.spherical else 'distance'}; {best.trial.name}, epoch {best.trial.last_epoch}"


def _good_by_angle(objective: Objective) -> str:
    if "by angle" not in objective.parts:
        return "an angular head can be good"
    article = "an" if objective.column[0] in "aeiou" else "a"
    return f"{article} {objective.column} by angle can be {'high' if objective.higher_is_better else 'low'}"


def _rays(best: Best) -> Array | None:
    return best.learned_centres if best.margin else None


def _embedding(best: Best) -> Picture:
    figure = embedding.side_by_side([Panel(best.points, best.labels, best.title, _rays(best))], inches=5.6)
    if best.dimensions > 3:
        caption = f"Its first three principal components, of {best.dimensions}; {best.number}."
    else:
        lines = " Thin lines lead to the learned class centres." if _rays(best) is not None else ""
        caption = f"The embedding as it is; {best.number}.{lines}"
    alt = f"Scatter plot of the {best.dimensions}-D embedding of {best.head}, one colour and number for each class."
    return Picture(best.head, "Embedding", caption, alt, figure)


def _sphere(best: Best) -> Picture:
    slack = best.margin.angular_slack if best.margin else None
    if best.dimensions == 2:
        kind = "circle"
        caption = f"Directions only: outside the circle how many points lie at each angle ({best.number}), each class"
        caption += " by its own most;"
        caption += f" lines are the {best.centres_are}."
    else:
        kind = "sphere"
        caption = f"Directions only, as two equal-area maps of the sphere's halves ({best.number});"
        caption += f" crosses are the {best.centres_are}."
    if slack:
        caption += " Shaded sectors" if kind == "circle" else " Rings"
        caption += " show how far from its centre a point may be while its logit, margin included, still beats the"
        caption += " nearest class."
    alt = f"The unit {kind} with the classes of {best.head} around their centres."
    figure = sphere.draw(best.points, best.labels, best.centres, slack, best.title)
    return Picture(f"{best.head}-sphere", f"On the unit {kind}", caption, alt, figure)


def _projections(best: Best) -> Picture:
    caption = f"{best.number}. The axes have no unit; in t-SNE only who is near whom can be read."
    alt = f"Two maps of the {best.dimensions}-D embedding of {best.head}: principal components and t-SNE."
    points = sphere.units(best.points) if best.spherical else best.points
    figure = embedding.projections(points, best.labels, best.title)
    return Picture(f"{best.head}-projections", "PCA and t-SNE", caption, alt, figure)


def _nearest(best: Best) -> Picture:
    boundary = None
    if best.spherical:
        cosines = sphere.units(best.points) @ sphere.units(best.centres).T
        others, unit, what = np.degrees(np.arccos(np.clip(cosines, -1, 1))), "°", "angle"
        between = np.degrees(np.arccos(np.clip(sphere.units(best.centres) @ sphere.units(best.centres).T, -1, 1)))
        if best.margin:
            angles = np.radians(np.linspace(0, 180, 721))
            shown = best.margin.target_cosine(angles)
            reach = shown >= -1
            boundary = np.degrees(angles[reach]), np.degrees(np.arccos(np.clip(shown[reach], -1, 1)))
    else:
        others = np.linalg.norm(best.points[:, None] - best.means[None], axis=2)
        between = np.linalg.norm(best.means[:, None] - best.means[None], axis=2)
        unit, what = "distance", "distance"
    figure = classes.nearest_pairs(between, others, best.labels, boundary, unit, best.title)
    caption = (
        f"For each class and the one whose centre is nearest: every point of both by its {what} to both centres"
        f" ({best.centres_are if best.spherical else 'class means'}; {best.number})."
        " A ● in the grey half is nearer to the wrong centre; far outliers stand at the border."
    )
    if boundary:
        caption += (
            " Between the dashed lines the margin still asks for more: training sees those points as not yet right."
        )
    alt = f"Scatter plots for {best.head}, one for each class: {what} to its own centre and to the nearest other one."
    return Picture(f"{best.head}-nearest", "Each class and its nearest", caption, alt, figure)


def _measured(best: Best, analysis: dict[str, Any]) -> Iterator[Picture]:
    images = f"{analysis['points']:,} validation images"
    accuracy = analysis["measures"]["cluster_accuracy"]
    yield Picture(
        f"{best.head}-confusion",
        "Confusion",
        f"k-means clusters against classes, {images}: {accuracy:.2%} lie on the diagonal. Empty cells are zero.",
        f"Confusion matrix of {best.head}: {accuracy:.2%} of {images} on the diagonal.",
        classes.confusion(analysis["confusion"], best.title),
    )
    yield Picture(
        f"{best.head}-mahalanobis",
        "Distances within clusters",
        f"For each k-means cluster how far its points lie from its centre, in units of its own spread ({images};"
        " logarithmic from 1 up). Wrong points should lie at the rim; the dashed curve is what a normal distribution"
        " would give.",
        f"Histograms of Mahalanobis distances for each cluster of {best.head}, right and wrong points apart.",
        classes.mahalanobis(analysis["mahalanobis"], best.dimensions, best.title),
    )
    sums = {kind: analysis["measures"][f"{kind}_share_sum"] for kind in ("hull", "ellipsoid")}
    said = ", ".join(f"{kind}s {value:.1%}" for kind, value in sums.items() if value is not None)
    if any(sums.values()):
        yield Picture(
            f"{best.head}-volumes",
            "Volumes",
            f"How much of the whole embedding's volume each cluster takes ({images}); all together: {said}."
            " A hull reaches to the farthest point, an ellipsoid holds 95% of a normal distribution.",
            f"Shares of volume of each cluster of {best.head}; all together {said}.",
            classes.volumes(analysis["clusters"], best.title),
        )
