"""Private memory of a trial beyond what its imports take: on all of MNIST, and on a fifth of it.

Images are mapped from a file, as Ray maps them from its store. Linux only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lightning_modules.data import splits
from lightning_modules.data.images import LabelledImages
from lightning_modules.data.sources import mnist

SIZES = (10_000, 50_000)
EVERY_S = 0.05


def measure() -> dict[str, Any]:
    """Megabytes at most during an epoch, beyond the imports, by the number of training images."""
    found = {}
    for images in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tests.benchmarks.memory", folder, str(images)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[f"private_mb_with_{images}_images"] = float(json.loads(done.stdout.splitlines()[-1]))
    return found


def private_mb() -> float:
    """What this process has written and shares with no other: of a mapped file nothing, whoever else maps it."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1e3


def mapped(part: LabelledImages, folder: Path, name: str) -> LabelledImages:
    """The same images, mapped from a file that is on disk: until then its pages count as this process's own."""
    with open(folder / f"{name}.npy", "wb") as file:
        np.save(file, part.images)
        os.fsync(file.fileno())
    return replace(part, images=np.load(folder / f"{name}.npy", mmap_mode="r"))


class Peak(threading.Thread):
    """Looks at the private memory every now and then."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mb, self.over = 0.0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(EVERY_S):
            self.mb = max(self.mb, private_mb())


def main(folder: Path, images: int) -> None:
    """One trial, in this process."""
    from orchestrator.study.schema import Profile
    from orchestrator.trials import trial

    whole = splits.split(mnist.load("train"), 10_000, seed=0)
    train = whole.train.take(np.arange(images))
    data = replace(
        whole, train=mapped(train, folder, "train"), validation=mapped(whole.validation, folder, "validation")
    )
    task = trial.Task(1, 128, 1, 3, "strided", {}, np.arange(500), {"arcface": Profile()})
    given = {"name": "memory", "head": "arcface", "seed": 0}
    given["params"] = {"lr": 0.01, "head_lr": 0.05, "margin_rad": 0.3, "magnitude": "feature"}
    few = replace(data, train=data.train.take(np.arange(256)), validation=data.validation.take(np.arange(500)))

    def fit(part: Any) -> None:
        trial.fit(given, part, task, time.perf_counter(), lambda row, checkpoint: None, None)

    fit(few)  # imports everything, and lets torch make what it keeps for ever
    del whole, train, few
    before, peak = private_mb(), Peak()
    peak.start()
    fit(data)
    peak.over.set()
    peak.join()
    print(json.dumps(peak.mb - before))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
