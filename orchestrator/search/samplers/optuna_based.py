"""A sampler of Optuna's: what all of them have in common, so that each says only which one it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from orchestrator.search.optuna_proposer import JointOptunaProposer, OptunaProposer
from orchestrator.search.samplers.base import JointProposer, Proposer, Sampler
from search_spaces.configurations import Params, Space


class OptunaSampler(Sampler):
    """Proposes as a sampler of Optuna does, for one head or for all together, with one objective or several."""

    chooses_heads: ClassVar[bool] = True
    learns_fronts: ClassVar[bool] = True

    @abstractmethod
    def optunas(self, trials: int) -> Callable[[int], Any]:
        """What makes Optuna's own sampler, for so many trials, from a seed."""

    def proposer(
        self, space: Space, trials: int, seed: int, starts: Sequence[Params] = (), objectives: int = 1
    ) -> Proposer:
        return OptunaProposer(space, self.optunas(trials), seed, starts, objectives)

    def joint_proposer(
        self,
        spaces: Mapping[str, Space],
        trials: int,
        seed: int,
        starts: Mapping[str, Sequence[Params]],
        objectives: int = 1,
    ) -> JointProposer:
        return JointOptunaProposer(spaces, self.optunas(trials), seed, starts, objectives)
