"""A whole study online against a server on loopback: it becomes a sweep that equals the record, and is read again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli import app
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from tests.orchestrator.processes import PATIENCE_S
from tests.orchestrator.tracking.conftest import (
    check_equal,
    end_wandb,
    launch_until,
    orchestrator,
    pictures_of,
    run_of,
    wait_for,
)
from tests.readme import WANDB, placed
from tests.wandb_server import WandbServer

LAUNCH, *LOOK, _ = WANDB
HEADS = ("arcface", "softmax")
STUDY = """
name: small
data: {{source: idx, path: {path}, validation_images: 1000}}
body: {{width: 4}}
training: {{epochs: 3, batch_size: 64}}
search: {{trials_per_head: 3, concurrent_trials: 1}}
confirmation: {{top: 1, seeds: 2}}
heads: {{arcface: , softmax: }}
"""


@dataclass(frozen=True)
class Online:
    """A study that ran online, with the server that it was sent to, and what the program said."""

    server: WandbServer
    folder: StudyFolder
    environment: dict[str, str]
    said: str

    @property
    def results(self) -> Results:
        return Results(self.folder.root)

    def run(self, *words: str | Path) -> Result:
        """What becomes of a command, in this process."""
        with patch.dict(os.environ, self.environment):
            return CliRunner().invoke(app, [*map(str, words)])

    def printed(self, *words: str | Path) -> str:
        done = self.run(*words)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout


@pytest.fixture(scope="module")
def online(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Online]:
    root = tmp_path_factory.mktemp("online")
    (root / "small.yaml").write_text(STUDY.format(path=small_mnist))
    with WandbServer() as server:
        environment = server.environment(root / "client")
        launch = placed(LAUNCH, {"digits.yaml": root / "small.yaml"})
        process = orchestrator(*launch, "--results", root, **environment)
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        end_wandb()  # its settings are read once a process
        yield Online(server, StudyFolder(root / "small"), environment, said)
        end_wandb()
    assert (server.unknown, server.errors) == ([], [])


def test_the_server_holds_every_run_and_row_of_the_record(online: Online) -> None:
    """What W&B shows is what is on record: no run and no row is missing, or there twice."""
    results = online.results
    assert len(results.trials) == 6
    assert {trial.status for trial in results.trials.values()} == {"completed", "stopped"}  # ASHA was at work
    check_equal(online.server, results)
    assert f"W&B has all {len(results.runs)} runs" in online.said


def test_every_run_belongs_to_one_sweep_with_the_space_of_the_study(online: Online) -> None:
    (sweep,) = online.server.sweeps.values()
    results = online.results
    assert {run_of(online.server, results, trial.name).sweep for _, trial in results.runs} == {sweep.id}
    assert sweep.config["method"] == "custom"
    assert sweep.config["metric"] == {"name": "objective", "goal": "maximize"}
    searched = {name for space in results.study.searched().values() for name in space}
    assert sweep.config["parameters"].keys() >= searched | {"head"}
    assert f"sweeps/{sweep.id}" in online.said


def test_every_epoch_of_the_search_has_its_picture_and_its_cloud(online: Online) -> None:
    results = online.results
    for name, trial in results.trials.items():
        run, epochs = run_of(online.server, results, name), [row["epoch"] for row in trial.epochs]
        assert pictures_of(run) == epochs
        clouds = [row["embedding_3d"]["path"] for row in run.rows if "embedding_3d" in row]
        assert len(clouds) == len(epochs)
        assert {len(json.loads(run.files[path])) for path in clouds} == {len(results.folder.labels())}
        last = run.rows[-1]
        assert run.files[last["embedding_unfolds"]["path"]].startswith(b"GIF8")
        table = json.loads(run.files[last["embedding_table"]["path"]])
        assert table["columns"] == ["x1", "x2", "x3", "label"]
        assert len(table["data"]) == len(results.folder.labels())


def test_only_confirmed_winners_are_published_as_best(online: Online) -> None:
    results = online.results
    models = {each.name: each for each in online.server.artifacts if each.type == "model"}
    assert set(models) == {f"small-{head}" for head in HEADS}
    for head in HEADS:
        model, best = models[f"small-{head}"], results.best[head]
        assert "best" in model.aliases
        assert model.state == "COMMITTED"
        kept = {path.name: path.read_bytes() for path in (results.folder.models / head).iterdir()}
        study = (results.folder.best / f"{head}.yaml").read_bytes()
        assert model.files == kept | {"study.yaml": study}
        assert (model.metadata["trial"], model.metadata["params"]) == (best.name, best.params)
    (report,) = [each for each in online.server.artifacts if each.type == "report"]
    assert report.files == {"report.html": results.folder.report_file.read_bytes()}


def test_the_workspace_shows_the_study(online: Online) -> None:
    (view,) = online.server.views
    shown = json.dumps(view.spec)
    for panel in ("Parallel Coordinates", "Parameter Importance", "Scatter Plot", "Media Browser", "Bar Chart"):
        assert panel in shown
    assert "margin_rad" in shown
    assert "embedding_unfolds" in shown
    assert online.results.provenance["study_id"] in view.display_name


def test_runs_say_what_they_are_and_nothing_of_the_machine(online: Online) -> None:
    results = online.results
    for job, trial in results.runs:
        run = run_of(online.server, results, trial.name)
        assert set(run.tags) == {trial.head, "3-D", job}
        assert job in run.notes
        assert run.config["orchestrator"]["study"]["training"]["epochs"] == 3
        assert run.streamed("wandb-events.jsonl") == []
        assert "wandb-metadata.json" not in run.files


def test_the_key_is_in_no_file_of_the_study(online: Online) -> None:
    key = online.environment["WANDB_API_KEY"].encode()
    assert [path for path in online.folder.root.rglob("*") if path.is_file() and key in path.read_bytes()] == []
    assert key.decode() not in online.said


def test_sync_has_nothing_to_send_and_sends_nothing(online: Online) -> None:
    before = len(online.server.requests)
    told = json.loads(online.printed("sync", online.folder.root, "--json"))
    assert (told["sent"], told["study_run_sent"], told["damaged"]) == ([], False, [])
    asked = {kind for _, kind in online.server.requests[before:]}
    assert not {kind for kind in asked if "Upsert" in kind or "file_stream" in kind or kind.startswith("PUT")}


@pytest.mark.parametrize("words", LOOK, ids=" ".join)
def test_the_commands_of_the_readme_name_the_sweep(online: Online, words: list[str]) -> None:
    places = {"results/digits": online.folder.root, "entity/project/sweep": "someone/embedding-heads/sweep000"}
    printed = online.printed(*placed(words, places))
    assert "/sweeps/sweep000" in printed.replace("\n", "")


def test_a_folder_and_its_sweep_are_inspected_alike(online: Online) -> None:
    here = json.loads(online.printed("inspect", online.folder.root, "--json"))
    there = json.loads(online.printed("inspect", "someone/embedding-heads/sweep000", "--json"))
    assert there["source"] == "someone/embedding-heads/sweep000"
    assert here["links"]["sweep"] == there["links"]["sweep"]
    assert here["finished"]
    for known in (here, there):
        for key in ("source", "links"):
            del known[key]
    assert here == there


@pytest.mark.parametrize("path", ["someone/embedding-heads/nothing", "someone/nowhere/sweep000"])
def test_a_sweep_that_is_not_there_is_refused(online: Online, path: str) -> None:
    done = online.run("inspect", path)
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith(path)
    assert "fix" in done.stderr


def test_a_killed_driver_goes_on_and_a_server_goes_away_and_no_run_or_row_is_lost_or_there_twice(
    small_mnist: Path, tmp_path: Path
) -> None:
    """After kill -9 and an outage, sync leaves at W&B exactly what is on record."""
    one_head = STUDY.format(path=small_mnist).replace("top: 1", "top: 0").replace("arcface: , softmax: ", "arcface: ")
    (tmp_path / "small.yaml").write_text(one_head)
    with WandbServer() as server:
        environment = server.environment(tmp_path / "client")
        launch = ("launch", tmp_path / "small.yaml", "--online", "--results", tmp_path)
        killed, folder = launch_until(2, *launch, **environment)
        wait_for(lambda: server.runs, lambda: "the server knows a run")
        killed.kill()
        killed.communicate()
        resumed, _ = launch_until(4, "resume", folder.root, **environment)
        server.disappear()
        _, said = resumed.communicate(timeout=PATIENCE_S)
        assert resumed.returncode == 0, said
        assert f"orchestrator sync {folder.root} sends what is missing" in said
        results = Results(folder.root)
        assert results.finished
        server.come_back()
        synced = orchestrator("sync", folder.root, **environment)
        printed, said = synced.communicate(timeout=PATIENCE_S)
        assert synced.returncode == 0, said
        check_equal(server, results)
        assert all(pictures_of(run_of(server, results, name)) for name in results.trials)
        assert len(server.sweeps) == 1
        assert f"of {len(results.runs)} runs were there" in printed
    assert (server.unknown, server.errors) == ([], [])
