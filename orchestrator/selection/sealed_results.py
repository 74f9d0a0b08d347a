"""What `test.jsonl` tells: when the test images were looked at, by which code, and what each head reached on them.

    {"event": "asked", …}  start, epoch, end of every final run: their objective is on images that they train on
    {"event": "opened", "number": 1, "by": "test", "git": {…}, "time": …}     before the first test image is read
    {"event": "read", "opening": 1, "images": 10000, "digest": "…"}           which images they were: a hash of them
    {"event": "measured", "opening": 1, "run": "arcface-003-final-1", "images": 10000, "measures": {…}}

Pure: events in, an answer out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lightning_modules.objectives.base import Objective, Support
from orchestrator.selection import statistics
from orchestrator.selection.replicates import Replicates, ReplicationPlan, configuration_of
from orchestrator.selection.statistics import Difference, MeanEstimate
from orchestrator.storage.event_log import Trial, replay
from orchestrator.storage.events import Event


@dataclass(frozen=True)
class Scored:
    """A head on the test images: its configuration, and run → measures."""

    trial: Trial
    seeds: Mapping[str, int]
    measures: Mapping[str, dict[str, float]]
    images: int

    @property
    def scores(self) -> dict[int, float]:
        """seed → what the study is judged by."""
        return {self.seeds[run]: found[self.trial.judged_by.key] for run, found in self.measures.items()}

    @cached_property
    def estimate(self) -> MeanEstimate:
        return MeanEstimate.of(self.scores.values())

    @property
    def merit(self) -> float:
        """Its mean as a number that is higher for the better head."""
        return self.trial.judged_by.merit(self.estimate.mean)

    @property
    def by_images(self) -> tuple[float, float] | None:
        """The 95% interval that these images, as a draw of all such images, leave to the mean; None if not known."""
        known = self.trial.judged_by.interval
        return known.ends(self.estimate.mean, Support(self.images)) if known else None


@dataclass(frozen=True)
class Sealed:
    """The test of a study, as far as it is."""

    events: Sequence[Event]
    trials: Mapping[str, Trial]
    objective: Objective | None = None

    @cached_property
    def asked(self) -> ReplicationPlan | None:
        return ReplicationPlan.last(self.events)

    @cached_property
    def runs(self) -> dict[str, Trial]:
        """The final runs, on train and validation images."""
        return replay(self.events, self.objective)

    @property
    def openings(self) -> list[Event]:
        return [event for event in self.events if event["event"] == "opened"]

    @property
    def number(self) -> int:
        """Of the last opening that measures the final models; 0 before there is one."""
        return next((opening["number"] for opening in reversed(self.openings) if opening["by"] == "test"), 0)

    @property
    def digest(self) -> str | None:
        """What the test images hashed to when they were first read; None where the record does not say."""
        return next((str(event["digest"]) for event in self.events if event["event"] == "read"), None)

    def repeats(self, asked: ReplicationPlan) -> Replicates:
        """The final runs still to come."""
        return Replicates(asked, list(self.trials.values()), "final", self.runs.values())

    def wanted(self) -> list[Trial]:
        """The final runs whose models are to be measured."""
        names = self.asked.configurations if self.asked else ()
        return [
            run
            for run in self.runs.values()
            if run.status == "completed" and configuration_of(run.name, "final") in names
        ]

    def measured(self) -> dict[str, Event]:
        """run → what the last opening that measures has measured of it."""
        number = self.number
        return {
            event["run"]: event for event in self.events if event["event"] == "measured" and event["opening"] == number
        }

    @property
    def half_open(self) -> bool:
        """Whether the last opening was cut short before everything was measured: going on with it is no new look."""
        marks = [event["event"] for event in self.events if event["event"] == "asked" or event.get("by") == "test"]
        return marks[-1:] == ["opened"] and not {run.name for run in self.wanted()} <= {*self.measured()}

    @cached_property
    def heads(self) -> dict[str, Scored]:
        """Every head that has a measured run, the best first; empty while the test is sealed, or half open."""
        measured = self.measured()
        if not self.asked or self.half_open:
            return {}
        found = {}
        for name in self.asked.configurations:
            own = [run for run in self.wanted() if configuration_of(run.name, "final") == name and run.name in measured]
            if own:
                seeds = {run.name: run.seed for run in own}
                measures = {run.name: measured[run.name]["measures"] for run in own}
                trial = self.trials[name]
                found[trial.head] = Scored(trial, seeds, measures, measured[own[0].name]["images"])
        return dict(sorted(found.items(), key=lambda item: -item[1].merit))

    @cached_property
    def between_heads(self) -> list[Difference]:
        """Every head against every other, paired by seed."""
        scores = {head: scored.scores for head, scored in self.heads.items()}
        return statistics.all_differences(scores, next(iter(self.heads.values())).trial.judged_by) if scores else []

    def verdicts(self) -> list[str]:
        """How the heads compare on the test images, in words."""
        return statistics.verdicts(self.between_heads)

    def said(self) -> str:
        """How often the test images were looked at, in a sentence that belongs beside every number of them."""
        times = [f"{opening['time'][:16].replace('T', ' ')} UTC by {_code(opening)}" for opening in self.openings]
        if not times:
            return "the test images are sealed"
        if len(times) == 1:
            return f"the test images were opened once, {times[0]}"
        look = "whatever was chosen after the first look was chosen on them"
        return f"CAUTION: the test images were opened {len(times)} times, {look}: {'; '.join(times)}"

    def sentence(self) -> str:
        """`said`, as a sentence."""
        said = self.said()
        return f"{said[0].upper()}{said[1:]}."


def _code(opening: Mapping[str, Any]) -> str:
    git = opening["git"]
    if not git:
        code = f"orchestrator {opening['orchestrator']}"
    else:
        code = f"commit {git['commit'][:10]}" + (" with changes on top" if git["changed"] else "")
    return code if opening["by"] == "test" else f"{code} ({opening['by']})"
