"""What the W&B mirror costs a search: the same search without it and online, in turns.

Each runs in a process of its own, with the real client and a server on loopback. What follows a search, its
report above all, is left out: it is the same for all.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.storage.study_folder import StudyFolder
from tests.orchestrator.alone import SEARCH_ALONE
from tests.wandb_server import Fault, WandbServer

OVERRIDES = (
    "name=tracked",
    "training.epochs=1",
    "search.trials_per_head=2",
    "search.scheduler=none",
    "search.grace_epochs=1",
    "confirmation.top=0",
    "heads={arcface: , cosface: }",
)
WAYS = ("off", "online")
ROUNDS = 1


def measure() -> dict[str, Any]:
    """Wall time of a search of 4 trials, from its first start to its last end, as ratios to one without W&B."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        for way in (*WAYS[number:], *WAYS[:number]):  # each time another one first
            seconds[way].append(searched_s(way))
    means = {way: statistics.mean(each) for way, each in seconds.items()}
    spread = max(max(each) - min(each) for each in seconds.values()) / means["off"]
    ratios = {f"{way}_ratio": means[way] / means["off"] for way in WAYS[1:]}
    return {"rounds": ROUNDS, "off_s": means["off"], **ratios, "spread_between_rounds": spread}


def searched_s(way: str, fault: Fault | None = None) -> float:
    """Seconds of a search that is tracked in some way, at a server that fails in some way."""
    with tempfile.TemporaryDirectory() as folder, WandbServer() as server:
        server.fault = fault
        environment = os.environ | server.environment(Path(folder) / "client")
        sets = [f"--set={override}" for override in (*OVERRIDES, f"tracking.mode={way}")]
        command = [sys.executable, "-c", SEARCH_ALONE, "launch", "quick", f"--results={folder}", *sets]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        times = [datetime.fromisoformat(event["time"]) for event in StudyFolder(Path(folder) / "tracked").events()]
        return (times[-1] - times[0]).total_seconds()
