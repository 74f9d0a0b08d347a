"""The leaderboard on a terminal: each head's best, how sure that is, and what a study says at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from lightning_modules.objectives.base import Objective
from orchestrator.reporting.tables import empty_table, lost, settings
from orchestrator.selection import boundary_optima, ranking
from orchestrator.selection.ranking import Standing
from orchestrator.selection.results import Results
from orchestrator.selection.sealed_results import Sealed
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.system import code_history
from orchestrator.system.commands import ours, typed
from orchestrator.tracking.sweep import Place
from search_spaces.configurations import Searched


def leaderboard_of(results: Results) -> list[Table | str]:
    """The leaderboard of a study, so far, and the settings behind it."""
    study = results.study
    images, objective = f"{study.data.validation_images:,} validation images", study.objective
    title = f"{study.name}: {objective.label} on {images}, {study.embedding_dim}-D"
    table = leaderboard(results.leaderboard, title, objective)
    return [table, *best_settings(results.leaderboard, study.searched()), ""]


NOTHING = "none has ended with a result"


def caution(results: Results) -> tuple[str, ...]:
    """What should be known beside a leaderboard."""
    objective = results.study.objective
    note = f"{objective.note}. " if objective.note else ""
    if not any(row.confirmed for row in results.leaderboard):
        return (
            f"{note}Each is one run, the best of those that ran",
            f"to their end, on the images that chose it: a fresh seed will likely score a little {objective.poorer}.",
        )
    return (
        f"{objective.note or objective.title}: the mean over fresh seeds with its 95% interval",
        "(Student's t), on validation images that also chose it; where several configurations were confirmed, the"
        " seeds",
        "chose as well. What the search saw of the same settings is partly luck.",
    )


def ending(results: Results) -> list[Table | str]:
    """What a study says last: the leaderboard, how sure it is, and where everything is."""
    folder = results.folder
    lines = leaderboard_of(results)
    if results.study.search.joint:
        lines.append(f"One search over heads and settings gave them different numbers of trials: {shares(results)}.")
    if results.best:
        lines += caution(results)
    lines += verdicts(results)
    lines += lost(results.trials.values())
    if not results.finished:
        return [*lines, f"Interrupted. Go on with: {ours('resume', folder)}"]
    if not results.best:
        return lines
    if folder.home:
        lines.append(f"fetch     {ours('fetch', folder)} brings it all here; what follows is this machine's copy")
    lines.append(f"report    {folder.report_file}, one page with everything; its pictures are in {folder.plots}")
    lines.append(f"again     {ours('launch', folder.best / f'{results.leaderboard[0].head}.yaml')}")
    if results.knows_classes:
        lines += [f"edge      {hit}" for hit in boundary_optima.hits(results)]
    lines += _fronts(results)
    if folder.wider_file.exists():
        lines.append(f"wider     {ours('launch', folder.wider_file)}")
    if not results.test.openings:
        lines.append(f"test      sealed; {ours('test', folder)} opens it, once")
    return [*lines, *_mirrored(folder)]


def _mirrored(folder: StudyFolder) -> list[str]:
    """Where the runs can be looked at: at W&B, or here, and how they get there."""
    if any(not any(run.glob("*.synced")) for run in folder.wandb.glob("offline-run-*")):
        return [f"W&B       {ours('sync', folder)}    (or look here: {typed('wandb', 'leet', folder.wandb)})"]
    known = Place.kept(folder)
    return [f"W&B       {known.url}"] if known else []


def shares(results: Results) -> str:
    """How many trials each head has had: arcface 7, cosface 3."""
    return ", ".join(f"{row.head} {sum(row.counts.values())}" for row in results.leaderboard)


def _fronts(results: Results) -> list[str]:
    """A line for each head with the trials on the front of its objectives, where several are asked for."""
    objectives = results.study.objectives
    if len(objectives) < 2:
        return []
    found = ranking.fronts(results.study.heads, results.trials.values(), objectives)
    said = {
        head: ", ".join(f"{t.name} ({_point(point, objectives)})" for t, point in own) for head, own in found.items()
    }
    columns = ", ".join(objective.column for objective in objectives)
    lines = [f"front     {head} ({columns}): {trials}" for head, trials in said.items()]
    return [*lines, f"fronts    {results.folder.plots / 'fronts.png'}"] if lines else []


def _point(reached: Sequence[float], objectives: Sequence[Objective]) -> str:
    return ", ".join(each.write(value) for each, value in zip(objectives, reached, strict=True))


def verdicts(results: Results) -> list[Table | str]:
    """How the heads compare, in words, and what the test said where it was opened."""
    lines: list[Table | str] = []
    known, test = results.confirmation, results.test
    if known and known.heads:
        for each in known.heads.values():
            if each.indistinguishable:
                others = ", ".join(other.of_second for other in each.indistinguishable)
                lines.append(f"{each.head}: not told apart from {each.best.trial.name}: {others}")
            if each.best.lost:
                lines.append(f"{each.head}: {each.best.lost} of its runs failed")
        lines += [f"{name}: out of the race after {seeds} seeds" for name, seeds in known.dropped.items()]
        if compared := known.verdicts():
            lines += ["", "Heads compared, paired by seed, p corrected for all pairs (Holm):"]
            lines += [f"  {verdict}" for verdict in compared]
    if test.heads:
        lines += ["", tested(test), *(f"  {verdict}" for verdict in test.verdicts())]
    lines += cautions(results)
    return [*lines, ""] if lines else lines


def cautions(results: Results) -> list[str]:
    """What weakens the numbers and must stand beside them: looks at the test, plans that grew, several codes."""
    said = [results.test.sentence()] if results.test.openings else []
    if results.confirmation and results.confirmation.history:
        said.append(f"The confirmation was {results.confirmation.history}.")
    if results.chosen_after_a_look:
        said.append("CAUTION: it was confirmed further after the test images had been opened.")
    if several := code_history.caution(results.provenance):
        said.append(several)
    return said


def tested(test: Sealed) -> Table:
    """Each head on the test images."""
    first = next(iter(test.heads.values()))
    images, objective = first.images, first.trial.judged_by
    title = f"{images:,} test images, trained on train and validation images; ± 95% over seeds and over images"
    table = empty_table(title, ("head",), (objective.column, "± seeds", "± images", "seeds"))
    table.add_column("configuration")
    for head, scored in test.heads.items():
        estimate, ends = scored.estimate, scored.by_images
        widths = objective.write(estimate.half_width), objective.write((ends[1] - ends[0]) / 2 if ends else None)
        table.add_row(head, objective.write(estimate.mean), *widths, str(estimate.n), scored.trial.name)
    return table


def leaderboard(standings: list[Standing], title: str, objective: Objective) -> Table:
    """The heads, best first: by means over fresh seeds once there are any, until then by single runs."""
    if any(row.confirmed for row in standings):
        return _of_means(standings, title, objective)
    table = empty_table(title, ("head",), (objective.column, *objective.parts, "best of"))
    table.add_column("trial")
    for row in standings:
        best = row.best
        if best is None:
            table.add_row(row.head, "–", *("–" for _ in objective.parts), "–", NOTHING)
            continue
        measured = best.epochs[-1]["metrics"]
        parts = (objective.write(measured.get(f"val/{key}")) for key in objective.parts.values())
        ties = f" = {', '.join(row.ties)}" if row.ties else ""
        table.add_row(row.head, row.reached, *parts, str(row.counts[best.status]), best.name + ties + _note(best))
    return table


def _note(best: Trial) -> str:
    return "" if best.status == "completed" else f" ({best.status} after {best.last_epoch} epochs)"


def _of_means(standings: list[Standing], title: str, objective: Objective) -> Table:
    """Means over fresh seeds, beside the single run that the search saw of the same configuration."""
    table = empty_table(title, ("head",), (objective.column, "± 95%", "seeds", "searched"))
    table.add_column("configuration")
    for row in standings:
        if row.best is None:
            table.add_row(row.head, "–", "–", "–", "–", NOTHING)
            continue
        width, seeds = "–", "0"
        if row.confirmed:
            estimate = row.confirmed.estimate
            width, seeds = objective.write(estimate.half_width), str(estimate.n)
        table.add_row(row.head, row.reached, width, seeds, row.best.reached, row.best.name + _note(row.best))
    return table


def best_settings(standings: list[Standing], searched: Mapping[str, Mapping[str, Searched]]) -> list[str]:
    """A line for each head: the searched settings of its best trial, all of them where none was searched."""
    width = max((len(row.head) for row in standings), default=0)
    lines = []
    for row in standings:
        if row.best:
            params = row.best.params
            found = {name: value for name, value in params.items() if name in searched[row.head]}
            lines.append(f"{row.head:{width}}   {settings(found or params)}")
    return lines
