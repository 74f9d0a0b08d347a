"""Results: a study's folder, read. What `launch` returns, and what `best` and `status` print."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from lightning_modules.objectives.base import Support
from orchestrator.errors import CannotRun, Problem
from orchestrator.files.atomic import write_atomic
from orchestrator.selection import as_json, ranking
from orchestrator.selection.confirmation import Confirmation, ask_by_default
from orchestrator.selection.sealed_results import Sealed
from orchestrator.storage.bucket_sync import here
from orchestrator.storage.event_log import Record, Trial
from orchestrator.storage.events import Event
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.storage.study_state import StudyState
from orchestrator.study.schema import Study
from orchestrator.system.commands import ours

T = TypeVar("T")


def current(work_out: Callable[[Results], T]) -> Callable[[Results], T]:
    """What rests on the records: worked out when it is asked for, and again once they have grown."""
    known: WeakKeyDictionary[Results, tuple[int, T]] = WeakKeyDictionary()

    @wraps(work_out)
    def now(results: Results) -> T:
        size = results.state.size
        if results not in known or known[results][0] != size:
            known[results] = size, work_out(results)
        return known[results][1]

    return now


class Results:
    """What a study's folder tells: `trials`, `leaderboard`, `best`.

    state: of the process that works on the study; what is asked of the results is then always current. Without it the
    records are read once, when the first thing is asked; make new results to see what has come since.

    Raises CannotRun, when something is read, where a line of a record says nothing. damaged: whoever only looks may
    have what is left; `damage` names what is not.
    """

    def __init__(self, root: str | Path, damaged: bool = False, state: StudyState | None = None) -> None:
        self._damaged, self._given, self._broken = damaged, state, list[Problem]()
        self.concluded = True  # False where its models or its report could not be made at the end of this run
        self.folder = StudyFolder(here(root))
        if not self.folder.exists():
            fix = "name a study's folder, such as results/quick; launch makes one"
            raise CannotRun([Problem(str(root), "a study's folder holds a study.yaml", "there is none", fix)])
        self.study = Study.load(self.folder.study_file)

    @cached_property
    def state(self) -> StudyState:
        """The records of the study, read."""
        return self._given or self.folder.state(self.study.objective).catch_up()

    def _whole(self, record: Record) -> Record:
        """A record, from which whoever decides by it needs every line."""
        if not self._damaged:
            record.require_whole()
        return record

    @property
    def trials(self) -> dict[str, Trial]:
        """Every trial that was started, by its name."""
        return self._whole(self.state.search).trials

    @property
    def events(self) -> list[Event]:
        """What the record of the search says, line by line."""
        return self._whole(self.state.search).events

    @property
    def damage(self) -> list[Problem]:
        """What of the study's files says nothing. Raises CannotRun where nobody asked for `damaged` results."""
        of_the_records = [problem for record in self.state.all for problem in self._whole(record).damage]
        _ = self.provenance
        return [*of_the_records, *self._broken]

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where the numbers come from, as it was written at the launch and at every resume."""
        try:
            return self.folder.provenance() or {}
        except CannotRun as error:
            if not self._damaged:
                raise
            self._broken += error.problems
            return {}

    @property
    def knows_classes(self) -> bool:
        """Whether `num_classes` can be told."""
        return "classes" in self.provenance or self.folder.embeddings.exists()

    @property
    def num_classes(self) -> int:
        """How many classes the data has. Raises CannotRun while nothing has begun."""
        if "classes" in self.provenance:
            return int(self.provenance["classes"])
        if not self.knows_classes:
            rule, fix = "a study that has begun knows its classes", ours("resume", self.folder)
            raise CannotRun([Problem(str(self.folder), rule, "its search has not begun", fix)])
        return int(self.folder.labels().max()) + 1  # at least: of a folder whose provenance is lost

    @property
    def planned(self) -> int:
        return len(self.study.heads) * self.study.search.trials_per_head

    @property
    def support(self) -> Support:
        """What every validation number of the study stands on."""
        return Support(self.study.data.validation_images, self.num_classes if self.knows_classes else None)

    @property
    def searched(self) -> bool:
        """Whether every trial of the search has ended."""
        return sum(trial.status != "running" for trial in self.trials.values()) >= self.planned

    @property
    @current
    def confirmation(self) -> Confirmation | None:
        """What the best configurations reached on fresh seeds; None before it began."""
        trials = self.trials
        return Confirmation.read(self._whole(self.state.confirmation).events, trials, self.study.objective)

    @property
    def chosen_after_a_look(self) -> bool:
        """Whether a confirmation was asked for after the test images had been opened."""
        return bool(self.confirmation and self.confirmation.asked_after(self.test.openings))

    @property
    @current
    def test(self) -> Sealed:
        """The sealed test, opened or not."""
        trials = self.trials
        return Sealed(tuple(self._whole(self.state.test).events), trials, self.study.objective)

    @property
    def runs(self) -> list[tuple[str, Trial]]:
        """Every trial on record, each with the part of the study it belongs to: search, confirmation or final."""
        confirming = self.confirmation.runs if self.confirmation else {}
        parts = {"search": self.trials, "confirmation": confirming, "final": self.test.runs}
        return [(part, trial) for part, trials in parts.items() for trial in trials.values()]

    @property
    def finished(self) -> bool:
        """Whether the search and the confirmation that the study asks for have ended."""
        if not self.searched:
            return False
        if self.confirmation:
            return self.confirmation.finished
        return not ask_by_default(self.study, self.trials.values()).configurations

    @property
    @current
    def leaderboard(self) -> list[ranking.Standing]:
        """The heads, the best first: by the mean over fresh seeds once that is known."""
        confirmed = self.confirmation.heads if self.confirmation else {}
        return ranking.leaderboard(self.study.heads, self.trials.values(), confirmed)

    @property
    def best(self) -> dict[str, Trial]:
        """Of each head that has one, the search's trial with the best configuration."""
        return {row.head: row.best for row in self.leaderboard if row.best}

    def others(self, best: Trial) -> tuple[float, ...]:
        """What the other trials of a best trial's head have reached that ran to their end or were stopped early."""
        found = (trial for trial in self.trials.values() if trial.head == best.head and trial.name != best.name)
        ended = (trial for trial in found if trial.status in ("completed", "stopped") and trial.epochs)
        return tuple(float(trial.epochs[-1]["objective"]) for trial in ended)

    @staticmethod
    def validation_measures(trial: Trial) -> dict[str, float | None]:
        """The measures of a trial's last epoch, by the names that `analysis` gives them too."""
        metrics = trial.epochs[-1]["metrics"]
        return {name.removeprefix("val/"): value for name, value in metrics.items() if name.startswith("val/")}

    def analysis(self, head: str) -> dict[str, Any] | None:
        """Every measure of the embedding of a head's best trial, taken once, after the search; None before that."""
        best = self.best.get(head)
        known = self.folder.kept_analysis(head)
        of_the_best = best and known and (known["trial"], known["epoch"]) == (best.name, best.last_epoch)
        return known if of_the_best else None

    def best_study(self, head: str) -> Study:
        """A study that trains the best configuration of a head once more, alone, with the same seed."""
        best = self.best[head]
        training = self.study.training.model_dump() | {"seed": best.seed}
        training |= {name: best.params[name] for name in training if name in best.params}
        block = {name: value for name, value in best.params.items() if name not in training}
        search = {"trials_per_head": 1, "searcher": "random", "scheduler": "none", "process_failures": 2}
        content = self.study.model_dump() | {
            "name": f"{self.study.name[: 64 - len(f'-best-{head}')]}-best-{head}".lower(),  # losses have capitals
            "description": f"The best {head} of {self.study.name}.",
            "heads": {head: block},
            "training": training,
            "search": search,
            "confirmation": {},
        }
        return Study.model_validate(content)

    def best_yaml(self, head: str) -> str:
        """`best_study` as a file, with what it reached in its first lines."""
        row = next(row for row in self.leaderboard if row.head == head)
        return self.best_study(head).to_yaml(_comment(self.study, row, self.test))

    def write_best(self) -> list[Path]:
        """Writes `best/<head>.yaml` for each head, each a study to launch again; returns their paths.

        None where a record is damaged: what was written from the whole one is better.
        """
        paths = list[Path]()
        if self.damage:
            return paths
        for head in self.best:
            path = self.folder.best / f"{head}.yaml"
            write_atomic(path, self.best_yaml(head))
            paths.append(path)
        return paths

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints: everything that a script would want to know."""
        return {
            "study": self.study.name,
            "folder": str(self.folder),
            "planned": self.planned,
            "searched": self.searched,
            "finished": self.finished,
            "running": self.folder.driver() is not None,
            "leaderboard": [as_json.standing(row) for row in self.leaderboard],
            "verdicts": self.confirmation.verdicts() if self.confirmation else [],
            "test": as_json.tested(self.test),
            "damage": [str(problem) for problem in self.damage],
        }


def _comment(study: Study, row: ranking.Standing, test: Sealed) -> str:
    """The first lines of a best file: what it reached, and how far that can be trusted."""
    trial, images, objective = row.best, f"{study.data.validation_images:,} validation images", study.objective
    assert trial
    lines = [f"The best {trial.head} of the study {study.name}: trial {trial.name}, seed {trial.seed}."]
    if row.confirmed:
        estimate = row.confirmed.estimate
        spread = "" if estimate.half_width is None else f" ± {objective.write(estimate.half_width)} (95%)"
        lines.append(f"{objective.title} on {images}: {row.reached}{spread}, the mean over {estimate.n} fresh seeds.")
        lines.append(f"With its own seed {trial.reached}, one of {row.counts[trial.status]} runs, so partly luck.")
        if row.confirmed.indistinguishable:
            others = ", ".join(each.of_second for each in row.confirmed.indistinguishable)
            lines.append(f"Not told apart at n = {estimate.n} from {others}.")
    else:
        lines.append(
            f"{objective.title} {trial.reached} on {images} (n = 1 run, the best of"
            f" {row.counts[trial.status]}: a fresh seed will likely score a little {objective.poorer})."
        )
    if trial.head in test.heads:
        scored = test.heads[trial.head]
        reached = scored.estimate.written(objective)
        lines.append(f"On {scored.images:,} test images {reached}, trained on train and validation images.")
        lines.append(test.sentence())
    if study.search.scheduler.changes_settings:
        changed = f"{study.search.scheduler.title} changed the settings while it trained"
        lines.append(f"{changed}: these are its last, and a run with them alone differs.")
    if trial.status != "completed":
        lines.append(
            f"This trial was {trial.status} after {len(trial.epochs)} epochs: no trial of the head ran to its end."
        )
    return "\n".join([*lines, "Run it again: orchestrator launch <this file>"])
