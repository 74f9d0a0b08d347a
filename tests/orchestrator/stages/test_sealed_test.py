"""The sealed test as it is opened: what trains the final models, when the images are read, and that it is once."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from lightning_modules.data.sources import idx
from lightning_modules.metrics import clusters
from lightning_modules.models import model_config
from orchestrator.cli import app
from orchestrator.errors import CannotRun
from orchestrator.reporting import leaderboards, report
from orchestrator.selection.results import Results
from orchestrator.stages import test_images
from orchestrator.stages.sealed_test import open_test
from orchestrator.storage.event_log import read_events
from orchestrator.storage.record_writer import Writer
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.trials import tuner
from orchestrator.trials.tuner import Stage

ROOT = Path(__file__).parents[3]
HEADS, SEEDS, EPOCHS, IMAGES = ("softmax", "cosface"), 2, 2, 500
MakeStudy = Callable[..., Study]
MakeRecord = Callable[..., StudyFolder]


@pytest.fixture(autouse=True)
def nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(report, "write", lambda *given: None)  # it has tests of its own


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "session", lambda *given: pytest.fail("a model was trained"))


@pytest.fixture
def copied(opened: Any, tmp_path: Path) -> StudyFolder:
    """A copy of the opened study for a test that changes it."""
    return StudyFolder(Path(shutil.copytree(opened.folder.root, tmp_path / "small")))


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def measured(folder: StudyFolder, opening: int = 1) -> dict[str, dict[str, float]]:
    """run → what an opening measured of it."""
    events = [event for event in read_events(folder.test_file) if event["event"] == "measured"]
    return {event["run"]: event["measures"] for event in events if event["opening"] == opening}


def printed(results: Results) -> str:
    told = io.StringIO()
    for thing in leaderboards.ending(results):
        Console(file=told, width=300).print(thing, highlight=False, markup=False)
    return told.getvalue()


def final_runs(results: Results) -> list[str]:
    return [f"{best.name}-final-{number}" for number in range(1, SEEDS + 1) for best in results.best.values()]


def test_a_stop_among_the_final_models_leaves_the_test_sealed(opened: Any) -> None:
    test = opened.sealed.test
    assert all(look.is_of_metadata for look in opened.looks["final models"])
    assert test.openings == []
    assert test.heads == {}
    ended = [name for name, run in test.runs.items() if run.status == "completed"]
    assert ended[:1] == final_runs(opened.sealed)[:1]
    assert len(ended) < len(HEADS) * SEEDS
    assert test.said() == "the test images are sealed"


def test_every_final_model_was_trained_once_on_fresh_seeds_that_the_heads_share(opened: Any) -> None:
    results = Results(opened.folder.root)
    events = read_events(opened.folder.test_file)
    names = final_runs(results)
    for kind, times in (("start", 1), ("epoch", EPOCHS), ("end", 1)):
        found = Counter(event["trial"] for event in events if event["event"] == kind)
        assert found == dict.fromkeys(names, times)
    seeds = {head: [run.seed for run in results.test.runs.values() if run.head == head] for head in HEADS}
    assert seeds["softmax"] == seeds["cosface"]
    assert len(set(seeds["softmax"])) == SEEDS
    assert results.confirmation
    others = (*results.trials.values(), *results.confirmation.runs.values())
    assert not {*seeds["softmax"]} & {run.seed for run in others}
    for name, final in results.test.runs.items():
        assert final.params == results.best[name.partition("-")[0]].params


def test_final_models_are_trained_on_train_and_validation_images(opened: Any, small_mnist: Path) -> None:
    everything = idx.load(small_mnist, "train")
    pixels = everything.images.astype(np.float64)
    given = [each["data"] for each in opened.shipped["final"] if "data" in each]
    assert len(given) == 2  # once before the stop, once after it
    for data in given:
        assert Counter(image.tobytes() for image in data.train.images) == Counter(
            image.tobytes() for image in everything.images
        )
        assert (data.pixel_mean, data.pixel_std) == pytest.approx((pixels.mean(), pixels.std()), rel=1e-9)
    for job in ("search", "confirmation"):
        attempts = [each["data"] for each in opened.shipped[job] if "data" in each]
        assert attempts
        for data in attempts:
            assert (len(data.train), len(data.validation)) == (2000, 1000)
            own = data.train.images.astype(np.float64)
            assert (data.pixel_mean, data.pixel_std) == pytest.approx((own.mean(), own.std()), rel=1e-9)
            assert abs(data.pixel_mean - pixels.mean()) > 1e-6
    for head in HEADS:
        design, _ = model_config.load(opened.folder.final_models / head)
        assert (design.pixel_mean, design.pixel_std) == pytest.approx((pixels.mean(), pixels.std()), rel=1e-9)


def test_the_opening_is_on_record_with_its_commit_before_a_test_image_is_read(opened: Any) -> None:
    assert opened.looks["launch"] == []
    looks = [look for look in opened.looks["opening"] if not look.is_of_metadata]
    assert {look.name for look in looks} == {"t10k-images-idx3-ubyte.gz"}
    assert all(look.readers == ["read", "images", "images"] for look in looks)
    names = final_runs(Results(opened.folder.root))
    for _, events, _ in looks:
        assert events[-1]["event"] == "opened"
        assert (events[-1]["number"], events[-1]["by"], events[-1]["forced"]) == (1, "test", False)
        assert {event["trial"] for event in events if event["event"] == "end"} == set(names)
        assert [event for event in events if event["event"] == "measured"] == []
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    git = looks[0].events[-1]["git"]
    assert (git["commit"] if git else None) == (done.stdout.strip() if done.returncode == 0 else None)


@pytest.mark.parametrize("head", HEADS)
def test_what_was_measured_is_what_the_kept_model_gives(opened: Any, small_mnist: Path, head: str) -> None:
    test, folder = idx.load(small_mnist, "t10k"), opened.folder.final_models / head
    best = Results(opened.folder.root).best[head].name
    name = f"{best}-final-1"
    about = model_config.about(folder)
    assert (about["trial"], about["configuration"]) == (name, best)
    assert about["trained_on"] == "train and validation images"
    _, module = model_config.load(folder)
    vectors = model_config.embed(module, test.images)
    accuracy = clusters.cluster_accuracy(vectors, torch.from_numpy(test.labels), 10, spherical=module.spherical)
    found = measured(opened.folder)
    assert found[name]["cluster_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert accuracy > 0.2
    scored = Results(opened.folder.root).test.heads[head]
    values = [found[f"{best}-final-{number}"]["cluster_accuracy"] for number in (1, 2)]
    assert (scored.images, scored.estimate.n) == (IMAGES, SEEDS)
    assert scored.estimate.mean == pytest.approx(sum(values) / 2, abs=1e-12)
    assert len(set(values)) == 2


def test_what_was_measured_is_said_with_the_one_opening(opened: Any) -> None:
    results = Results(opened.folder.root)
    text, told = printed(results), results.as_dict()["test"]
    title = "500 test images, trained on train and validation images; ± 95% over seeds and over images"
    assert title in " ".join(text.split())
    assert "The test images were opened once, 20" in text
    assert "CAUTION" not in text
    assert (len(told["openings"]), told["said"][:32]) == (1, "the test images were opened once")
    for head in HEADS:
        scored = results.test.heads[head]
        assert f"{scored.estimate.mean:.4f}" in text
        assert (told["heads"][head]["mean"], told["heads"][head]["n"]) == (scored.estimate.mean, SEEDS)
        assert (
            f"# On 500 test images {scored.estimate.written(results.study.objective)}"
            in (opened.folder.best / f"{head}.yaml").read_text()
        )
        assert Study.load(opened.folder.best / f"{head}.yaml").search.trials_per_head == 1


def test_a_second_opening_is_refused(
    copied: StudyFolder, no_training: None, looks_at_the_test: Callable[..., Any]
) -> None:
    before = copied.test_file.read_bytes()
    with looks_at_the_test(copied) as looks:
        with pytest.raises(CannotRun) as caught:
            open_test(copied.root)
        with pytest.raises(CannotRun):
            open_test(copied.root, seeds=5)
        done = run("test", copied.root)
    (problem,) = caught.value.problems
    assert problem.rule.startswith("a study opens its test set once")
    assert problem.value.startswith("the test images were opened once")
    assert f"orchestrator test {copied.root} --again" in problem.fix
    assert (done.exit_code, done.stdout) == (4, "")
    assert "a study opens its test set once" in done.stderr
    assert looks == []
    assert copied.test_file.read_bytes() == before


@pytest.mark.parametrize("how", ["Python", "the command line"])
def test_an_opening_that_is_forced_is_marked_wherever_it_is_told(
    copied: StudyFolder, no_training: None, how: str
) -> None:
    before = copied.test_file.read_bytes()
    if how == "Python":
        open_test(copied.root, again=True)
    else:
        done = run("test", copied.root, "--again")
        assert done.exit_code == 0
        assert "CAUTION: the test images were opened 2 times" in done.stdout
    results = Results(copied.root)
    assert copied.test_file.read_bytes().startswith(before)
    assert [(each["number"], each["forced"]) for each in results.test.openings] == [(1, False), (2, True)]
    assert measured(copied, 2) == measured(copied, 1)
    said = "CAUTION: the test images were opened 2 times"
    assert said in printed(results)
    assert json.loads(run("status", copied.root, "--json").stdout)["test"]["said"].startswith(said)
    for head in HEADS:
        assert f"# {said}" in (copied.best / f"{head}.yaml").read_text()


@contextmanager
def trains_at_once(planned: Any, writer: Writer, *more: Any) -> Iterator[Any]:
    """A session in which every run ends at once, with the model of the same head's first final one."""

    def train(stage: Stage, record: Writer) -> None:
        while given := stage.source.next():
            start = {"head": given.head, "index": given.index, "seed": given.seed, "params": given.params}
            record.append({"event": "start", "trial": given.name, **start})
            record.append({"event": "epoch", "trial": given.name, "epoch": 1, "objective": 0.5, "metrics": {}})
            record.append({"event": "end", "trial": given.name, "status": "completed", "reason": ""})
            (model,) = planned.folder.ray.glob(f"attempt-*/{given.head}-*-final-2")
            shutil.copytree(model, planned.folder.ray / "attempt-99" / given.name)

    yield SimpleNamespace(stopped=False, train=train)


def test_another_look_with_more_models_is_a_second_opening(
    copied: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "session", trains_at_once)
    results = open_test(copied.root, seeds=3, again=True)
    assert len(results.test.runs) == 3 * len(HEADS)
    assert [(each["number"], each["forced"]) for each in results.test.openings] == [(1, False), (2, True)]
    assert len(measured(copied, 2)) == 3 * len(HEADS)


def cut(folder: StudyFolder, measured_before: int, torn: bytes = b"") -> bytes:
    """The record as a driver left it that was killed after so many measurements, within the next."""
    lines = folder.test_file.read_bytes().splitlines(keepends=True)
    (at,) = (number for number, line in enumerate(lines) if json.loads(line)["event"] == "opened")
    whole = b"".join(lines[: at + 1 + measured_before])
    folder.test_file.write_bytes(whole + torn)
    return whole


@pytest.mark.parametrize(("done", "torn"), [(0, b""), (0, b'{"event": "meas'), (1, b""), (3, b"{")])
def test_an_opening_that_was_cut_short_is_completed_and_is_no_new_one(
    copied: StudyFolder, no_training: None, done: int, torn: bytes
) -> None:
    complete = measured(copied)
    written = cut(copied, done, torn)
    half = Results(copied.root)
    assert half.test.heads == {}
    assert "test images, trained on" not in printed(half)
    shutil.rmtree(copied.final_models)
    results = open_test(copied.root)
    assert copied.test_file.read_bytes().startswith(written)
    assert len(results.test.openings) == 1
    assert measured(copied) == complete
    assert set(results.test.heads) == set(HEADS)
    with pytest.raises(CannotRun):
        open_test(copied.root)


def test_all_models_are_measured_on_the_same_images(
    copied: StudyFolder, no_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete, read = measured(copied), test_images.read
    at = next(number for number, event in enumerate(read_events(copied.test_file)) if event["event"] == "read")
    lines = copied.test_file.read_bytes().splitlines(keepends=True)
    copied.test_file.write_bytes(b"".join(lines[: at + 2]))
    with monkeypatch.context() as patch:
        patch.setattr(test_images, "read", lambda study: read(study).take(np.arange(IMAGES)[::-1]))
        with pytest.raises(CannotRun, match="measured on the same test images"):
            open_test(copied.root)
        assert len(measured(copied)) == 1
    open_test(copied.root)
    assert measured(copied) == complete


UNFINISHED: dict[str, tuple[dict[str, Any], list[Any], str]] = {
    "a trial still runs": ({}, [("arcface", 0, [0.5], "completed"), ("arcface", 1, [0.5], "running")], "not finished"),
    "a confirmation is owed": (
        {"confirmation": {"top": 1, "seeds": 2}},
        [("arcface", index, [0.5, 0.6], "completed") for index in (0, 1)],
        "not finished",
    ),
    "all failed": ({}, [("arcface", index, [], "failed") for index in (0, 1)], "no trial has a result"),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_before_the_selection_is_over_nothing_is_opened(
    tiny_study: MakeStudy, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, no_training: None, case: str
) -> None:
    changes, trials, value = UNFINISHED[case]
    folder = make_record(tiny_study(heads={"arcface": {}}, **changes), *trials)
    monkeypatch.setattr(idx, "images", lambda *given: pytest.fail("images were read"))
    for again in (False, True):
        with pytest.raises(CannotRun) as caught:
            open_test(folder.root, again=again)
        (problem,) = caught.value.problems
        assert problem.rule == "the test set is opened after the selection"
        assert value in problem.value
    done = run("test", folder.root, "--again")
    assert (done.exit_code, done.stdout) == (4, "")
    assert not folder.test_file.exists()
