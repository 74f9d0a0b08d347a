"""An equal contest: each head has its own budget of trials and its own searcher. Knows Optuna, not Ray.

A Contest hands out the next trial to the head that has had the fewest, and tells each head's searcher what became of
its trials. Built from a record, it knows what was finished and continues what was interrupted.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.records import Trial
from orchestrator.study import Searched, Study

Params = dict[str, Any]
Space = Mapping[str, Searched]
SEED_STRIDE = 100_003  # keeps the seeds of neighbouring studies' trials apart


@dataclass(frozen=True)
class Assignment:
    """One trial to run. continues: it was interrupted, and goes on from its last checkpoint if it has one."""

    name: str
    head: str
    index: int
    seed: int
    params: Params
    continues: bool = False


class HeadSearcher(Protocol):
    """Chooses configurations of one head."""

    def propose(self, name: str, params: Params | None) -> Params:
        """The configuration of trial `name`: a new one, or `params` where they are already known."""

    def learn(self, name: str, epochs: list[tuple[int, float]], finished: bool) -> None:
        """What trial `name` reached, as (epoch, objective); `finished` says it was not stopped early."""

    def fail(self, name: str) -> None:
        """Trial `name` reached nothing."""


def _bounded_seed(study_seed: int, number: int) -> int:
    """A seed that numpy and a study's YAML can hold: those of neighbouring studies do not overlap."""
    return (study_seed * SEED_STRIDE + number) % 2**31


def active(space: Space, choose: Any) -> Params:
    """Values for all parameters that are read, in order; choose(name, parameter) gives one."""
    params: Params = {}
    for name, item in space.items():
        if item.when is None or params.get(item.when[0]) == item.when[1]:
            params[name] = choose(name, item.parameter)
    return params


def starting_point(space: Space) -> Params:
    """The defaults of every parameter: what the first trial of a head takes."""
    return active(space, lambda name, parameter: space[name].start)


class OptunaSearcher:
    """TPE or random search with Optuna; one study in memory, fed from the record."""

    def __init__(self, space: Space, kind: str, trials: int, seed: int, start_from_defaults: bool) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._study = optuna, optuna.create_study(direction="maximize")
        self._kind, self._startup, self._seed = kind, max(3, min(10, trials // 3)), seed
        self._space, self._open = space, dict[str, Any]()
        self._start = starting_point(space) if start_from_defaults else None

    def _sampler(self, number: int) -> Any:
        """The sampler of proposal `number`: it draws the same whether or not a search was interrupted before it."""
        samplers, seed = self._optuna.samplers, _bounded_seed(self._seed, number)
        if self._kind == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, n_startup_trials=self._startup, constant_liar=True)

    def propose(self, name: str, params: Params | None) -> Params:
        self._study.sampler = self._sampler(len(self._study.trials))
        start, self._start = self._start, None
        if params or start:
            self._study.enqueue_trial(params or start or {})
        trial = self._open[name] = self._study.ask()
        return active(self._space, lambda key, parameter: parameter.suggest(trial, key))

    def learn(self, name: str, epochs: list[tuple[int, float]], finished: bool) -> None:
        trial = self._open.pop(name)
        for epoch, objective in epochs:
            trial.report(objective, epoch)
        states = self._optuna.trial.TrialState
        if finished:
            self._study.tell(trial, epochs[-1][1])
        else:
            self._study.tell(trial, state=states.PRUNED)

    def fail(self, name: str) -> None:
        self._study.tell(self._open.pop(name), state=self._optuna.trial.TrialState.FAIL)


class GridSearcher:
    """All combinations of `points` values of each parameter, in a seeded random order."""

    def __init__(self, space: Space, points: int, seed: int) -> None:
        self._todo = grid(space, points)
        random.Random(seed).shuffle(self._todo)

    def propose(self, name: str, params: Params | None) -> Params:
        if params is None:
            return self._todo.pop(0)
        if params in self._todo:
            self._todo.remove(params)
        return params

    def learn(self, name: str, epochs: list[tuple[int, float]], finished: bool) -> None:
        """A grid learns nothing."""

    def fail(self, name: str) -> None:
        """Nor from failures."""


def grid(space: Space, points: int) -> list[Params]:
    """Every different configuration on the grid of a space, those that conditions make equal only once."""
    axes = [item.parameter.grid(points) for item in space.values()]
    found: list[Params] = []
    seen = set()
    for values in itertools.product(*axes):
        chosen = dict(zip(space, values, strict=True))
        params = active(space, lambda name, parameter, chosen=chosen: chosen[name])
        if (key := tuple(params.items())) not in seen:
            seen.add(key)
            found.append(params)
    return found


class Contest:
    """Who trains next, with what; in all `trials_per_head` trials of every head, counting those in the record."""

    def __init__(self, study: Study, spaces: Mapping[str, Space], record: Iterable[Trial] = ()) -> None:
        self.study = study
        self._searchers: dict[str, HeadSearcher] = {}
        for number, (head, space) in enumerate(spaces.items()):
            search, seed = study.search, _bounded_seed(study.search.seed, number)
            if search.searcher == "grid":
                self._searchers[head] = GridSearcher(space, search.grid_points, seed)
            else:
                self._searchers[head] = OptunaSearcher(
                    space, search.searcher, search.trials_per_head, seed, search.start_from_defaults
                )
        self._used: dict[str, set[int]] = {head: set() for head in spaces}
        self._epochs: dict[str, list[tuple[int, float]]] = {}
        self._heads: dict[str, str] = {}
        self._continued: list[Assignment] = []
        for trial in record:
            self._replay(trial)

    def _replay(self, trial: Trial) -> None:
        self._used[trial.head].add(trial.index)
        self._heads[trial.name] = trial.head
        self._epochs[trial.name] = [(row["epoch"], row["objective"]) for row in trial.epochs]
        self._searchers[trial.head].propose(trial.name, trial.params)
        if trial.status == "running":
            again = Assignment(trial.name, trial.head, trial.index, trial.seed, trial.params, continues=True)
            self._continued.append(again)
        else:
            self.end(trial.name, trial.status)

    @property
    def remaining(self) -> int:
        """How many assignments are still to come."""
        new = sum(self.study.search.trials_per_head - len(used) for used in self._used.values())
        return len(self._continued) + new

    def next(self) -> Assignment | None:
        """The next trial, or None at the end: first what was interrupted, then the head with the fewest."""
        if self._continued:
            return self._continued.pop(0)
        head = min(self._used, key=lambda name: len(self._used[name]))
        if len(self._used[head]) >= self.study.search.trials_per_head:
            return None
        index = next(number for number in itertools.count() if number not in self._used[head])
        name = f"{head}-{index:03d}"
        self._used[head].add(index)
        self._heads[name], self._epochs[name] = head, []
        params = self._searchers[head].propose(name, None)
        return Assignment(name, head, index, self._seed(index), params)

    def _seed(self, index: int) -> int:
        """The same for the same number of every head, so that heads are compared on the same draws."""
        fixed = self.study.training.seed
        return fixed if isinstance(fixed, int) else _bounded_seed(self.study.search.seed, index)

    def epoch(self, name: str, epoch: int, objective: float) -> None:
        """A trial reported after an epoch."""
        self._epochs[name].append((epoch, objective))

    def end(self, name: str, status: str) -> None:
        """A trial ended; a diverged one is worth nothing, and a failed one teaches nothing."""
        searcher, epochs = self._searchers[self._heads[name]], self._epochs[name]
        if status == "diverged":
            searcher.learn(name, [*epochs, (epochs[-1][0] + 1 if epochs else 1, 0.0)], finished=True)
        elif status == "failed" or not epochs:
            searcher.fail(name)
        else:
            searcher.learn(name, epochs, finished=status == "completed")
