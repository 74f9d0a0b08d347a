"""The command line: exit codes, what goes to stdout and to stderr, JSON. No search starts here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import orchestrator
from orchestrator import search
from orchestrator.cli import app
from orchestrator.records import StudyFolder
from orchestrator.results import Results
from orchestrator.study import Study

MakeStudy = Callable[..., Study]
MakeRecord = Callable[..., StudyFolder]
VERBS = ["plan", "launch", "resume", "status", "stop", "best", "report", "compare", "embed"]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def study_file(tiny_study: MakeStudy, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny_study().to_yaml(), encoding="utf-8")
    return path


def test_help_lists_the_verbs() -> None:
    shown = run("--help")
    assert shown.exit_code == 0
    listed = shown.stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_every_option_explains_itself(verb: str) -> None:
    shown = run(verb, "--help")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"Usage: root {verb} [OPTIONS]")


def test_the_shipped_studies_that_help_names_are_there() -> None:
    text = " ".join(run("plan", "--help").stdout.split())
    named = text.partition("or a shipped one:")[2].partition(".")[0]
    assert [name.strip() for name in named.split(",")]
    for name in named.split(","):
        Study.load(name.strip())


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"{orchestrator.__version__}\n"


@pytest.mark.parametrize(
    "words", [[], ["plam"], ["plan"], ["plan", "quick", "--josn"], ["launch", "quick", "--online", "--no-tracking"]]
)
def test_wrong_usage_is_2_and_said_on_stderr(words: list[str]) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert "Usage:" in done.stderr + (done.stdout if not words else "")
    assert done.stdout == "" or not words


@pytest.mark.parametrize("verb", ["plan", "launch"])
def test_a_wrong_study_is_2_with_its_line_on_stderr(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("name: wrong\nheads:\n  arcfac:\n")
    done = run(verb, path, "--results", tmp_path / "results")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"{path}:3: heads.arcfac",
        "  rule   there is no such head",
        "  value  arcfac",
        "  fix    did you mean arcface?",
    ]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("verb", ["plan", "launch"])
def test_what_cannot_run_here_is_4_on_stderr(verb: str, study_file: Path, tmp_path: Path) -> None:
    done = run(verb, study_file, "--results", tmp_path / "results", "--set", "resources.tpu=8")
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith("resources.tpu\n  rule   trials on TPUs are not in this version\n")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("verb", ["resume", "status", "stop", "best"])
def test_a_folder_that_is_no_study_is_4_and_is_not_made(verb: str, tmp_path: Path) -> None:
    done = run(verb, tmp_path / "nowhere")
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith(f"{tmp_path / 'nowhere'}\n")
    assert not (tmp_path / "nowhere").exists()


def test_a_plan_is_printed_as_a_table_and_as_json(study_file: Path, tmp_path: Path) -> None:
    table = run("plan", study_file, "--results", tmp_path)
    assert (table.exit_code, table.stderr) == (0, "")
    assert "margin_rad" in table.stdout
    assert "2 heads × 2 = 4" in table.stdout
    told = run("plan", study_file, "--results", tmp_path, "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    assert json.loads(told.stdout)["trials"] == 4


def test_overrides_and_a_free_name_reach_the_plan(study_file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    words = ["--set", "search.trials_per_head=7", "--set", "name=other", "--results", tmp_path, "--json"]
    (tmp_path / "other" / "study.yaml").touch()
    assert run("plan", study_file, *words).exit_code == 4
    told = json.loads(run("plan", study_file, *words, "--next-name").stdout)
    assert (told["study"], told["trials"]) == ("other-2", 14)
    assert told["folder"] == str(tmp_path / "other-2")


def test_status_and_best_tell_of_a_folder(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study(), ("arcface", 0, [0.4, 0.75], "completed"), ("softmax", 0, [], "failed"))
    status = run("status", folder.root)
    assert (status.exit_code, status.stderr) == (0, "")
    assert "2 of 4 trials ended; interrupted" in status.stdout
    assert json.loads(run("status", folder.root, "--json").stdout)["planned"] == 4
    best = run("best", folder.root)
    assert (best.exit_code, best.stderr) == (0, "")
    assert best.stdout.rstrip().endswith(f"orchestrator launch {folder.best}/arcface.yaml")
    told = json.loads(run("best", folder.root, "--json").stdout)
    assert told["files"] == [str(folder.best / "arcface.yaml")]
    assert [row["objective"] for row in told["best"]] == [0.75, None]


def test_asking_for_status_changes_nothing(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study(), ("arcface", 0, [0.4], "running"))
    before = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}
    run("status", folder.root)
    assert {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()} == before


ENDS: list[Any] = [
    ("arcface", 0, [0.5], "completed"),
    ("arcface", 1, [0.4], "stopped"),
    ("softmax", 0, [0.3], "completed"),
]


@pytest.mark.parametrize(
    ("last", "code"), [("completed", 0), ("stopped", 0), ("failed", 3), ("diverged", 3), ("running", 130)]
)
@pytest.mark.parametrize("verb", ["launch", "resume"])
def test_the_exit_code_says_what_became_of_a_search(
    tiny_study: MakeStudy,
    make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
    study_file: Path,
    verb: str,
    last: str,
    code: int,
) -> None:
    folder = make_record(tiny_study(), *ENDS, ("softmax", 1, [0.2], last))
    monkeypatch.setattr(search, verb, lambda *given: Results(folder.root))
    words = [verb, study_file if verb == "launch" else folder.root]
    table = run(*words)
    assert table.exit_code == code
    assert "arcface-000" in table.stdout
    assert (f"orchestrator resume {folder.root}" in table.stdout) == (code == 130)
    told = run(*words, "--json")
    assert told.exit_code == code
    assert json.loads(told.stdout)["finished"] == (code != 130)


@pytest.mark.parametrize(("words", "mode"), [([], "offline"), (["--online"], "online"), (["--no-tracking"], "off")])
def test_launch_hands_the_search_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, study_file: Path, tmp_path: Path, words: list[str], mode: str
) -> None:
    asked: list[Any] = []

    def launch(study: Study, results: Path, progress: object) -> Results:
        asked.extend([study, results])
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "launch", launch)
    done = run("launch", study_file, "--results", tmp_path / "r", "--set", "training.epochs=3", *words)
    assert asked[0].tracking.mode == mode
    assert asked[0].training.epochs == 3
    assert asked[1] == tmp_path / "r"
    assert done.exit_code == 130
    assert "goes on with orchestrator resume" in done.stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from orchestrator.cli import app\n"
        "try:\n    app(['launch', '--help'])\n"
        "except SystemExit as end:\n    print(end.code)\n"
        "heavy = {'torch', 'ray', 'pytorch_lightning', 'wandb', 'matplotlib', 'optuna', 'scipy', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestrator", "status", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert "Traceback" not in done.stderr
