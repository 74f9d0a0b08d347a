"""Wall time of jobs: of one, the median of several, and of several jobs in turns, so that noise meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Job = Callable[[], object]


def timed(job: Job) -> float:
    """Seconds."""
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def median_s(job: Job, rounds: int = 3) -> float:
    """Seconds, the median of the rounds."""
    return statistics.median(timed(job) for _ in range(rounds))


def in_turns(*jobs: Job, rounds: int = 3, at_least_s: float = 0.0) -> list[float]:
    """The median seconds of each; more rounds than asked for until all together took so long."""
    seconds: list[list[float]] = [[] for _ in jobs]
    while len(seconds[0]) < rounds or sum(map(sum, seconds)) < at_least_s:
        for times, job in zip(seconds, jobs, strict=True):
            times.append(timed(job))
    return [statistics.median(times) for times in seconds]
