"""What a report says: the folder's own numbers, every measure in words, at any time of a search."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_modules.metrics.proportions import wilson
from lightning_modules.objectives.accuracy import OBJECTIVE as ACCURACY
from orchestrator.errors import CannotRun
from orchestrator.files.atomic import write_atomic
from orchestrator.reporting import tables
from orchestrator.reporting.pictures import head_pictures
from orchestrator.reporting.report import content, words
from orchestrator.reporting.report.content import collect
from orchestrator.reporting.report.words import measures, written
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder

BuildStudy = Callable[..., StudyFolder]
pytestmark = pytest.mark.usefixtures("undrawn")

ENDS: dict[str, Any] = {
    "softmax": [([0.5, 0.7], "completed"), ([0.6, 0.7], "completed"), ([0.1], "stopped")],
    "arcface": [([0.9], "stopped"), ([], "failed"), ([0.3], "diverged")],
    "cosface": [([0.4], "running"), ([], "running")],
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, build_study: BuildStudy) -> Results:
    """A study under way, with a trial of every kind."""
    return Results(build_study(tmp_path_factory.mktemp("mixed"), [*ENDS], trials=ENDS, examined=False).root)


@pytest.fixture(scope="module")
def told(undrawn: None, mixed: Results) -> dict[str, Any]:
    """What the report of that study says."""
    return collect(mixed)


def test_the_words_know_exactly_the_measures_that_are_taken(made_study: Callable[..., Results]) -> None:
    taken: set[str] = set()
    for dimensions in (2, 3, 5):
        results = made_study(dimensions)
        for head in results.best:
            analysis = results.analysis(head)
            assert analysis
            taken |= set(analysis["measures"])
    assert taken == set(measures(ACCURACY))


def test_every_measure_has_a_name_of_its_own_and_a_meaning() -> None:
    known = measures(ACCURACY).values()
    assert all(measure.label and measure.meaning for measure in known)
    labels = [measure.label for measure in known if not measure.label.startswith("…")]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cluster_accuracy", 0.98765, "0.9877"),
        ("silhouette", -0.25, "-0.2500"),
        ("target_angle_p95_rad", math.pi / 6, "30.0°"),
        ("sphere_share", 1.234, "123.4%"),
        ("separation_ratio", 2.345, "2.35"),
        ("hull_log_volume", 3 * math.log(10), "10^3.00"),
    ],
)
def test_a_measure_is_written_in_its_unit(name: str, value: float, text: str) -> None:
    ((label, shown, meaning),) = written({name: value, "unknown": 1.0, "ami": None}, ACCURACY)
    known = measures(ACCURACY)[name]
    assert (label, shown, meaning) == (known.label, text, known.meaning)


def test_every_measure_of_a_head_is_told(made_study: Callable[..., Results]) -> None:
    results = made_study(3)
    for told in collect(results)["heads"]:
        analysis = results.analysis(told["head"])
        assert analysis
        known = [name for name, value in analysis["measures"].items() if value is not None]
        assert len(told["measures"]) == len(known) > 20
        assert told["measured_on"] == "80 validation images"
        assert ("reached", "0.9000") in told.items()


def test_before_the_end_the_last_epochs_own_measures_are_told(told: dict[str, Any]) -> None:
    softmax = next(head for head in told["heads"] if head["head"] == "softmax")
    labels = [label for label, _, _ in softmax["measures"]]
    assert labels == ["… by angle", "… by distance", "separation by angle", "separation by distance"]
    assert softmax["measured_on"] == "the validation images"


def test_the_leaderboard_is_the_results_own_with_its_intervals(told: dict[str, Any]) -> None:
    arcface, softmax, cosface = told["leaderboard"]
    low, high = wilson(0.7, 80)
    assert softmax == {
        "place": 2, "head": "softmax", "trial": "softmax-000", "reached": "0.7000",
        "interval": f"{low:.4f} – {high:.4f}", "parts": ["0.7000", "0.6900"], "note": "",
        "runs": "1, best of 2", "searched": "0.7000",
        "ties": ("softmax-001",),
    }  # fmt: skip
    assert (arcface["place"], arcface["trial"], arcface["runs"]) == (1, "arcface-000", "1, best of 1")
    assert arcface["note"].startswith("stopped after 1 epoch")
    assert (cosface["place"], cosface["head"], cosface["trial"]) == ("–", "cosface", None)


def test_a_head_tells_of_how_many_trials_its_best_is_the_best(told: dict[str, Any]) -> None:
    assert {head["head"]: head["runs"] for head in told["heads"]} == {
        "softmax": "1, best of 2",
        "arcface": "1, best of 1",
    }


def test_lost_trials_are_told_with_their_reasons(told: dict[str, Any]) -> None:
    lost = {(trial.name, trial.status, trial.reason) for trial in told["lost"]}
    assert lost == {
        ("arcface-001", "failed", "because it failed"), ("arcface-002", "diverged", "because it diverged"),
    }  # fmt: skip


def test_every_trial_is_told_with_its_time_and_settings(told: dict[str, Any], mixed: Results) -> None:
    rows = {row["trial"].name: row for row in told["trials"]}
    assert [*rows] == [*mixed.trials]
    assert rows["softmax-000"]["seconds"] == "5.0"
    assert rows["arcface-001"]["separations"] == [None, None]
    assert rows["softmax-001"]["separations"] == [1.4, 0.7]
    assert [name for name, row in rows.items() if row["is_best"]] == ["softmax-000", "arcface-000"]
    assert rows["softmax-002"]["raw"] == mixed.trials["softmax-002"].params


def test_the_columns_of_the_trials_are_the_settings_that_are_searched(told: dict[str, Any], mixed: Results) -> None:
    searched = {name for space in mixed.study.searched().values() for name in space}
    assert set(told["settings"]) == searched - {"scale"}  # no trial's magnitude reads one
    assert "margin_warmup_epochs" not in searched


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("asha", "ASHA stops the poorer ones early, after epochs 1"),
        ("pbt", "PBT moves their margins while they train"),
        ("none", "none is stopped early"),
    ],
)
def test_what_was_asked_is_told_in_words(tmp_path: Path, build_study: BuildStudy, scheduler: str, said: str) -> None:
    search = {"scheduler": scheduler, "searcher": "random", "trials_per_head": 7}
    asked = dict(content._asked(Results(build_study(tmp_path, search=search, examined=False).root)))
    assert asked["scheduler"] == said
    assert asked["search"] == "2 heads × 7 trials, random, seed 0"
    assert asked["model"] == "strided body, 3-D embedding"
    assert asked["training"] == "3 epochs in batches of 16"
    assert asked["data"] == "idx, 4 classes, 80 images to validate; the test images are sealed"


def test_the_spaces_are_told_with_their_reasons_and_conditions(tmp_path: Path, build_study: BuildStudy) -> None:
    heads = {"sphereface": {}, "arcface": {"margin_rad": {"min": 0.1, "max": 0.3}}}
    results = Results(build_study(tmp_path, [*heads], examined=False).root)
    results.study = results.study.model_copy(update={"heads": heads})
    rows = {(head, name): (space, why) for head, name, space, why in content._spaces(results)}
    assert rows["arcface", "margin_rad"][1] == "as the study says"
    assert ("sphereface", "scale (if magnitude is fixed)") in rows
    assert ("arcface", "weight_decay") not in rows
    assert all(space and why for space, why in rows.values())


def test_where_the_numbers_come_from_is_told(made_study: Callable[..., Results]) -> None:
    results = made_study(3)
    told = dict(content._provenance(results))
    known = json.loads(results.folder.provenance_file.read_text())
    assert told["started"] == known["started"]
    assert told["machine"].endswith("2 cores, 0 GPUs, 8.0 GB")
    assert told["seeds"] == "search 0, training auto, split 0"
    assert told["at a time"] == "2 trials"
    assert f"torch {known['packages']['torch']}" in told["Python"]


@pytest.mark.parametrize(
    ("git", "said"),
    [
        (None, "not in a git checkout"),
        ({"commit": "abc", "changed": False}, "commit abc"),
        ({"commit": "abc", "changed": True}, "commit abc with changes on top"),
    ],
)
def test_the_code_is_told_with_its_commit_and_every_resume(
    tmp_path: Path, build_study: BuildStudy, git: Any, said: str
) -> None:
    folder = build_study(tmp_path, ["softmax"], examined=False)
    known = json.loads(folder.provenance_file.read_text())
    again = [{**known, "started": "2026-02-02"}, {**known, "started": "2026-03-03"}]
    folder.provenance_file.write_text(json.dumps({**known, "git": git, "resumed": again}))
    rows = content._provenance(Results(folder.root))
    assert dict(rows)["code"].endswith(said)
    command = " ".join(known["command"])
    went_on = [value for name, value in rows if name == "went on"]
    assert went_on == [f"2026-02-02: {command}", f"2026-03-03: {command}"]


def test_without_provenance_nothing_is_told_of_it(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, ["softmax"], examined=False)
    folder.provenance_file.unlink()
    assert collect(Results(folder.root))["provenance"] == []


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_the_scatter_holds_every_sampled_point_of_every_best(
    made_study: Callable[..., Results], dimensions: int
) -> None:
    results = made_study(dimensions)
    scatter = json.loads(collect(results)["scatter"])
    assert scatter["labels"] == results.folder.labels().tolist()
    assert [head["head"] for head in scatter["heads"]] == [*results.best]
    for head in scatter["heads"]:
        best = results.best[head["head"]]
        kept = results.folder.embedding(best.name, best.last_epoch)
        assert kept is not None
        points = np.array(head["points"]).T
        assert points.shape == (80, min(dimensions, 3))
        assert len(head["axes"]) == min(dimensions, 3)
        assert head["spherical"] is (head["head"] == "arcface" and dimensions <= 3)
        if dimensions <= 3:
            assert np.allclose(points, kept, rtol=1e-3)


def test_the_scatters_data_cannot_end_the_script_that_holds_it(made_study: Callable[..., Results]) -> None:
    best = head_pictures.bests(made_study(3))[0]
    hostile = replace(best, trial=replace(best.trial, name="</script><!--<script>"))
    scatter = content._scatter([hostile])
    assert scatter
    assert "<" not in scatter
    assert json.loads(scatter)["heads"][0]["title"] == hostile.title


def test_a_head_whose_embedding_is_gone_is_told_without_pictures_of_it(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, examined=False)
    shutil.rmtree(folder.embeddings / "arcface-000")
    told = {head["head"]: head for head in collect(Results(folder.root))["heads"]}
    assert [shown.name for shown in told["arcface"]["pictures"]] == ["arcface-parallel"]
    assert len(told["softmax"]["pictures"]) > 1


def test_the_state_is_what_status_says(told: dict[str, Any], tmp_path: Path, build_study: BuildStudy) -> None:
    assert "6 of 9 trials ended; interrupted; go on with: orchestrator resume" in told["state"]
    results = Results(build_study(tmp_path, ["softmax"], 2, examined=False).root)
    with results.folder.writer():
        assert collect(results)["state"] == tables.state(results)


def test_an_empty_study_is_told(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, trials={"softmax": [], "arcface": []})
    told = collect(Results(folder.root))
    assert (told["heads"], told["sheet"], told["scatter"], told["trials"]) == ([], [], None, [])
    assert [row["trial"] for row in told["leaderboard"]] == [None, None]


def test_a_study_that_has_not_begun_is_refused(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, examined=False)
    shutil.rmtree(folder.embeddings)
    folder.trials_file.unlink()
    collect(Results(folder.root))  # its classes are known from the launch
    folder.provenance_file.unlink()
    with pytest.raises(CannotRun, match="its search has not begun"):
        collect(Results(folder.root))


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"a study's folder holds a study\.yaml"):
        collect(Results(tmp_path))


def test_the_words_are_in_the_order_of_the_report() -> None:
    known = words.measures(ACCURACY)
    names = [*known]
    assert names[:3] == ["cluster_accuracy", "cluster_accuracy_spherical", "cluster_accuracy_euclidean"]
    assert [label for label, _, _ in written(dict.fromkeys(reversed(names), 1.0), ACCURACY)] == [
        known[name].label for name in names
    ]


def test_a_picture_of_an_earlier_report_that_this_one_does_not_have_is_removed(
    tmp_path: Path, build_study: BuildStudy
) -> None:
    folder = build_study(tmp_path, ["softmax"], 2, examined=False)
    for name in ("softmax-sphere.png", "softmax-sphere.svg", "arcface-epochs.gif", "softmax.png", "heads.svg"):
        write_atomic(folder.plots / name, b"of an earlier report")
    collect(Results(folder.root))
    assert {path.name for path in folder.plots.iterdir()} & {"softmax-sphere.png", "softmax-sphere.svg"} == set()
    assert not (folder.plots / "arcface-epochs.gif").exists()
    assert (folder.plots / "softmax.png").exists()
    assert (folder.plots / "heads.svg").exists()
