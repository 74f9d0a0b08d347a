"""Known configurations again, on fresh seeds: which runs there are, and who is next.

The seeds are the same for every configuration, so that configurations and heads are compared seed by seed. Round r is
the r-th seed of everyone. With racing, a configuration that is clearly behind gets no further seeds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.errors import Problem, StudyError
from orchestrator.search.allocation import Assignment
from orchestrator.search.seeds import bounded_seed
from orchestrator.selection import statistics
from orchestrator.selection.statistics import Difference
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from orchestrator.study.field_types import MOST_SEEDS
from orchestrator.study.schema import Study

FAR = 1_000_000  # from the numbers of a search's trials
APART = 2**29  # between the seeds of confirmations and those of final models
RACING_FROM = 3  # seeds that two configurations must share before one of them may be dropped
RACING_LEVEL = 0.05  # of each pair after each round, uncorrected: a race saves runs, and proves nothing

Kind = Literal["seed", "final"]


def fresh_seeds(study: Study, kind: Kind, number: int) -> list[int]:
    """Seeds that no trial of the search had, each the same however many are asked for; others for another name.

    Raises StudyError for more than anyone trains with.
    """
    if number > MOST_SEEDS:
        raise StudyError(
            [Problem("seeds", f"at most {MOST_SEEDS} of a configuration", f"{number}", f"write {MOST_SEEDS}")]
        )
    first = FAR + zlib.crc32(study.name.encode()) % APART + (APART if kind == "final" else 0)
    drawn = (bounded_seed(study.search.seed, first + each) for each in range(number + 1))
    return [seed for seed in drawn if seed != study.training.seed][:number]


def run_name(configuration: str, kind: Kind, number: int) -> str:
    """arcface-003-seed-1: the first fresh seed of the configuration of trial arcface-003."""
    return f"{configuration}-{kind}-{number}"


def configuration_of(name: str, kind: Kind) -> str:
    """The search's trial whose configuration a run repeats."""
    return name.rpartition(f"-{kind}-")[0]


@dataclass(frozen=True)
class ReplicationPlan:
    """Which configurations (names of the search's trials), on which seeds."""

    configurations: tuple[str, ...]
    seeds: tuple[int, ...]
    racing: bool = False

    def event(self) -> dict[str, Any]:
        """As it stands in the record, before the runs that it asks for."""
        return {
            "event": "asked",
            "configurations": list(self.configurations),
            "seeds": list(self.seeds),
            "racing": self.racing,
        }

    @classmethod
    def of(cls, event: dict[str, Any]) -> ReplicationPlan:
        """As `event` wrote it."""
        return cls(tuple(event["configurations"]), tuple(event["seeds"]), event["racing"])

    @classmethod
    def last(cls, events: Iterable[dict[str, Any]]) -> ReplicationPlan | None:
        """What a record asks for last, if it asks at all."""
        asked = [event for event in events if event["event"] == "asked"]
        return cls.of(asked[-1]) if asked else None


class Replicates:
    """Hands out the runs, round by round; built from a record, it knows what was finished and continues the rest.

    dropped: configurations that the record says a race has dropped. on_drop: is told of the leader and a dropped one.
    """

    def __init__(
        self,
        asked: ReplicationPlan,
        configurations: Sequence[Trial],
        kind: Kind,
        record: Iterable[Trial] = (),
        dropped: Iterable[str] = (),
        on_drop: Callable[[Difference], None] = lambda difference: None,
    ) -> None:
        self._asked, self._kind, self._on_drop = asked, kind, on_drop
        self._known = {trial.name: trial for trial in configurations if trial.name in asked.configurations}
        self._scores: dict[str, dict[int, float]] = {name: {} for name in self._known}
        self._latest: dict[str, float] = {}
        self._runs: dict[str, Assignment] = {}
        self._continued: list[Assignment] = []
        self.dropped = set(dropped)
        self._ended: set[str] = set()
        self._judged: dict[str, int] = {}  # how many rounds of each head
        for trial in record:
            run = Assignment(trial.name, trial.head, trial.index, trial.seed, trial.params, trial.status == "running")
            self._runs[trial.name] = run
            if trial.objective is not None:
                self._latest[trial.name] = trial.objective
            if trial.status == "running":
                self._continued.append(run)
            else:
                self.end(trial.name, trial.status)

    def _todo(self) -> Iterable[Assignment]:
        for number, seed in enumerate(self._asked.seeds, start=1):
            for name in self._asked.configurations:
                run = run_name(name, self._kind, number)
                if run not in self._runs and name not in self.dropped:
                    trial = self._known[name]
                    yield Assignment(run, trial.head, number, seed, trial.params)

    @property
    def remaining(self) -> int:
        """How many assignments are still to come, at most."""
        return len(self._continued) + sum(1 for _ in self._todo())

    def next(self) -> Assignment | None:
        """The next run, or None at the end: first what was interrupted."""
        if self._continued:
            return self._continued.pop(0)
        run = next(iter(self._todo()), None)
        if run is not None:
            self._runs[run.name] = run
        return run

    def epoch(self, name: str, row: Event) -> None:
        """A run reported after an epoch."""
        self._latest[name] = row["objective"]

    def end(self, name: str, status: str) -> None:
        """A run ended."""
        configuration = configuration_of(name, self._kind)
        self._ended.add(name)
        if configuration not in self._scores:
            return
        if status == "completed":
            self._scores[configuration][self._runs[name].seed] = self._latest[name]
        if self._asked.racing:
            self._race(self._known[configuration].head)

    def _race(self, head: str) -> None:
        """Drops the configurations of a head that are clearly behind its leader, after every whole round.

        A round is judged once all its runs have ended, on its seeds and the earlier ones: what runs side by side may
        end in any order, and the record still tells of the same race.
        """
        while (rounds := self._judged.get(head, RACING_FROM - 1) + 1) <= len(self._asked.seeds):
            racing = [name for name, trial in self._known.items() if trial.head == head and name not in self.dropped]
            runs = {run_name(name, self._kind, number) for name in racing for number in range(1, rounds + 1)}
            if runs - self._ended:
                return
            self._judged[head] = rounds
            for difference in self._behind(racing, self._asked.seeds[:rounds]):
                self.dropped.add(difference.second)
                self._on_drop(difference)

    def _behind(self, racing: Iterable[str], seeds: Sequence[int]) -> list[Difference]:
        """The leader on these seeds against each that is clearly behind it."""
        scores = {
            name: {seed: self._scores[name][seed] for seed in seeds if seed in self._scores[name]} for name in racing
        }
        scores = {name: own for name, own in scores.items() if len(own) >= RACING_FROM}
        if len(scores) < 2:
            return []
        objective = next(iter(self._known.values())).judged_by
        leader = max(scores, key=lambda name: objective.merit(statistics.MeanEstimate.of(scores[name].values()).mean))
        others = [name for name in scores if name != leader]
        pairs = [each for name in others for each in statistics.differences(scores, [(leader, name)], objective)]
        return [each for each in pairs if each.estimate.n >= RACING_FROM and each.first_leads and each.p < RACING_LEVEL]
