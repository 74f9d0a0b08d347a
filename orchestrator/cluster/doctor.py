"""Is this machine, or a cluster that a file describes, fit for a search? Answers with one line for each thing."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from orchestrator.cluster import cluster_yaml
from orchestrator.cluster.kuberay import KIND
from orchestrator.cluster.resources import Fleet, cores, counted, loopback, misfits, physical_bytes
from orchestrator.errors import CannotRun, Problem
from orchestrator.files import temporary
from orchestrator.files.disk import Spot
from orchestrator.files.paths import local
from orchestrator.study.schema import Study
from orchestrator.system import cgroups, gpus

NEEDED = ("torch", "pytorch-lightning", "ray", "optuna", "wandb", "matplotlib")
LEAST_BYTES = 2 * 10**9  # of disk: Ray's session and a small study
TRIAL_BYTES = 0.7e9  # of memory: torch and Lightning in one process


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. problem: what is wrong with it, if anything is."""

    what: str
    found: str
    problem: Problem | None = None

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        wrong = vars(self.problem) if self.problem else None
        return {"what": self.what, "found": self.found, "problem": wrong}


def of_machine(results: Path) -> Iterator[Finding]:
    """What a search needs of this machine."""
    fleet = Fleet.here()
    yield Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in NEEDED:
        try:
            yield Finding(package, version(package))
        except PackageNotFoundError:
            yield Finding(package, "not installed", Problem(package, "a search needs it", "not installed", "make test"))
    yield from _cores(fleet)
    yield _memory(fleet)
    if apart := loopback():
        yield Finding("network", apart.value, apart)
    results = local(results, "--results")
    yield _room("results", results, "results need 2 GB that may be written to", "use --results elsewhere")
    wrong = temporary.problem(temporary.NEEDED_BYTES)
    yield Finding("temporary", wrong.value if wrong else temporary.note() or str(Spot.of(temporary.parent())), wrong)


def _room(what: str, folder: Path, rule: str, fix: str) -> Finding:
    """Whether a folder may be made or written in, and has room for a small study."""
    spot = Spot.of(folder)
    wrong = Problem(what, rule, str(spot), fix)
    return Finding(what, str(spot), wrong if spot.obstacle or spot.free_bytes < LEAST_BYTES else None)


def _cores(fleet: Fleet) -> Iterator[Finding]:
    devices, allowed = gpus.look(), cgroups.limits().cores
    also = f" and {counted(fleet.gpus, 'GPU')}" if fleet.gpus else ""
    limited = f" (of {cores()}; a cgroup allows the time of {allowed:g})" if allowed < cores() else ""
    yield Finding("cores", f"{counted(fleet.cpus, 'core')}{limited}{also}: as many one-core trials at a time")
    if devices.note:
        rule, fix = "GPUs must answer to be used", f"run nvidia-smi -L; trials on cores alone need {gpus.VISIBLE}=''"
        yield Finding("GPUs", devices.note, Problem("GPUs", rule, devices.note, fix) if devices.broken else None)


def _memory(fleet: Fleet) -> Finding:
    """Whether there is enough for a trial on each core."""
    allowed = f" (of {physical_bytes() / 1e9:.1f} GB; a cgroup allows no more)"
    memory = f"{fleet.memory_bytes / 1e9:.1f} GB"
    found = memory + (allowed if cgroups.limits().memory_bytes < physical_bytes() else "")
    if fleet.memory_bytes >= fleet.cpus * TRIAL_BYTES:
        return Finding("memory", found)
    fix = f"--set search.concurrent_trials={max(1, int(fleet.memory_bytes / TRIAL_BYTES))}"
    return Finding("memory", found, Problem("memory", "each trial takes about 0.7 GB", memory, fix))


def of_cluster(path: Path, studies: Iterable[Study]) -> Iterator[Finding]:
    """What is in a cluster's file, and how many trials of some studies fit on its nodes. Raises CannotRun."""
    path = local(path, "--cluster")
    content = cluster_yaml.read(path)
    wrong = cluster_yaml.problems(path, content)
    if wrong:
        raise CannotRun(wrong)
    by = "ours takes it; KubeRay has its own" if content.get("kind") == KIND else "Ray's validator and ours take it"
    yield Finding(str(path), by)
    fleet = Fleet(cluster_yaml.node_types(content), address=str(path))
    if not fleet.nodes:
        yield Finding("nodes", "seen once they have joined: orchestrator plan STUDY --address HOST:PORT")
        return
    for node in fleet.nodes:
        yield Finding(node.name, f"{node.number} × {node}")
    for study in studies:
        refusals = [*misfits(study, fleet)]
        for refusal in refusals:
            yield Finding(study.name, "a trial would wait for ever", refusal)
        if not refusals:
            for profile in dict.fromkeys(map(study.resources.of, study.heads)):
                heads = [head for head in study.heads if study.resources.of(head) == profile]
                kinds = [node.name for node in fleet.nodes if node.fits(profile)]
                at_a_time = f"{counted(fleet.fits(profile), 'trial')} at a time, on {', '.join(kinds)}"
                yield Finding(f"{study.name}: {', '.join(heads)}", at_a_time)
