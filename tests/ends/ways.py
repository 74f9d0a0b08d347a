"""The stages of a study, and the ways in which one is ended; what is right then is said here too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.storage.study_folder import StudyFolder
from tests.ends.program import Program, drain, wait_until

RAY_STARTS_S = 60  # until a daemon of Ray's is there, beside a busy neighbour


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
    for pid in wait_until(lambda: program.processes("gcs_server"), program, RAY_STARTS_S) or ():
        os.kill(pid, signal.SIGSTOP)
    os.kill(program.process.pid, signal.SIGTERM)


def _kill(title: str) -> Callable[[Program], None]:
    def apply(program: Program) -> None:
        found = wait_until(lambda: program.processes(title), program, RAY_STARTS_S)
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


def applies(end: str, stage: str) -> bool:
    """Ray dies only where it is."""
    return STAGES[stage].ray or not ENDS[end].ray
