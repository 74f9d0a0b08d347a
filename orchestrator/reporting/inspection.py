"""A study looked at whole, from its folder or from its sweep at W&B: the same things in the same words.

How far it is, the leaderboard, what each setting matters, what failed and why, and where to look further.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.table import Table

from orchestrator.errors import CannotRun, Problem
from orchestrator.files.paths import local
from orchestrator.reporting import leaderboards, tables
from orchestrator.search.allocation import planned_trials
from orchestrator.selection import importance
from orchestrator.selection.importance import Importances
from orchestrator.selection.results import Results
from orchestrator.storage.bucket import uri_of
from orchestrator.storage.event_log import Trial
from orchestrator.system.commands import ours, typed


@dataclass(frozen=True)
class Inspection:
    """What is known of a study. source: where it was read. running: whether it is at work now. links: by their name."""

    results: Results
    source: str
    running: bool
    links: dict[str, str]

    @cached_property
    def importances(self) -> list[Importances]:
        """For each head, what each searched setting matters."""
        results = self.results
        if not results.knows_classes:
            reason = "how many classes its data has is not on record"
            return [Importances(head, reason=reason) for head in results.study.heads]
        trials = results.trials.values()
        return [importance.of_head(results.study, results.num_classes, head, trials) for head in results.study.heads]

    @property
    def lost(self) -> list[Trial]:
        return [run for _, run in self.results.runs if run.lost]

    @property
    def interrupted(self) -> list[Trial]:
        """Those that the machine broke off, and that `resume` goes on with."""
        return [run for _, run in self.results.runs if run.interrupted]

    @property
    def state(self) -> str:
        """How far it is, in a line."""
        results = self.results
        ended = sum(trial.status != "running" for trial in results.trials.values())
        line = f"{results.study.name}: {ended} of {results.planned} trials ended"
        if known := results.confirmation:
            confirmed = sum(run.status != "running" for run in known.runs.values())
            line += f", {confirmed} of at most {sum(known.planned.values())} confirmation runs"
        doing = "running" if self.running else "finished" if results.finished else "interrupted"
        return f"{line}; {doing}"

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        known = self.results.as_dict() | {"running": self.running}
        del known["folder"]
        return {
            "source": self.source,
            **known,
            "trials": len(self.results.trials),
            "importance": [each.as_dict() for each in self.importances],
            "lost": [{"run": run.name, "status": run.status, "reason": run.reason} for run in self.lost],
            "interrupted": [{"run": run.name, "reason": run.reason} for run in self.interrupted],
            "links": self.links,
        }

    def lines(self) -> list[Table | str]:
        """What a person reads."""
        results = self.results
        heads = planned_trials(results.study)
        said: list[Table | str] = [tables.progress(heads, results.trials, ""), self.state]
        if results.best:
            said += ["", *leaderboards.leaderboard_of(results), *leaderboards.verdicts(results)]
        said += tables.lost([*self.lost, *self.interrupted])
        if results.trials:
            said += ["", *_of_settings(self.importances)]
        width = max(map(len, self.links), default=0)
        return [*said, "", *(f"{name:{width}}  {link}" for name, link in self.links.items())]


@contextmanager
def inspected(source: str) -> Iterator[Inspection]:
    """A study by its folder, results/quick, or by its sweep, entity/project/sweep; there is one as long as this lasts.

    Raises CannotRun where it is neither.
    """
    if uri_of(source) or local(source, "STUDY").exists():
        yield _of_folder(Results(source, damaged=True))
        return
    parts = source.split("/")
    if len(parts) != 3 or not all(parts) or parts[0] in (".", ".."):
        rule = "a study is named by its folder, or by its sweep at W&B as entity/project/sweep"
        raise CannotRun([Problem(source, rule, "there is no such folder", "orchestrator inspect results/quick")])
    from orchestrator.tracking.fetch import fetch

    with tempfile.TemporaryDirectory() as folder:
        found = fetch(source, Path(folder))
        yield Inspection(found.results, source, found.running > 0, found.place.links)


def _of_folder(results: Results) -> Inspection:
    from orchestrator.tracking.sweep import Place

    folder = results.folder
    links = {"report": str(folder.report_file)} if folder.report_file.exists() else {}
    if known := Place.kept(folder):
        links |= known.links
    if any(folder.wandb.glob("*run-*")):
        links["runs"] = typed("wandb", "leet", folder.wandb)
    links["trials"] = ours("dashboard", folder)
    if not known:
        links["W&B"] = ours("sync", folder)
    return Inspection(results, str(folder), folder.driver() is not None, links)


def _of_settings(importances: list[Importances]) -> list[Table | str]:
    """A table of what each setting matters, for the heads of which it can be said at all."""
    told = [each for each in importances if each.parameters]
    lines: list[Table | str] = []
    if told:
        title = "What each setting matters: what it explains of the variance that the others leave, 95%"
        caption = "p: how likely chance alone would do as much, corrected for all settings of a head (Holm)."
        table = tables.empty_table(title, ("head", "setting"), ("share", "95%", "p", "trials", "epoch"), caption)
        for each in told:
            for known in each.parameters:
                low, high = known.interval
                share = f"{known.share:.2f}" if known.told else f"({known.share:.2f})"
                figures = share, f"{low:.2f}–{high:.2f}", f"{known.p:.3f}", str(each.trials), str(each.epoch)
                table.add_row(each.head, known.parameter, *figures)
        lines += [table, "In brackets: no more than chance would do. Trials are compared after the last epoch of all."]
    lines += [f"{each.head}: {', '.join(each.left_out)} left out" for each in told if each.left_out]
    unknown: dict[str, list[str]] = {}
    for each in importances:
        if each.reason:
            unknown.setdefault(each.reason, []).append(each.head)
    return [*lines, *(f"no importance of settings ({', '.join(heads)}): {why}" for why, heads in unknown.items())]
