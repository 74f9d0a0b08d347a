"""Is this machine, or a cluster that a file describes, fit for a search? Answers with one line for each thing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from orchestrator import cluster_file
from orchestrator.cluster_kuberay import KIND
from orchestrator.errors import CannotRun, Problem
from orchestrator.fleet import Fleet, counted, misfits
from orchestrator.study import Study

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
    gpus = f" and {counted(fleet.gpus, 'GPU')}" if fleet.gpus else ""
    yield Finding("cores", f"{counted(fleet.cpus, 'core')}{gpus}: as many one-core trials at a time")
    rule = "each trial takes about 0.7 GB"
    short = fleet.memory_bytes < fleet.cpus * TRIAL_BYTES
    memory = f"{fleet.memory_bytes / 1e9:.1f} GB"
    fix = f"--set search.concurrent_trials={max(1, int(fleet.memory_bytes / TRIAL_BYTES))}"
    yield Finding("memory", memory, Problem("memory", rule, memory, fix) if short else None)
    there = next(parent for parent in (results, *results.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    value = f"{free / 1e9:.1f} GB free at {there}" + ("" if writable else ", not writable")
    wrong = Problem("results", "results need 2 GB that may be written to", value, "use --results elsewhere")
    yield Finding("results", value, wrong if free < LEAST_BYTES or not writable else None)


def of_cluster(path: Path, studies: Iterable[Study]) -> Iterator[Finding]:
    """What is in a cluster's file, and how many trials of some studies fit on its nodes. Raises CannotRun."""
    content = cluster_file.read(path)
    wrong = cluster_file.problems(path, content)
    if wrong:
        raise CannotRun(wrong)
    by = "ours takes it; KubeRay has its own" if content.get("kind") == KIND else "Ray's validator and ours take it"
    yield Finding(str(path), by)
    fleet = Fleet(cluster_file.node_types(content), address=str(path))
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
