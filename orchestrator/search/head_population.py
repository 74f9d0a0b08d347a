"""Ray's population based training, for the trials of one head. Knows Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler

from orchestrator.search.report_keys import EPOCH, OBJECTIVE
from search_spaces.distributions import Range


class HeadPopulation(PopulationBasedTraining):
    """Population based training of one head: a poor trial takes a good one's weights, and its margins changed."""

    def __init__(self, scheduled: Mapping[str, Range], every_epochs: int, epochs: int) -> None:
        self._scheduled, self._epochs = scheduled, epochs
        ranges = {name: tune.uniform(parameter.low, parameter.high) for name, parameter in scheduled.items()}
        super().__init__(
            time_attr=EPOCH,
            metric=OBJECTIVE,
            mode="max",
            perturbation_interval=every_epochs,
            hyperparam_mutations={"trial": {"params": ranges}},
            resample_probability=0.0,
            log_config=False,
        )

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """After its last epoch a trial takes nothing over, and no other takes over a model that is done."""
        if result[EPOCH] >= self._epochs:
            return TrialScheduler.CONTINUE  # type: ignore[no-any-return]
        return super().on_trial_result(tune_controller, trial, result)  # type: ignore[no-any-return]

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The clone's configuration, changed, inside the space, under the trial's own name."""
        config, operations = super()._get_new_config(trial, trial_to_clone)
        params = config["trial"]["params"]
        params |= {name: parameter.clipped(params[name]) for name, parameter in self._scheduled.items()}
        return {"trial": {**trial.config["trial"], "params": params}}, operations
