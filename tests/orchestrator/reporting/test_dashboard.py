"""The dashboard: it holds what the record says, follows it, changes nothing, and answers this machine alone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGINT
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import CannotRun
from orchestrator.reporting import dashboard
from orchestrator.search.optuna_proposer import OptunaProposer
from orchestrator.search.samplers.random import Random
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from tests.readme import WANDB, placed

Build = Callable[..., StudyFolder]
ENDS: Any = {
    "arcface": [([0.6, 0.8, 0.9], "completed"), ([0.5], "stopped"), ([], "failed"), ([0.4, 0.7], "running")],
    "triplet": [([0.3, 0.2], "diverged"), ([0.7, 0.8, 0.85], "completed")],
}
STATES = {
    "arcface": ["COMPLETE", "PRUNED", "FAIL", "RUNNING"],
    "triplet": ["FAIL", "COMPLETE"],
}


@pytest.fixture
def folder(build_study: Build, tmp_path: Path) -> StudyFolder:
    return build_study(tmp_path, ["arcface", "triplet"], trials=ENDS, examined=False)


def held(folder: StudyFolder) -> dict[str, list[FrozenTrial]]:
    """The trials of each study of the storage, by the study's name."""
    storage = dashboard.storage_of(Results(folder.root))
    return {study.study_name: storage.get_all_trials(study._study_id) for study in storage.get_all_studies()}


@contextmanager
def served(folder: StudyFolder) -> Iterator[str]:
    """The address of the page, while it is served."""
    with dashboard.server(folder.root, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://{dashboard.HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def fetched(url: str, path: str) -> Any:
    with urlopen(url + path, timeout=30) as answer:
        return json.load(answer)


def files(folder: StudyFolder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}


def test_it_holds_every_trial_of_the_record(folder: StudyFolder) -> None:
    studies = held(folder)
    assert {name: [trial.state.name for trial in trials] for name, trials in studies.items()} == {
        f"made-3d/{head}": states for head, states in STATES.items()
    }
    record = folder.trials()
    for trial in [each for trials in studies.values() for each in trials]:
        known = record[trial.user_attrs["trial"]]
        assert trial.number == known.index
        assert trial.intermediate_values == {epoch["epoch"]: epoch["objective"] for epoch in known.epochs}
        assert {**trial.user_attrs, **trial.params}.items() >= known.params.items()
        unread = {"scale"} if known.params.get("magnitude") == "feature" else set()
        assert set(trial.params) == set(Results(folder.root).study.searched()[known.head]) - unread
        told = {"seed": known.seed, "status": known.status, **({"reason": known.reason} if known.reason else {})}
        assert trial.user_attrs.items() >= told.items()
        assert trial.user_attrs.items() >= (known.epochs[-1]["metrics"] if known.epochs else {}).items()


def test_a_trial_is_worth_its_last_epoch_and_a_failed_one_nothing(folder: StudyFolder) -> None:
    values = {name: [trial.values for trial in trials] for name, trials in held(folder).items()}
    assert values == {"made-3d/arcface": [[0.9], [0.5], None, None], "made-3d/triplet": [None, [0.85]]}


def test_times_are_those_of_the_record(folder: StudyFolder) -> None:
    first, *_, running = held(folder)["made-3d/arcface"]
    assert first.datetime_start
    assert first.datetime_complete
    assert first.datetime_start.astimezone(UTC) == datetime(2026, 1, 1, 10, 0, 1, tzinfo=UTC)
    assert first.datetime_complete.astimezone(UTC) == datetime(2026, 1, 1, 10, 0, 5, tzinfo=UTC)
    assert running.datetime_complete is None


@pytest.mark.parametrize("head", ["arcface", "triplet"])
def test_distributions_are_those_of_the_search(folder: StudyFolder, head: str) -> None:
    results = Results(folder.root)
    proposer = Random().proposer(results.study.spaces(results.num_classes)[head], 4, 0)
    assert isinstance(proposer, OptunaProposer)
    proposer.propose(f"{head}-000", None)
    (asked,) = proposer._study.trials
    assert asked.distributions
    for trial in held(folder)[f"made-3d/{head}"]:
        assert trial.distributions == asked.distributions


def test_what_no_space_holds_is_an_attribute(build_study: Build, tmp_path: Path) -> None:
    given: Any = {"arcface": {"margin_rad": 3.0, "of_an_older_version": 1}}
    (trial, *_) = held(build_study(tmp_path, ["arcface"], params=given, examined=False))["made-3d/arcface"]
    assert trial.user_attrs.items() >= given["arcface"].items()
    assert set(trial.params) == {"lr", "magnitude"}


def test_two_objectives_are_two_directions(build_study: Build, tmp_path: Path) -> None:
    search = {"objectives": ["accuracy", "separation"], "scheduler": "none"}
    made = build_study(tmp_path, ["arcface"], trials={"arcface": [([0.5, 0.6], "completed")]}, search=search)
    made.trials_file.write_text(made.trials_file.read_text().replace("val/separation_ratio", "val/separation"))
    storage: InMemoryStorage = dashboard.storage_of(Results(made.root))
    (study,) = storage.get_all_studies()
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MAXIMIZE"]
    assert storage.get_all_trials(study._study_id)[0].values == [0.6, 1.2]
    with served(made) as url:
        assert fetched(url, "/api/studies/0")["objective_names"] == ["accuracy", "separation"]


def test_the_page_lists_the_studies_and_their_trials(folder: StudyFolder) -> None:
    before = files(folder)
    with served(folder) as url:
        listed = fetched(url, "/api/studies")["study_summaries"]
        assert [study["study_name"] for study in listed] == ["made-3d/arcface", "made-3d/triplet"]
        shown = fetched(url, "/api/studies/0")
        assert [trial["state"].upper() for trial in shown["trials"]] == STATES["arcface"]
        assert shown["best_trials"][0]["number"] == 0
        assert shown["objective_names"] == ["accuracy"]
        with urlopen(url, timeout=30) as page:
            assert "Optuna Dashboard" in page.read().decode()
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]  # nothing from elsewhere
    assert files(folder) == before


def test_the_page_follows_a_running_search(folder: StudyFolder) -> None:
    whole = folder.trials_file.read_bytes()
    lines = whole.splitlines(keepends=True)
    folder.trials_file.write_bytes(lines[0] + lines[1][:20])  # a line is being written
    with served(folder) as url:
        (running,) = fetched(url, "/api/studies/0")["trials"]
        assert (running["state"], running["intermediate_values"]) == ("Running", [])
        folder.trials_file.write_bytes(whole)
        ended, *others = fetched(url, "/api/studies/0")["trials"]
        assert (ended["trial_id"], ended["state"], ended["values"]) == (running["trial_id"], "Complete", [0.9])
        assert len(others) == 3


def test_it_waits_for_the_first_trial(folder: StudyFolder) -> None:
    whole = folder.trials_file.read_bytes()
    folder.trials_file.unlink()
    with served(folder) as url:
        assert fetched(url, "/api/studies/1")["trials"] == []
        folder.trials_file.write_bytes(whole)
        assert len(fetched(url, "/api/studies/1")["trials"]) == 2


@pytest.mark.parametrize(
    ("method", "path", "host", "code"),
    [
        ("DELETE", "/api/studies/0", "localhost", 405),
        ("POST", "/api/trials/0/user-attrs", "127.0.0.1", 405),
        ("PUT", "/api/studies/0/note", "127.0.0.1", 405),
        ("GET", "/api/studies", "elsewhere.example", 403),
    ],
)
def test_the_page_changes_nothing_and_answers_to_no_other_name(
    folder: StudyFolder, method: str, path: str, host: str, code: int
) -> None:
    with served(folder) as url:
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(url + path, data=b"{}" if method != "GET" else None, method=method, headers={"Host": host}))
        with closing(refused.value):
            assert refused.value.code == code
            assert json.load(refused.value)["reason"]
        assert len(fetched(url, "/api/studies")["study_summaries"]) == 2


def test_only_this_machine_can_ask(folder: StudyFolder) -> None:
    with served(folder) as url:
        port = int(url.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(OSError, match=r"refused|unreachable|timed out"):  # as one on every address would
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_a_taken_port_is_refused(folder: StudyFolder) -> None:
    with closing(socket.create_server((dashboard.HOST, 0))) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(app, ["dashboard", str(folder.root), "--port", str(port)])
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.splitlines() == [
        "--port",
        "  rule   the port must be free on 127.0.0.1",
        f"  value  {port}: Address already in use",
        "  fix    name another, or --port 0 for any free one",
    ]


def test_without_the_extra_it_is_refused(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard.importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(app, ["dashboard", str(folder.root)])
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.splitlines()[-1] == "  fix    pip install 'embedding-head-orchestrator[dashboard]'"


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"study\.yaml"):
        dashboard.server(tmp_path / "nowhere", 0)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_is_a_number(folder: StudyFolder, port: str) -> None:
    assert CliRunner().invoke(app, ["dashboard", str(folder.root), "--port", port]).exit_code == 2


def test_ctrl_c_ends_it_quietly(folder: StudyFolder) -> None:
    """The verb that shows Optuna's dashboard ends as others do, without a traceback."""
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also where it was ignored
    code += "from orchestrator.cli import main; main()"
    words = placed(WANDB[-1], {"results/digits": folder.root})
    command = [sys.executable, "-c", code, *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = process.stdout.readline()
        assert "Ctrl-C ends it" in said
        assert len(fetched(said.partition("/dashboard")[0], "/api/studies")["study_summaries"]) == 2
        process.send_signal(SIGINT)
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out, error) == (0, "", "")
