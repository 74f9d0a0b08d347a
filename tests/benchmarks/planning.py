"""What a plan costs, in a process that has everything imported: of MNIST, and of spaces for more classes.

The yardstick is reading the same images from disk, which no plan can do without. Bounds for many classes in many
dimensions come from an arrangement that is optimised; it is done once in a process.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from lightning_modules.data.sources import mnist
from orchestrator import Study
from orchestrator.planning import plan
from search_spaces import class_separation
from tests.benchmarks.stopwatch import median_s, timed

SIZES = ((10, 16), (100, 16), (100_000, 512))  # classes, dimensions


def measure() -> dict[str, Any]:
    """Seconds, medians of three but for the bounds, and the plan as a ratio to reading the images."""
    study = Study.load("quick", ["name=planned"])
    with tempfile.TemporaryDirectory() as temporary:
        plan_s = median_s(lambda: plan.make(study, Path(temporary)))
    reading_s = median_s(lambda: mnist.load("train"))
    found = {"plan_s": plan_s, "reading_s": reading_s, "plan_over_reading": plan_s / reading_s}
    for classes, dimensions in SIZES:
        class_separation.separation.cache_clear()
        found[f"bounds_{classes}_classes_{dimensions}d_s"] = timed(
            partial(class_separation.separation, classes, dimensions)
        )
    return found
