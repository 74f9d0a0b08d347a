"""The process that follows a study: reads its record as it grows, and tells the mirror.

    trials.jsonl, confirmation.jsonl, test.jsonl → RecordReader → Mirror → W&B

It ends when its standard input does, which is with the study, or with a driver that was killed. Run as
`python -m orchestrator.tracking.follower_process FOLDER CLOSE_S SIZE…`, by `follower` alone.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.objectives.base import Objective
from orchestrator.errors import CannotRun, Problem
from orchestrator.files.locks import alone
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Record, Trial
from orchestrator.storage.events import Event
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study import tracking_mode
from orchestrator.tracking import remedy
from orchestrator.tracking.mirror import Mirror

EVERY_S = 0.25
ALONE_S = 90.0  # how long the process of a driver that was killed may still be at work


@dataclass
class RecordReader:
    """One record, read as far as its writer has come."""

    job: str
    record: Record

    def news(self, end: int | None = None) -> Iterator[tuple[Trial, Event]]:
        """Events of trials that came since, up to a size of the file; each is applied when it is handed out."""
        for event in self.record.news(end):
            if "trial" in event:
                yield self.record.trials[event["trial"]], event
        self.record.require_whole()


def follow(
    folder: StudyFolder, known: list[int], mirror: Mirror, over: Callable[[float], bool], objective: Objective
) -> None:
    """Tells the mirror whatever the records have beyond their known sizes, until it is over and all is told."""
    parts = [RecordReader(job, Record(path, objective=objective)) for job, path in folder.records().items()]
    for part, size in zip(parts, known, strict=True):
        for _ in part.news(size):
            pass
    last = False
    while not last:
        last = over(EVERY_S)  # asked first, so that what was written before is read
        for part in parts:
            for trial, event in part.news():
                mirror.tell(part.job, trial, event)


def main(root: str, close_s: str, *known: str) -> None:
    """Follows a study until standard input ends, then closes the mirror in at most so long."""
    os.environ.pop("WANDB_SERVICE", None)  # names the service of a program with runs of its own, as a notebook has
    said = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # wandb may print what it likes

    def say(line: str) -> None:
        with suppress(OSError):  # nobody listens any more
            os.write(said, json.dumps(line).encode() + b"\n")

    def over(wait_s: float) -> bool:
        return bool(select.select([sys.stdin], [], [], wait_s)[0])  # nothing is written to it: its end is all there is

    folder = StudyFolder(Path(root))
    study = Results(root).study
    lock = folder.sync_lock if tracking_mode.mode_of(study) == "online" else folder.mirror_lock
    try:
        with alone(lock, Problem(root, "one process at a time sends a study", "another still is at work"), ALONE_S):
            mirror = Mirror(folder, say)
            follow(folder, [*map(int, known)], mirror, over, study.objective)
            mirror.close(float(close_s))
    except Exception as error:
        refusal = isinstance(error, CannotRun) and error.problems[0].value
        say(f"W&B: {refusal or f'{type(error).__name__}: {error}'}; {remedy(root)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
