"""A search that starts from what another one found: what is carried over, and what the first trials take."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import CannotRun
from orchestrator.search.allocation import Assignment, Contest
from orchestrator.selection.results import Results
from orchestrator.selection.warm_start import start_from
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from search_spaces import class_separation, transfer
from search_spaces.configurations import starting_point
from search_spaces.distributions import Range

CLASSES = 4  # of the known study; a simplex in 3-D
FOUND: dict[str, dict[str, Any]] = {
    "arcface": {"magnitude": "fixed", "margin_rad": 0.31, "scale": 11.5, "head_lr": 0.07},
    "sphereface": {"magnitude": "fixed", "scale": 21.0, "margin_mult": 1.7},
    "softmax": {"weight_decay": 0.003},
}


@pytest.fixture
def known(build_study: Callable[..., StudyFolder], tmp_path: Path) -> Path:
    """The folder of a study whose best settings are those of FOUND; its second trial, with a higher lr, is better."""
    ends = {head: (([0.7], "completed"), ([0.8], "completed")) for head in FOUND}
    return build_study(tmp_path, tuple(FOUND), params=FOUND, trials=ends, examined=False).root


def make_study(heads: dict[str, Any], dimensions: int = 8, **search: Any) -> Study:
    search = {"trials_per_head": 4, "searcher": "random", **search}
    return Study.model_validate({"name": "new", "heads": heads, "embedding_dim": dimensions, "search": search})


def first_proposals(study: Study, classes: int, each: int = 3) -> dict[str, list[Assignment]]:
    """The first trials of each head."""
    contest, found = Contest(study, study.spaces(classes)), dict[str, list[Assignment]]()
    while given := contest.next():
        found.setdefault(given.head, []).append(given)
    return {head: given[:each] for head, given in found.items()}


def test_the_best_of_each_common_head_is_carried_as_transfer_says(known: Path) -> None:
    study = start_from(make_study({"arcface": {}, "sphereface": {}, "softmax": {}, "cosface": {}}), known, 20)
    best = Results(known).best
    assert {head: trial.name for head, trial in best.items()} == {head: f"{head}-001" for head in FOUND}
    assert study.search.start_at == {
        head: transfer.carried(head, best[head].params, (CLASSES, 3), (20, 8)) for head in FOUND
    }
    assert study.search.start_at["softmax"] == best["softmax"].params


def test_a_margin_keeps_its_share_of_the_room_and_a_scale_its_multiple(known: Path) -> None:
    study = start_from(make_study({"arcface": {}}), known, 20)
    here, there = math.acos(-1 / 3), class_separation.separation(20, 8).angle_rad
    found = study.search.start_at["arcface"]
    assert found["margin_rad"] == pytest.approx(0.31 * there / here)
    assert found["scale"] == pytest.approx(11.5 * math.log(19) / math.log(3))
    assert found["head_lr"] == 0.07
    assert found["lr"] == pytest.approx(0.011)


def test_the_same_data_and_dimensions_change_nothing(known: Path) -> None:
    study = start_from(make_study({"arcface": {}}, dimensions=3), known, CLASSES)
    assert study.search.start_at == {"arcface": Results(known).best["arcface"].params}


@pytest.mark.parametrize("searcher", ["tpe", "random"])
@pytest.mark.parametrize("joint", [False, True])
def test_first_the_carried_point_then_the_defaults_then_the_search(known: Path, searcher: str, joint: bool) -> None:
    heads: dict[str, Any] = {"arcface": {"head_lr": {"min": 0.005, "max": 0.2}}, "sphereface": {}, "cosface": {}}
    study = start_from(make_study(heads, searcher=searcher, joint=joint, trials_per_head=6), known, 20)
    spaces, proposed = study.spaces(20), first_proposals(study, 20)
    for head in ("arcface", "sphereface"):
        given = study.search.start_at[head]
        clipped = {
            name: min(max(value, item.low), item.high)
            if isinstance(item := spaces[head][name].parameter, Range)
            else value
            for name, value in given.items()
        }
        assert proposed[head][0].params == pytest.approx(clipped)
        assert proposed[head][1].params == starting_point(spaces[head])
        assert proposed[head][0].params != proposed[head][1].params
    assert proposed["cosface"][0].params == starting_point(spaces["cosface"])
    carried = [one.params for own in proposed.values() for one in own[2:]]
    assert all(params not in study.search.start_at.values() for params in carried)


def test_a_carried_value_is_clipped_into_what_is_searched(known: Path) -> None:
    block = {
        "scale": {"distribution": "q_uniform", "min": 8.0, "max": 48.0, "q": 8.0},
        "margin_rad": {"distribution": "uniform", "min": 0.5, "max": 0.6},
        "head_lr": 0.01,
        "lr": {"values": [0.02, 0.005]},
    }
    study = start_from(make_study({"arcface": block}), known, 20)
    assert study.search.start_at["arcface"]["margin_rad"] < 0.5
    assert study.search.start_at["arcface"]["scale"] == pytest.approx(30.8, abs=0.1)
    first, *_ = first_proposals(study, 20)["arcface"]
    assert {name: first.params[name] for name in ("scale", "margin_rad", "head_lr")} == {
        "scale": 32.0, "margin_rad": 0.5, "head_lr": 0.01,
    }  # fmt: skip
    assert first.params["lr"] in (0.02, 0.005)


def test_among_a_few_values_the_nearest_is_taken(known: Path) -> None:
    study = start_from(make_study({"arcface": {"scale": {"values": [4.0, 32.0, 64.0]}}}), known, 20)
    first, *_ = first_proposals(study, 20)["arcface"]
    assert study.search.start_at["arcface"]["scale"] == pytest.approx(30.8, abs=0.1)
    assert first.params["scale"] == 32.0


def test_without_the_defaults_only_the_carried_point_is_given(known: Path) -> None:
    study = start_from(make_study({"arcface": {}}, start_from_defaults=False), known, 20)
    first, second, _ = first_proposals(study, 20)["arcface"]
    assert first.params["scale"] == study.search.start_at["arcface"]["scale"]
    assert second.params != starting_point(study.spaces(20)["arcface"])


def test_a_start_at_the_defaults_is_tried_once() -> None:
    study = make_study({"arcface": {}})
    defaults = starting_point(study.spaces(10)["arcface"])
    rounded = defaults | {"scale": defaults["scale"] * (1 + 1e-12)}
    assert rounded != defaults
    again = make_study({"arcface": {}}, start_at={"arcface": rounded})
    scales = [one.params.get("scale") for one in first_proposals(again, 10, 4)["arcface"]]
    assert [scale == pytest.approx(defaults["scale"]) for scale in scales] == [True, False, False, False]


def test_what_a_start_leaves_out_is_the_default() -> None:
    study = make_study({"arcface": {}}, start_at={"arcface": {"scale": 30.0}})
    first, second, _ = first_proposals(study, 10)["arcface"]
    defaults = starting_point(study.spaces(10)["arcface"])
    assert first.params == defaults | {"scale": 30.0}
    assert second.params == defaults


def test_what_the_study_says_itself_stands_before_what_is_carried(known: Path) -> None:
    written = make_study({"arcface": {}, "softmax": {}}, start_at={"arcface": {"scale": 30.0}})
    study = start_from(written, known, 20)
    assert study.search.start_at["arcface"] == {"scale": 30.0}
    assert study.search.start_at["softmax"] == Results(known).best["softmax"].params
    assert study.model_dump(exclude={"search"}) == written.model_dump(exclude={"search"})
    assert written.search.start_at == {"arcface": {"scale": 30.0}}


def test_a_study_that_starts_elsewhere_comes_back_from_its_file(known: Path, tmp_path: Path) -> None:
    study = start_from(make_study({"arcface": {}, "sphereface": {}}), known, 20)
    path = tmp_path / "study.yaml"
    path.write_text(study.to_yaml())
    assert Study.load(path) == study


def test_without_a_common_head_there_is_no_start(known: Path) -> None:
    with pytest.raises(CannotRun) as caught:
        start_from(make_study({"cosface": {}, "hybrid": {}}), known, 20)
    (problem,) = caught.value.problems
    assert problem.place == f"--start-from {known}"
    assert "a head that this study searches too" in problem.rule
    assert all(head in problem.value for head in FOUND)
    assert problem.fix == "this study searches cosface, hybrid"


def test_a_study_without_a_result_is_no_start(build_study: Callable[..., StudyFolder], tmp_path: Path) -> None:
    folder = build_study(tmp_path, ("arcface",), trials={"arcface": (([], "failed"),)}, examined=False)
    with pytest.raises(CannotRun) as caught:
        start_from(make_study({"arcface": {}}), folder.root, 20)
    assert caught.value.problems[0].value == "none"
    with pytest.raises(CannotRun, match=r"a study's folder holds a study\.yaml"):
        start_from(make_study({"arcface": {}}), tmp_path / "nowhere", 20)
