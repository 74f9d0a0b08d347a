"""Pictures of how sure the answer is: seeds of the confirmation, seeds on the test images, fronts of objectives."""

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
    if len(results.study.objectives) > 1 and results.best:
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
    objective = results.study.objective
    lucky = "right" if objective.higher_is_better else "left"
    caption = (
        f"The best configurations of each head on {seeds} fresh seeds, {images:,} validation images. A point is one"
        " run, the diamond their mean, the band its 95% interval (Student's t; cut off where it leaves the picture)."
        f" The ring is what the search saw of the same configuration: {lucky} of the mean, it was lucky."
    )
    said = "; ".join(f"{row.name} {objective.write(row.mean)}" for row in rows)
    styles = head_styles([*results.study.heads])
    title = f"{results.study.name}: on {seeds} fresh seeds, {images:,} validation images"
    figure = spread.seeds(rows, styles, title, f"{objective.axis_on()}; ring: what the search saw", objective)
    alt = f"Mean {objective.column} on fresh seeds: {said}."
    return Picture("confirmation", "On fresh seeds", caption, alt, figure)


def _tested(results: Results) -> Picture:
    heads, looks, objective = results.test.heads, len(results.test.openings), results.study.objective
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
    words = "; ".join(f"{row.name} {objective.write(row.mean)}" for row in rows)
    styles = head_styles([*results.study.heads])
    often = "opened once" if looks == 1 else f"CAUTION: opened {looks} times"
    title = f"{results.study.name}: {images:,} test images, {often}"
    figure = spread.seeds(rows, styles, title, objective.axis_on("test"), objective)
    alt = f"Mean {objective.column} on the test images: {words}."
    return Picture("test", "On the test images", caption, alt, figure)


def _fronts(results: Results) -> Picture:
    trials, objectives = results.trials.values(), results.study.objectives
    rows = [
        Front(
            head,
            tuple(ranking.values(trial, objectives) for trial in trials if trial.head == head and ranking.ended(trial)),
            tuple(point for _, point in own),
        )
        for head, own in ranking.fronts(results.study.heads, trials, objectives).items()
    ]
    first, *others = objectives
    notes = " ".join(f"{each.note}." for each in objectives[1:] if each.note)
    caption = (
        f"{first.column_title} against {' and '.join(each.column for each in others)} on the head's own geometry, one"
        f" run a trial. On a front no trial of the head is better in all of them. {notes} The poorest quarter of the"
        " trials may lie outside the picture."
    )
    styles, names = head_styles([*results.study.heads]), " and ".join(each.column for each in objectives)
    figure = spread.fronts(rows, styles, f"{results.study.name}: {names}", objectives)
    title = "Two objectives" if len(objectives) == 2 else "Several objectives"
    alt = f"{first.column_title} over {' and '.join(each.column for each in others)} of every trial, with fronts."
    return Picture("fronts", title, caption, alt, figure)
