"""Measures how long the heads of a study train here: each for some seconds, in processes like those of its trials.

    plan --calibrate → calibrate → a process for each trial at a time: `-m orchestrator.cost.benchmark_worker`

As many processes train a head at once as a search would run trials of it, so that they slow each other down as they
will. They train without Ray and keep nothing on disk; each answers what it is asked, a line for a line.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Any

from orchestrator.cluster import ray_session
from orchestrator.cluster.resources import Fleet, misfits
from orchestrator.cost.benchmark_worker import RAY
from orchestrator.cost.estimate import Speed, Throughput
from orchestrator.errors import CannotRun, Problem
from orchestrator.files import temporary
from orchestrator.study.schema import Study
from orchestrator.system import background, gpus

if TYPE_CHECKING:
    from orchestrator.planning.plan import Plan

MOST_PROCESSES = 8  # each has the images for itself


def calibrate(planned: Plan, say: Callable[[str], None] = lambda line: None) -> Throughput:
    """Trains every head of a plan for some seconds. Raises CannotRun where this machine lacks what a trial gets."""
    study, here = planned.study, Fleet.here()
    if problems := [*_lacking(study, here)]:
        raise CannotRun(problems)
    numbers = {
        head: max(1, min(planned.slots, here.fits(study.resources.of(head)), MOST_PROCESSES)) for head in study.heads
    }
    with _processes(study, max(numbers.values())) as processes:
        start = "1 process starts" if len(processes) == 1 else f"{len(processes)} processes start"
        say(f"calibrating: {start}, as many as trials run at a time here")
        process_s = fmean(said["process_s"] for said in map(_answer, processes))
        heads = {}
        for head, number in numbers.items():
            say(f"calibrating {head}: {number} at a time")
            said = _ask(processes[:number], head)
            heads[head] = Speed(**{key: fmean(each[key] for each in said) for key in said[0]}, at_a_time=number)
        ray_s = 0.0
        if planned.fleet.address is None:
            say("calibrating the start of Ray")
            ray_s = _ask(processes[:1], RAY)[0]["ray_s"]
    return Throughput(heads, process_s, ray_s)


def _lacking(study: Study, here: Fleet) -> Iterator[Problem]:
    for head in study.heads:
        if (workers := study.resources.of(head).workers) > 1:
            rule, fix = "a calibration trains a trial with one worker", "plan without --calibrate"
            yield Problem(f"--calibrate, heads.{head}", rule, f"{workers} workers", fix)
            return
    for problem in misfits(study, here):
        rule = f"a calibration trains on what a trial gets, and {problem.rule}"
        fix = "calibrate on a node that has it, or plan without --calibrate"
        yield Problem(f"--calibrate, {problem.place}", rule, problem.value, fix)


@contextmanager
def _processes(study: Study, number: int) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes, each with a GPU in turn where there are some; they end with the context, and leave nothing."""
    devices = gpus.look().devices
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with (
        tempfile.TemporaryDirectory(dir=temporary.parent(), ignore_cleanup_errors=True) as folder,
        ExitStack() as ending,
    ):
        environment = background.environment() | ray_session.ENVIRONMENT | {"TMPDIR": folder}
        started = []
        for index in range(number):
            own = {gpus.VISIBLE: devices[index % len(devices)]} if devices else {}
            words = background.python("orchestrator.cost.benchmark_worker", time.time())
            process = subprocess.Popen(words, env=environment | own, encoding="utf-8", process_group=0, **pipes)
            ending.callback(process.communicate)
            ending.callback(process.kill)
            _tell(process, study.model_dump_json())
            started.append(process)
        yield started


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _ask(processes: list[subprocess.Popen[str]], what: str) -> list[dict[str, float]]:
    for process in processes:
        _tell(process, what)
    return [_answer(process) for process in processes]


def _answer(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdout
    line = process.stdout.readline()
    said: dict[str, Any] = json.loads(line) if line else {"failed": f"its process ended with {process.wait()}"}
    if "failed" in said:
        raise CannotRun([Problem("--calibrate", "every head must train here", said["failed"])])
    return said
