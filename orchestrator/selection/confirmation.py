"""The best configurations of each head again on fresh seeds, and what that says. Pure: records in, an answer out.

Ranking by one noisy run picks the lucky one. So the search only proposes: its first `top` configurations of each head
are trained on `seeds` fresh seeds, and the one with the best mean is the head's best. The fresh seeds still use the
validation images that the search used; only the sealed test is free of those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lightning_modules.objectives.base import Objective
from orchestrator.selection import ranking, statistics
from orchestrator.selection.candidates import Candidate, Confirmed, judge
from orchestrator.selection.replicates import Replicates, ReplicationPlan, configuration_of, fresh_seeds
from orchestrator.selection.statistics import Difference
from orchestrator.storage.event_log import Trial, replay
from orchestrator.storage.events import Event
from orchestrator.study.schema import AUTO, Study
from search_spaces.configurations import config_key

FEWEST_TRIALS = 4  # with fewer trials of a head there is little to choose from, and little to confirm
MOST_TOP, MOST_SEEDS, FEWEST_SEEDS = 5, 5, 3


def size(study: Study) -> tuple[int, int]:
    """(top, seeds): configurations of each head, fresh seeds of each. `auto` costs about the search again, at most."""
    asked, trials = study.confirmation, study.search.trials_per_head
    if asked.top == AUTO and asked.seeds == AUTO and trials < FEWEST_TRIALS:
        return 0, 0
    runs = int(trials * study.search.scheduler.epochs_share)
    seeds = min(MOST_SEEDS, max(FEWEST_SEEDS, runs // 2)) if asked.seeds == AUTO else asked.seeds
    top = min(MOST_TOP, max(1, runs // max(1, seeds))) if asked.top == AUTO else min(asked.top, trials)
    return (top, seeds) if top and seeds else (0, 0)


def ask(study: Study, trials: Iterable[Trial], top: int, seeds: int, racing: bool) -> ReplicationPlan:
    """The `top` configurations of each head, the best of the search first; equal ones once."""
    trials = list(trials)
    chosen: list[str] = []
    for head in study.heads:
        different: dict[object, str] = {}
        for trial in ranking.rank(trial for trial in trials if trial.head == head):
            different.setdefault(config_key(trial.params), trial.name)
        chosen += list(different.values())[:top]
    return ReplicationPlan(tuple(chosen), tuple(fresh_seeds(study, "seed", seeds)), racing)


def ask_by_default(study: Study, trials: Iterable[Trial]) -> ReplicationPlan:
    """What the study asks for; no configuration at all where it wants no confirmation or nothing has a result."""
    top, seeds = size(study)
    return ask(study, trials, top, seeds, study.confirmation.racing)


@dataclass(frozen=True)
class Confirmation:
    """What a study's confirmation has asked and found so far."""

    asked: ReplicationPlan
    runs: Mapping[str, Trial]
    trials: Mapping[str, Trial]
    earlier: tuple[ReplicationPlan, ...] = ()  # what was asked before more was asked
    dropped: Mapping[str, int] = field(default_factory=dict)  # configuration → after how many seeds a race dropped it
    asked_at: str = ""  # when more was asked for last, UTC
    looks: int | None = None  # how often the test images had been opened by then; None where the record does not say

    @classmethod
    def read(
        cls, events: list[Event], trials: Mapping[str, Trial], objective: Objective | None = None
    ) -> Confirmation | None:
        """What a record tells; None where nothing was asked yet."""
        asking = [event for event in events if event["event"] == "asked"]
        if not asking:
            return None
        *earlier, asked = map(ReplicationPlan.of, asking)
        dropped = {event["configuration"]: event["seeds"] for event in events if event["event"] == "dropped"}
        said = asking[-1]
        runs = replay(events, objective)
        return cls(asked, runs, trials, tuple(earlier), dropped, said.get("time", ""), said.get("looks"))

    def asked_after(self, openings: Sequence[Event]) -> bool:
        """Whether more was asked for after the test images had been opened.

        The place in the record counts, for a clock may step back; only records that do not tell it go by the time.
        """
        if self.looks is not None:
            return self.looks > 0
        return bool(openings) and self.asked_at > str(openings[0]["time"])

    @property
    def history(self) -> str:
        """How the confirmation grew, where it did: seeds that are added after a look are no longer a plan."""
        if not self.earlier:
            return ""
        steps = ", then ".join(
            f"{len(each.configurations)} configurations on {len(each.seeds)} seeds"
            for each in (*self.earlier, self.asked)
        )
        return f"asked for {steps}: what is added after a look finds differences by chance more often"

    @cached_property
    def _configurations(self) -> Counter[str]:
        """How many configurations of each head are asked for."""
        return Counter(self.trials[name].head for name in self.asked.configurations)

    @property
    def planned(self) -> dict[str, int]:
        """How many runs each head has, at most."""
        return {head: number * len(self.asked.seeds) for head, number in self._configurations.items()}

    @property
    def top(self) -> int:
        """How many configurations of a head are asked for."""
        return max(self._configurations.values(), default=0)

    def repeats(self, on_drop: Callable[[Difference], None] = lambda difference: None) -> Replicates:
        """The runs still to come."""
        return Replicates(self.asked, list(self.trials.values()), "seed", self.runs.values(), self.dropped, on_drop)

    @cached_property
    def finished(self) -> bool:
        return self.repeats().remaining == 0

    @cached_property
    def heads(self) -> dict[str, Confirmed]:
        """What is confirmed, the best first; empty until all runs have ended, so that nothing rests on half of them."""
        if not self.finished:
            return {}
        candidates: dict[str, list[Candidate]] = {}
        for name in self.asked.configurations:
            own = tuple(run for run in self.runs.values() if configuration_of(run.name, "seed") == name)
            candidates.setdefault(self.trials[name].head, []).append(Candidate(self.trials[name], own))
        judged = [found for head, own in candidates.items() if (found := judge(head, own))]
        return {found.head: found for found in sorted(judged, key=lambda found: -found.best.merit)}

    @property
    def judged_by(self) -> Objective:
        """What the heads are compared by."""
        return next(iter(self.heads.values())).best.trial.judged_by

    @cached_property
    def between_heads(self) -> list[Difference]:
        """Every head's best against every other's, paired by seed."""
        scores = {head: found.best.scores for head, found in self.heads.items()}
        return statistics.all_differences(scores, self.judged_by) if scores else []

    def verdicts(self) -> list[str]:
        """How the heads compare, in words."""
        return statistics.verdicts(self.between_heads)
