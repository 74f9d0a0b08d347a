"""TPE: proposes where good trials were denser than poor ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from orchestrator.search.samplers.optuna_based import OptunaSampler


class Tpe(OptunaSampler):
    """Optuna's Tree-structured Parzen Estimator (Bergstra et al., NeurIPS 2011), after some random trials.

    A third of the trials is random, but 3 to 10. Trials that run side by side count as poor until they report, so that
    they lie apart.
    """

    searcher: Literal["tpe"] = "tpe"

    def optunas(self, trials: int) -> Callable[[int], Any]:
        from optuna.samplers import TPESampler

        random_trials = max(3, min(10, trials // 3))
        return lambda seed: TPESampler(seed=seed, n_startup_trials=random_trials, constant_liar=True)
