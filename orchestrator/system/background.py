"""Parts of this program that run beside a search: each in a process of its own, at the lowest priority.

Trials have niceness 5 (see `cluster.ray_session`), these 19: on a core that a trial uses, they get 4% of it
(sched(7): each level of niceness is worth a factor of 1.25).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

from orchestrator.system import fingerprint


def start(*command: object, **pipes: Any) -> subprocess.Popen[bytes]:
    """Starts `python -m <command>`. pipes: stdin, stdout, stderr, each nothing unless given.

    In a process group of its own, so that a Ctrl-C means the search alone, but in the same session: Linux may weigh
    priorities only within one. Raises OSError, as where memory is short.
    """
    lowest = ["nice", "-n", "19"] if shutil.which("nice") else []
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL) | pipes
    words = [*lowest, *python(*command)]
    return subprocess.Popen(words, env=environment(), process_group=0, **streams)


def python(*command: object) -> list[str]:
    """The words that run `python -m <command>`, of this code in `environment` and not of the folder one is in."""
    return [sys.executable, "-P", "-m", *map(str, command)]


def environment() -> dict[str, str]:
    """This process's, for another one that runs this code beside it and leaves the other cores alone."""
    path = [*fingerprint.search_path(), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "OMP_NUM_THREADS": "1", **({"PYTHONPATH": os.pathsep.join(path)} if path else {})}
