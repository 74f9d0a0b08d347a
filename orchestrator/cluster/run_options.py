"""On what terms a search runs: where, and for how long."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.cluster.resources import Fleet
from orchestrator.errors import CannotRun, Problem, shown
from orchestrator.system import ray_thread

LONGEST_S = 10 * 365 * 86_400.0
SAVE_S = 120.0  # of a time budget at most, for an end that loses nothing: W&B, and Ray's own
DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?")


@dataclass(frozen=True)
class RunOptions:
    """address: of a Ray cluster, host:port or "auto", whose nodes all see the results; a Ray of its own unless given.

    cluster_file: the YAML of that cluster, whose autoscaler starts nodes that are not there yet. time_budget_s: from
    now on; the search then ends gracefully, a little before, and `resume` goes on with it, elsewhere if need be.
    """

    address: str | None = None
    cluster_file: Path | None = None
    time_budget_s: float | None = None
    began: float = field(default_factory=time.monotonic)

    def fleet(self) -> Fleet | None:
        """The nodes that may be used; None is this machine.

        Raises CannotRun where no cluster answers, or where this process has a Ray of its user's.
        """
        from orchestrator.cluster import ray_session

        refuse_connected()
        if self.address is not None:
            return ray_session.look(self.address, self.cluster_file)
        if self.cluster_file:
            fix = "add --address auto on the cluster's head; orchestrator doctor --cluster only looks at the file"
            raise CannotRun([Problem("--cluster", "a search runs on a cluster that is there", "no --address", fix)])
        return None

    @property
    def left_s(self) -> float | None:
        """Seconds until the search has to begin its end; None is for ever."""
        if self.time_budget_s is None:
            return None
        return self.time_budget_s - min(SAVE_S, self.time_budget_s / 10) - (time.monotonic() - self.began)

    @property
    def used_up(self) -> bool:
        """Whether there is no time left to train in."""
        return self.left_s is not None and self.left_s <= 0


def refuse_connected() -> None:
    """Raises CannotRun where this process has a Ray already: it has one at a time, and that one is left as it is."""
    ray, rule = sys.modules.get("ray"), "a search has a Ray of its own, and a process one at a time"
    if ray_thread.at_work():
        value = "a search has one here: it is still at work, or was broken off and could not give it back"
        fix = "go on in another process; in a notebook, restart the kernel"
        raise CannotRun([Problem("Ray", rule, value, fix)])
    if ray and ray.is_initialized():
        value = "ray.init() was called before"
        fix = "launch from another process, or after ray.shutdown(); a cluster's Ray is searched on with its address"
        raise CannotRun([Problem("Ray", rule, value, fix)])


def seconds(written: str) -> float:
    """What 12h, 90m, 1h30m or 45s means. Raises ValueError for anything else, and for no time at all."""
    match = DURATION.fullmatch(written.strip())
    hours, minutes, rest = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    found = 3600 * hours + 60 * minutes + rest
    if not 0 < found <= LONGEST_S:
        raise ValueError(f"a duration is written like 12h, 90m or 1h30m, ten years at most, not {shown(written)}")
    return found
