"""Studies as jobs of a Ray cluster: sent from a laptop, which may be closed, and followed from there.

A job is the program itself, `launch` or `resume`, on the cluster's head: with this project's code as it is here, with
the study as it is written here, and with those environment variables that are named, and no others.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any

import lightning_modules
import orchestrator
import search_spaces
from orchestrator.cluster.cluster_yaml import read
from orchestrator.errors import CannotRun, Problem, StudyError
from orchestrator.files.paths import local
from orchestrator.storage.bucket import below, uri_of
from orchestrator.study import validation
from orchestrator.study.schema import Study
from orchestrator.system.commands import ours, typed

PACKAGES = (orchestrator, lightning_modules, search_spaces)
NOT_SENT = ("__pycache__", "*.pyc")
AGAIN_S = 2.0  # after a connection was lost
READY_S = 60.0  # for a head to take a job
LOST_S = 300.0  # without any answer, after which following ends
TALKATIVE = (  # of Ray's client, each with a level of its own
    "dashboard.modules.dashboard_sdk",
    "dashboard.modules.job.sdk",
    "_private.runtime_env.packaging",
)


@dataclass(frozen=True)
class Job:
    """A study on a cluster. place: where its folder lies, as the cluster sees it."""

    name: str
    address: str
    place: str

    def ways_on(self) -> list[str]:
        """What to type to see it again, and to end it."""
        there = self.name, "--address", self.address
        seen = ours("follow", *there)
        ended = ours("stop", self.place) if uri_of(self.place) else typed("ray", "job", "stop", *there)
        return [f"follow    {seen}", f"stop      {ended}", f"results   {self.place}"]


def submit(
    source: str,
    address: str,
    results: str = "",
    overrides: Sequence[str] = (),
    variables: Iterable[str] = (),
    cluster_file: Path | None = None,
    time_budget: str | None = None,
) -> Job:
    """Sends a study to the job server of a cluster, http://HOST:8265, where it is launched; returns at once.

    source: a study, or the folder in a bucket of one that has begun, which goes on. results: a bucket, or a folder that
    all nodes see. variables: names of environment variables that the job gets from here. cluster_file, time_budget: as
    for `launch`. Raises StudyError for a study that makes no sense, CannotRun where no server answers.
    """
    cluster_file = local(cluster_file, "--cluster") if cluster_file else None
    given = {name: os.environ[name] for name in variables if name in os.environ}
    if missing := [name for name in variables if name not in given]:
        fix = f"export {missing[0]}=…, or leave --env {missing[0]} out"
        raise CannotRun([Problem("--env", "a variable that is passed on is set here", f"{missing[0]} is not", fix)])
    client = _client(address)
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            at = Path(str(package.__file__)).parent
            shutil.copytree(at, Path(folder, at.name), ignore=shutil.ignore_patterns(*NOT_SENT))
        words, place = _words(source, results, overrides, Path(folder))
        words += ["--address", "auto"]
        if cluster_file:
            read(cluster_file)
            shutil.copyfile(cluster_file, Path(folder, "cluster.yaml"))
            words += ["--cluster", "cluster.yaml"]
        if time_budget:
            words += ["--time-budget", time_budget]
        name = f"{place.rpartition('/')[2].partition('?')[0]}-{secrets.token_hex(3)}"
        sent = {
            "entrypoint": join(["python", "-m", "orchestrator", *words]),
            "submission_id": name,
            "runtime_env": {"working_dir": folder, "env_vars": given},
            "metadata": {"place": place},
        }
        _taken(client, sent, address)
    return Job(name, address, place)


def follow(sent: Job, say: Callable[[str], None]) -> int:
    """Says what a job prints, from its beginning, until it ends; returns its exit code. Lost connections are made anew.

    Raises CannotRun where the server does not answer for minutes.
    """
    from aiohttp import ClientError

    client, said, answered = _client(sent.address), 0, time.monotonic()
    while True:
        try:
            said = asyncio.run(_said(client, sent.name, said, say))
            details = client.get_job_info(sent.name)
            answered = time.monotonic()
            if details.status.is_terminal():
                return 0 if details.status == "SUCCEEDED" else details.driver_exit_code or 1
        except (OSError, RuntimeError, ClientError) as error:  # requests', Ray's, aiohttp's
            if time.monotonic() - answered > LOST_S:
                raise _silent(sent.address, error) from error
        time.sleep(AGAIN_S)


def job(name: str, address: str) -> Job:
    """A job that was submitted from somewhere. Raises CannotRun where the server does not know it."""
    try:
        details = _client(address).get_job_info(name)
    except RuntimeError as error:
        rule, known = "a job is known to its cluster", typed("ray", "job", "list", "--address", address)
        raise CannotRun([Problem("JOB", rule, f"{name} is not", f"{known} shows those that are")]) from error
    return Job(name, address, (details.metadata or {}).get("place", ""))


def _words(source: str, results: str, overrides: Sequence[str], folder: Path) -> tuple[list[str], str]:
    """What the program is told on the cluster, and where the study's folder will lie."""
    if uri := uri_of(source):
        return ["resume", uri], uri
    study = Study.load(source, overrides)
    if problems := validation.problems(study):
        raise StudyError(problems)
    if not results or not (uri_of(results) or Path(results).is_absolute()):
        rule = "results of a job lie in a bucket, or in a folder that all nodes of the cluster see"
        value = results or "none is named"
        raise CannotRun([Problem("--results", rule, value, "write --results s3://…, gs://… or /a/shared/folder")])
    written = study.to_yaml("The study as it was submitted, overrides included.")
    (folder / "study.yaml").write_text(written, encoding="utf-8")
    place = below(results, study.name) if uri_of(results) else str(Path(results, study.name))
    return ["launch", "study.yaml", "--results", results], place


def _taken(client: Any, sent: dict[str, Any], address: str) -> None:
    """Hands a job over. A head that has just started may take half a minute until it takes jobs."""
    end = time.monotonic() + READY_S
    while True:
        try:
            client.submit_job(**sent)
            return
        except (OSError, RuntimeError) as error:
            if "already exists" in str(error):  # taken by a try whose answer was lost
                return
            if not (isinstance(error, OSError) or "No available agent" in str(error)) or time.monotonic() > end:
                rule = "the job server must take the study"
                raise CannotRun([Problem("--address", rule, f"{address}: {_first_line(error)}")]) from error
        time.sleep(AGAIN_S)


async def _said(client: Any, name: str, before: int, say: Callable[[str], None]) -> int:
    """Says what comes after so many characters, until the connection or the job ends; returns how many there are."""
    total, task = 0, asyncio.current_task()
    try:
        async for text in client.tail_job_logs(name):
            new = text[max(0, before - total) :]
            total += len(text)
            if new:
                say(new)
    finally:
        if task and task.cancelling():  # by Ctrl-C, whatever the connection makes of it
            raise asyncio.CancelledError
    return max(total, before)


def _client(address: str) -> Any:
    """Of Ray's job server. Raises CannotRun where none answers."""
    from ray.job_submission import JobSubmissionClient

    for name in TALKATIVE:
        logging.getLogger(f"ray.{name}").setLevel(logging.CRITICAL)
    if not address.startswith(("http://", "https://")):
        rule, fix = "a job server has a web address", f"write --address http://{address.partition(':')[0]}:8265"
        raise CannotRun([Problem("--address", rule, address, fix)])
    try:
        return JobSubmissionClient(address)
    except Exception as error:  # Ray's, requests' and urllib3's own
        raise _silent(address, error) from error


def _silent(address: str, error: Exception) -> CannotRun:
    rule = "a Ray head with its job server must answer there"
    fix = "ray dashboard ray_cluster.yaml forwards http://127.0.0.1:8265 to the head; it needs ray[default] there"
    return CannotRun([Problem("--address", rule, f"{address}: {_first_line(error)}", fix)])


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
