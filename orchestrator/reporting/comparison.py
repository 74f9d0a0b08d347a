"""Studies side by side: a table of their heads' best, what differs between the studies, and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lightning_modules.objectives.base import Objective
from orchestrator.errors import CannotRun, Problem
from orchestrator.files.atomic import write_atomic
from orchestrator.files.paths import local
from orchestrator.reporting import leaderboards, tables
from orchestrator.selection.ranking import Standing
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial

FIGURES = (".png", ".svg")
SEPARATIONS = {"separation_ratio": "sep. by angle", "distance_ratio": "sep. by distance"}
TITLE = "The best of each head: a mean over fresh seeds where it is confirmed, else one run"


@dataclass(frozen=True)
class Row:
    """The best of one head in one study."""

    study: str
    head: str
    trial: Trial
    objective: float
    interval: tuple[float, float] | None
    runs: str
    measures: dict[str, float | None]

    @property
    def merit(self) -> float:
        """The objective as a number that is higher for the better head."""
        return self.trial.judged_by.merit(self.objective)


class Comparison:
    """Some studies, next to each other. Two of the same name are told apart by their folders."""

    def __init__(self, studies: Sequence[Results]) -> None:
        self.studies = studies
        names = [results.study.name for results in studies]
        self.names = [
            name if names.count(name) == 1 else str(results.folder)
            for name, results in zip(names, studies, strict=True)
        ]

    @property
    def rows(self) -> list[Row]:
        """Every head's best of every study, the best first; values of different objectives stand apart."""
        names = list(dict.fromkeys(results.study.objective.name for results in self.studies))
        rows = [
            self._row(name, results, standing, standing.best)
            for name, results in zip(self.names, self.studies, strict=True)
            for standing in results.leaderboard
            if standing.best
        ]
        return sorted(rows, key=lambda row: (names.index(row.trial.judged_by.name), -row.merit))

    @staticmethod
    def _row(name: str, results: Results, standing: Standing, best: Trial) -> Row:
        analysis = results.analysis(best.head)
        measures = analysis["measures"] if analysis else results.validation_measures(best)
        interval = standing.interval(results.support)
        return Row(name, best.head, best, standing.objective, interval, standing.runs, measures)

    @property
    def differences(self) -> dict[str, list[Any]]:
        """The keys of the studies' files whose values differ, each with the value in every study."""
        flat = [_flat(results.study.model_dump()) for results in self.studies]
        keys = dict.fromkeys(key for each in flat for key in each)
        ignored = ("name", "description", "tracking.", "resources.", "search.start_at")
        return {
            key: [each.get(key) for each in flat]
            for key in keys
            if not key.startswith(ignored) and len({str(each.get(key)) for each in flat}) > 1
        }

    @property
    def _objectives(self) -> list[Objective]:
        """What the studies rank their heads by, each once."""
        return [*{results.study.objective.name: results.study.objective for results in self.studies}.values()]

    @property
    def warnings(self) -> list[str]:
        """Why some of the numbers may not be compared."""
        different = [key for key in self.differences if key.startswith("data.")]
        said = [f"{key} differs: their numbers are on different images" for key in different]
        if len(self._objectives) > 1:
            said.append(f"they were judged by {' and by '.join(each.label for each in self._objectives)}")
        said += [
            f"{name} has not finished" for name, one in zip(self.names, self.studies, strict=True) if not one.finished
        ]
        if len({results.confirmation is None for results in self.studies}) > 1:
            said.append("some are means over fresh seeds and some the best single run, which is partly luck")
        said += [
            f"{name}: {caution}"
            for name, one in zip(self.names, self.studies, strict=True)
            for caution in leaderboards.cautions(one)
        ]
        return said

    def table(self) -> list[Table | str]:
        """What `compare` prints."""
        title = f"{TITLE}, on its study's validation images"
        column = self._objectives[0].column if len(self._objectives) == 1 else "objective"
        table = tables.empty_table(title, ("study", "head"), (column, "95%", *SEPARATIONS.values(), "runs"))
        for row in self.rows:
            objective = row.trial.judged_by
            reached = objective.write(row.objective) + (f" ({objective.column})" if len(self._objectives) > 1 else "")
            known = (row.measures.get(name) for name in SEPARATIONS)
            separations = ("–" if value is None else f"{value:.2f}" for value in known)
            table.add_row(row.study, row.head, reached, objective.write_interval(row.interval), *separations, row.runs)
        lines: list[Table | str] = [table, *(f"warning   {warning}" for warning in self.warnings)]
        if len(self.studies) > 1 and self.differences:
            differs = tables.empty_table("What differs between the studies", ("key", *self.names))
            for key, values in self.differences.items():
                differs.add_row(key, *("–" if value is None else str(value) for value in values))
            lines.append(differs)
        return lines

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "rows": [
                {
                    "study": row.study,
                    "head": row.head,
                    "trial": row.trial.name,
                    "objective": row.objective,
                    "interval": row.interval,
                    "runs": row.runs,
                    "measures": row.measures,
                    "params": row.trial.params,
                }
                for row in self.rows
            ],
            "differences": self.differences,
            "warnings": self.warnings,
        }

    def draw(self, path: Path) -> None:
        """Writes the figure, PNG or SVG by the path's ending."""
        from orchestrator.figures import search, style
        from orchestrator.figures.search import Interval

        path = local(path, "--figure")
        if path.suffix not in FIGURES:
            raise _refused("--figure", f"a figure is written as {' or '.join(FIGURES)}", str(path), "compare.png")
        if len(self._objectives) > 1:
            judged = ", ".join(each.name for each in self._objectives)
            raise _refused("--figure", "a figure compares studies of one objective", judged, "name fewer studies")
        if not self.rows:
            where = ", ".join(str(results.folder) for results in self.studies)
            raise _refused(where, "there must be a result to compare", "no trial has ended with one yet", "wait")
        several = len(self.studies) > 1
        rows = []
        for row in self.rows:
            results = self.studies[self.names.index(row.study)]
            name = f"{row.head}, {row.study}" if several else row.head
            known = results.others(row.trial)
            low, high = row.interval or (row.objective, row.objective)
            rows.append(Interval(row.head, name, row.objective, low, high, known, row.runs))
        heads = list(dict.fromkeys(head for results in self.studies for head in results.study.heads))
        figure = search.heads(rows, style.head_styles(heads), TITLE, self._objectives[0])
        try:
            write_atomic(path, style.rendered(figure, path.suffix.lstrip("."), style.DPI))
        except OSError as error:
            rule, fix = "the figure's folder must be one to write in", "name another"
            raise _refused("--figure", rule, str(error), fix) from error


def _refused(place: str, rule: str, value: str, fix: str) -> CannotRun:
    return CannotRun([Problem(place, rule, value, fix)])


def _flat(content: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat
