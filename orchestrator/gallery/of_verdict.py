"""Pictures of how sure the answer is: seeds of the confirmation, seeds on the test images, fronts of two objectives."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator import selection
from orchestrator.contest import SEPARATION
from orchestrator.plots import spread
from orchestrator.plots.spread import Front, Spread
from orchestrator.plots.style import Picture, head_styles
from orchestrator.results import Results


def pictures(results: Results) -> Iterator[Picture]:
    """Those that there is something to show of."""
    if results.confirmation and results.confirmation.heads:
        yield _confirmed(results)
    if results.test.heads:
        yield _tested(results)
    if "separation" in results.study.search.objectives and results.best:
        yield _fronts(results)


def _confirmed(results: Results) -> Picture:
    assert results.confirmation
    order = sorted(results.confirmation.heads.values(), key=lambda each: -each.estimate.mean)
    rows = [
        Spread(
            each.head,
            candidate.trial.name,
            tuple(candidate.scores.values()),
            candidate.estimate.mean,
            candidate.estimate.interval,
            candidate.trial.objective,
        )
        for each in order
        for candidate in each.candidates
        if candidate.estimate
    ]
    images, seeds = results.study.data.validation_images, len(results.confirmation.asked.seeds)
    caption = (
        f"The best configurations of each head on {seeds} fresh seeds, {images:,} validation images. A point is one"
        " run, the diamond their mean, the band its 95% interval (Student's t; cut off where it leaves the picture)."
        " The ring is what the search saw of the same configuration: right of the mean, it was lucky."
    )
    said = "; ".join(f"{row.name} {row.mean:.4f}" for row in rows)
    styles = head_styles([*results.study.heads])
    figure = spread.seeds(rows, styles, "On fresh seeds", "cluster accuracy (validation)")
    return Picture("confirmation", "On fresh seeds", caption, f"Mean accuracy on fresh seeds: {said}.", figure)


def _tested(results: Results) -> Picture:
    order = sorted(results.test.heads.items(), key=lambda item: -item[1].estimate.mean)
    rows = [
        Spread(head, head, tuple(each.scores.values()), each.estimate.mean, each.estimate.interval)
        for head, each in order
    ]
    images, said = order[0][1].images, results.test.said()
    caption = (
        f"The best configuration of each head, trained on train and validation images, on {images:,} test images."
        f" A point is one run, the diamond their mean, the band its 95% interval over seeds (Student's t;"
        " cut off where it leaves the picture)."
        f" {said[0].upper()}{said[1:]}."
    )
    words = "; ".join(f"{row.name} {row.mean:.4f}" for row in rows)
    styles = head_styles([*results.study.heads])
    figure = spread.seeds(rows, styles, "On the test images", "cluster accuracy (test)")
    return Picture("test", "On the test images", caption, f"Mean accuracy on the test images: {words}.", figure)


def _fronts(results: Results) -> Picture:
    rows = []
    for head in results.study.heads:
        ended = [t for t in results.trials.values() if t.head == head and t.status == "completed" and t.epochs]
        points = tuple((t.objective or 0.0, float(t.epochs[-1]["metrics"].get(SEPARATION, 0.0))) for t in ended)
        if points:
            rows.append(Front(head, points, tuple(points[each] for each in selection.front(points))))
    caption = (
        "Accuracy against separation on the head's own geometry, one run a trial. On a front no trial of the head is"
        " better in both. Separation is by angle for angular heads and by distance for the others, so fronts compare"
        " trials of one head, not heads."
    )
    styles = head_styles([*results.study.heads])
    figure = spread.fronts(rows, styles, f"{results.study.name}: accuracy and separation")
    return Picture("fronts", "Two objectives", caption, "Accuracy over separation of every trial, with fronts.", figure)
