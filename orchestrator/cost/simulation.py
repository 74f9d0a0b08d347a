"""When trials run: how many epochs each has under a scheduler, and what many of them take together on some nodes."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.cluster.resources import Fleet, Node
from orchestrator.study.schema import DEVICES, Prices, Profile, Study

SIMULATED_TRIALS, FEWEST_SEARCHES = 20_000, 20  # under a scheduler that stops trials


@dataclass(frozen=True)
class Run:
    """A trial to come: its length without the start of a process, and what it holds meanwhile."""

    length_s: float
    profile: Profile


@dataclass(frozen=True)
class Usage:
    """Wall time and device hours of a part of a study."""

    wall_s: float = 0.0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    tpu_hours: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(mine + others for mine, others in zip(self._numbers(), other._numbers(), strict=True)))

    def or_more(self, other: Usage) -> Usage:
        """The larger of each number."""
        return Usage(*map(max, self._numbers(), other._numbers()))

    def _numbers(self) -> tuple[float, ...]:
        return self.wall_s, self.cpu_hours, self.gpu_hours, self.tpu_hours

    def cost(self, prices: Prices) -> float | None:
        """In the currency of the prices; what has no price counts nothing. None where there are no prices."""
        given = prices.given()
        return sum(price * getattr(self, f"{kind}_hours") for kind, price in given.items()) if given else None


def usual_epochs(study: Study) -> float:
    """How many epochs a trial of the search has on average, simulated.

    Taken for granted: no configuration is likelier to be good than another, and who is ahead stays ahead.
    """
    search, epochs = study.search, study.training.epochs
    if not search.scheduler.ends_early:
        return float(epochs)
    trials = search.trials_per_head * (len(study.heads) if search.joint else 1)  # that share a ladder
    rng, searches = random.Random(0), max(FEWEST_SEARCHES, SIMULATED_TRIALS // trials)
    draws = ([rng.random() for _ in range(trials)] for _ in range(searches))
    spent = sum(sum(search.scheduler.simulated_epochs(scores, epochs)) for scores in draws)
    return spent / searches / trials


def scheduled(runs: Iterable[Run], fleet: Fleet, slots: int, process_s: float) -> Usage:
    """What runs take on the nodes: handed out in order, `slots` at a time, each on the first node that has room.

    A run starts a process, unless one of the same profile has ended on its node and left its own.
    """
    free = [_amounts(node) for node in fleet.nodes for _ in range(node.number)]
    idle: list[Counter[Profile]] = [Counter() for _ in free]
    to_come, waiting = iter(runs), list[Run]()
    at_work: list[tuple[float, int, int, Profile]] = []
    now_s, used, begun = 0.0, Usage(), 0
    while True:
        waiting += _first(to_come, slots - len(waiting) - len(at_work))
        full: set[Profile] = set()  # what has no room anywhere now
        for run in [*waiting]:
            needs = _needs(run.profile)
            fitting = (number for number, has in enumerate(free) if run.profile not in full and _fits(needs, has))
            if (node := next(fitting, None)) is None:
                full.add(run.profile)
                continue
            waiting.remove(run)
            length_s = run.length_s + (0 if idle[node][run.profile] else process_s)
            idle[node][run.profile] -= bool(idle[node][run.profile])
            free[node] = [has - need for has, need in zip(free[node], needs, strict=True)]
            heapq.heappush(at_work, (now_s + length_s, begun, node, run.profile))
            begun += 1
            used += Usage(0, *(getattr(run.profile, kind) * length_s / 3600 for kind in DEVICES))
        if not at_work:
            return used + Usage(now_s)
        now_s, _, node, profile = heapq.heappop(at_work)
        free[node] = [has + need for has, need in zip(free[node], _needs(profile), strict=True)]
        idle[node][profile] += 1


def _first(runs: Iterator[Run], number: int) -> list[Run]:
    return [run for _, run in zip(range(number), runs, strict=False)]


def _amounts(node: Node) -> list[float]:
    return [node.cpu, node.gpu, node.tpu]


def _needs(profile: Profile) -> list[float]:
    """What a run takes of a node; a share of a GPU as the largest that lets as many others onto it."""
    shared = 0 < profile.gpu < 1
    return [profile.cpu, 1 / int(1 / profile.gpu) if shared else profile.gpu, profile.tpu]


def _fits(needs: list[float], has: list[float]) -> bool:
    return all(need <= there + 1e-9 for need, there in zip(needs, has, strict=True))
