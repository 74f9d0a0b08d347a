"""The command line: exit codes, what goes to stdout and to stderr, JSON. No search starts here."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import orchestrator
from orchestrator.cli import app
from orchestrator.inference import export as exporting
from orchestrator.search import allocation
from orchestrator.selection.results import Results
from orchestrator.stages import launch, sealed_test
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study

MakeStudy = Callable[..., Study]
MakeRecord = Callable[..., StudyFolder]
VERBS = [
    "doctor", "plan", "launch", "submit", "follow", "resume", "confirm", "test", "export", "status", "stop", "best",
    "report", "compare", "inspect", "dashboard", "fetch", "sync", "embed",
]  # fmt: skip


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
    assert done.stderr.startswith("resources.tpu\n  rule   this machine has 0 TPU chips\n")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("verb", ["resume", "confirm", "test", "status", "stop", "best", "dashboard"])
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
    assert "--calibrate trains each head" in table.stdout
    told = run("plan", study_file, "--results", tmp_path, "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    assert json.loads(told.stdout)["trials"] == 4
    assert "estimate" not in json.loads(told.stdout)


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
    monkeypatch.setattr(launch, verb, lambda *given: Results(folder.root))
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

    def launched(study: Study, results: str, *more: object) -> Results:
        asked.extend([study, results])
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "launch", launched)
    done = run("launch", study_file, "--results", tmp_path / "r", "--set", "training.epochs=3", *words)
    assert asked[0].tracking.mode == mode
    assert asked[0].training.epochs == 3
    assert asked[1] == str(tmp_path / "r")
    assert done.exit_code == 130
    assert "nothing on record is lost" in done.stderr


@pytest.mark.parametrize(
    ("words", "handed"),
    [
        ([], (None, None, None)),
        (["--top", 2, "--seeds", 5, "--racing"], (2, 5, True)),
        (["--no-racing"], (None, None, False)),
    ],
)
def test_confirm_hands_the_search_what_was_asked_for(
    tiny_study: MakeStudy, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, words: list[Any], handed: Any
) -> None:
    folder, asked = make_record(tiny_study(), *ENDS, ("softmax", 1, [0.2], "completed")), []

    def confirm(*given: Any) -> Results:
        asked.extend(given[:4])
        return Results(given[0])

    monkeypatch.setattr(launch, "confirm", confirm)
    done = run("confirm", folder.root, *words)
    assert (done.exit_code, tuple(asked)) == (0, (str(folder.root), *handed))
    assert "arcface-000" in done.stdout


@pytest.mark.parametrize("words", [["confirm", "--top", "0"], ["confirm", "--seeds", "0"], ["test", "--seeds", "0"]])
def test_no_configuration_and_no_seed_is_wrong_usage(words: list[str], tmp_path: Path) -> None:
    verb, *options = words
    done = run(verb, tmp_path, *options)
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize("verb", ["launch", "resume", "confirm"])
@pytest.mark.parametrize(("second", "code"), [(0.5, 0), (None, 3)])
def test_a_run_that_the_confirmation_lost_is_3(
    build_study: Callable[..., StudyFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    study_file: Path,
    verb: str,
    second: float | None,
    code: int,
) -> None:
    trials: Any = {"arcface": [([0.5, 0.6, 0.7], "completed")]}
    folder = build_study(tmp_path, ["arcface"], trials=trials, confirmed={"arcface-000": [0.6, second]}, examined=False)
    monkeypatch.setattr(launch, verb, lambda *given: Results(folder.root))
    assert run(verb, study_file if verb == "launch" else folder.root).exit_code == code
    lines = folder.confirmation_file.read_bytes().splitlines(keepends=True)
    folder.confirmation_file.write_bytes(b"".join(lines[:-1]))  # the last run has no end: it was interrupted
    assert run(verb, study_file if verb == "launch" else folder.root).exit_code == 130


@pytest.mark.parametrize(("words", "handed"), [([], (None, False)), (["--seeds", 4, "--again"], (4, True))])
def test_test_hands_over_what_was_asked_for_and_is_130_while_nothing_was_measured(
    tiny_study: MakeStudy, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, words: list[Any], handed: Any
) -> None:
    folder, asked = make_record(tiny_study(), *ENDS, ("softmax", 1, [0.2], "completed")), []

    def open_test(*given: Any) -> Results:
        asked.extend(given[:3])
        return Results(given[0])

    monkeypatch.setattr(sealed_test, "open_test", open_test)
    done = run("test", folder.root, *words)
    assert (done.exit_code, tuple(asked)) == (130, (str(folder.root), *handed))


def test_a_study_starts_from_what_another_found(
    build_study: Callable[..., StudyFolder], study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = build_study(tmp_path, ["arcface", "cosface"], examined=False)
    studies: list[Study] = []
    monkeypatch.setattr(launch, "launch", lambda study, *given: (studies.append(study), Results(known.root))[1])
    assert run("launch", study_file, "--results", tmp_path / "r", "--start-from", known.root).exit_code == 3
    best = Results(known.root).best["arcface"]
    assert list(studies[0].search.start_at) == ["arcface"]  # this study has no cosface, the other no softmax
    assert studies[0].search.start_at["arcface"]["lr"] == best.params["lr"]
    first = allocation.Contest(studies[0], studies[0].spaces(4))
    given = {each.head: each.params for each in iter(first.next, None) if each.index == 0}
    assert given["arcface"]["lr"] == best.params["lr"]
    assert run("plan", study_file, "--results", tmp_path / "r", "--start-from", known.root).exit_code == 0


@pytest.mark.parametrize("verb", ["plan", "launch"])
def test_a_study_that_has_nothing_to_start_from_is_4(
    build_study: Callable[..., StudyFolder], study_file: Path, tmp_path: Path, verb: str
) -> None:
    known = build_study(tmp_path, ["triplet"], examined=False)
    for folder, said in ((known.root, "this study searches softmax, arcface"), (tmp_path / "nowhere", "study.yaml")):
        done = run(verb, study_file, "--results", tmp_path / "r", "--start-from", folder)
        assert (done.exit_code, done.stdout) == (4, "")
        assert said in done.stderr
    assert not (tmp_path / "r").exists()


def test_export_says_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def export(*given: Any) -> exporting.Exported:
        asked.append(given)
        return exporting.Exported(given[1], ("config.json", "model.onnx"), 3, 1e-7, 1e-7, False)

    monkeypatch.setattr(exporting, "export", export)
    told = run("export", tmp_path / "model", "--out", tmp_path / "out", "--json")
    assert (told.exit_code, json.loads(told.stdout)["files"]) == (0, ["config.json", "model.onnx"])
    assert str(tmp_path / "out") in run("export", tmp_path / "model", "--out", tmp_path / "out").stdout
    assert asked == [(tmp_path / "model", tmp_path / "out")] * 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("verb", ["report", "best", "status"])
def test_a_disk_that_is_full_or_fails_and_a_file_that_is_closed_are_said_in_two_lines(
    monkeypatch: pytest.MonkeyPatch, verb: str, number: int
) -> None:
    def full(*given: Any, **also: Any) -> Any:
        raise OSError(number, "it failed", "a/file")

    monkeypatch.setattr(Results, "__init__", full)
    done = run(verb, "a-study")
    said = f"{type(OSError(number, '')).__name__}: [Errno {number}] it failed: 'a/file'"
    again = "nothing on record is lost; give the command again once that is mended"
    assert (done.exit_code, done.stderr) == (1, f"{said}\n{again}\n")
