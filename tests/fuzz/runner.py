"""Runs the cases of one kind in processes of their own and counts what became of them.

A kind is a module here with `CASES`, how many `make fuzz` tries, and `prepare(folder)`, which makes valid input in an
empty folder and returns the case: a function that is given a random generator, breaks that input with it, lets the
product read it, and returns the outcome in a word or two ("read", "refused"). Whatever it raises is a fault: a
traceback that a user would see. So is a case that takes more than `child.LONGEST_S` of processor time, one that needs
`child.MOST_BYTES` more memory than the process had before, and one that ends the process. A case's number is its seed.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = ("records", "idx", "models", "galleries", "studies", "overrides")
REPOSITORY = Path(__file__).parents[2]
CHILD = "from tests.fuzz import child; child.main()"
SILENT_S = 120.0  # of anyone's time: for a case that waits for ever, and for the start of a process
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}  # each asks for addresses


@dataclass
class Outcomes:
    """What became of the cases of a kind: how many of each outcome, and of each fault the seed and what was seen."""

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str, str]] = field(default_factory=list)

    def fault(self, seed: int, name: str, seen: str) -> None:
        self.counts[name] += 1
        self.faults.append((seed, name, seen))

    def __str__(self) -> str:
        parts = (f"{number} {outcome}" for outcome, number in self.counts.most_common())
        return f"{self.kind}: {sum(self.counts.values())} cases; {', '.join(parts)}; {len(self.faults)} faults"


def run(kind: str, seeds: range) -> Outcomes:
    """Tries the cases with these seeds, each in turn; after one that ended its process, in a new one."""
    outcomes = Outcomes(kind)
    while seeds:
        seeds = _run_until_a_death(kind, seeds, outcomes)
    return outcomes


def _run_until_a_death(kind: str, seeds: range, outcomes: Outcomes) -> range:
    """Returns the seeds that are still to come."""
    at: int | None = None
    with _child(kind, seeds) as process:
        for line in _lines(process):
            if "seed" in line:
                at = line["seed"]
            elif line["fault"]:
                outcomes.fault(at or 0, line["outcome"], line["fault"])
            else:
                outcomes.counts[line["outcome"]] += 1
            if "outcome" in line and at is not None:
                seeds, at = range(at + 1, seeds.stop), None
        code = process.wait()
    if at is not None:
        outcomes.fault(at, _death(code), f"its process ended with {code}")
        return range(at + 1, seeds.stop)
    if seeds:
        raise RuntimeError(f"the process that tries {kind} ended with {code} before a case began")
    return seeds


def _child(kind: str, seeds: range) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, kind, str(seeds.start), str(seeds.stop)]
    return subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | THREADS, stdout=subprocess.PIPE, text=True)


def _lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What a child says; it is ended once it has said nothing for too long."""
    assert process.stdout
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(SILENT_S):
                process.kill()
            line = process.stdout.readline()
            if not line:
                return
            yield json.loads(line)


def _death(code: int) -> str:
    return {-signal.SIGPROF: "HANG", -signal.SIGKILL: "HANG"}.get(code, f"DIED ({code})")
