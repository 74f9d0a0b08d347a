"""What a search may use: the nodes of this machine or of a Ray cluster, and how many trials fit on them.

Knows no Ray, so that a plan answers at once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import Problem
from orchestrator.study.schema import Profile, Study
from orchestrator.system import cgroups, gpus

THIS_MACHINE = "this machine"
KINDS = {"cpu": "core", "gpu": "GPU", "tpu": "TPU chip"}
CHIPS = (0, 1, 2, 4, 8)  # of one host that Ray can give to a trial


@dataclass(frozen=True)
class Node:
    """One machine, or `number` machines of one kind. tpu: chips."""

    cpu: float
    gpu: float = 0.0
    tpu: float = 0.0
    memory_bytes: float = 0.0
    name: str = THIS_MACHINE
    number: int = 1

    @classmethod
    def of(cls, resources: Mapping[str, Any], name: str, number: int = 1) -> Node:
        """A node with what Ray calls its resources."""
        cpu, gpu, tpu, memory = (float(resources.get(key, 0)) for key in ("CPU", "GPU", "TPU", "memory"))
        return cls(cpu, gpu, tpu, memory, name, number)

    def fits(self, profile: Profile) -> int:
        """How many workers of a profile one such node takes at a time; most trials have one."""
        fit = [int(self.cpu / profile.cpu)]
        if profile.gpu:  # a share of one GPU, or whole ones
            fit.append(int(self.gpu) * int(1 / profile.gpu) if profile.gpu < 1 else int(self.gpu / profile.gpu))
        if profile.tpu:
            fit.append(int(self.tpu / profile.tpu))
        return min(fit)

    def __str__(self) -> str:
        return " and ".join(counted(has, thing) for kind, thing in KINDS.items() if (has := getattr(self, kind)))


@dataclass(frozen=True)
class Fleet:
    """All nodes. address: of the Ray cluster that they belong to; None is a Ray of our own on this machine."""

    nodes: tuple[Node, ...]
    address: str | None = None

    @classmethod
    def here(cls) -> Fleet:
        """This machine, as far as this process may use it. Of less than a core's time there is one core, a slow one."""
        limits = cgroups.limits()
        cpus = max(1, int(min(cores(), limits.cores)))
        return cls((Node(cpus, gpus.look().number, memory_bytes=min(physical_bytes(), limits.memory_bytes)),))

    @property
    def where(self) -> str:
        """In a sentence."""
        return "on this machine" if self.address is None else "on the cluster"

    @property
    def cpus(self) -> int:
        return self._sum("cpu")

    @property
    def gpus(self) -> int:
        return self._sum("gpu")

    @property
    def tpus(self) -> int:
        return self._sum("tpu")

    @property
    def memory_bytes(self) -> int:
        return self._sum("memory_bytes")

    def _sum(self, what: str) -> int:
        return int(sum(getattr(node, what) * node.number for node in self.nodes))

    def fits(self, profile: Profile) -> int:
        """How many trials of a profile run at a time, if there are no others."""
        return self.fit_workers(profile) // profile.workers

    def fit_workers(self, profile: Profile) -> int:
        """How many workers of a profile run at a time; those of one trial may be on several nodes."""
        return sum(node.fits(profile) * node.number for node in self.nodes)

    def slots(self, profiles: Iterable[Profile]) -> int:
        """How many trials run at a time at most, where they have such profiles.

        Of trials with several workers only as many start as fit whatever their profiles: Ray Train asks for the
        workers once a trial's own process is there, so that others would take what one of them waits for.
        """
        different = set(profiles)
        if any(profile.workers > 1 for profile in different):
            return min(map(self.fits, different))
        smallest = min(profile.cpu for profile in different)
        return min(sum(map(self.fits, different)), int(self.cpus / smallest))


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def physical_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def loopback() -> Problem | None:
    """What keeps processes of this machine from talking to each other, as Ray's do, even where there is no network."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=1.0).close()
    except OSError as error:
        rule, value = "Ray's processes talk to each other at 127.0.0.1", f"it cannot be reached: {error}"
        return Problem("network", rule, value, "ip link set lo up, or allow the sandbox its loopback")
    return None


def counted(number: float, thing: str) -> str:
    """2 cores, 1 GPU."""
    return f"{number:g} {thing}{'' if number == 1 else 's'}"


def misfits(study: Study, fleet: Fleet) -> Iterable[Problem]:
    """A problem for each kind of trial that would wait for ever."""
    places = {head: f"resources.heads.{head}" if head in study.resources.heads else "resources" for head in study.heads}
    for place, head in {place: head for head, place in places.items()}.items():
        profile = study.resources.of(head)
        if profile.gpu > 1 and profile.gpu % 1:
            rule = "a trial takes a share of one GPU, or whole ones"
            yield Problem(f"{place}.gpu", rule, f"{profile.gpu:g}", f"write gpu: {int(profile.gpu)}")
        elif profile.tpu not in CHIPS:
            rule, fix = "a trial takes 1, 2, 4 or 8 TPU chips of one host", f"write tpu: {_below(profile.tpu)}"
            yield Problem(f"{place}.tpu", rule, str(profile.tpu), fix)
        elif not (fit := fleet.fit_workers(profile)):
            yield from _too_much(place, profile, fleet)
        elif fit < profile.workers:
            each = _in_words(profile)
            rule = f"all workers of a trial run at once, and {counted(fit, 'worker')} of {each} fit {fleet.where}"
            value = f"{counted(profile.workers, 'worker')} for each trial"
            yield Problem(f"{place}.workers", rule, value, f"write workers: {fit}{' or less' if fit > 1 else ''}")


def _too_much(place: str, profile: Profile, fleet: Fleet) -> Iterable[Problem]:
    """What a profile asks for that no node has, or no node has together."""
    found = False
    for kind, thing in KINDS.items():
        wanted, most = getattr(profile, kind), max(getattr(node, kind) for node in fleet.nodes)
        if wanted > most:
            found = True
            rule = f"{fleet.nodes[0].name if fleet.address is None else 'the largest node'} has {counted(most, thing)}"
            fix = f"write {kind}: {most:g}{' or less' if most else ''}"
            each = "trial" if profile.workers == 1 else "worker of a trial"
            yield Problem(f"{place}.{kind}", rule, f"{wanted:g} for each {each}", fix)
    if not found:
        nodes = "; ".join(dict.fromkeys(map(str, fleet.nodes)))
        rule = f"one node must have all that a {'trial' if profile.workers == 1 else 'worker of a trial'} takes"
        yield Problem(place, rule, _in_words(profile), f"nodes have {nodes}")


def _in_words(profile: Profile) -> str:
    """What each worker of a profile takes: 1 core and 2 GPUs."""
    return " and ".join(counted(amount, KINDS[kind]) for kind, amount in profile.requested().items())


def _below(chips: int) -> int:
    return max(number for number in CHIPS if number < chips)
