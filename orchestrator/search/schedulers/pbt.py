"""PBT: poor trials take over the weights of good ones, and their settings, changed a little."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestrator.errors import Problem
from orchestrator.search.schedulers.base import Scheduler
from search_spaces.configurations import Space
from search_spaces.distributions import Range


class Pbt(Scheduler):
    """Population based training (Jaderberg et al., 2017), Ray's, of the margins and scales of a head."""

    scheduler: Literal["pbt"] = "pbt"
    perturb_every_epochs: Annotated[int, Field(ge=1, lt=2**31)] = 1
    title: ClassVar[str] = "PBT"
    changes_settings: ClassVar[bool] = True
    takes_population: ClassVar[bool] = True
    several_workers: ClassVar[bool] = False
    kept_checkpoints: ClassVar[int] = 4  # others may take one over

    def said(self, epochs: int) -> str:
        return "PBT moves their margins while they train"

    def problems(self, epochs: int, trials: int) -> Iterable[Problem]:
        if trials < 2:
            yield Problem("search.trials_per_head", "pbt needs a population of at least 2", str(trials), "write 4")

    def for_tune(self, space: Space, epochs: int) -> Any:
        from ray.tune.schedulers import FIFOScheduler

        from orchestrator.search.head_population import HeadPopulation

        changed = {  # margins, crossovers and scales: what may change while a model trains
            name: item.parameter
            for name, item in space.items()
            if item.role and isinstance(item.parameter, Range) and item.when is None
        }
        return HeadPopulation(changed, self.perturb_every_epochs, epochs) if changed else FIFOScheduler()
