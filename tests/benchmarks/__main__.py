"""`make bench`: prints a table and writes build/benchmarks.json. Speeds are ratios within one run, never asserted."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks import overhead, scale, throughput, tracking


def main() -> None:
    measured = (throughput, overhead, scale, tracking)
    found = {each.__name__.rpartition(".")[2]: each.measure() for each in measured}
    path = Path("build/benchmarks.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
    for name, figures in found.items():
        print(f"\n{name}")
        for key, value in figures.items():
            print(f"  {key:44} {value:10.3f}" if isinstance(value, float) else f"  {key:44} {value:>10}")
    print(f"\nwritten to {path}")


main()
