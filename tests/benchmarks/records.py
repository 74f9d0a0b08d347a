"""The record at 10,000 trials of five epochs: its last events written one by one, all of it read, ranked.

The yardstick of writing is the bare appending and flushing to disk of the same lines, that of reading is parsing them.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from orchestrator import Results, Study
from orchestrator.files.atomic import write_atomic
from orchestrator.storage.event_log import now
from orchestrator.storage.events import Event
from orchestrator.storage.record_writer import Writer
from orchestrator.storage.study_folder import StudyFolder
from tests.benchmarks.stopwatch import timed

TRIALS, EPOCHS, ONE_BY_ONE = 10_000, 5, 2_000
OVERRIDES = ("name=many", f"search.trials_per_head={TRIALS // 2}", "heads={arcface: , cosface: }")
METRICS = {f"val/measure_{number}": 0.9 + number / 1000 for number in range(16)}


def measure() -> dict[str, Any]:
    """Seconds, and ratios to the yardsticks."""
    with tempfile.TemporaryDirectory() as temporary:
        study = Study.load("quick", OVERRIDES)
        folder = StudyFolder(Path(temporary) / "many")
        folder.root.mkdir()
        write_atomic(folder.study_file, study.to_yaml())
        events = [event for number in range(TRIALS) for event in of_trial(number)]
        with folder.trials_file.open("w") as file:
            file.writelines(json.dumps({**event, "time": now()}) + "\n" for event in events[:-ONE_BY_ONE])
        with folder.writer() as writer:
            written_s = timed(lambda: append(writer, events[-ONE_BY_ONE:]))
        lines = folder.trials_file.read_bytes().splitlines(keepends=True)
        bare_s = timed(lambda: bare(Path(temporary) / "bare", lines[-ONE_BY_ONE:]))
        parsed_s = timed(lambda: [json.loads(line) for line in lines])
        read_s = timed(lambda: Results(folder.root).trials)
        ranked_s = timed(lambda: Results(folder.root).leaderboard)
    return {
        "events": len(events),
        "record_mb": sum(map(len, lines)) / 1e6,
        "written_us_per_event": written_s / ONE_BY_ONE * 1e6,
        "written_over_bare_appending": written_s / bare_s,
        "read_s": read_s,
        "read_over_parsing": read_s / parsed_s,
        "leaderboard_s": ranked_s,
    }


def of_trial(number: int) -> list[Event]:
    """All events of a trial, as a search writes them."""
    head = ("arcface", "cosface")[number % 2]
    name = f"{head}-{number // 2:04d}"
    params = {"lr": 0.01, "head_lr": 0.05, "scale": 12.0, "margin_rad" if number % 2 == 0 else "margin_cos": 0.1}
    start = {"event": "start", "trial": name, "head": head, "index": number // 2, "seed": number, "params": params}
    epochs = [
        {"event": "epoch", "trial": name, "epoch": epoch, "objective": 0.9 + epoch / 1000, "metrics": METRICS}
        for epoch in range(1, EPOCHS + 1)
    ]
    return [start, *epochs, {"event": "end", "trial": name, "status": "completed", "reason": ""}]


def append(writer: Writer, events: list[Event]) -> None:
    for event in events:
        writer.append(event)


def bare(path: Path, lines: list[bytes]) -> None:
    with path.open("ab", buffering=0) as file:
        for line in lines:
            file.write(line)
            os.fsync(file.fileno())
