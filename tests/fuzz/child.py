"""The process in which cases are tried, one after another: it may be ended by any of them."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

Case = Callable[[random.Random], str]

LONGEST_S = 5.0  # of processor time: a busy neighbour makes nobody guilty
MOST_BYTES = 10**9


def main() -> None:
    """Says each seed before it is tried, and then what became of it."""
    kind, first, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    words = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever the product prints, is printed nowhere
    os.dup2(1, 2)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        case = import_module(f"tests.fuzz.{kind}").prepare(Path(folder))
        _limit_memory()
        for seed in range(first, stop):
            print(json.dumps({"seed": seed}), file=words, flush=True)
            outcome, fault = tried(case, seed)
            print(json.dumps({"outcome": outcome, "fault": fault}), file=words, flush=True)


def tried(case: Case, seed: int) -> tuple[str, str]:
    """The outcome of one case, and its traceback where it has one."""
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)  # its signal ends the process, also inside a library
    try:
        return case(random.Random(seed)), ""
    except MemoryError:
        return "OVER 1 GB", traceback.format_exc()
    except BaseException as error:
        return f"TRACEBACK {type(error).__name__}", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
