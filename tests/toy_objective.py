"""An objective that is not in the package, added as anyone adds one: by one file. Lower is better; it is no share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_modules import objectives

FILE = '''"""Spread: the median angle to the mean of the own class."""

import math

from lightning_modules.objectives.base import Objective


def measure(images):
    from lightning_modules.metrics.angles import class_health

    return math.degrees(class_health(*images.points, spherical=images.spherical)["target_angle_p50_rad"])


OBJECTIVE = Objective(
    name="spread",
    key="spread_deg",
    label="spread within classes",
    heading="spread",
    meaning="median angle to the mean of the own class",
    measure=measure,
    higher_is_better=False,
    bounds=(0.0, 180.0),
    digits=1,
    unit="°",
)
'''


@contextmanager
def added(folder: Path) -> Iterator[list[Path]]:
    """The files that it takes to have one more objective, "spread", while they lie in `folder`."""
    folder.mkdir(parents=True)
    path = folder / "spread.py"
    path.write_text(FILE, encoding="utf-8")
    objectives.__path__.append(str(folder))
    importlib.invalidate_caches()
    try:
        yield [path]
    finally:
        objectives.__path__.remove(str(folder))
        sys.modules.pop("lightning_modules.objectives.spread", None)
        objectives.named.cache_clear()
