"""What a finished search keeps of each head's best: a model that gives its numbers again, and every measure."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from lightning_modules.data.sources import idx
from lightning_modules.data.splits import stratified
from lightning_modules.metrics import measures
from lightning_modules.models import model_config
from orchestrator.planning import plan
from orchestrator.reporting import report
from orchestrator.reporting.progress_view import EventLines, Silent
from orchestrator.selection.results import Results
from orchestrator.stages import best_models, launch
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.trials import checkpoints, tuner
from orchestrator.trials.trial import CHECKPOINT

HEADS = ("arcface", "softmax")  # with class centres, and without
IMAGES = 1000


class Listener(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(scope="module")
def searched(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Results, list[Any]]]:
    """A study that was searched, with what was said, and every part of a dataset that was loaded meanwhile."""
    study = Study.model_validate(
        {
            "name": "small",
            "heads": {head: {} for head in HEADS},
            "data": {"source": "idx", "path": str(small_mnist), "validation_images": IMAGES},
            "body": {"width": 4},
            "training": {"epochs": 2, "batch_size": 64},
            "search": {"trials_per_head": 2, "scheduler": "none", "concurrent_trials": 1},
            "tracking": {"mode": "off"},
        }
    )
    loaded: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        read = idx.images
        patched.setattr(idx, "images", lambda *given: (loaded.append(given[1]), read(*given))[1])
        told = Listener()
        yield launch.launch(study, tmp_path_factory.mktemp("results"), told), [loaded[:], told.said]


@pytest.fixture
def results(searched: tuple[Results, list[Any]]) -> Results:
    """As `launch` has left it; to be read only."""
    return searched[0]


@pytest.fixture
def copied(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """A copy of the study's folder, to be changed; no report is drawn of it."""
    monkeypatch.setattr(report, "write", lambda *given: None)
    shutil.copytree(results.folder.root, tmp_path / "small")
    return StudyFolder(tmp_path / "small")


def resumed(folder: StudyFolder) -> list[str]:
    """What is said when a finished study is resumed."""
    told = Listener()
    assert launch.resume(folder.root, told).finished
    return told.said


def kept_files(folder: StudyFolder) -> dict[str, tuple[bytes, int]]:
    files = [path for root in (folder.models, folder.analysis) for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder.root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_finished_search_keeps_a_model_and_an_analysis_of_every_head_and_writes_the_report(
    searched: tuple[Results, list[Any]],
) -> None:
    """A launch as users start it, on a Ray of its own: of every head a model, all measures, and the report of them."""
    results, (_, said) = searched
    assert set(results.best) == set(HEADS)
    assert set(kept_files(results.folder)) == {
        *(f"models/{head}/{name}" for head in HEADS for name in ("model.safetensors", "config.json")),
        *(f"analysis/{head}.json" for head in HEADS),
    }
    report_html = results.folder.report_file.read_text()
    assert all(best.name in report_html for best in results.best.values())
    for best in results.best.values():
        assert [line for line in said if line.startswith(f"{best.name}: model kept, embedding measured in ")]
    assert not list(results.folder.root.rglob(".*.[0-9]*"))


def test_no_test_image_is_read(searched: tuple[Results, list[Any]]) -> None:
    loaded = searched[1][0]
    assert loaded
    assert set(loaded) == {"train"}


@pytest.mark.parametrize("head", HEADS)
def test_a_kept_model_says_where_it_comes_from(results: Results, head: str) -> None:
    best = results.best[head]
    about = model_config.about(results.folder.models / head)
    assert about == {
        "study": "small",
        "trial": best.name,
        "epoch": best.last_epoch,
        "seed": best.seed,
        "objective": best.objective,
        "objective_is": "cluster accuracy on 1000 validation images, which chose this trial",
    }
    design, _ = model_config.load(results.folder.models / head)
    assert (design.head, design.params) == (head, best.params)
    assert (design.body, design.body_options) == ("strided", {"width": 4, "hidden": 128})
    assert (design.embedding_dim, design.num_classes, design.image_shape) == (3, 10, (28, 28, 1))


@pytest.mark.parametrize("head", HEADS)
def test_a_kept_model_embeds_the_validation_images_as_the_record_says(results: Results, head: str) -> None:
    best, data = results.best[head], plan.load_data(results.study)
    module: Any = model_config.load(results.folder.models / head)[1]
    points = model_config.embed(module, data.validation.images)
    labels = torch.from_numpy(data.validation.labels)
    again = measures.every_epoch(points, labels, data.num_classes, spherical=module.spherical)
    assert again["cluster_accuracy"] == pytest.approx(best.objective, abs=1e-3)

    recorded = results.folder.embedding(best.name, best.last_epoch)
    assert recorded is not None
    sample = np.flatnonzero(stratified(data.validation.labels, IMAGES, seed=0))
    assert (results.folder.labels() == data.validation.labels[sample]).all()
    np.testing.assert_allclose(points[sample].numpy(), recorded.astype(np.float32), rtol=2e-3, atol=2e-3)
    if head == "arcface":
        assert (model_config.centres(results.folder.models / head) == module.centres.detach().numpy()).all()


@pytest.mark.parametrize("head", HEADS)
def test_the_analysis_agrees_with_the_record_of_the_last_epoch(results: Results, head: str) -> None:
    best, analysis = results.best[head], results.analysis(head)
    assert analysis
    assert (analysis["trial"], analysis["epoch"], analysis["images"]) == (best.name, best.last_epoch, "validation")
    assert (analysis["points"], analysis["dimensions"], analysis["spherical"]) == (IMAGES, 3, head == "arcface")
    assert ("nearest_centre_accuracy" in analysis["measures"]) == (head == "arcface")
    recorded = {name.removeprefix("val/"): value for name, value in best.epochs[-1]["metrics"].items()}
    shared = set(recorded) & set(analysis["measures"])
    assert shared >= {"cluster_accuracy", "cluster_accuracy_euclidean", "cluster_accuracy_spherical"}
    assert len(shared) > 5
    assert len(analysis["measures"]) > len(shared) + 5
    for name in shared:
        assert analysis["measures"][name] == pytest.approx(recorded[name], rel=1e-3, abs=1e-3), name
    assert np.array(analysis["confusion"]).sum() == IMAGES
    assert np.trace(analysis["confusion"]) / IMAGES == pytest.approx(best.objective, abs=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_a_kept_model_has_thresholds_from_all_pairs_of_validation_images(results: Results, head: str) -> None:
    data, folder = plan.load_data(results.study).validation, results.folder.models / head
    vectors = model_config.embed(model_config.load(folder)[1], data.images).double().numpy()
    if head == "arcface":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors.T if head == "arcface" else -cdist(vectors, vectors)
    once = np.triu(np.ones(scores.shape, bool), 1)
    same = data.labels[:, None] == data.labels
    known = model_config.calibration(folder)
    assert known is not None
    assert (known.spherical, known.images, known.identities) == (head == "arcface", IMAGES, 10)
    impostors, genuine = scores[once & ~same], scores[once & same]
    assert (known.impostor_pairs, known.genuine_pairs) == (len(impostors), len(genuine))
    assert known.points[-1].false_accept_rate * len(impostors) >= 10
    for point in known.points:
        assert (impostors >= point.threshold).mean() <= point.false_accept_rate + 2 / len(impostors)
        assert (genuine >= point.threshold).mean() == pytest.approx(point.true_accept_rate, abs=1e-4)


def test_a_resumed_finished_study_measures_nothing_again(copied: StudyFolder) -> None:
    before = kept_files(copied)
    assert resumed(copied) == ["drawing the report"]
    assert kept_files(copied) == before


def removed(path: Path) -> None:
    path.unlink()


def of_another(path: Path) -> None:
    path.write_text(path.read_text().replace('"arcface-00', '"arcface-99'))


def of_another_epoch(path: Path) -> None:
    path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 1'))


@pytest.mark.parametrize("change", [removed, of_another, of_another_epoch])
@pytest.mark.parametrize("name", ["analysis/arcface.json", "models/arcface/config.json"])
def test_what_is_missing_or_of_another_trial_is_made_again(
    copied: StudyFolder, name: str, change: Callable[[Path], None]
) -> None:
    before, best = kept_files(copied), Results(copied.root).best["arcface"]
    change(copied.root / name)
    assert kept_files(copied) != before
    said = resumed(copied)
    assert len(said) == 2
    assert said[0].startswith(f"{best.name}: model kept")
    after = kept_files(copied)
    assert {key: content for key, (content, _) in after.items()} == {key: kept for key, (kept, _) in before.items()}
    assert {key for key in after if after[key] == before[key]} == {key for key in before if "softmax" in key}


def forget(folder: StudyFolder, best: Trial) -> None:
    """As if the head's best had never been measured."""
    (folder.analysis / f"{best.head}.json").unlink()
    shutil.rmtree(folder.models / best.head)


def no_checkpoint(folder: StudyFolder, best: Trial) -> None:
    for path in folder.ray.glob(f"attempt-*/{best.name}/checkpoint_*"):
        shutil.rmtree(path)


def half_a_checkpoint(folder: StudyFolder, best: Trial) -> None:
    path = checkpoints.newest(folder, [best])[best.name]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_ray_folder(folder: StudyFolder, best: Trial) -> None:
    shutil.rmtree(folder.ray)


@pytest.mark.parametrize("lose", [no_checkpoint, half_a_checkpoint, no_ray_folder])
def test_a_lost_checkpoint_is_said_and_the_other_head_is_kept(
    copied: StudyFolder, lose: Callable[[StudyFolder, Trial], None]
) -> None:
    best = Results(copied.root).best["arcface"]
    forget(copied, best)
    lose(copied, best)
    line = f"{best.name}: no checkpoint of epoch {best.last_epoch} is left, so no model and no analysis of it"
    assert resumed(copied) == [line, "drawing the report"]
    assert Results(copied.root).analysis("arcface") is None
    assert model_config.about(copied.models / "arcface") == {}
    assert {key.split("/")[1].partition(".")[0] for key in kept_files(copied)} == {"softmax"}


@contextmanager
def asked_to_stop(*given: object) -> Iterator[Any]:
    """A session without Ray, asked to stop before anything was done."""
    yield SimpleNamespace(stopped=True, train=lambda *given: None)


def test_an_unfinished_search_keeps_no_model(copied: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = copied.trials_file.read_bytes().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if json.loads(line)["event"] == "end"]
    copied.trials_file.write_bytes(b"".join(lines[: ends[-1]]))
    monkeypatch.setattr(tuner, "session", asked_to_stop)
    monkeypatch.setattr(best_models, "examine", lambda *given: pytest.fail("measured"))
    told = Listener()
    assert not launch.resume(copied.root, told).finished
    assert told.said == []


def test_the_newest_checkpoint_is_never_ahead_of_the_record(copied: StudyFolder) -> None:
    best = Results(copied.root).best["arcface"]
    assert best.last_epoch == 2
    (attempt,) = copied.ray.glob("attempt-*")
    found = sorted((attempt / best.name).glob(f"checkpoint_*/{CHECKPOINT}"))
    assert [checkpoints.finished_epochs(path) for path in found] == [1, 2]
    assert checkpoints.newest(copied, [best]) == {best.name: found[1]}

    row = best.epochs.pop()
    assert checkpoints.newest(copied, [best]) == {best.name: found[0]}
    best.epochs.append(row)
    later = copied.ray / "attempt-2" / best.name / "checkpoint_000000" / CHECKPOINT
    later.parent.mkdir(parents=True)
    found[1].rename(later)
    assert checkpoints.newest(copied, [best]) == {best.name: later}
    best.epochs.clear()
    assert checkpoints.newest(copied, [best]) == {}
    assert checkpoints.newest(copied, []) == {}


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_checkpoint_is_read_without_running_what_is_pickled_in_it(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "anything": Trap(tmp_path / "trapped")}, tmp_path / CHECKPOINT)
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        checkpoints.load(tmp_path / CHECKPOINT)
    assert checkpoints.finished_epochs(tmp_path / CHECKPOINT) is None
    assert not (tmp_path / "trapped").exists()
    assert checkpoints.finished_epochs(tmp_path / "nowhere.ckpt") is None


def test_a_report_that_cannot_be_drawn_costs_no_search(
    copied: StudyFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(results: Results) -> None:
        raise MemoryError("no room for a figure")

    monkeypatch.setattr(report, "write", fail)
    shutil.rmtree(copied.best)
    results = launch.resume(copied.root, EventLines())
    assert results.finished
    assert (results.folder.best / "softmax.yaml").exists()
    assert "MemoryError: no room for a figure; everything recorded is safe" in capsys.readouterr().err
