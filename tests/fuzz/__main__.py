"""`make fuzz`: tries every kind of broken input, or those that are named, and counts what became of each.

python -m tests.fuzz records idx          these kinds
python -m tests.fuzz records --cases 100  so many of each
python -m tests.fuzz records --seed 17    this one case, here in this process, with all that it prints
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from tests.fuzz import child, runner


def main() -> int:
    """Returns 1 if a case had a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("kinds", nargs="*", choices=[*runner.KINDS, []], metavar="KIND")
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seed", type=int)
    asked = parser.parse_args()
    kinds = asked.kinds or runner.KINDS
    if asked.seed is not None:
        return _one(kinds[0], asked.seed)
    return int(any([_all(kind, asked.cases) for kind in kinds]))


def _all(kind: str, cases: int | None) -> bool:
    began = time.perf_counter()
    outcomes = runner.run(kind, range(cases or import_module(f"tests.fuzz.{kind}").CASES))
    print(f"{outcomes}; {time.perf_counter() - began:.0f} s", flush=True)
    for seed, name, seen in outcomes.faults:
        print(f"\n{name}: python -m tests.fuzz {kind} --seed {seed}\n{seen}", flush=True)
    return bool(outcomes.faults)


def _one(kind: str, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        outcome, fault = child.tried(import_module(f"tests.fuzz.{kind}").prepare(Path(folder)), seed)
    print(outcome, fault, sep="\n")
    return int(bool(fault))


if __name__ == "__main__":
    sys.exit(main())
