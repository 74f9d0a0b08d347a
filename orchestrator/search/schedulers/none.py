"""No scheduler: every trial trains to its end."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from orchestrator.search.schedulers.base import Scheduler
from search_spaces.configurations import Space


class NoScheduler(Scheduler):
    """Lets every trial train to its end."""

    scheduler: Literal["none"] = "none"
    title: ClassVar[str] = "no scheduler"

    def said(self, epochs: int) -> str:
        return "none is stopped early"

    def for_tune(self, space: Space, epochs: int) -> Any:
        from ray.tune.schedulers import FIFOScheduler

        return FIFOScheduler()
