"""How long a study will take and what it will cost, from a calibration. Pure arithmetic: knows neither torch nor Ray.

    epochs of a trial × seconds an epoch → `simulation` → wall time, device hours, cost

A device hour is an hour in which a trial holds one core, GPU or TPU chip. Nodes that idle and the head node of a
cluster are not in it, nor is what follows the training: measures of the best models, the report, W&B.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cost.simulation import Run, Usage, scheduled, usual_epochs
from orchestrator.selection import confirmation
from orchestrator.study.schema import DEVICES, Prices, Study

if TYPE_CHECKING:
    from orchestrator.planning.plan import Plan

BUSY_SHARE = 0.8  # of its cores; with less than that, other work is in the way


@dataclass(frozen=True)
class Speed:
    """What a trial of one head takes. setup_s: before its first epoch.

    core_share: how much of its cores it got, which is less where others are at work. at_a_time: how many were measured
    at once.
    """

    setup_s: float
    train_s: float
    validation_s: float
    core_share: float
    at_a_time: int

    @property
    def epoch_s(self) -> float:
        return self.train_s + self.validation_s


@dataclass(frozen=True)
class Throughput:
    """What was measured. process_s: until a new process can train. ray_s: until Ray runs."""

    heads: dict[str, Speed]
    process_s: float
    ray_s: float


@dataclass(frozen=True)
class StageCost:
    """A part of a study: what it takes at most, and what is expected of it."""

    expected: Usage
    most: Usage

    def __add__(self, other: StageCost) -> StageCost:
        return StageCost(self.expected + other.expected, self.most + other.most)


@dataclass(frozen=True)
class CostEstimate:
    """What a study will take. epochs: of a trial of the search, on average. test: the sealed one, if opened."""

    calibration: Throughput
    prices: Prices
    epochs: float
    search: StageCost
    confirmation: StageCost
    test: StageCost
    assumptions: tuple[str, ...]

    @property
    def launch(self) -> StageCost:
        """Search and confirmation, with the start of Ray, which holds no device for a trial."""
        starting = Usage(self.calibration.ray_s)
        return StageCost(starting, starting) + self.search + self.confirmation

    def parts(self) -> dict[str, StageCost]:
        """In the order in which they are told; `launch` is search and confirmation together."""
        return {"search": self.search, "confirmation": self.confirmation, "launch": self.launch, "test": self.test}

    def unpriced(self) -> list[str]:
        """The kinds of devices that the study uses and that have no price."""
        used, given = self.launch.most + self.test.most, self.prices.given()
        return [kind for kind in DEVICES if getattr(used, f"{kind}_hours") and kind not in given]

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""

        def told(usage: Usage) -> dict[str, Any]:
            return {**asdict(usage), "cost": usage.cost(self.prices)}

        return {
            "heads": {head: {**asdict(s), "epoch_s": s.epoch_s} for head, s in self.calibration.heads.items()},
            "process_start_s": self.calibration.process_s,
            "ray_start_s": self.calibration.ray_s,
            "epochs_of_a_trial": self.epochs,
            **{name: {"expected": told(p.expected), "most": told(p.most)} for name, p in self.parts().items()},
            "currency": self.prices.currency if self.prices.given() else None,
            "unpriced": self.unpriced(),
            "assumptions": list(self.assumptions),
        }


def of(planned: Plan, measured: Throughput) -> CostEstimate:
    """What a planned study will take."""
    study, fleet, slots = planned.study, planned.fleet, planned.slots
    heads, number, epochs = list(study.heads), study.search.trials_per_head, study.training.epochs
    usual = usual_epochs(study)

    def part(rounds: int, heads: Iterable[str], epochs: float, more_images: int = 0) -> Usage:
        runs = [_run(study, head, measured.heads[head], epochs, planned, more_images) for head in heads]
        return scheduled(runs * rounds, fleet, slots, measured.process_s)

    most = expected = part(number, heads, epochs)
    if study.search.joint:  # no head can take more than all trials
        for head in heads:
            most = most.or_more(part(number * len(heads), [head], epochs))
    if usual < epochs:
        expected = part(number, heads, usual)
        longest_s = max(part(1, [head], epochs).wall_s for head in heads)  # someone runs to the end
        expected = expected.or_more(Usage(longest_s))
        most = most.or_more(expected)  # shorter trials may well fit together worse
    top, seeds = confirmation.size(study)
    confirming = part(top * seeds, heads, epochs)
    final = Usage(measured.ray_s) + part(study.test.seeds, heads, epochs, len(planned.split.validation))
    return CostEstimate(
        measured,
        study.resources.prices,
        usual,
        StageCost(expected, most),
        StageCost(confirming, confirming),
        StageCost(final, final),
        tuple(_assumptions(planned, measured)),
    )


def _assumptions(planned: Plan, measured: Throughput) -> Iterator[str]:
    """What an estimate takes for granted, for people."""
    study, at_a_time = planned.study, max(speed.at_a_time for speed in measured.heads.values())
    yield "the machine stays as busy as it is now, other configurations of a head take as long as its first one"
    on_cores = [head for head in study.heads if study.resources.of(head).accelerator == "cpu"]
    share = min((measured.heads[head].core_share for head in on_cores), default=1.0)
    if share < BUSY_SHARE:
        yield f"that is busy: trials got as little as {share:.0%} of their cores; with less other work they are faster"
    if at_a_time < planned.slots:
        yield f"{planned.slots} trials at a time are each as fast as {at_a_time} were here"
    if (scheduler := study.search.scheduler).ends_early:
        chance = "as many as if scores were drawn by chance and kept"
        yield f"expected: {scheduler.title} stops {chance}; at most: it stops none"
    if study.search.joint:
        yield "expected: the heads get as many trials each, which a joint search changes; at most: one head gets all"
    if study.confirmation.racing:
        yield "the confirmation runs to its end; a race would shorten it"
    if planned.fleet.address is not None:
        yield "every node is as fast as this machine, and there from the start"
    yield "not in it: what follows the training (measures of the best models, report, W&B), lost trials, idle nodes"


def _run(study: Study, head: str, speed: Speed, epochs: float, planned: Plan, more_images: int) -> Run:
    train_s = speed.train_s * (1 + more_images / len(planned.split.train))
    return Run(speed.setup_s + epochs * (train_s + speed.validation_s), study.resources.of(head))
