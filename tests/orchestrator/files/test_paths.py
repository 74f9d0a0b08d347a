"""Names of files and folders as people write them, and folders in which nothing can be written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.cluster import doctor
from orchestrator.errors import CannotRun, StudyError
from orchestrator.files.paths import local
from orchestrator.planning import plan
from orchestrator.storage.bucket_sync import here, inside, taken
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from search_spaces import STUDIES

MakeStudy = Callable[..., Study]
FOLDERS = ["status", "stop", "best", "report", "resume", "confirm", "test", "sync", "inspect", "dashboard", "fetch"]
WORDS = {  # a verb with everything that it takes from people as a path, each of them odd
    **{verb: [verb, "{odd}"] for verb in FOLDERS},
    "compare": ["compare", "{odd}", "--figure", "{odd}.png"],
    "plan": ["plan", "{odd}"],
    "plan into": ["plan", "~/tiny.yaml", "--results", "{odd}"],
    "plan data": ["plan", "~/tiny.yaml", "--set", "data.source=idx", "--set", "data.path='{odd}'"],
    "plan from": ["plan", "~/tiny.yaml", "--start-from", "{odd}"],
    "launch": ["launch", "~/tiny.yaml", "--results", "{odd}"],
    "cluster": ["doctor", "--cluster", "{odd}"],
    "submit": ["submit", "~/tiny.yaml", "--address", "http://127.0.0.1:1", "--cluster", "{odd}"],
    "doctor": ["doctor", "--results", "{odd}"],
    "export": ["export", "{odd}"],
    "export to": ["export", "model", "--out", "{odd}"],
    "embed": ["embed", "{odd}", "--data", "mnist"],
    "embed of": ["embed", "model", "--data", "{odd}"],
    "embed to": ["embed", "model", "--data", "mnist", "--out", "{odd}"],
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Someone's home; the current folder is another."""
    folder = tmp_path / "home"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_home_is_meant_by_a_tilde_in_every_place(home: Path, tiny_study: MakeStudy) -> None:
    assert local("~/results", "--results") == home / "results"
    assert here("~/results/tiny") == inside("~/results", "tiny") == home / "results" / "tiny"
    (home / "results" / "tiny").mkdir(parents=True)
    assert taken("~/results", "tiny")
    images = Path(str(tiny_study().data.path))
    images.rename(home / "images")
    planned = plan.make(tiny_study(data={"path": "~/images"}), "~/new")
    assert planned.folder.root == home / "new" / "tiny"
    (home / "tiny.yaml").write_text(tiny_study(data={"path": "~/images"}).to_yaml(), encoding="utf-8")
    assert Study.load("~/tiny.yaml").data.path == str(home / "images")
    assert Study.load("~/tiny.yaml", ["data.path=~/others"]).data.path == str(home / "others")
    shutil.copy(Path(__file__).parents[3] / "ray_cluster.kuberay.yaml", home / "cluster.yaml")
    assert [*doctor.of_cluster(Path("~/cluster.yaml"), [])]
    assert not [*Path().iterdir()]


@pytest.mark.parametrize("odd", ["~nobody-of-that-name/x", "x" * 5000, "a/" * 2500, "x\0y", "caf\udce9"])
def test_what_nothing_can_be_called_is_refused_in_a_few_lines(odd: str) -> None:
    with pytest.raises(StudyError) as caught:
        local(odd, "--out")
    assert str(caught.value).startswith("--out\n")
    assert len(str(caught.value)) < 400


def test_a_current_folder_that_was_removed_is_named(home: Path) -> None:
    Path.cwd().rmdir()
    with pytest.raises(StudyError, match="the current folder, which is not there any more"):
        plan.make(Study.load(STUDIES / "quick.yaml"))
    assert local("~/results", "--results") == home / "results"


@pytest.mark.parametrize("verb", WORDS)
def test_every_verb_refuses_it_as_wrong_usage(verb: str, home: Path, tiny_study: MakeStudy) -> None:
    (home / "tiny.yaml").write_text(tiny_study().to_yaml(), encoding="utf-8")
    done = CliRunner().invoke(app, [word.replace("{odd}", "x" * 5000) for word in WORDS[verb]])
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert isinstance(done.exception, SystemExit)
    assert len(done.stderr) < 6000  # an override is repeated as it was typed
    assert not [*Path().iterdir()]


@pytest.mark.parametrize("name", ["-rf", "[bold]%s:smile:", "two\nlines", 'it\'s "a" $(x) 数', "."])
def test_a_folder_may_have_any_name(name: str, home: Path, tiny_study: MakeStudy) -> None:
    planned = plan.make(tiny_study(), Path(name))
    with planned.folder.writer():
        assert StudyFolder(Path(name) / "tiny").driver()
    assert (home.parent / "elsewhere" / name / "tiny").is_dir()


def refused(study: Study, results: Path) -> str:
    with pytest.raises(CannotRun) as caught:
        plan.make(study, results)
    (problem,) = caught.value.problems
    assert (problem.place, problem.fix) == ("results", "use --results elsewhere")
    return problem.value


def test_results_that_cannot_be_made_are_refused(tiny_study: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").touch()
    said = f"{tmp_path / 'dangling'} is a link to nowhere, which is not there"
    assert refused(tiny_study(), tmp_path / "dangling") == said
    assert refused(tiny_study(), tmp_path / "dangling" / "deeper") == said
    assert refused(tiny_study(), tmp_path / "file") == f"{tmp_path / 'file'} is a file"
    assert refused(tiny_study(), tmp_path / "file" / "deeper") == f"{tmp_path / 'file'} is a file"
    (tmp_path / "tiny").symlink_to("nowhere")
    assert "is a link to nowhere" in refused(tiny_study(), tmp_path)
    with pytest.raises(CannotRun, match=r"results\n  rule   a study's folder is made where one can be"):
        StudyFolder(tmp_path / "dangling" / "tiny").writer().__enter__()


@pytest.mark.parametrize("there", [True, False], ids=["there", "to be made"])
def test_results_that_cannot_be_written_are_refused(
    there: bool, tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    if there:
        (results / "tiny").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: tmp_path not in (path, *path.parents))  # root may
    assert refused(tiny_study(), results) == f"{results / 'tiny' if there else tmp_path} is not writable"


def test_a_folder_that_became_read_only_is_refused_before_anything_is_written(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, *mode: str, **more: str) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("orchestrator.files.locks.open", read_only, raising=False)
    with pytest.raises(CannotRun, match=r"must be able to write there\n  value  .*/\.lock: Read-only file system"):
        StudyFolder(tmp_path / "tiny").writer().__enter__()


def test_a_name_that_the_locale_cannot_write_is_refused_with_what_to_set(tmp_path: Path) -> None:
    study = tmp_path / "odd.yaml"
    study.write_text("name: odd\nheads: {arcface: }\ndata: {source: idx, path: données}\n", encoding="utf-8")
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = "from orchestrator.study.schema import Study; Study.load('odd.yaml')"
    done = subprocess.run([sys.executable, "-P", "-c", program], env=environment, cwd=tmp_path, capture_output=True)
    assert re.search(rb"StudyError: .*data.path\n  rule .* texts in (ascii|utf-8)", done.stderr), done.stderr
    assert b"set LC_ALL=C.UTF-8" in done.stderr


def test_a_tilde_in_a_study_is_said_with_its_line(tmp_path: Path, home: Path) -> None:
    (tmp_path / "odd.yaml").write_text("name: odd\nheads: {arcface: }\ndata:\n  source: idx\n  path: ~nobody-x/y\n")
    with pytest.raises(StudyError, match=r"odd\.yaml:5: data\.path\n  rule   ~ is the home of a user"):
        Study.load(tmp_path / "odd.yaml")


def test_the_best_of_a_study_that_cannot_be_written_in_is_shown(
    build_study: Callable[..., StudyFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build_study(tmp_path, examined=False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    done = CliRunner().invoke(app, ["best", str(folder.root)])
    assert (done.exit_code, "arcface" in done.stdout) == (0, True), done.output
    assert done.stderr == f"no best/<head>.yaml is written: {folder.root} is not writable\n"
    assert not folder.best.exists()
