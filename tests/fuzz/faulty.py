"""A kind whose cases have the faults that the runner must find; it is none of `runner.KINDS`."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import child


def prepare(folder: Path) -> child.Case:
    """The case with seed n has the n-th of these."""
    child.LONGEST_S = 0.2
    faults = (_none, _raises, _loops, _loops_in_a_library, _fills_memory, os.abort)
    by_draw = {Random(seed).random(): fault for seed, fault in enumerate(faults)}
    return lambda random: by_draw[random.random()]() or "fine"


def _none() -> None:
    pass


def _raises() -> Any:
    return {}["missing"]


def _loops() -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass


def _loops_in_a_library() -> None:
    re.match(r"(a+)+b", "a" * 40)


def _fills_memory() -> None:
    bytes(2 * child.MOST_BYTES)
