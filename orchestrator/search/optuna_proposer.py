"""Proposals of an Optuna sampler, for one head or for all jointly. Knows Optuna."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.search.seeds import bounded_seed
from search_spaces.configurations import Params, Space, active

MakeSampler = Callable[[int], Any]  # an Optuna sampler, from a seed


def head_of(name: str) -> str:
    """The head of a trial by its name: arcface of arcface-003."""
    return name.rpartition("-")[0]


class OptunaProposer:
    """One Optuna study in memory, fed from the record.

    sampler: makes Optuna's sampler from a seed. starts: what the first trials take.
    """

    def __init__(
        self, space: Space, sampler: MakeSampler, seed: int, starts: Sequence[Params] = (), objectives: int = 1
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._study = optuna.create_study(directions=["maximize"] * objectives)
        self._sampler, self._seed = sampler, seed
        self._space, self._starts, self._objectives = space, list(starts), objectives
        self._open: dict[str, Any] = {}

    def _ask(self, known: Params | None) -> Any:
        """Optuna's next trial: what is known already, else the next start, else a new one.

        Each is drawn with a seed of its own: it is the same whether or not a search was interrupted before it.
        """
        self._study.sampler = self._sampler(bounded_seed(self._seed, len(self._study.trials)))
        start = self._starts.pop(0) if self._starts else None
        if known or start:
            self._study.enqueue_trial(known or start or {})
        return self._study.ask()

    def propose(self, name: str, params: Params | None) -> Params:
        trial = self._open[name] = self._ask(params)
        return active(self._space, lambda key, parameter: parameter.suggest(trial, key))

    def learn(self, name: str, epochs: list[tuple[int, float]], finished: bool, others: Sequence[float] = ()) -> None:
        trial = self._open.pop(name)
        if self._objectives > 1:
            self._study.tell(trial, [epochs[-1][1], *others])
            return
        for epoch, objective in epochs:
            trial.report(objective, epoch)
        if finished:
            self._study.tell(trial, epochs[-1][1])
        else:
            self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, name: str) -> None:
        self._study.tell(self._open.pop(name), state=self._optuna.trial.TrialState.FAIL)


class JointOptunaProposer(OptunaProposer):
    """One search over head and settings: `choose` names the head of the next trial, `propose` its settings."""

    def __init__(
        self,
        spaces: Mapping[str, Space],
        sampler: MakeSampler,
        seed: int,
        starts: Mapping[str, Sequence[Params]],
        objectives: int = 1,
    ) -> None:
        rounds = itertools.zip_longest(*([(head, params) for params in own] for head, own in starts.items()))
        first = [self._tagged(*each) for several in rounds for each in several if each]
        super().__init__({}, sampler, seed, first, objectives)
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
