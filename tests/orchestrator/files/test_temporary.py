"""Temporary folders lie where TMPDIR says, or elsewhere with a word why, or nothing is begun."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import CannotRun
from orchestrator.files import scratch, temporary
from orchestrator.planning import plan
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study

MakeStudy = Callable[..., Study]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short enough for Ray; tmp_path is not."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """set_to(folder): TMPDIR is that, in a process that has not looked yet."""

    def make(folder: Path) -> None:
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr(tempfile, "tempdir", None)

    return make


def test_a_folder_that_ray_can_use_is_taken_without_a_word(short: Path, set_to: Callable[[Path], None]) -> None:
    set_to(short)
    assert (temporary.parent(), temporary.note(), temporary.problem(0)) == (short, "", None)
    assert scratch.make({"pid": 1}).parent == short


def test_so_is_one_that_is_named_from_here(
    short: Path, set_to: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(short.parent)
    set_to(Path(short.name))
    assert (temporary.parent(), temporary.note()) == (short, "")


def test_another_one_is_taken_with_a_word_why(
    short: Path, set_to: Callable[[Path], None], tiny_study: MakeStudy, tmp_path: Path
) -> None:
    (short / "file").touch()
    (short / "long-long-long-long-long").mkdir()
    for name, why in (
        ("missing", "is not there"),
        ("file", "is a file"),
        ("long-long-long-long-long", "has more than 26 bytes, too many for Ray's sockets below"),
    ):
        set_to(short / name)
        other = temporary.parent()
        assert short not in other.parents
        said = f"TMPDIR: {short / name} {why}; {other} is used"
        assert temporary.note() == said
        assert said in plan.make(tiny_study(), tmp_path).warnings
        assert said in CliRunner().invoke(app, ["doctor", "--json"]).stdout


def test_a_full_one_is_said_and_refused(
    short: Path,
    set_to: Callable[[Path], None],
    tiny_study: MakeStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_to(short)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**7 if path == short else 10**12))
    with pytest.raises(CannotRun) as caught:
        plan.make(tiny_study(), tmp_path)
    (problem,) = caught.value.problems
    assert (problem.place, problem.value) == ("TMPDIR", f"0.0 GB free at {short}, about 0.2 GB needed")
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 4


def test_without_any_a_driver_does_not_begin(
    set_to: Callable[[Path], None], tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(tmp_path / "missing")
    monkeypatch.setattr(temporary, "USUAL", ("/nowhere",))
    monkeypatch.setattr(temporary, "_system", lambda: "")
    with pytest.raises(CannotRun, match=rf"TMPDIR\n.*\n  value  {tmp_path}/missing is not there\n  fix    set TMPDIR"):
        plan.make(tiny_study(), tmp_path)
    with pytest.raises(CannotRun, match="TMPDIR"), StudyFolder(tmp_path / "tiny").writer():
        pass
    assert not (tmp_path / "tiny" / "trials.jsonl").exists()
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 4
