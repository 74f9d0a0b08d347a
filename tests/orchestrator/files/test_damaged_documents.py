"""JSON documents and arrays of a study's folder that are missing, empty, cut or of another kind."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from orchestrator.cli import app, run
from orchestrator.errors import CannotRun, Interrupted
from orchestrator.reporting.progress_view import Silent
from orchestrator.selection.results import Results
from orchestrator.stages import best_models, conclusion, sealed_test
from orchestrator.storage.bucket_sync import HOME_FILE
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.tracking.sweep import Place

BROKEN = {
    "empty": (b"", "it is empty"),
    "cut": (b'{"study_id": "abc', "Unterminated string"),
    "a list": (b"[]", "Input should be"),
    "nested": (b"[" * 100_000, "nested too deeply"),
    "binary": (b"\x93NUMPY\xff", "no UTF-8"),
    "other types": (b'{"study_id": 7, "classes": "ten"}', "it is 'ten'"),
    "a path": (b'{"study_id": "../.."}', "it is '../..'"),
}


@pytest.fixture(scope="module")
def finished(build_study: Callable[..., StudyFolder], tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return build_study(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def folder(finished: StudyFolder, tmp_path: Path) -> StudyFolder:
    return StudyFolder(Path(shutil.copytree(finished.root, tmp_path / finished.root.name)))


@pytest.mark.parametrize(("content", "wrong"), BROKEN.values(), ids=BROKEN)
def test_a_broken_provenance_is_named_and_all_else_is_shown(content: bytes, wrong: str, folder: StudyFolder) -> None:
    folder.provenance_file.write_bytes(content)
    for words in (["status"], ["inspect"], ["best"]):
        shown = CliRunner().invoke(app, [*words, str(folder.root)])
        assert shown.exit_code == 1, shown.output
        assert "softmax" in shown.stdout
        assert str(folder.provenance_file) in shown.stderr
        assert wrong in shown.stderr
    with pytest.raises(CannotRun, match=r"provenance\.json is a JSON object"):
        _ = Results(folder.root).provenance


@pytest.mark.parametrize("content", [content for content, _ in BROKEN.values()], ids=BROKEN)
@pytest.mark.parametrize("verb", ["resume", "confirm", "test"])
def test_with_a_broken_provenance_nobody_goes_on_and_is_told_how_to(
    verb: str, content: bytes, folder: StudyFolder
) -> None:
    folder.provenance_file.write_bytes(content)
    refused = CliRunner().invoke(app, [verb, str(folder.root)])
    assert refused.exit_code == 4, refused.output
    assert str(folder.provenance_file) in refused.stderr
    assert "put it back from a copy; without one, remove it" in refused.stderr
    assert not folder.driver_file.exists()


def test_a_folder_in_place_of_a_document_is_named(folder: StudyFolder) -> None:
    folder.provenance_file.unlink()
    folder.provenance_file.mkdir()
    shown = CliRunner().invoke(app, ["status", str(folder.root)])
    assert shown.exit_code == 1
    assert "Is a directory" in shown.stderr


@pytest.mark.parametrize("content", [content for content, _ in BROKEN.values()], ids=BROKEN)
def test_a_broken_note_of_wandb_or_of_a_driver_stops_nobody(content: bytes, folder: StudyFolder) -> None:
    folder.wandb_file.write_bytes(content)
    folder.driver_file.write_bytes(content)
    assert Place.kept(folder) is None
    assert CliRunner().invoke(app, ["status", str(folder.root)]).exit_code == 0
    with folder.writer():
        assert folder.driver() is not None
    assert not folder.driver_file.exists()


def test_a_broken_note_of_a_working_copy_says_what_to_do(folder: StudyFolder) -> None:
    (folder.root / HOME_FILE).write_text('{"uri": 3}')
    shown = CliRunner().invoke(app, ["status", str(folder.root)])
    assert shown.exit_code == 4
    assert f"remove {folder.root}" in shown.stderr


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"text"], ids=["empty", "cut", "text"])
def test_an_embedding_that_is_broken_is_a_picture_less(content: bytes, folder: StudyFolder) -> None:
    (folder.embeddings / "softmax-000" / "epoch-003.npy").write_bytes(content)
    assert folder.embedding("softmax-000", 3) is None
    assert folder.embedding("softmax-000", 2) is not None
    (folder.embeddings / "labels.npy").write_bytes(content)
    with pytest.raises(CannotRun, match="the classes of the sampled images"):
        folder.labels()


@pytest.mark.parametrize("content", [b"", b"[]", json.dumps({"trial": "softmax-000", "epoch": 3}).encode()])
def test_a_broken_analysis_counts_as_not_taken_yet(content: bytes, folder: StudyFolder) -> None:
    assert Results(folder.root).analysis("softmax")
    (folder.analysis / "softmax.json").write_bytes(content)
    assert Results(folder.root).analysis("softmax") is None
    assert CliRunner().invoke(app, ["inspect", str(folder.root)]).exit_code == 0


def test_labels_of_another_kind_are_refused(folder: StudyFolder) -> None:
    np.save(folder.embeddings / "labels.npy", np.array([[1.5]]))
    with pytest.raises(CannotRun, match="resume"):
        folder.labels()


@pytest.mark.parametrize("content", [b"", b"{}", None], ids=["empty", "other", "missing"])
@pytest.mark.parametrize(
    "name", ["models/softmax/model.safetensors", "models/softmax/config.json", "analysis/softmax.json"]
)
def test_a_model_or_measures_that_are_broken_are_made_again(
    name: str, content: bytes | None, folder: StudyFolder
) -> None:
    known = Results(folder.root)
    assert best_models._is_examined(known, known.best["softmax"])
    (folder.root / name).unlink()
    if content is not None:
        (folder.root / name).write_bytes(content)
    assert not best_models._is_examined(known, known.best["softmax"])


def test_a_study_whose_report_cannot_be_made_says_so_and_fails(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(results: Results) -> None:
        raise ValueError("no room for it")

    monkeypatch.setattr(conclusion.boundary_optima, "write_wider", broken)
    known, said = Results(folder.root), list[str]()
    monkeypatch.setattr(Silent, "say", lambda self, line: said.append(line))
    conclusion.conclude(None, known, Silent())  # type: ignore[arg-type]
    assert "could not be made: ValueError: no room for it" in said[0]
    with pytest.raises(typer.Exit) as ended:
        run._ended(known, json=True)
    assert ended.value.exit_code == 1


def test_a_full_disk_at_the_end_is_an_interruption_whoever_tells_of_it(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(results: Results) -> None:
        raise RuntimeError("I/O error: No space left on device (os error 28)")  # as safetensors does

    monkeypatch.setattr(conclusion.boundary_optima, "write_wider", full)
    with pytest.raises(Interrupted, match="go on with: orchestrator resume"), folder.writer():
        conclusion.conclude(None, Results(folder.root), Silent())  # type: ignore[arg-type]


def test_a_test_whose_report_cannot_be_drawn_is_measured_and_goes_on_with_resume(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(results: Results) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    planned = SimpleNamespace(folder=folder, study=Results(folder.root).study)
    monkeypatch.setattr(sealed_test.continuity, "take_up", lambda *given: planned)
    monkeypatch.setattr(sealed_test.provenance, "go_on", lambda *given: None)
    monkeypatch.setattr(sealed_test, "_train", lambda *given: True)
    for step in ("_foresee", "_look"):
        monkeypatch.setattr(sealed_test, step, lambda *given: None)
    monkeypatch.setattr(sealed_test, "following", lambda *given: nullcontext())
    monkeypatch.setattr(conclusion.report, "write", full)
    said = list[str]()
    monkeypatch.setattr(Silent, "say", lambda self, line: said.append(line))
    assert not sealed_test.open_test(folder.root).concluded
    assert f"No space left on device; everything recorded is safe; orchestrator resume {folder.root}" in said[-1]


def test_what_a_killed_process_has_left_half_written_goes_and_what_is_being_written_stays(folder: StudyFolder) -> None:
    gone, ours = 2**22 + 1, os.getpid()  # no process has the first: ids end before it
    old, new, living = (folder.best / f".arcface.yaml.{pid}" for pid in (gone, gone + 1, ours))
    driver, someones = folder.root / f".driver.json.{gone}", folder.root / f".backup.{gone}"
    for path in (old, new, living, driver, someones):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    for path in (old, living, someones):
        os.utime(path, (0, 0))
    with folder.writer():
        pass
    assert [path.exists() for path in (old, new, living, driver)] == [False, True, True, False]
    assert someones.exists()
