"""TPE: proposes where good trials were denser than poor ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from orchestrator.search.optuna_proposer import JointOptunaProposer, OptunaProposer
from orchestrator.search.samplers.base import JointProposer, Proposer, Sampler
from search_spaces.configurations import Params, Space


class Tpe(Sampler):
    """Optuna's Tree-structured Parzen Estimator (Bergstra et al., NeurIPS 2011), after some random trials.

    Trials that run side by side count as poor until they report, so that they lie apart.
    """

    searcher: Literal["tpe"] = "tpe"
    chooses_heads: ClassVar[bool] = True
    learns_fronts: ClassVar[bool] = True

    def proposer(
        self, space: Space, trials: int, seed: int, starts: Sequence[Params] = (), objectives: int = 1
    ) -> Proposer:
        return OptunaProposer(space, _sampler(trials), seed, starts, objectives)

    def joint_proposer(
        self,
        spaces: Mapping[str, Space],
        trials: int,
        seed: int,
        starts: Mapping[str, Sequence[Params]],
        objectives: int = 1,
    ) -> JointProposer:
        return JointOptunaProposer(spaces, _sampler(trials), seed, starts, objectives)


def _sampler(trials: int) -> Any:
    """Optuna's sampler for a seed; a third of the trials is random, but 3 to 10."""
    from optuna.samplers import TPESampler

    random_trials = max(3, min(10, trials // 3))
    return lambda seed: TPESampler(seed=seed, n_startup_trials=random_trials, constant_liar=True)
