"""A study in a bucket, as the README has it: launched here, killed, resumed on another machine, looked at, fetched."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.selection.results import Results
from orchestrator.storage.bucket import Bucket
from orchestrator.storage.bucket_sync import inside
from orchestrator.storage.study_folder import StudyFolder
from tests.orchestrator.processes import PATIENCE_S, epochs_on_record, orchestrator, wait_until
from tests.readme import BUCKET, placed

LAUNCH, RESUME, STATUS, FETCH = BUCKET

QUICK_TO_GIVE_UP = """
from orchestrator.cli import main
from orchestrator.storage import lease
lease.LEASE_S, lease.RENEW_S, lease.LOOK_S = 8.0, 1.0, 1.0
main()
"""  # the program, which gives a driver that died up after eight seconds


def resumed(words: list[str]) -> str:
    """What the program says that goes on with a study."""
    ended = orchestrator(*words, program=QUICK_TO_GIVE_UP)
    _, told = ended.communicate(timeout=PATIENCE_S)
    assert ended.returncode == 0, told
    return told


def run(*words: str) -> str:
    """What a command that looks at a study prints, in this process."""
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_a_study_goes_from_machine_to_machine(
    runs: str,
    machine: Callable[[str], None],
    small_study: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lost machine costs nothing of a study in a bucket: another one goes on, others look at it and fetch it."""
    study = small_study(
        name="digits",
        heads="{arcface: }",
        training="{epochs: 3, batch_size: 16}",
        search="{trials_per_head: 2, scheduler: none, concurrent_trials: 1}",
        confirmation="{top: 0}",
    )
    places, where = {"digits.yaml": study, "s3://bucket/runs": runs}, f"{runs}/digits"
    driver = orchestrator(*placed(LAUNCH, places), program=QUICK_TO_GIVE_UP)
    looking = StudyFolder(inside(runs, "digits"))
    wait_until(lambda: epochs_on_record(looking) >= 4, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    on_disk = looking.events()

    machine("there")
    known = Results(where)
    assert known.folder.events()[: len(on_disk)] == on_disk
    interrupted = [trial for trial in known.trials.values() if trial.status == "running"]
    told = resumed(placed(RESUME, places))

    assert "waiting whether it is still at work" in told
    assert any(f"{trial.name} goes on" in told for trial in interrupted if trial.epochs)
    finished = Results(where)
    assert finished.finished
    events = finished.folder.events()
    assert events[: len(on_disk)] == on_disk
    epochs = Counter((event["trial"], event["epoch"]) for event in events if event["event"] == "epoch")
    assert epochs == Counter({(f"arcface-00{index}", epoch): 1 for index in (0, 1) for epoch in (1, 2, 3)})

    machine("a third one")
    assert json.loads(run(*placed(STATUS, places), "--json"))["finished"]
    assert "report.html" in run("report", where)
    assert Bucket(where).read("report.html") == (StudyFolder(inside(runs, "digits")).report_file).read_bytes()
    assert {"study.yaml", "provenance.json", "best/arcface.yaml", "models/arcface/config.json"} <= {
        *Bucket(where).objects()
    }

    monkeypatch.chdir(tmp_path)
    assert "results/digits" in run(*placed(FETCH, places))
    mine = Results("results/digits")
    assert mine.folder.home is None
    assert mine.folder.events() == events
    assert (mine.folder.models / "arcface" / "model.safetensors").exists()
