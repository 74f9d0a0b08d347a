"""Who chooses configurations: TPE or random search for one head, for all heads jointly, or a grid. Knows Optuna."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from orchestrator.study.schema import Searched

Params = dict[str, Any]
Space = Mapping[str, Searched]
SEED_STRIDE = 100_003  # keeps the seeds of neighbouring studies' trials apart


class Searcher(Protocol):
    """Chooses configurations of one head."""

    def propose(self, name: str, params: Params | None) -> Params:
        """The configuration of trial `name`: a new one, or `params` where they are already known."""

    def learn(self, name: str, epochs: list[tuple[int, float]], finished: bool, separation: float = 0.0) -> None:
        """What trial `name` reached, as (epoch, objective); `finished` says it was not stopped early."""

    def fail(self, name: str) -> None:
        """Trial `name` reached nothing."""


def bounded_seed(study_seed: int, number: int) -> int:
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


def config_key(params: Params) -> tuple[tuple[str, str], ...]:
    """What tells configurations apart: six digits of every number, so that rounding makes no new one."""
    written = ((name, f"{value:.6g}" if isinstance(value, float) else str(value)) for name, value in params.items())
    return tuple(sorted(written))


def head_of(name: str) -> str:
    """The head of a trial by its name: arcface of arcface-003."""
    return name.rpartition("-")[0]


class OptunaSearcher:
    """TPE or random search with Optuna; one study in memory, fed from the record.

    starts: what the first trials take. separate: with the separation of the classes as a second objective.
    """

    def __init__(
        self, space: Space, kind: str, trials: int, seed: int, starts: Sequence[Params] = (), separate: bool = False
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._study = optuna.create_study(directions=["maximize", "maximize"] if separate else ["maximize"])
        self._kind, self._startup, self._seed = kind, max(3, min(10, trials // 3)), seed
        self._space, self._starts, self._separate = space, list(starts), separate
        self._open: dict[str, Any] = {}

    def _sampler(self, number: int) -> Any:
        """The sampler of proposal `number`: it draws the same whether or not a search was interrupted before it."""
        samplers, seed = self._optuna.samplers, bounded_seed(self._seed, number)
        if self._kind == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, n_startup_trials=self._startup, constant_liar=True)

    def _ask(self, known: Params | None) -> Any:
        """Optuna's next trial: what is known already, else the next start, else a new one."""
        self._study.sampler = self._sampler(len(self._study.trials))
        start = self._starts.pop(0) if self._starts else None
        if known or start:
            self._study.enqueue_trial(known or start or {})
        return self._study.ask()

    def propose(self, name: str, params: Params | None) -> Params:
        trial = self._open[name] = self._ask(params)
        return active(self._space, lambda key, parameter: parameter.suggest(trial, key))

    def learn(self, name: str, epochs: list[tuple[int, float]], finished: bool, separation: float = 0.0) -> None:
        trial = self._open.pop(name)
        if self._separate:
            self._study.tell(trial, [epochs[-1][1], separation])
            return
        for epoch, objective in epochs:
            trial.report(objective, epoch)
        if finished:
            self._study.tell(trial, epochs[-1][1])
        else:
            self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, name: str) -> None:
        self._study.tell(self._open.pop(name), state=self._optuna.trial.TrialState.FAIL)


class JointSearcher(OptunaSearcher):
    """One search over head and settings: `choose` names the head of the next trial, `propose` its settings."""

    def __init__(
        self,
        spaces: Mapping[str, Space],
        kind: str,
        trials: int,
        seed: int,
        starts: Mapping[str, Sequence[Params]],
        separate: bool = False,
    ) -> None:
        rounds = itertools.zip_longest(*([(head, params) for params in own] for head, own in starts.items()))
        first = [self._tagged(*each) for several in rounds for each in several if each]
        super().__init__({}, kind, trials, seed, first, separate)
        self._spaces = spaces
        self._chosen: Any = None

    @staticmethod
    def _tagged(head: str, params: Params) -> Params:
        return {"head": head} | {f"{head}.{name}": value for name, value in params.items()}

    def choose(self) -> str:
        """The head of the next trial."""
        self._chosen = self._ask(None)
        return self._head(self._chosen)

    def _head(self, trial: Any) -> str:
        head: str = trial.suggest_categorical("head", list(self._spaces))
        return head

    def propose(self, name: str, params: Params | None) -> Params:
        head = head_of(name)
        if params is not None:
            self._chosen = self._ask(self._tagged(head, params))
            self._head(self._chosen)
        trial = self._open[name] = self._chosen
        return active(self._spaces[head], lambda key, parameter: parameter.suggest(trial, f"{head}.{key}"))


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

    def learn(self, name: str, epochs: list[tuple[int, float]], finished: bool, separation: float = 0.0) -> None:
        """A grid learns nothing."""

    def fail(self, name: str) -> None:
        """Nor from failures."""


def grid_size(space: Space, points: int) -> int:
    """How many configurations `grid` has, counted without making them: there may be more than fit in a memory."""
    sizes = {name: len({*item.parameter.grid(points)}) for name, item in space.items()}
    deciding = {item.when[0] for item in space.values() if item.when}
    decisions = grid({name: item for name, item in space.items() if name in deciding}, points)
    return sum(math.prod(sizes[name] for name in _read(space, made) - deciding) for made in decisions)


def _read(space: Space, decisions: Params) -> set[str]:
    """The parameters that are read once it is decided so."""
    return {name for name, item in space.items() if item.when is None or decisions.get(item.when[0]) == item.when[1]}


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
