"""Pictures of how sure the answer is: seeds of the confirmation, seeds on the test images, fronts of two objectives."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.figures import spread
from orchestrator.figures.spread import Front, Spread
from orchestrator.figures.style import Picture, head_styles
from orchestrator.selection import ranking
from orchestrator.selection.results import Results


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
    rows = [
        Spread(
            each.head,
            candidate.trial.name,
            tuple(candidate.scores.values()),
            candidate.estimate.mean,
            candidate.estimate.interval,
            candidate.trial.objective,
        )
        for each in results.confirmation.heads.values()
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
    title = f"{results.study.name}: on {seeds} fresh seeds, {images:,} validation images"
    figure = spread.seeds(rows, styles, title, "cluster accuracy (validation); ring: what the search saw")
    return Picture("confirmation", "On fresh seeds", caption, f"Mean accuracy on fresh seeds: {said}.", figure)


def _tested(results: Results) -> Picture:
    heads, looks = results.test.heads, len(results.test.openings)
    rows = [
        Spread(head, head, tuple(each.scores.values()), each.estimate.mean, each.estimate.interval)
        for head, each in heads.items()
    ]
    images = next(iter(heads.values())).images
    caption = (
        f"The best configuration of each head, trained on train and validation images, on {images:,} test images."
        f" A point is one run, the diamond their mean, the band its 95% interval over seeds (Student's t;"
        " cut off where it leaves the picture)."
        f" {results.test.sentence()}"
    )
    words = "; ".join(f"{row.name} {row.mean:.4f}" for row in rows)
    styles = head_styles([*results.study.heads])
    often = "opened once" if looks == 1 else f"CAUTION: opened {looks} times"
    title = f"{results.study.name}: {images:,} test images, {often}"
    figure = spread.seeds(rows, styles, title, "cluster accuracy (test)")
    return Picture("test", "On the test images", caption, f"Mean accuracy on the test images: {words}.", figure)


def _fronts(results: Results) -> Picture:
    trials = results.trials.values()
    rows = [
        Front(
            head,
            tuple(ranking.both(trial) for trial in trials if trial.head == head and ranking.ended(trial)),
            tuple(point for _, point in own),
        )
        for head, own in ranking.fronts(results.study.heads, trials).items()
    ]
    caption = (
        "Accuracy against separation on the head's own geometry, one run a trial. On a front no trial of the head is"
        " better in both. Separation is by angle for angular heads and by distance for the others, so fronts compare"
        " trials of one head, not heads. The poorest quarter of the trials may lie below the picture."
    )
    styles = head_styles([*results.study.heads])
    figure = spread.fronts(rows, styles, f"{results.study.name}: accuracy and separation")
    return Picture("fronts", "Two objectives", caption, "Accuracy over separation of every trial, with fronts.", figure)
