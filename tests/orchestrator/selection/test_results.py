"""What a study's folder hands back: the best of each head, as a study that trains it once more."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import CannotRun, StudyError
from orchestrator.files.atomic import write_atomic
from orchestrator.planning import plan
from orchestrator.search.allocation import Contest
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from search_spaces.configurations import starting_point
from search_spaces.heads import HEADS

MakeStudy = Callable[..., Study]
MakeRecord = Callable[..., StudyFolder]


def contest_of(study: Study) -> Contest:
    return Contest(study, study.spaces(10))


def won(results: Results) -> None:
    """The best study of every head runs one trial: the same head, seed and parameters."""
    for head, best in results.best.items():
        again = results.best_study(head)
        contest = contest_of(again)
        assert contest.remaining == 1
        only = contest.next()
        assert only
        assert (only.head, only.seed, only.params) == (head, best.seed, best.params)


def test_a_best_file_is_a_study_of_that_one_configuration(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    study = tiny_study(heads={"arcface": {}, "cosface": {}})
    params = starting_point(study.spaces(4)["arcface"])
    folder = make_record(study, ("arcface", 0, [0.4, 0.5], "completed"), ("arcface", 1, [0.6, 0.7], "completed"),
                         params=params)  # fmt: skip
    (path,) = Results(folder.root).write_best()
    assert path == folder.best / "arcface.yaml"
    loaded = Study.load(path)
    assert loaded == Results(folder.root).best_study("arcface")
    planned = plan.make(loaded, folder.root)
    assert (planned.trials, planned.epochs) == (1, 2)
    only = Contest(loaded, planned.spaces).next()
    assert only
    assert (only.seed, only.params) == (101, params)
    assert (loaded.data, loaded.body, loaded.embedding_dim) == (study.data, study.body, study.embedding_dim)
    assert (loaded.training.epochs, loaded.training.batch_size) == (2, 16)
    assert (loaded.name, list(loaded.heads)) == ("tiny-best-arcface", ["arcface"])


def test_a_best_file_says_where_it_comes_from(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study(), ("arcface", 1, [0.6, 0.71239], "completed"), ("softmax", 0, [0.25], "stopped"))
    arcface, softmax = sorted(Results(folder.root).write_best())
    assert arcface.read_text().splitlines()[:4] == [
        "# The best arcface of the study tiny: trial arcface-001, seed 101.",
        "# Cluster accuracy 0.7124 on 40 validation images (n = 1 run, the best of 1: a fresh seed will likely score"
        " a little less).",
        "# Run it again: orchestrator launch <this file>",
        "name: tiny-best-arcface",
    ]
    assert "# This trial was stopped after 1 epochs: no trial of the head ran to its end.\n" in softmax.read_text()


@pytest.mark.parametrize("seed", [0, 3, 99])
def test_any_configuration_of_any_head_trains_again_alone(
    tiny_study: MakeStudy, make_record: MakeRecord, seed: int
) -> None:
    """As randomly as a search proposes them, with those settings that are read on a condition only."""
    search = {"searcher": "random", "seed": seed, "trials_per_head": 3, "start_from_defaults": False}
    heads: dict[str, Any] = {head: {} for head in HEADS}
    heads["softmax"] = {"weight_decay": {"min": 0.0, "max": 0.1}, "lr": 0.004}
    study = tiny_study(heads=heads, search=search)
    contest = contest_of(study)
    for number, given_out in enumerate(iter(contest.next, None)):
        name = f"{study.name}-{number}"
        folder = make_record(
            study.model_copy(update={"name": name}), (given_out.head, 0, [0.5], "completed"), params=given_out.params
        )
        won(Results(folder.root))


@given(lr=st.floats(1e-7, 10), scale=st.floats(1e-3, 1e4), margin=st.floats(0, math.pi - 1e-6))
@settings(deadline=None, max_examples=25)
def test_every_digit_of_a_best_configuration_is_kept(
    tmp_path_factory: pytest.TempPathFactory, lr: float, scale: float, margin: float
) -> None:
    params = {"lr": lr, "margin_rad": margin, "scale": scale, "detach_margin": True}
    folder = StudyFolder(tmp_path_factory.mktemp("digits"))
    folder.study_file.write_text("name: digits\nheads: {arcface: }\n")
    start = {"event": "start", "trial": "arcface-000", "head": "arcface", "index": 0, "seed": 5, "params": params}
    with folder.writer() as writer:
        writer.append(start)
        writer.append({"event": "epoch", "trial": "arcface-000", "epoch": 1, "objective": 0.5, "metrics": {}})
        writer.append({"event": "end", "trial": "arcface-000", "status": "completed", "reason": ""})
    (path,) = Results(folder.root).write_best()
    only = contest_of(Study.load(path)).next()
    assert only
    assert {name: only.params[name] for name in params} == params


def test_the_best_of_long_names_are_told_apart(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    study = tiny_study(name="a" * 64)
    folder = make_record(study, ("arcface", 0, [0.5], "completed"), ("softmax", 0, [0.5], "completed"))
    results = Results(folder.root)
    names = {study.name, *(results.best_study(head).name for head in results.best)}
    assert len(names) == 3


@pytest.mark.parametrize("search_seed", [0, 21_475, 2**31 - 1])
def test_a_best_file_can_be_written_whatever_the_seed_of_the_search(
    tiny_study: MakeStudy, make_record: MakeRecord, search_seed: int
) -> None:
    study = tiny_study(search={"seed": search_seed, "searcher": "grid"}, heads={"softmax": {}})
    given_out = contest_of(study).next()
    assert given_out
    folder = make_record(study)
    with folder.writer() as writer:
        start = {"head": "softmax", "index": 0, "seed": given_out.seed, "params": given_out.params}
        writer.append({"event": "start", "trial": "softmax-000", **start})
        writer.append({"event": "epoch", "trial": "softmax-000", "epoch": 1, "objective": 0.5, "metrics": {}})
        writer.append({"event": "end", "trial": "softmax-000", "status": "completed", "reason": ""})
    (path,) = Results(folder.root).write_best()
    assert Study.load(path).training.seed == given_out.seed


def test_finished_means_that_every_planned_trial_has_ended(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    ends: list[tuple[str, int, list[float], str]] = [
        ("arcface", 0, [0.5], "completed"), ("softmax", 0, [0.5], "stopped"), ("arcface", 1, [], "failed"),
    ]  # fmt: skip
    folder = make_record(tiny_study(), *ends, ("softmax", 1, [0.1], "running"))
    results = Results(folder.root)
    assert (results.planned, len(results.trials), results.finished) == (4, 4, False)
    with folder.writer() as writer:
        writer.append({"event": "end", "trial": "softmax-001", "status": "diverged", "reason": "nan"})
    assert Results(folder.root).finished


def test_what_is_told_as_json(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study(), ("arcface", 0, [0.5], "completed"), ("arcface", 1, [0.5], "completed"))
    told: dict[str, Any] = json.loads(json.dumps(Results(folder.root).as_dict(), allow_nan=False))
    assert {key: told[key] for key in ("study", "planned", "finished", "running")} == {
        "study": "tiny", "planned": 4, "finished": False, "running": False,
    }  # fmt: skip
    first, second = told["leaderboard"]
    assert (first["head"], first["objective"], first["trial"], first["ties"]) == (
        "arcface", 0.5, "arcface-000", ["arcface-001"],
    )  # fmt: skip
    assert (second["head"], second["objective"], second["trial"], second["params"]) == ("softmax", None, None, None)


def test_an_analysis_is_read_once_it_was_made(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study(), ("arcface", 0, [0.5], "completed"))
    results = Results(folder.root)
    assert results.analysis("arcface") is None
    content = {"trial": "arcface-000", "epoch": 1, "measures": {"silhouette": None, "separation_ratio": 2.5}}
    write_atomic(folder.analysis / "arcface.json", json.dumps(content))
    assert results.analysis("arcface") == content
    assert results.analysis("softmax") is None


def test_the_classes_are_those_of_the_data_even_if_the_sample_has_none_of_the_last(
    tiny_study: MakeStudy, make_record: MakeRecord
) -> None:
    folder = make_record(tiny_study())
    folder.save_labels(np.array([0, 1, 2]))
    write_atomic(folder.provenance_file, json.dumps({"classes": 51}))
    assert Results(folder.root).num_classes == 51


@pytest.mark.parametrize(("labels", "classes"), [([0, 1, 2, 1], 3), ([9, 0, 4], 10)])
def test_without_provenance_the_classes_are_those_of_the_sampled_images(
    tiny_study: MakeStudy, make_record: MakeRecord, labels: list[int], classes: int
) -> None:
    folder = make_record(tiny_study())
    folder.save_labels(np.array(labels))
    assert Results(folder.root).num_classes == classes


def test_a_study_that_has_not_begun_does_not_know_its_classes(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study())
    with pytest.raises(CannotRun) as caught:
        _ = Results(folder.root).num_classes
    (problem,) = caught.value.problems
    assert (problem.place, problem.fix) == (str(folder.root), f"orchestrator resume {folder.root}")
    assert problem.rule
    assert problem.value


def test_the_best_as_text_is_the_file_that_is_written(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study(), ("arcface", 0, [0.5], "completed"), ("softmax", 0, [0.4], "stopped"))
    results = Results(folder.root)
    texts = {head: results.best_yaml(head) for head in results.best}
    assert not folder.best.exists()
    assert {path.stem: path.read_text() for path in results.write_best()} == texts
    assert set(texts) == {"arcface", "softmax"}


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRun) as caught:
        Results(tmp_path / "nowhere")
    (problem,) = caught.value.problems
    assert problem.place == str(tmp_path / "nowhere")
    assert "study.yaml" in problem.rule
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_whose_study_was_spoiled_says_so(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: a\nheads: {arcfac: }\n")
    with pytest.raises(StudyError, match=r"study.yaml:2: heads.arcfac"):
        Results(tmp_path)
