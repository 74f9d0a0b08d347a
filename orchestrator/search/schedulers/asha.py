"""ASHA: at a few epochs the poorer trials stop."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestrator.errors import Problem
from orchestrator.search.report_keys import EPOCH, OBJECTIVE
from orchestrator.search.schedulers.base import Scheduler
from search_spaces.configurations import Space


class Asha(Scheduler):
    """Asynchronous successive halving (Li et al., MLSys 2020), Ray's.

    Its rungs are the epochs grace_epochs × reduction_factor^k. A trial goes beyond a rung unless it is below the
    (1 − 1/reduction_factor) quantile of those that were there before.
    """

    scheduler: Literal["asha"] = "asha"
    grace_epochs: Annotated[int, Field(ge=1, lt=2**31)] = 1
    reduction_factor: Annotated[int, Field(ge=2, le=16)] = 3
    title: ClassVar[str] = "ASHA"
    ends_early: ClassVar[bool] = True
    needs_record: ClassVar[bool] = True  # Tune forgets the rungs
    epochs_share: ClassVar[float] = 0.5

    def said(self, epochs: int) -> str:
        after = ", ".join(map(str, self.rungs(epochs)))
        return f"ASHA stops the poorer ones early, after epochs {after}" if after else "ASHA, with no rung"

    def for_tune(self, space: Space, epochs: int) -> Any:
        from ray.tune.schedulers import AsyncHyperBandScheduler

        return AsyncHyperBandScheduler(
            time_attr=EPOCH,
            metric=OBJECTIVE,
            mode="max",
            max_t=epochs,
            grace_period=self.grace_epochs,
            reduction_factor=self.reduction_factor,
        )

    def rungs(self, epochs: int) -> list[int]:
        found, rung = list[int](), self.grace_epochs
        while rung < epochs:
            found.append(rung)
            rung *= self.reduction_factor
        return found

    def problems(self, epochs: int, trials: int) -> Iterable[Problem]:
        if self.grace_epochs > epochs:
            rule, fix = f"grace_epochs is at most the number of epochs, {epochs}", f"write {max(1, epochs // 3)}"
            yield Problem("search.grace_epochs", rule, str(self.grace_epochs), fix)

    def simulated_epochs(self, scores: Sequence[float], epochs: int) -> list[int]:
        """As Ray's own scheduler gives, which a test holds; that takes fifty times as long, and a second to import."""
        before: dict[int, list[float]] = {rung: [] for rung in self.rungs(epochs)}
        return [self._last_epoch(score, before, epochs) for score in scores]

    def _last_epoch(self, score: float, before: dict[int, list[float]], epochs: int) -> int:
        for rung, ascending in before.items():
            stops = bool(ascending) and score < _quantile(ascending, 1 - 1 / self.reduction_factor)
            insort(ascending, score)
            if stops:
                return rung
        return epochs


def _quantile(ascending: list[float], share: float) -> float:
    """Between two of them in proportion, as numpy has it."""
    whole, part = divmod(share * (len(ascending) - 1), 1)
    low, high = ascending[int(whole)], ascending[min(int(whole) + 1, len(ascending) - 1)]
    return low + part * (high - low)
