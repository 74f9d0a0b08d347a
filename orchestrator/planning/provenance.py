"""Where numbers come from: code, packages, hardware, seeds, command; of the launch and of every resume."""

from __future__ import annotations

import json
import os
import platform
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.files.atomic import write_atomic
from orchestrator.planning import continuity
from orchestrator.planning.plan import Plan
from orchestrator.printable import discreet
from orchestrator.storage.event_log import now
from orchestrator.system import code_history, fingerprint


def first(plan: Plan) -> dict[str, Any]:
    """The provenance of a launch, with an id of its own for the study, and what tells it from every other."""
    return {"study_id": secrets.token_hex(4), **collect(plan), **continuity.kept(plan), "resumed": []}


def resumed(before: dict[str, Any], plan: Plan, other_code: bool = False) -> dict[str, Any]:
    """The provenance of a study that goes on, perhaps on another machine, and with what has changed since.

    other_code: whether it was asked for that other code may train from now on.
    """
    entry = collect(plan)
    if other_code and not code_history.is_accepted(before):
        entry["other_code"] = True
    known: dict[str, Any] = {}
    for each in code_history.entries(before):
        known |= each
    entry |= continuity.kept_anew(known, plan)
    return {**before, "resumed": [*before.get("resumed", []), entry]}


def begin(plan: Plan) -> None:
    """Writes down what is launched; the study's own file last, for with it the study exists."""
    write_atomic(plan.folder.provenance_file, text(first(plan)))
    write_atomic(plan.folder.study_file, plan.study.to_yaml("The study as it was launched, overrides included."))


def go_on(plan: Plan, other_code: bool = False) -> None:
    """Writes down that a study goes on, now and here."""
    before = plan.folder.provenance()
    now_known = resumed(before, plan, other_code) if before else first(plan)
    write_atomic(plan.folder.provenance_file, text(now_known))


def text(provenance: dict[str, Any]) -> str:
    """As it is written."""
    return json.dumps(provenance, indent=2) + "\n"


def collect(plan: Plan) -> dict[str, Any]:
    """Everything that someone would ask who wants to get the same numbers again."""
    return {
        "started": now(),
        "orchestrator": __version__,
        "command": [Path(sys.argv[0]).name, *map(discreet, sys.argv[1:])],
        **machine(),
        "classes": plan.split.num_classes,
        "train_images": len(plan.split.train),
        "cpus": plan.fleet.cpus,
        "gpus": plan.fleet.gpus,
        "tpus": plan.fleet.tpus,
        "memory_gb": round(plan.fleet.memory_bytes / 1e9, 1),
        "nodes": len(plan.fleet.nodes),
        "seeds": {
            "search": plan.study.search.seed,
            "training": plan.study.training.seed,
            "split": plan.study.data.split_seed,
        },
        "trials_at_a_time": plan.slots,
    }


def machine() -> dict[str, Any]:
    """This code, its packages, this processor. trains: the fingerprint of what trains models."""
    return {
        "git": git(),
        "trains": fingerprint.of_code(),
        "python": platform.python_version(),
        "packages": code_history.packages(),
        "platform": platform.platform(),
        "processor": _processor(),
    }


def git() -> dict[str, Any] | None:
    """Commit and whether files were changed since; None outside a checkout."""

    def ask(*words: str) -> str:
        home = Path(__file__).parents[1]
        done = subprocess.run(["git", *words], cwd=home, capture_output=True, encoding="utf-8", timeout=10, check=True)
        return done.stdout.strip()

    try:
        return {
            "commit": ask("rev-parse", "HEAD"),
            "changed": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
