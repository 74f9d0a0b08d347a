"""One cell of the table: the program ended in one way at one stage, looked at, and let go on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.storage.study_folder import StudyFolder
from tests.ends.program import Program, content, drain, start, wait_until

SENTENCE = re.compile(r"orchestrator\s+(resume|test|confirm)\s+\S")


@dataclass(frozen=True)
class Stage:
    """verb: what is at work. reached: whether it is there yet. ray: whether Ray is there."""

    verb: str
    reached: Callable[[StudyFolder, Program], object]
    ray: bool = True


def _holds(path: Path, word: str) -> bool:
    return path.exists() and f'"event": "{word}"' in path.read_text()


STAGES = {
    "Ray starts": Stage("launch", lambda folder, program: program.processes("gcs_server")),
    "search": Stage("launch", lambda folder, program: _holds(folder.trials_file, "epoch")),
    "confirmation": Stage("launch", lambda folder, program: _holds(folder.confirmation_file, "start")),
    "report": Stage("launch", lambda folder, program: any(folder.models.glob("*/*")), ray=False),
    "final models": Stage("test", lambda folder, program: _holds(folder.test_file, "start")),
    "look": Stage("test", lambda folder, program: _holds(folder.test_file, "opened"), ray=False),
}


@dataclass(frozen=True)
class End:
    """code: what the program then exits with; None for an end that must not end it. says: whether it can."""

    apply: Callable[[Program], None]
    code: int | None
    streams: str = ""
    says: bool = True
    ray: bool = False
    exits: int = 0


def _send(number: int, group: bool = False, times: int = 1) -> Callable[[Program], None]:
    def apply(program: Program) -> None:
        for turn in range(times):
            if turn:
                time.sleep(0.5)
            try:
                (os.killpg if group else os.kill)(program.process.pid, number)
            except ProcessLookupError:
                return

    return apply


def _everywhere(program: Program) -> None:
    """As systemd and Slurm do: each process of the cgroup."""
    for pid in program.processes():
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            continue


def _silent(program: Program) -> None:
    """A GCS that lives and answers nobody, as where a machine swaps, and a request to end."""
    for pid in wait_until(lambda: program.processes("gcs_server"), program, 20) or ():
        os.kill(pid, signal.SIGSTOP)
    os.kill(program.process.pid, signal.SIGTERM)


def _kill(title: str) -> Callable[[Program], None]:
    def apply(program: Program) -> None:
        found = wait_until(lambda: program.processes(title), program, 20)
        for pid in found or ():
            os.kill(pid, signal.SIGKILL)

    return apply


def _close_terminal(program: Program) -> None:
    drain(program)
    os.close(program.terminal)
    program.terminal = -1


def _nothing(program: Program) -> None:
    pass


ENDS = {
    "SIGTERM": End(_send(signal.SIGTERM), 130),
    "SIGTERM to the group": End(_send(signal.SIGTERM, group=True), 130),
    "SIGTERM to every process": End(_everywhere, 130),
    "SIGTERM, GCS silent": End(_silent, 130, ray=True),
    "SIGHUP": End(_send(signal.SIGHUP), 130),
    "SIGHUP to the group": End(_send(signal.SIGHUP, group=True), 130),
    "SIGINT": End(_send(signal.SIGINT, group=True), 130),
    "SIGINT twice": End(_send(signal.SIGINT, group=True, times=2), 130),
    "terminal gone": End(_close_terminal, 130, "terminal", says=False),
    "raylet killed": End(_kill("raylet/raylet"), 1, ray=True),
    "GCS killed": End(_kill("gcs_server"), 1, ray=True),
    "stderr closed": End(_nothing, None, "stderr closed"),
    "stderr full": End(_nothing, None, "stderr full"),
    "stderr to head -3": End(_nothing, None, "head -3"),
    "stderr unread": End(_nothing, None, "stderr unread"),
    "stdout closed": End(_nothing, None, "stdout closed"),
    "stdout full": End(_nothing, None, "stdout full", exits=1),
}


@dataclass
class Outcome:
    """What came of a cell. wrong: what should have been otherwise."""

    end: str
    stage: str
    code: int | None = None
    said_s: float | None = None
    ended_s: float | None = None
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = "–" if self.said_s is None else f"{self.said_s:.1f} s"
        ended = "–" if self.ended_s is None else f"{self.ended_s:.1f} s"
        return f"| {self.end} | {self.stage} | {self.code} | {said} | {ended} | {'; '.join(self.wrong) or 'right'} |"


def run(end: str, stage: str, base: Path, place: Path, patience_s: float) -> Outcome:
    """base: holds the study, the undisturbed folder of a launch, `launched`, and of a test, `tested`."""
    outcome, how, where = Outcome(end, stage), ENDS[end], STAGES[stage]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    folder = StudyFolder(place / "small")
    if where.verb == "test":
        shutil.copytree(base / "launched" / "small", folder.root)
    words: list[object] = ["test", folder.root] if where.verb == "test" else ["launch", base / "small.yaml"]
    words += ["--results", place] if where.verb == "launch" else []
    program = start(words, place, how.streams)
    try:
        _disturb(outcome, how, where, folder, program, patience_s)
        _left(outcome, how, folder, program)
        if how.code is not None:
            told = SENTENCE.findall(program.said())
            again = told[-1] if told else where.verb.replace("launch", "resume")
            program = start([again, folder.root], place / "again")
            _end_of(program, 600)
            if program.process.returncode:
                outcome.wrong.append(f"{again} exits with {program.process.returncode}: {program.said()[-300:]!r}")
        _compare(outcome, base / ("tested" if where.verb == "test" else "launched") / "small", folder)
    finally:
        program.end()
    return outcome


def _end_of(program: Program, seconds: float) -> bool:
    return bool(wait_until(lambda: program.process.poll() is not None, program, seconds)) or (
        program.process.poll() is not None
    )


def _disturb(
    outcome: Outcome, how: End, where: Stage, folder: StudyFolder, program: Program, patience_s: float
) -> None:
    if how.code is None:
        ended = _end_of(program, 240)
        outcome.code = program.process.returncode
        if not ended or outcome.code != how.exits:
            outcome.wrong.append("does not go on to its end" if ended else "hangs")
        return
    if not wait_until(lambda: where.reached(folder, program), program, 120):
        outcome.wrong.append(f"the stage is not reached: {program.said()[-300:]!r}")
        return
    before = len(program.said())
    how.apply(program)
    began, end = time.monotonic(), time.monotonic() + 100
    while time.monotonic() < end:
        drain(program)
        if outcome.said_s is None and SENTENCE.search(program.said()[before:]):
            outcome.said_s = time.monotonic() - began
        if program.process.poll() is not None:
            outcome.ended_s = time.monotonic() - began
            break
        time.sleep(0.05)
    drain(program)
    if outcome.said_s is None and SENTENCE.search(program.said()[before:]):
        outcome.said_s = outcome.ended_s
    outcome.code = program.process.poll()
    if outcome.code != how.code:
        outcome.wrong.append(f"code {outcome.code}, not {how.code}")
    if how.says and (outcome.said_s is None or outcome.said_s > patience_s):
        outcome.wrong.append("no sentence" if outcome.said_s is None else "a late sentence")
    if outcome.ended_s is None or outcome.ended_s > patience_s:
        outcome.wrong.append("late end")
    if "Traceback" in program.said():
        outcome.wrong.append("a traceback")


def _left(outcome: Outcome, how: End, folder: StudyFolder, program: Program) -> None:
    end = time.monotonic() + 5
    while (left := program.processes()) and time.monotonic() < end:
        time.sleep(0.1)
    if left:
        names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in left if Path(f"/proc/{pid}").exists()}
        outcome.wrong.append(f"{len(left)} processes left: {', '.join(sorted(names))}")
    if scratch := [path.name for path in program.room.iterdir()]:
        outcome.wrong.append(f"scratch left: {scratch}")
    if folder.driver_file.exists():
        outcome.wrong.append("driver.json left")


def _compare(outcome: Outcome, known: Path, folder: StudyFolder) -> None:
    expected, found = content(StudyFolder(known)), content(folder)
    if differs := [key for key in sorted(expected.keys() | found.keys()) if expected.get(key) != found.get(key)]:
        outcome.wrong.append(f"not as undisturbed: {', '.join(differs[:4])}")
