"""Random search: every proposal is drawn by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from orchestrator.search.samplers.optuna_based import OptunaSampler


class Random(OptunaSampler):
    """Draws from the distributions of a space (Bergstra and Bengio, JMLR 2012)."""

    searcher: Literal["random"] = "random"
    is_independent: ClassVar[bool] = True

    def optunas(self, trials: int) -> Callable[[int], Any]:
        from optuna.samplers import RandomSampler

        return lambda seed: RandomSampler(seed=seed)
