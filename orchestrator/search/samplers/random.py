"""Random search: every proposal is drawn by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from orchestrator.search.optuna_proposer import JointOptunaProposer, OptunaProposer
from orchestrator.search.samplers.base import JointProposer, Proposer, Sampler
from search_spaces.configurations import Params, Space


class Random(Sampler):
    """Draws from the distributions of a space (Bergstra and Bengio, JMLR 2012)."""

    searcher: Literal["random"] = "random"
    chooses_heads: ClassVar[bool] = True
    learns_fronts: ClassVar[bool] = True
    is_independent: ClassVar[bool] = True

    def proposer(
        self, space: Space, trials: int, seed: int, starts: Sequence[Params] = (), objectives: int = 1
    ) -> Proposer:
        return OptunaProposer(space, _sampler, seed, starts, objectives)

    def joint_proposer(
        self,
        spaces: Mapping[str, Space],
        trials: int,
        seed: int,
        starts: Mapping[str, Sequence[Params]],
        objectives: int = 1,
    ) -> JointProposer:
        return JointOptunaProposer(spaces, _sampler, seed, starts, objectives)


def _sampler(seed: int) -> Any:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)
