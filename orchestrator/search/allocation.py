"""An equal contest: each head has its own budget of trials and its own proposer. Knows neither Optuna nor Ray.

A Contest hands out the next trial to the head that has had the fewest, and tells each head's proposer what became of
its trials. Built from a record, it knows what was finished and continues what was interrupted. In a joint search one
proposer chooses the heads as well, within the same number of trials in all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.search.samplers.base import JointProposer, Proposer
from orchestrator.search.seeds import bounded_seed
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from search_spaces.configurations import (
    Params,
    Space,
    active,
    config_key,
    nearest,
    starting_point,
    with_implied_settings,
)

if TYPE_CHECKING:
    from orchestrator.study.schema import Study

ANY = "any head"  # whose the trials to come of a joint search are


@dataclass(frozen=True)
class Assignment:
    """One trial to run. continues: it was interrupted, and goes on from its last checkpoint if it has one."""

    name: str
    head: str
    index: int
    seed: int
    params: Params
    continues: bool = False


def planned_trials(study: Study) -> dict[str, int]:
    """How many trials each head gets; of a joint search, how many all of them get together."""
    number = study.search.trials_per_head
    if study.search.joint:
        return dict.fromkeys(study.heads, 0) | {ANY: len(study.heads) * number}
    return dict.fromkeys(study.heads, number)


def starts(study: Study, head: str, space: Space) -> list[Params]:
    """What the first trials of a head take: where the study says to start, then the defaults; some samplers neither."""
    if not study.search.sampler.takes_starts:
        return []
    given = with_implied_settings(head, study.search.start_at.get(head, {}))
    found = [starting_point(space)] if study.search.start_from_defaults else []
    if given:
        first = active(space, lambda name, parameter: nearest(parameter, given.get(name, space[name].start)))
        found = [first, *(each for each in found if config_key(each) != config_key(first))]
    return found


class Contest:
    """Who trains next, with what; in all `trials_per_head` trials of every head, counting those in the record."""

    def __init__(self, study: Study, spaces: Mapping[str, Space], record: Iterable[Trial] = ()) -> None:
        self.study = study
        self._joint = _joint(study, spaces) if study.search.joint else None
        self._proposers: dict[str, Proposer] = {
            head: self._joint or _of_one_head(study, head, space, number)
            for number, (head, space) in enumerate(spaces.items())
        }
        self._used: dict[str, set[int]] = {head: set() for head in spaces}
        self._epochs: dict[str, list[tuple[int, float]]] = {}
        self._others: dict[str, list[float]] = {}  # merits in the other objectives, after the last epoch
        self._heads: dict[str, str] = {}
        self._continued: list[Assignment] = []
        for trial in record:
            self._replay(trial)

    def _replay(self, trial: Trial) -> None:
        self._used[trial.head].add(trial.index)
        self._heads[trial.name], self._epochs[trial.name] = trial.head, []
        for row in trial.epochs:
            self.epoch(trial.name, row)
        self._proposers[trial.head].propose(trial.name, trial.params)
        if trial.status == "running":
            again = Assignment(trial.name, trial.head, trial.index, trial.seed, trial.params, continues=True)
            self._continued.append(again)
        else:
            self.end(trial.name, trial.status)

    @property
    def remaining(self) -> int:
        """How many assignments are still to come."""
        all_of_them = len(self._used) * self.study.search.trials_per_head
        return len(self._continued) + all_of_them - sum(map(len, self._used.values()))

    def next(self) -> Assignment | None:
        """The next trial, or None at the end: first what was interrupted, then the head with the fewest."""
        if self._continued:
            return self._continued.pop(0)
        if not self.remaining:
            return None
        head = self._joint.choose() if self._joint else min(self._used, key=lambda name: len(self._used[name]))
        index = next(number for number in itertools.count() if number not in self._used[head])
        name = f"{head}-{index:03d}"
        self._used[head].add(index)
        self._heads[name], self._epochs[name] = head, []
        params = self._proposers[head].propose(name, None)
        return Assignment(name, head, index, self._seed(index), params)

    def _seed(self, index: int) -> int:
        """The same for the same number of every head, so that heads are compared on the same draws."""
        fixed = self.study.training.seed
        return fixed if isinstance(fixed, int) else bounded_seed(self.study.search.seed, index)

    def epoch(self, name: str, row: Event) -> None:
        """A trial reported after an epoch."""
        first, *others = self.study.objectives
        metrics = row.get("metrics", {})
        self._epochs[name].append((row["epoch"], first.merit(row["objective"])))
        self._others[name] = [each.merit(metrics.get(each.metric, each.worst)) for each in others]

    def end(self, name: str, status: str) -> None:
        """A trial ended; a diverged one is worth nothing, and a failed one teaches nothing."""
        proposer, epochs = self._proposers[self._heads[name]], self._epochs[name]
        if status == "diverged":
            worst, *others = (objective.merit(objective.worst) for objective in self.study.objectives)
            proposer.learn(name, [*epochs, (epochs[-1][0] + 1 if epochs else 1, worst)], True, others)
        elif status == "failed" or not epochs:
            proposer.fail(name)
        else:
            proposer.learn(name, epochs, status == "completed", self._others[name])


def _of_one_head(study: Study, head: str, space: Space, number: int) -> Proposer:
    search, seed = study.search, bounded_seed(study.search.seed, number)
    first = starts(study, head, space)
    return search.sampler.proposer(space, search.trials_per_head, seed, first, len(search.objectives))


def _joint(study: Study, spaces: Mapping[str, Space]) -> JointProposer:
    search = study.search
    first = {head: starts(study, head, space) for head, space in spaces.items()}
    trials, seed = len(spaces) * search.trials_per_head, bounded_seed(search.seed, 0)
    return search.sampler.joint_proposer(spaces, trials, seed, first, len(search.objectives))
