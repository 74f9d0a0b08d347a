"""The README is followed: its commands are run in their order, on its own study with one head and less to train.

Those for W&B, for a bucket and for a cluster are run where there is one of each: tests/orchestrator/tracking and
storage, tests/cluster.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from lightning_modules.data.sources import mnist
from orchestrator import Results
from orchestrator.cli import app
from orchestrator.reporting import report
from orchestrator.storage.study_folder import StudyFolder
from tests.orchestrator.alone import one_ray
from tests.orchestrator.processes import PATIENCE_S, epochs_on_record, orchestrator, wait_until
from tests.readme import CLUSTER, LOOK, ROOT, STUDY, TAKE_AWAY, blocks

DIGITS = StudyFolder(Path("results/digits"))


@pytest.fixture
def desk(tmp_path: Path, small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with digits.yaml and with images.npy, where the reader sits."""
    study = yaml.safe_load(blocks("yaml")[0])
    study["training"]["epochs"] = 2
    study["search"] |= {"trials_per_head": 2, "concurrent_trials": 1}
    study["heads"] = {"arcface": study["heads"]["arcface"]}  # the one whose files the commands name
    study["data"] = {"source": "idx", "path": str(small_mnist), "validation_images": 1000}
    study |= {"body": {"width": 4}, "confirmation": {"top": 1, "seeds": 2}, "tracking": {"mode": "off"}}
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(study))
    np.save(tmp_path / "images.npy", mnist.load("train").images[:50])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def follow(words: list[str]) -> str:
    """What a command in this process prints. A report is drawn where it is asked for, and not after every search."""
    with nullcontext() if words[0] == "report" else patch.object(report, "write"):
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done.output


def test_a_study_is_planned_searched_stopped_resumed_confirmed_tested_and_looked_at(desk: Path) -> None:
    """Every command that the README shows for one machine works, in these words and in this order.

    The first search is a program with a Ray of its own; those that follow share one.
    """
    with ExitStack() as stack:
        for words in (*STUDY, *LOOK, *TAKE_AWAY):
            if words == ["launch", "digits.yaml"]:
                driver = orchestrator(*words)
                wait_until(lambda: epochs_on_record(DIGITS) >= 1, driver)
            else:
                printed = follow(words)
            if words[0] == "stop":
                assert "asked process" in printed
                driver.communicate(timeout=PATIENCE_S)
                assert driver.returncode == 130
                stack.enter_context(one_ray(cores=1))

    digits = Results(DIGITS.root)
    assert digits.finished
    assert list(digits.trials) == ["arcface-000", "arcface-001"]
    assert [standing.confirmed.estimate.n for standing in digits.leaderboard if standing.confirmed] == [10]
    known, again = (Results(f"results/{name}").best["arcface"] for name in ("digits", "digits-best-arcface"))
    assert (again.seed, again.params) == (known.seed, known.params)
    assert [row["objective"] for row in again.epochs] == [row["objective"] for row in known.epochs]
    assert Results("results/digits-short").study.training.epochs == 3
    assert np.load("vectors.npy").shape == (50, 2)
    for made in (DIGITS.report_file, DIGITS.test_file, "compare.png", "vectors.parquet", "arcface/model.onnx"):
        assert Path(made).exists(), made


def test_the_doctor_looks_at_the_cluster(desk: Path) -> None:
    shutil.copy(ROOT / "ray_cluster.yaml", desk)
    doctor, *_ = CLUSTER
    follow(doctor)
