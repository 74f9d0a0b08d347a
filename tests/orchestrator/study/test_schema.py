"""What a study means: its defaults, and the spaces that its heads search."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

import orchestrator
from orchestrator.study import validation
from orchestrator.study.schema import Study
from search_spaces.distributions import Choice, Range
from search_spaces.heads import HEADS, settings_of


def make_study(**changes: Any) -> Study:
    return Study.model_validate({"name": "small", "heads": {"arcface": {}}, **changes})


def test_a_study_needs_only_a_name_and_heads() -> None:
    study = make_study()
    assert (study.embedding_dim, study.training.epochs, study.search.trials_per_head) == (3, 12, 20)
    assert study.tracking.mode == "offline"


def test_a_study_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_study().name = "other"  # type: ignore[misc]


def test_every_head_gets_all_its_settings_in_order() -> None:
    study = make_study(heads={head: {} for head in HEADS})
    spaces = study.spaces(10)
    assert list(spaces) == list(HEADS)
    for head, space in spaces.items():
        never_read = {"scale"} if head == "hybrid" else set()  # its magnitude is "feature" in 3-D
        assert list(space) == [name for name in settings_of(head) if name not in never_read]


@pytest.mark.parametrize("head", ["arcface", "cosface", "sphereface", "hybrid"])
def test_a_scale_that_a_study_gives_is_used(head: str) -> None:
    space = make_study(heads={head: {"scale": 20}}).spaces(10)[head]
    assert (space["scale"].parameter, space["magnitude"].parameter) == (Choice((20,)), Choice(("fixed",)))


def test_a_setting_of_a_loss_that_is_read_on_a_condition_is_used_where_a_study_gives_it() -> None:
    space = make_study(heads={"pml.MarginLoss": {"nu": 0.1}}).spaces(10)["pml.MarginLoss"]
    assert (space["nu"].parameter, space["learn_beta"].parameter) == (Choice((0.1,)), Choice((True,)))
    (problem,) = validation.problems(make_study(heads={"pml.PNPLoss": {"b": 2.0, "alpha": 4.0}}))
    assert (problem.place, problem.rule) == ("heads.pml.PNPLoss.b", "b is read where variant is Ib")


def test_a_study_that_gives_a_scale_and_a_magnitude_means_both() -> None:
    magnitude = {"values": ["fixed", "feature"]}
    space = make_study(heads={"arcface": {"scale": 20, "magnitude": magnitude}}).spaces(10)["arcface"]
    assert space["magnitude"].parameter == Choice(("fixed", "feature"))
    assert space["scale"].when == ("magnitude", "fixed")


def test_a_scale_that_is_never_read_is_left_out() -> None:
    assert "scale" not in make_study(heads={"arcface": {"magnitude": "feature"}}).spaces(10)["arcface"]


def test_auto_takes_bounds_from_classes_and_dimensions() -> None:
    wide, narrow = (make_study(embedding_dim=dim).spaces(10)["arcface"]["margin_rad"] for dim in (128, 2))
    assert isinstance(wide.parameter, Range)
    assert isinstance(narrow.parameter, Range)
    assert narrow.parameter.high < wide.parameter.high == 0.7
    assert "10 classes in 2-D" in narrow.reason


def test_a_head_overrides_the_training_section_which_overrides_auto() -> None:
    study = make_study(
        heads={"arcface": {"lr": 0.1, "weight_decay": "auto"}, "softmax": {}}, training={"lr": 0.2, "weight_decay": 0.5}
    )
    spaces = study.spaces(10)
    assert spaces["arcface"]["lr"].parameter == Choice((0.1,))
    assert spaces["softmax"]["lr"].parameter == Choice((0.2,))
    assert spaces["softmax"]["weight_decay"].parameter == Choice((0.5,))
    assert spaces["arcface"]["weight_decay"].parameter == Choice((0.01,))


def test_a_written_space_replaces_auto_and_says_so() -> None:
    space = make_study(heads={"arcface": {"scale": {"min": 8.0, "max": 12.0}}}).spaces(10)["arcface"]["scale"]
    assert space.parameter == Range(8.0, 12.0)
    assert space.reason == "as the study says"
    assert space.start == 12.0  # the default, 18.3, lies above


@pytest.mark.parametrize(
    ("name", "written", "start"),
    [
        ("scale", {"min": 8.0, "max": 64.0}, pytest.approx(18.339, abs=1e-3)),
        ("scale", {"min": 30.0, "max": 64.0}, 30.0),
        ("scale", {"min": 8, "max": 64}, 18),
        ("scale", {"values": [8, 16]}, 16),
        ("scale", 24.0, 24.0),
        ("detach_margin", {"values": [True, False]}, False),
        ("margin_rad", {"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1}, pytest.approx(0.5)),
    ],
    ids=str,
)
def test_the_first_trial_takes_the_default_or_the_nearest_value_that_the_space_holds(
    name: str, written: Any, start: Any
) -> None:
    space = make_study(heads={"arcface": {name: written}}).spaces(10)["arcface"][name]
    assert space.start == start
    assert type(space.start) is type(start) or not isinstance(start, int)
    assert space.parameter.contains(space.start)


def test_a_condition_comes_with_its_setting() -> None:
    space = make_study(heads={"sphereface": {}}).spaces(10)["sphereface"]
    assert space["scale"].when == ("magnitude", "fixed")
    assert space["margin_mult"].when is None
    always_read = make_study(heads={"sphereface": {"magnitude": "fixed"}}).spaces(10)["sphereface"]
    assert always_read["scale"].when is None


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("dimensions", [2, 3, 512])
def test_the_default_spaces_hold_their_first_values(classes: int, dimensions: int) -> None:
    study = make_study(heads={head: {} for head in HEADS}, embedding_dim=dimensions)
    for space in study.spaces(classes).values():
        assert all(item.parameter.contains(item.start) for item in space.values())


def test_the_package_offers_its_names_on_demand_and_no_others() -> None:
    assert orchestrator.Study is Study
    told = {
        line.split()[0]
        for line in str(orchestrator.__doc__).splitlines()
        if line.startswith("    ") and "  " in line.strip()
    }
    assert set(orchestrator.__all__) == told | {"__version__"}
    assert all(hasattr(orchestrator, name) for name in orchestrator.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Stduy'"):
        _ = orchestrator.Stduy
