"""A study's YAML: the shipped ones, what is written reads back the same, overrides, paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import StudyError
from orchestrator.study import yaml_file
from orchestrator.study.schema import Study
from search_spaces import STUDIES


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text("name: small\nheads: {arcface: }\ntraining: {epochs: 2, lr: 1e-3}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", yaml_file.shipped())
def test_every_shipped_study_loads_under_its_own_name_and_says_what_it_is(name: str) -> None:
    study = Study.load(name)
    assert study.name == name.replace("_", "-")
    assert study.description
    assert (STUDIES / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")
    assert study == Study.load(STUDIES / f"{name}.yaml") == Study.load(str(STUDIES / f"{name}.yaml"))


@pytest.mark.parametrize("name", yaml_file.shipped())
def test_a_shipped_study_reads_back_from_its_own_yaml(name: str, tmp_path: Path) -> None:
    study = Study.load(name)
    (tmp_path / "again.yaml").write_text(study.to_yaml("one\ntwo"), encoding="utf-8")
    assert Study.load(tmp_path / "again.yaml") == study
    assert (tmp_path / "again.yaml").read_text().startswith("# one\n# two\nname: ")


def test_quick_is_shipped_with_all_six_heads() -> None:
    assert "quick" in yaml_file.shipped()
    assert list(Study.load("quick").heads) == ["softmax", "triplet", "arcface", "cosface", "sphereface", "hybrid"]


printable = st.characters(exclude_categories=["C", "Zl", "Zp"])
texts = st.text(st.one_of(printable, st.sampled_from(" \n:#-'\"{}[]&*!|>%@`,?~")), max_size=150)
spaces = st.one_of(
    st.just("auto"),
    st.floats(1e-7, 10),
    st.floats(1e-7, 1).map(lambda low: {"distribution": "log_uniform_values", "min": low, "max": low + 1}),
    st.lists(st.floats(1e-7, 10), min_size=1, max_size=3, unique=True).map(lambda values: {"values": values}),
)


@given(lr=spaces, description=texts, project=texts, seed=st.integers(0, 2**31 - 1), cpu=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=40)
def test_any_study_reads_back_from_its_own_yaml(
    tmp_path_factory: pytest.TempPathFactory, lr: Any, description: str, project: str, seed: int, cpu: float
) -> None:
    content = {
        "name": "any",
        "heads": {"arcface": {"lr": lr}, "softmax": {}},
        "description": description,
        "tracking": {"project": project, "entity": None},
        "search": {"seed": seed},
        "resources": {"cpu": cpu},
        "training": {"lr": lr},
    }
    study = Study.model_validate(content)
    path = tmp_path_factory.mktemp("any") / "any.yaml"
    path.write_text(study.to_yaml(), encoding="utf-8")
    assert Study.load(path) == study


def test_numbers_are_those_of_yaml_1_2(file: Path) -> None:
    assert Study.load(file).training.lr == 1e-3
    assert Study.load(file, ["training.lr=1e-4"]).training.lr == 1e-4


def test_an_empty_head_and_auto_mean_the_same(tmp_path: Path) -> None:
    loaded = []
    for written in ("", "auto", "{}"):
        (tmp_path / "a.yaml").write_text(f"name: a\nheads:\n  arcface: {written}\n")
        loaded.append(Study.load(tmp_path / "a.yaml"))
    assert loaded[0] == loaded[1] == loaded[2]


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("training.epochs=7", ("training", "epochs"), 7),
        ("name=other", ("name",), "other"),
        ("search.scheduler=none", ("search", "scheduler"), "none"),
        ("tracking.pictures=false", ("tracking", "pictures"), False),
        ("description=a = b", ("description",), "a = b"),
        ("resources.cpu=0.5", ("resources", "cpu"), 0.5),
        ("heads.arcface.scale=16", ("heads", "arcface", "scale"), 16),
        ("heads.arcface.scale={min: 8.0, max: 64.0}", ("heads", "arcface", "scale"), {"min": 8.0, "max": 64.0}),
        ("heads.cosface=auto", ("heads", "cosface"), {}),
        ("heads.cosface.scale=16", ("heads", "cosface", "scale"), 16),
    ],
)
def test_an_override_changes_one_place(file: Path, override: str, place: tuple[str, ...], value: Any) -> None:
    changed = Study.load(file, [override]).model_dump()
    expected = Study.load(file).model_dump()
    node = expected
    for key in place[:-1]:
        node = node.setdefault(key, {})
    node[place[-1]] = value
    assert changed == expected


def test_overrides_apply_in_order_and_build_a_nested_space_key_by_key(file: Path) -> None:
    place = "heads.arcface.margin_rad"
    study = Study.load(file, [f"{place}=auto", f"{place}.min=0.1", f"{place}.max=0.2", f"{place}.max=0.3"])
    assert study.heads["arcface"]["margin_rad"] == {"min": 0.1, "max": 0.3}


@pytest.mark.parametrize(
    ("override", "place", "rule", "fix"),
    [
        ("training.epochs", "--set training.epochs", "an override is path=value", "--set training.epochs=3"),
        ("=3", "--set =3", "an override is path=value", "--set training.epochs=3"),
        ("training.epochs={", "--set training.epochs={", "the value must be valid YAML", ""),
        ("name.first=a", "--set name.first=a", "name holds a value, not keys", "override the value itself"),
        ("training.lr.min=1", "--set training.lr.min=1", "training.lr holds a value, not keys", "the value itself"),
        ("training.epochs=0", "training.epochs (--set training.epochs=0)", "greater than or equal to 1", "range"),
        ("training.epoch=3", "training.epoch (--set training.epoch=3)", "no such key in training", "epochs?"),
        ("nonsense=3", "nonsense (--set nonsense=3)", "no such key in a study", "there are"),
        ("heads.acrface.scale=3", "heads.acrface (--set heads.acrface.scale=3)", "no such head", "arcface?"),
        (
            "heads.arcface.margin_rad=28.6",
            "heads.arcface.margin_rad (--set heads.arcface.margin_rad=28.6)",
            "(rad)",
            "degrees? 28.6° = 0.499 rad",
        ),
        ("search.grace_epochs=3", "search.grace_epochs (--set search.grace_epochs=3)", "at most the number", "1"),
    ],
)
def test_a_wrong_override_is_refused_by_name(file: Path, override: str, place: str, rule: str, fix: str) -> None:
    with pytest.raises(StudyError) as caught:
        Study.load(file, [override])
    (problem,) = caught.value.problems
    assert (problem.place, problem.line) == (place, None)
    assert rule in problem.rule
    assert fix in problem.fix


def test_a_data_path_is_relative_to_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "studies").mkdir()
    path = tmp_path / "studies" / "faces.yaml"
    path.write_text("name: faces\nheads: {arcface: }\ndata: {source: idx, path: ../images}\n")
    assert Study.load(path).data.path == str(tmp_path / "images")
    monkeypatch.chdir(path.parent)
    assert Study.load("faces.yaml").data.path == str(tmp_path / "images")
    absolute = Study.load(path, [f"data.path={tmp_path}"])
    assert absolute.data.path == str(tmp_path)
    copied = tmp_path / "elsewhere.yaml"
    copied.write_text(Study.load(path).to_yaml())
    assert Study.load(copied) == Study.load(path)


def test_prices_are_kept_with_a_study(file: Path) -> None:
    study = Study.load(file, ["resources.prices={currency: EUR, cpu_hour: 0.04, gpu_hour: 1}"])
    assert study.resources.prices.given() == {"cpu": 0.04, "gpu": 1.0}
    assert study.resources.of("arcface").requested() == {"cpu": 1.0}  # a price is nothing that Ray is asked for
    file.write_text(study.to_yaml())
    assert Study.load(file) == study
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert "prices" not in Study.load("quick").to_yaml()


def test_the_yaml_of_a_study_leaves_out_what_is_default(file: Path) -> None:
    text = Study.load(file).to_yaml()
    assert re.findall(r"^\w+", text, re.MULTILINE) == ["name", "heads", "training"]
