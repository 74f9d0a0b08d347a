"""What weakens a number stays beside it: dropped in a race, asked for later, chosen or looked at after the opening."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_modules.data.images import LabelledImages, Metadata
from orchestrator.errors import CannotRun
from orchestrator.inference import embed_dataset
from orchestrator.reporting import leaderboards
from orchestrator.selection.confirmation import Confirmation
from orchestrator.selection.replicates import Replicates, ReplicationPlan
from orchestrator.selection.results import Results
from orchestrator.selection.statistics import Difference
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder

BuildStudy = Callable[..., StudyFolder]
NAMES, SEEDS = ("arcface-000", "arcface-001"), (11, 12, 13, 14, 15)
TRIALS = {name: Trial(name, "arcface", number, number, {"lr": 0.1 * number}) for number, name in enumerate(NAMES)}
OPENED = {"event": "opened", "number": 1, "by": "test", "forced": False, "git": None, "orchestrator": "0.1.0"}


def race(repeats: Replicates, score: Callable[[str, int], float]) -> list[str]:
    """Runs everything to its end, one at a time; returns the names of the runs."""
    done = []
    for run in iter(repeats.next, None):
        repeats.epoch(run.name, {"epoch": 1, "objective": score(run.name, run.seed)})
        repeats.end(run.name, "completed")
        done.append(run.name)
    return done


def far_behind(name: str, seed: int) -> float:
    return (0.9 if name.startswith("arcface-000") else 0.8) + 0.001 * (seed % 3)


def test_whoever_is_dropped_is_told_once_with_the_leader_and_how_far_behind() -> None:
    told: list[Difference] = []
    repeats = Replicates(ReplicationPlan(NAMES, SEEDS, racing=True), list(TRIALS.values()), "seed", on_drop=told.append)
    done = race(repeats, far_behind)
    assert [(each.first, each.second, each.estimate.n) for each in told] == [("arcface-000", "arcface-001", 3)]
    assert told[0].estimate.mean == pytest.approx(0.1)
    assert [name for name in done if name.startswith("arcface-001")] == [f"arcface-001-seed-{n}" for n in (1, 2, 3)]


def test_a_recorded_drop_holds_when_more_is_asked_for() -> None:
    asked = [ReplicationPlan(NAMES, SEEDS[:4], racing=True), ReplicationPlan(NAMES, SEEDS, racing=True)]
    events: list[dict[str, Any]] = [asked[0].event()]
    events.append({"event": "dropped", "configuration": "arcface-001", "seeds": 3, "behind": "arcface-000"})
    known = Confirmation.read([*events, asked[1].event()], TRIALS)
    assert known
    done = race(known.repeats(), lambda name, seed: 0.9)
    assert done == [f"arcface-000-seed-{number}" for number in range(1, 6)]


def test_a_confirmation_that_grew_says_so(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, ["softmax"], confirmed={"softmax-000": [0.8, 0.9]}, examined=False)
    assert leaderboards.cautions(Results(folder.root)) == []
    lines = folder.confirmation_file.read_text().splitlines(keepends=True)
    first = json.loads(lines[0])
    folder.confirmation_file.write_text(json.dumps({**first, "seeds": first["seeds"][:1]}) + "\n" + "".join(lines))
    (said,) = leaderboards.cautions(Results(folder.root))
    assert "1 configurations on 1 seeds, then 1 configurations on 2 seeds" in said


@pytest.mark.parametrize(
    ("at", "late"), [("2026-01-01T10:59:00.000+00:00", True), ("2026-01-01T23:00:00.000+00:00", False)]
)
def test_what_was_asked_after_the_opening_is_chosen_after_a_look(
    tmp_path: Path, build_study: BuildStudy, at: str, late: bool
) -> None:
    folder = build_study(tmp_path, ["softmax"], confirmed={"softmax-000": [0.8, 0.9]}, examined=False)
    folder.test_file.write_text(json.dumps({**OPENED, "time": at}) + "\n")
    results = Results(folder.root)
    assert results.chosen_after_a_look == late
    assert any("confirmed further after" in said for said in leaderboards.cautions(results)) == late


@pytest.mark.parametrize(("looks", "late"), [(1, True), (0, False)])
@pytest.mark.parametrize("at", ["2026-01-01T10:59:00.000+00:00", "2026-01-01T23:00:00.000+00:00"])
def test_a_clock_that_steps_hides_no_look_and_makes_none_up(
    tmp_path: Path, build_study: BuildStudy, at: str, looks: int, late: bool
) -> None:
    folder = build_study(tmp_path, ["softmax"], confirmed={"softmax-000": [0.8, 0.9]}, examined=False)
    asked, *rest = folder.confirmation_file.read_text().splitlines(keepends=True)
    folder.confirmation_file.write_text(json.dumps({**json.loads(asked), "looks": looks}) + "\n" + "".join(rest))
    folder.test_file.write_text(json.dumps({**OPENED, "time": at}) + "\n")
    results = Results(folder.root)
    assert results.chosen_after_a_look == late
    assert any("confirmed further after" in said for said in leaderboards.cautions(results)) == late


@pytest.fixture
def own(tmp_path: Path, build_study: BuildStudy, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """A finished study with a model, whose test images are made up."""
    images = LabelledImages(np.zeros((3, 8, 8), np.uint8), np.zeros(3, np.int64))
    monkeypatch.setattr(embed_dataset, "_load", lambda data, part: (images.images, images.labels))
    monkeypatch.setattr(embed_dataset, "_described", lambda data, part: Metadata(images.image_shape, images.labels))
    return build_study(tmp_path, ["arcface"])


DATA = "/nowhere/at/all"


def test_the_sealed_images_of_a_study_are_not_embedded_by_accident(own: StudyFolder, tmp_path: Path) -> None:
    model, out = own.models / "arcface", tmp_path / "v.npy"
    with pytest.raises(CannotRun, match="--open-test looks at them, on record"):
        embed_dataset.embed(model, DATA, "test", out)
    assert not out.exists()
    assert not Results(own.root).test.openings
    embed_dataset.embed(model, DATA, "train", out)
    assert not Results(own.root).test.openings


def test_who_means_it_is_written_down(own: StudyFolder, tmp_path: Path) -> None:
    embed_dataset.embed(own.models / "arcface", DATA, "test", tmp_path / "v.npy", open_test=True)
    (opening,) = Results(own.root).test.openings
    assert opening["by"] == "embed"
    assert opening["forced"]


def test_a_look_that_cannot_be_is_not_written_down(
    own: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_dataset, "_described", lambda data, part: Metadata((32, 32, 1), np.zeros(3, np.int64)))
    with pytest.raises(CannotRun, match="this model takes images of 8 × 8 × 1"):
        embed_dataset.embed(own.models / "arcface", DATA, "test", tmp_path / "v.npy", open_test=True)
    monkeypatch.undo()
    with pytest.raises(CannotRun, match="the images must be readable"):
        embed_dataset.embed(own.models / "arcface", DATA, "test", tmp_path / "v.npy", open_test=True)
    assert not own.test_file.exists()


def test_images_of_elsewhere_are_nobodys_test(own: StudyFolder, tmp_path: Path) -> None:
    embed_dataset.embed(own.models / "arcface", "/some/other/place", "test", tmp_path / "v.npy")
    assert not Results(own.root).test.openings
