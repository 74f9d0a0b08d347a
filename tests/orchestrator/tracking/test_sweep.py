"""A study as a sweep: its space in W&B's syntax, one parameter for settings of the same name, and where it is kept."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.tracking import connection, sweep, workspace
from orchestrator.tracking.sweep import Place, config, merged
from search_spaces.distributions import Choice, Parameter, Range, constant, parse
from search_spaces.heads import known_heads
from tests.wandb_server import Fault, WandbServer

PATH = "someone/embedding-heads"
HERE = Place(
    server="https://here",
    entity="someone",
    project="embedding-heads",
    sweep="sweep007",
    url="https://app/someone/embedding-heads/sweeps/007",
)
SEVERAL: dict[str, Any] = {
    "softmax": {
        "lr": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1e-2},
        "weight_decay": 0.01,
        "warmup_share": {"values": [0.1, 0.3]},
        "margin_warmup_epochs": {"min": 0, "max": 3},
        "head_lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.1},
        "label_smoothing": 0.1,
    },
    "triplet": {
        "lr": 0.02,
        "weight_decay": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "warmup_share": {"values": [0.3, 0.2]},
        "margin_warmup_epochs": 4,
        "margin_dist": {"min": 0.1, "max": 0.5},
        "mining": {"values": ["semi_hard", "batch_all"]},
        "normalise": {"values": [True, False]},
        "soft_margin": False,
    },
    "arcface": {
        "lr": {"distribution": "log_uniform_values", "min": 2e-3, "max": 5e-2},
        "weight_decay": 0.01,
        "warmup_share": 0.25,
        "margin_warmup_epochs": 0,
        "head_lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.1},
        "margin_rad": {"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1},
        "scale": {"distribution": "log_uniform_values", "min": 8.0, "max": 64.0},
        "detach_margin": {"values": [False, True]},
    },
    "hybrid": {
        "lr": 0.01,
        "weight_decay": 0.0,
        "warmup_share": 0.25,
        "margin_warmup_epochs": 0,
        "head_lr": 0.05,
        "margin_rad": {"min": 0.3, "max": 0.7},
        "crossover_rad": 0.2,
        "scale": 80,
        "detach_margin": True,
    },
}
MERGED: dict[str, Any] = {
    "head": {"values": ["softmax", "triplet", "arcface", "hybrid"]},
    "lr": {"distribution": "log_uniform_values", "min": 1e-3, "max": 5e-2},
    "weight_decay": {"distribution": "uniform", "min": 0.0, "max": 1e-2},
    "warmup_share": {"values": [0.1, 0.3, 0.2, 0.25]},
    "margin_warmup_epochs": {"distribution": "int_uniform", "min": 0, "max": 4},
    "head_lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.1},
    "label_smoothing": {"value": 0.1},
    "margin_dist": {"distribution": "uniform", "min": 0.1, "max": 0.5},
    "mining": {"values": ["semi_hard", "batch_all"]},
    "normalise": {"values": [True, False]},
    "soft_margin": {"value": False},
    "margin_rad": {"distribution": "uniform", "min": 0.1, "max": 0.7},
    "magnitude": {"value": "fixed"},
    "scale": {"distribution": "log_uniform_values", "min": 8.0, "max": 80},
    "detach_margin": {"values": [False, True]},
    "crossover_rad": {"value": 0.2},
}


def study_of(heads: dict[str, Any], **more: Any) -> Study:
    return Study.model_validate({"name": "several", "heads": heads, **more})


def holds(whole: Parameter, part: Parameter) -> bool:
    if isinstance(part, Range):
        return isinstance(whole, Range) and whole.contains(part.low) and whole.contains(part.high)
    return all(whole.contains(value) for value in part.values)


def test_a_study_of_several_heads_is_one_sweep() -> None:
    study = study_of(SEVERAL, description="what it is for")
    assert config(study, study.spaces(4)) == {
        "name": "several",
        "description": "what it is for",
        "method": "custom",
        "metric": {"name": "objective", "goal": "maximize"},
        "parameters": MERGED,
    }


def test_every_searched_setting_of_every_head_there_is_has_its_parameter() -> None:
    study = study_of({head: {} for head in known_heads()})
    parameters = config(study, study.spaces(10))["parameters"]
    assert parameters["head"] == {"values": known_heads()}
    for head, space in study.spaces(10).items():
        for name, item in space.items():
            assert holds(parse(parameters[name]), item.parameter), (head, name)
    searched = {name for space in study.searched().values() for name in space}
    assert not {name for name in searched if "value" in parameters[name]}


@pytest.mark.parametrize(
    "same", [Range(0.1, 0.5, step=0.1), Range(1, 5, integer=True), Range(0.1, 1, log=True), Choice(("a", "b"))], ids=str
)
def test_equal_parameters_stay_what_they_are(same: Parameter) -> None:
    assert merged([same]) == merged([same, replace(same), same]) == same


@pytest.mark.parametrize(
    ("each", "whole"),
    [
        ([Range(0.1, 0.5), Range(0.3, 0.7)], Range(0.1, 0.7)),
        ([Range(0.1, 0.2), Range(0.6, 0.7)], Range(0.1, 0.7)),
        ([Range(0.1, 0.5, log=True), Range(0.2, 0.9, log=True)], Range(0.1, 0.9, log=True)),
        ([Range(0.1, 0.5, log=True), Range(0.2, 0.9)], Range(0.1, 0.9)),
        ([Range(1, 5, integer=True), Range(3, 9, integer=True)], Range(1, 9, integer=True)),
        ([Range(1, 5, integer=True), Range(3.0, 9.0)], Range(1, 9.0)),
        ([Range(0.1, 0.5, step=0.1), Range(0.1, 0.6, step=0.25)], Range(0.1, 0.6)),
    ],
    ids=str,
)
def test_ranges_become_the_range_that_holds_all_of_them(each: list[Parameter], whole: Range) -> None:
    assert merged(each) == merged(each[::-1]) == whole


@pytest.mark.parametrize(
    ("of", "value", "whole"),
    [
        (Range(0.1, 0.5), 0.3, Range(0.1, 0.5)),
        (Range(0.1, 0.5), 0.9, Range(0.1, 0.9)),
        (Range(0.1, 0.5, log=True), 0.01, Range(0.01, 0.5, log=True)),
        (Range(0.1, 0.5, log=True), 0.0, Range(0.0, 0.5)),
        (Range(1, 5, integer=True), 7, Range(1, 7, integer=True)),
        (Range(1, 5, integer=True), 0.5, Range(0.5, 5)),
        (Range(2, 5, integer=True), True, Range(2, 5, integer=True)),
    ],
    ids=str,
)
def test_a_constant_widens_a_range_as_far_as_it_lies_outside(of: Range, value: Any, whole: Range) -> None:
    assert merged([of, constant(value)]) == merged([constant(value), of]) == whole


def test_values_are_kept_in_their_order_and_each_once() -> None:
    assert merged([Choice(("b", "a")), constant("c"), Choice(("a", "d"))]) == Choice(("b", "a", "c", "d"))
    assert merged([constant(0.5), constant(0.25), constant(0.5)]) == Choice((0.5, 0.25))


@pytest.mark.parametrize(
    ("each", "values"),
    [
        ([constant(False), Choice((True, False))], [False, True]),
        ([constant(True), constant(1)], [True, 1]),
        ([Choice((0, 1)), Choice((False, 2, 1.0))], [0, 1, False, 2]),
    ],
)
def test_truth_values_are_no_numbers(each: list[Parameter], values: list[Any]) -> None:
    assert list(map(repr, merged(each).to_wandb()["values"])) == list(map(repr, values))


NUMBERS = st.integers(-50, 50) | st.floats(-50, 50).map(lambda value: round(value, 3))
ENDS = st.tuples(NUMBERS, NUMBERS).filter(lambda ends: ends[0] < ends[1])
RANGES = ENDS.map(lambda ends: Range(*ends)) | ENDS.map(lambda ends: Range(51 + ends[0], 51 + ends[1], log=True))
WHOLE = st.tuples(st.integers(-9, 0), st.integers(1, 9)).map(lambda ends: Range(*ends, integer=True))
CHOICES = st.lists(NUMBERS, min_size=1, max_size=3, unique=True).map(lambda values: Choice(tuple(values)))


@given(st.lists(RANGES | WHOLE | CHOICES, min_size=1, max_size=5))
def test_what_is_merged_holds_all_and_no_more(each: list[Parameter]) -> None:
    whole = merged(each)
    assert all(holds(whole, part) for part in each)
    assert parse(whole.to_wandb()) == whole
    ranges = [part for part in each if isinstance(part, Range)]
    if isinstance(whole, Range):
        known = {end for part in ranges for end in (part.low, part.high)} | {v for part in each for v in part.values}
        assert {whole.low, whole.high} <= known
        assert whole.log <= all(part.log for part in ranges)
        assert whole.integer <= all(part.integer for part in ranges)
    else:
        assert not ranges
        assert set(whole.values) == {value for part in each for value in part.values}


@pytest.mark.parametrize(
    ("heads", "pairs"),
    [
        ({"sphereface": {}, "softmax": {}}, [("margin_mult", "scale")]),
        ({"triplet": {}}, []),
        ({"triplet": {}, "softmax": {}, "arcface": {"scale": 20}}, []),
        ({"arcface": {}, "hybrid": {}, "cosface": {}}, [("margin_rad", "scale"), ("margin_cos", "scale")]),
        ({"pml.ArcFaceLoss": {}}, [("margin", "scale")]),
    ],
)
def test_a_workspace_draws_every_margin_against_the_scale_of_its_head(
    heads: dict[str, Any], pairs: list[tuple[str, str]]
) -> None:
    searched = study_of(heads, embedding_dim=16, search={"allow_unequal": True}).searched()
    assert workspace.margins_and_scales(searched) == pairs


def test_a_place_is_kept_in_the_folder_and_has_links_to_what_there_is(tmp_path: Path) -> None:
    folder, seen = StudyFolder(tmp_path / "study"), HERE.model_copy(update={"workspace": "https://app/view"})
    assert Place.kept(folder) is None
    for place, links in ((HERE, {"sweep": HERE.url}), (seen, {"sweep": HERE.url, "workspace": seen.workspace})):
        place.keep(folder)
        assert Place.kept(folder) == place
        assert place.links == links


@pytest.mark.parametrize(
    ("server", "tracking", "is_known"),
    [
        ("https://here", {}, True),
        ("https://here", {"entity": "someone"}, True),
        ("https://elsewhere", {}, False),
        ("https://here", {"entity": "someone-else"}, False),
        ("https://here", {"project": "another"}, False),
    ],
)
def test_a_place_is_of_one_server_project_and_entity(
    server: str, tracking: dict[str, str], is_known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, study = StudyFolder(tmp_path), study_of({"arcface": {}}, tracking=tracking)
    monkeypatch.setattr(connection, "host", lambda: server)
    monkeypatch.setattr(connection, "api", lambda: SimpleNamespace(default_entity="whose-key-it-is"))
    assert Place.of(folder, study) is None
    HERE.keep(folder)
    assert Place.of(folder, study) == (HERE if is_known else None)
    entity = "someone" if is_known else study.tracking.entity or "whose-key-it-is"
    assert sweep.path_of(folder, study) == f"{entity}/{study.tracking.project}"


@pytest.mark.parametrize("before", [None, "another"])
def test_a_new_sweep_holds_the_study_and_leaves_no_trace_in_this_process(
    before: str | None, server: WandbServer, monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path
) -> None:
    for name in (names := ("WANDB_ENTITY", "WANDB_PROJECT")):
        monkeypatch.delenv(name, raising=False) if before is None else monkeypatch.setenv(name, before)
    known = {"entity": "someone", "project": "embedding-heads", "dir": tmp_path}
    wandb.init(id="before", settings=wandb.Settings(**connection.LEAN), **known).finish()
    spaces = (study := study_of(SEVERAL)).spaces(4)
    capfd.readouterr()
    place = sweep.create(PATH, study, spaces, ["before"])
    server.fault = Fault("refuse", "UpsertSweep")
    with pytest.raises(Exception, match="told to refuse"):
        sweep.create(PATH, study, spaces)
    assert capfd.readouterr().out == ""
    assert [os.environ.get(name) for name in names] == [before, before]
    (held,) = server.sweeps.values()
    url = f"{server.url}/{PATH}/sweeps/{held.id}"
    assert place == Place(server=server.url, entity="someone", project="embedding-heads", sweep=held.id, url=url)
    assert held.config == config(study, spaces)
    assert (held.entity, held.project, held.prior_runs) == ("someone", "embedding-heads", ["before"])
    assert server.runs["before"].sweep == held.id
