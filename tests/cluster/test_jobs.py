"""A study that is sent to a cluster from afar: followed, left alone, followed again, and fetched."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orchestrator.cluster import jobs
from orchestrator.errors import CannotRun, StudyError
from orchestrator.selection.results import Results
from tests.cluster.conftest import Cluster
from tests.orchestrator.processes import PATIENCE_S
from tests.readme import JOBS, ROOT, placed

SUBMIT, FOLLOW = JOBS
PASSED_ON = ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUD_STORAGE_EMULATOR_ENDPOINT")


@pytest.fixture
def laptop(cluster: Cluster) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """laptop(*words): the program, on a machine that is no node of the cluster."""
    begun: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "orchestrator", *map(str, words)]
        begun.append(subprocess.Popen(command, env={**os.environ, "RAY_AUTH_MODE": "disabled"}, **pipes))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def test_a_study_is_sent_followed_left_alone_followed_again_and_fetched(
    cluster: Cluster,
    laptop: Callable[..., subprocess.Popen[str]],
    small_study: Callable[..., Path],
    google_runs: str,
    tmp_path: Path,
) -> None:
    """A laptop that sends a study to a cluster may leave, come back, and take the results home."""
    study = small_study(
        heads="{arcface: }",
        training="{epochs: 3, batch_size: 16}",
        search="{trials_per_head: 2, scheduler: none}",
        confirmation="{top: 0}",
    )
    server = cluster.head_with_jobs()
    places = {"digits.yaml": study, "http://127.0.0.1:8265": server, "ray_cluster.yaml": ROOT / "ray_cluster.yaml"}
    passed_on = [word for name in PASSED_ON for word in ("--env", name)]
    sent = laptop(*placed(SUBMIT, places), "--set", "name=sent", *passed_on)
    assert sent.stderr
    seen = ""
    while "epoch 2/3" not in seen:
        line = sent.stderr.readline()
        assert line, (seen, sent.communicate())
        seen += line
    sent.send_signal(signal.SIGINT)
    printed, told = sent.communicate(timeout=PATIENCE_S)
    assert sent.returncode == 0
    assert "the study goes on without you" in told
    name = printed.split()[1]
    assert f"orchestrator follow {name} --address {server}" in printed
    assert f"orchestrator stop {google_runs}/sent" in printed

    again = laptop(*placed(FOLLOW, {**places, "digits-3fa9c1": name}))
    _, told = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, told
    assert [line for line in seen.splitlines() if line in told.splitlines()] == seen.splitlines()  # from its beginning
    assert told.count("epoch 3/3") == 2
    assert "arcface-001 completed" in told

    fetched = laptop("fetch", f"{google_runs}/sent", "--into", tmp_path / "mine")
    assert fetched.wait(timeout=PATIENCE_S) == 0
    mine = Results(tmp_path / "mine" / "sent")
    assert mine.finished
    assert {len(trial.epochs) for trial in mine.trials.values()} == {3}
    assert (mine.folder.models / "arcface" / "model.safetensors").exists()

    with pytest.raises(CannotRun, match="a job is known to its cluster"):
        jobs.job("another-one", server)


@pytest.mark.parametrize("ends", ["as it was asked to", "with an error", "as if the job had ended"])
def test_a_connection_cannot_keep_ctrl_c_to_itself(ends: str) -> None:
    class Server:
        async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
            yield "at work"
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if ends == "as it was asked to":
                    raise
                if ends == "with an error":
                    raise RuntimeError("the connection closed") from None

    async def interrupted(said: list[str]) -> None:
        following = asyncio.ensure_future(jobs._said(Server(), "job", 0, said.append))
        while not said:
            await asyncio.sleep(0)
        following.cancel()  # what asyncio.run makes of Ctrl-C, and back
        await following

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted([]))


def test_what_makes_no_sense_is_refused_before_it_is_sent(
    small_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(jobs, "_client", lambda address: sent)
    study = str(small_study())
    for results in ("", "results", "a/folder"):
        with pytest.raises(CannotRun, match="in a bucket, or in a folder that all nodes of the cluster see"):
            jobs.submit(study, "http://head:8265", results)
    with pytest.raises(StudyError, match="grace_epochs"):
        jobs.submit(study, "http://head:8265", "/shared", ["search.grace_epochs=9"])
    with pytest.raises(CannotRun, match="export NOT_SET_HERE="):
        jobs.submit(study, "http://head:8265", "/shared", variables=["NOT_SET_HERE"])


def test_a_server_that_does_not_answer_is_refused_with_a_way_to_it(small_study: Callable[..., Path]) -> None:
    for address, said in (("head:6379", "write --address http://head:8265"), ("http://127.0.0.1:9", "ray dashboard")):
        with pytest.raises(CannotRun, match=said):
            jobs.submit(str(small_study()), address, "/shared")


def test_a_job_carries_the_project_the_study_and_the_named_variables_alone(
    small_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent: dict[str, Any] = {}

    class Server:
        def submit_job(self, **job: Any) -> None:
            folder = Path(job["runtime_env"]["working_dir"])
            sent.update(job, files={path.relative_to(folder).as_posix() for path in folder.rglob("*")})
            sent["study"] = (folder / "study.yaml").read_text() if (folder / "study.yaml").exists() else ""

    monkeypatch.setattr(jobs, "_client", lambda address: Server())
    monkeypatch.setenv("WANDB_API_KEY", "key")
    monkeypatch.setenv("HOME_ADDRESS", "private")
    cluster_file = tmp_path / "cluster.yaml"
    cluster_file.write_text("cluster_name: x\n")
    job = jobs.submit(
        str(small_study()),
        "http://head:8265",
        "s3://b/runs",
        ["training.epochs=1"],
        ["WANDB_API_KEY"],
        cluster_file,
        "2h",
    )
    assert sent["entrypoint"] == (
        "python -m orchestrator launch study.yaml --results s3://b/runs --address auto --cluster cluster.yaml"
        " --time-budget 2h"
    )
    assert sent["runtime_env"]["env_vars"] == {"WANDB_API_KEY": "key"}
    assert {
        "orchestrator/stages/launch.py",
        "lightning_modules/heads/arcface.py",
        "search_spaces/heads/__init__.py",
    } <= sent["files"]
    assert not any("__pycache__" in name for name in sent["files"])
    assert "epochs: 1" in sent["study"]
    assert (job.place, job.name.startswith("small-")) == ("s3://b/runs/small", True)

    on = jobs.submit("s3://b/runs/small", "http://head:8265")
    assert sent["entrypoint"] == "python -m orchestrator resume s3://b/runs/small --address auto"
    assert on.place == "s3://b/runs/small"


def test_a_job_whose_answer_was_lost_is_not_sent_twice(
    small_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Server:
        tries: ClassVar[list[str]] = []

        def submit_job(self, submission_id: str, **job: Any) -> None:
            self.tries.append(submission_id)
            if len(self.tries) == 1:
                raise ConnectionError("the connection was closed without an answer")
            raise RuntimeError(f"Request failed with status code 500: Job {submission_id} already exists")

    monkeypatch.setattr(jobs, "_client", lambda address: Server())
    monkeypatch.setattr(jobs, "AGAIN_S", 0.0)
    job = jobs.submit(str(small_study()), "http://head:8265", "/shared")
    assert Server.tries == [job.name, job.name]
