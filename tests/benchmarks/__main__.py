"""`make bench`: prints a table and writes build/benchmarks.json. Speeds are ratios within one run, never asserted."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from orchestrator.planning import provenance
from tests.benchmarks import (
    geometry,
    losses,
    memory,
    overhead,
    planning,
    records,
    scale,
    startup,
    throughput,
    tracking,
    whole_search,
)


def main() -> None:
    """All of them, or those that are named."""
    every = (startup, throughput, memory, overhead, whole_search, losses, geometry, planning, records, scale, tracking)
    by_name = {each.__name__.rpartition(".")[2]: each for each in every}
    found: dict[str, Any] = {"machine": machine()}
    for name in sys.argv[1:] or by_name:
        began = time.perf_counter()
        found[name] = by_name[name].measure()
        found[name]["measured_in_s"] = time.perf_counter() - began
        show(name, found[name])
        path = Path("build/benchmarks.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=2) + "\n")
    print(f"\nwritten to {path}")


def machine() -> dict[str, Any]:
    """What they run on, and when."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    about = {"date": f"{date.today()}", "cores": os.cpu_count(), "memory_gb": round(pages / 1e9)}
    return {**provenance.machine(), **about}


def show(name: str, figures: dict[str, Any]) -> None:
    """A benchmark's figures, one a line."""
    print(f"\n{name}")
    for key, value in figures.items():
        print(f"  {key:44} {value:10.3f}" if isinstance(value, float) else f"  {key:44} {value!s:>10}", flush=True)


main()
