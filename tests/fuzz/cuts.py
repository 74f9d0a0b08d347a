"""Records that were cut at any byte, and their studies resumed with training: the same record again as undisturbed.

python -m tests.fuzz.cuts         20 cuts of a search and its confirmation; some minutes
python -m tests.fuzz.cuts 3 17    so many, with this seed
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from orchestrator.selection.results import Results
from orchestrator.stages import launch
from orchestrator.storage.event_log import read_events
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from tests.orchestrator.alone import alone, one_ray

CUTS, IMAGES, CLASSES = 20, 240, 4
DERIVED = ("best", "plots", "analysis", "models", "report.html")


def main(cuts: int = CUTS, seed: int = 0) -> int:
    """Returns how many cuts did not lead to the undisturbed record."""
    random, wrong = Random(seed), 0
    with tempfile.TemporaryDirectory(prefix="cuts-") as parent, one_ray(), alone():
        whole = launch.launch(study(Path(parent)), Path(parent) / "whole").folder
        told = _told(whole)
        for number in range(cuts):
            record = random.choice((whole.trials_file, whole.trials_file, whole.confirmation_file))
            at = random.randrange(record.stat().st_size)
            began = time.perf_counter()
            folder = cut(whole, Path(parent) / str(number), record.name, at)
            equal = _told(launch.resume(folder.root).folder) == told
            wrong += not equal
            said = "equal" if equal else "DIFFERENT"
            print(f"{record.name} cut at byte {at}: {said}, {time.perf_counter() - began:.0f} s", flush=True)
    print(f"{cuts} cuts, {wrong} different", flush=True)
    return wrong


def study(parent: Path) -> Study:
    """Two heads that learn to tell blots apart, one trial at a time, so that the record has one order."""
    data = parent / "blots"
    data.mkdir()
    labels = np.arange(IMAGES, dtype=np.uint8) % CLASSES
    pixels = np.random.default_rng(0).integers(0, 120, (IMAGES, 8, 8), np.uint8)
    for number, label in enumerate(labels):
        pixels[number, 2 * (label // 2) : 2 * (label // 2) + 3, 4 * (label % 2) : 4 * (label % 2) + 3] += 100
    for name, values in (("images-idx3", pixels), ("labels-idx1", labels)):
        sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
        (data / f"train-{name}-ubyte").write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())
    return Study.model_validate(
        {
            "name": "cut",
            "data": {"source": "idx", "path": str(data), "validation_images": 80},
            "embedding_dim": 2,
            "body": {"width": 2},
            "training": {"epochs": 3, "batch_size": 16},
            "search": {"trials_per_head": 3, "concurrent_trials": 1},
            "confirmation": {"top": 1, "seeds": 2},
            "heads": {"softmax": {}, "arcface": {}},
            "tracking": {"mode": "off"},
        }
    )


def cut(whole: StudyFolder, parent: Path, record: str, at: int) -> StudyFolder:
    """A copy of a finished study as a driver would have left it that was killed while it wrote this byte."""
    folder = StudyFolder(Path(shutil.copytree(whole.root, parent / whole.root.name)))
    if record == folder.trials_file.name:
        folder.confirmation_file.unlink()
    for name in DERIVED:
        shutil.rmtree(folder.root / name, ignore_errors=True)
    with open(folder.root / record, "r+b") as file:
        file.truncate(at)
    return folder


def _told(folder: StudyFolder) -> dict[str, Any]:
    """What a study's records and best files say, but for times."""
    trials = Results(folder.root).trials
    records = {
        "search": read_events(folder.trials_file),
        "confirmation": read_events(folder.confirmation_file, trials),
    }
    best = {path.name: path.read_text() for path in sorted(folder.best.iterdir())}
    return {name: [_timeless(event) for event in events] for name, events in records.items()} | {"best": best}


def _timeless(event: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in event.items() if key != "time"}
    if "metrics" in kept:
        kept["metrics"] = {key: value for key, value in kept["metrics"].items() if not key.startswith("time/")}
    return json.loads(json.dumps(kept))


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
