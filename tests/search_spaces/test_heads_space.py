"""The default space of every head: sound for few and many classes and dimensions, and in step with what is trained."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

import lightning_modules.heads
from lightning_modules.heads.base import EmbeddingModule, Recipe
from search_spaces import class_separation
from search_spaces.angular_slack import SLACK_KEPT
from search_spaces.distributions import Choice, Range
from search_spaces.feasibility import refutation
from search_spaces.heads import HEADS, settings_of, space_of
from search_spaces.settings import TRAINING, Setting

CLASSES = [2, 3, 4, 5, 10, 26, 100, 157, 158, 400, 1000]
DIMENSIONS = [2, 3, 4, 5, 8, 16, 64, 128, 512]
ANGULAR = [head for head in HEADS if HEADS[head].margin]
SETTINGS = [(head, name) for head in HEADS for name in settings_of(head)]
SHAPES = [(classes, dimensions) for classes in CLASSES for dimensions in DIMENSIONS]


@pytest.mark.parametrize(("head", "name"), SETTINGS)
def test_auto_is_a_sound_space_for_any_classes_and_dimensions(head: str, name: str) -> None:
    setting = settings_of(head)[name]
    for classes, dimensions in [*SHAPES, (100_000, 512)]:
        auto = setting.auto(classes, dimensions)
        where = f"{classes} classes in {dimensions}-D: {auto}"
        if isinstance(auto.parameter, Range):
            assert auto.parameter.low < auto.parameter.high, where
            assert not auto.parameter.log or auto.parameter.low > 0, where
            ends: tuple[object, ...] = (auto.parameter.low, auto.parameter.high)
        else:
            ends = auto.parameter.values
        assert auto.parameter.contains(auto.start), where
        assert [setting.refusal(end) for end in ends] == [None] * len(ends), where  # type: ignore[arg-type]
        assert auto.reason, where


def test_every_head_file_has_a_space_and_every_space_a_head_file() -> None:
    assert lightning_modules.heads.names() == sorted(HEADS)


@pytest.mark.parametrize("head", HEADS)
def test_a_head_takes_every_one_of_its_settings(head: str) -> None:
    head_class = lightning_modules.heads.head_class(head)
    assert issubclass(head_class, EmbeddingModule)
    taken = {name for name, argument in inspect.signature(head_class).parameters.items() if argument.kind == 3}
    recipe = {field.name for field in dataclasses.fields(Recipe)}
    assert set(settings_of(head)) - recipe == taken
    assert set(TRAINING) <= recipe


@pytest.mark.parametrize("head", HEADS)
def test_what_a_head_needs_is_never_left_out(head: str) -> None:
    """A setting that is read on a condition only has a default in the constructor."""
    arguments = inspect.signature(lightning_modules.heads.head_class(head)).parameters
    conditional = [name for name, setting in HEADS[head].settings.items() if setting.when]
    assert all(arguments[name].default is not inspect.Parameter.empty for name in conditional)


def test_a_condition_names_an_earlier_setting_and_one_of_its_values() -> None:
    conditions = [(head, name, s.when) for head in HEADS for name, s in HEADS[head].settings.items() if s.when]
    assert conditions == [(head, "scale", ("magnitude", "fixed")) for head in ANGULAR]
    for head in ANGULAR:
        names = list(HEADS[head].settings)
        assert names.index("magnitude") < names.index("scale")
        assert HEADS[head].settings["magnitude"].valid.contains("fixed")


def test_two_dimensional_mnist_gets_margins_that_ten_classes_can_satisfy() -> None:
    def high(head: str, name: str) -> float:
        space = HEADS[head].settings[name].auto(10, 2).parameter
        assert isinstance(space, Range)
        return space.high

    assert high("arcface", "margin_rad") == pytest.approx(0.9 * 0.6283, abs=1e-3)
    assert high("cosface", "margin_cos") == pytest.approx(0.172, abs=5e-4)
    assert high("sphereface", "margin_mult") == 2.0
    assert HEADS["arcface"].settings["scale"].auto(10, 2).parameter == Range(
        class_separation.smallest_scale(10), 128.0, log=True
    )


SEARCHED = {
    "softmax": {"lr", "head_lr", "weight_decay", "label_smoothing"},
    "triplet": {"lr", "margin_dist", "mining", "normalise"},
    "arcface": {"lr", "margin_rad", "magnitude", "scale"},
    "cosface": {"lr", "margin_cos", "magnitude", "scale"},
    "sphereface": {"lr", "margin_mult", "magnitude", "scale"},
    "hybrid": {"lr", "margin_rad", "crossover_rad", "scale"},
}


@pytest.mark.parametrize("head", SEARCHED)
@pytest.mark.parametrize(("classes", "dimensions"), [(2, 2), (10, 2), (10, 3), (10, 16), (1000, 128)])
def test_every_head_searches_four_settings(head: str, classes: int, dimensions: int) -> None:
    autos = {name: setting.auto(classes, dimensions) for name, setting in settings_of(head).items()}
    searched = {name for name, auto in autos.items() if not auto.parameter.is_constant}
    if head == "hybrid" and dimensions <= 3:  # its magnitude is "feature" there, and a scale would not be read
        assert searched - {"scale"} == SEARCHED[head] - {"scale"} | {"head_lr"}
        assert autos["magnitude"].start == "feature"
    else:
        assert searched == SEARCHED[head]
    assert len(SEARCHED[head]) == 4


@pytest.mark.parametrize(("dimensions", "start"), [(2, "feature"), (3, "feature"), (16, "fixed")])
@pytest.mark.parametrize("head", ["arcface", "cosface", "hybrid"])
def test_few_dimensions_start_with_the_embeddings_own_length(head: str, dimensions: int, start: str) -> None:
    assert settings_of(head)["magnitude"].auto(10, dimensions).start == start


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("softmax", "weight_decay"),
        ("arcface", "head_lr"),
        ("cosface", "head_lr"),
        ("sphereface", "head_lr"),
        ("hybrid", "magnitude"),
    ],
)
def test_what_makes_the_contest_equal_says_so(head: str, name: str) -> None:
    assert settings_of(head)[name].auto(10, 3).reason.endswith("four searched settings a head: an equal contest")


@pytest.mark.parametrize("head", ANGULAR)
@pytest.mark.parametrize(("classes", "dimensions"), SHAPES)
def test_no_margin_that_auto_searches_leaves_less_than_a_tenth_of_the_slack(
    head: str, classes: int, dimensions: int
) -> None:
    margin = space_of(head).margin
    assert margin
    spaces = {name: setting.auto(classes, dimensions).parameter for name, setting in HEADS[head].settings.items()}
    angle = class_separation.separation(classes, dimensions).angle_rad
    ends = {name: (space.low, space.high) for name, space in spaces.items() if isinstance(space, Range)}
    for crossover in ends.get("crossover_rad", (0.0,)):
        params = {margin.setting: ends[margin.setting][1], "crossover_rad": crossover}
        assert margin.share(params, angle) >= SLACK_KEPT - 1e-9


REASONS = [
    (
        ("cosface", "margin_cos", 2),
        "margin_cos ≤ 0.172: 10 classes in 2-D leave 36° between centres (exact: equal arcs); 10% of the room kept",
    ),
    (
        ("cosface", "margin_cos", 3),
        "margin_cos ≤ 0.542: 10 classes in 3-D leave 66° between centres (exact: Danzer 1963); 10% of the room kept",
    ),
    (
        ("arcface", "margin_rad", 3),
        "margin_rad ≤ 0.7: 10 classes in 3-D leave 66° between centres (exact: Danzer 1963): "
        "1.04 would be feasible, 0.7 is enough",
    ),
    (
        ("hybrid", "margin_rad", 2),
        "margin_rad ≤ 0.617: 10 classes in 2-D leave 36° between centres (exact: equal arcs); "
        "10% of the room kept with a crossover of 0.02 rad or more",
    ),
]


@pytest.mark.parametrize(("place", "reason"), REASONS)
def test_a_limit_is_told_with_its_reason(place: tuple[str, str, int], reason: str) -> None:
    head, name, dimensions = place
    assert HEADS[head].settings[name].auto(10, dimensions).reason == reason


WARNINGS: list[tuple[tuple[str, str, float, float, int, int], str | None]] = [
    (
        ("cosface", "margin_cos", 0.05, 0.6, 10, 2),
        "goes to 0.6, but from 0.191 on no arrangement of 10 classes in 2-D satisfies it "
        "(36° between centres, exact: equal arcs): 74% of the range",
    ),
    (
        ("cosface", "margin_cos", 0.1, 0.6, 26, 8),
        None,
    ),
    (
        ("arcface", "margin_rad", 0.5, 2.0, 26, 8),
        "goes to 2, but from 1.4 on no arrangement of 26 classes in 8-D that was found satisfies it "
        "(80° between centres, best found: an optimised arrangement): 40% of the range",
    ),
    (
        ("arcface", "margin_rad", 0.1, 0.3, 1000, 3),
        "goes to 0.3, but from 0.12 on, if not before, no arrangement of 1000 classes in 3-D satisfies it "
        "(7° between centres, at most: Fejes Tóth 1943): 90% of the range",
    ),
    (
        ("arcface", "margin_rad", 1.0, 1.0, 10, 2),
        "is 1, but from 0.628 on no arrangement of 10 classes in 2-D satisfies it "
        "(36° between centres, exact: equal arcs)",
    ),
    (("arcface", "margin_rad", 0.7, 1.7, 10, 2), "100% of the range"),
    (
        ("arcface", "scale", 1.0, 21.0, 10, 2),
        "goes down to 1, but a scale below 6.11 cannot reach a probability of 0.99 among 10 classes: 26% of the range",
    ),
    (
        ("sphereface", "scale", 3.0, 3.0, 10, 2),
        "is 3, but a scale below 6.11 cannot reach a probability of 0.99 among 10 classes",
    ),
    (("arcface", "margin_rad", 0.1, 0.6, 10, 2), None),
    (("arcface", "scale", 6.2, 30, 10, 2), None),
    (("sphereface", "margin_mult", 1, 90, 10, 2), None),
    (("hybrid", "margin_rad", 0, 3, 10, 2), None),
    (("triplet", "margin_dist", 0, 900, 10, 2), None),
    (("softmax", "lr", 1e-5, 9, 10, 2), None),
]


@pytest.mark.parametrize(("asked", "warning"), WARNINGS)
def test_warns_of_bounds_outside_the_feasible_range(
    asked: tuple[str, str, float, float, int, int], warning: str | None
) -> None:
    told = refutation(*asked)
    assert (told is None) == (warning is None)
    assert told is None or (warning is not None and told.endswith(warning))


@pytest.mark.parametrize(("head", "name"), SETTINGS)
def test_what_auto_searches_is_never_warned_of(head: str, name: str) -> None:
    for classes, dimensions in SHAPES:
        space = settings_of(head)[name].auto(classes, dimensions).parameter
        if isinstance(space, Range):
            assert refutation(head, name, space.low, space.high, classes, dimensions) is None


@pytest.mark.parametrize("head", HEADS)
def test_only_angular_margins_grow_at_first_and_longest_in_two_dimensions(head: str) -> None:
    grow = settings_of(head)["margin_warmup_epochs"]
    epochs = [grow.auto(10, dimensions).start for dimensions in (2, 3, 16)]
    assert epochs == ([4.0, 1.0, 1.0] if head in ANGULAR else [0.0] * 3)
    assert all(grow.auto(10, dimensions).parameter.is_constant for dimensions in (2, 3, 16))


def test_batch_hard_mining_is_searched_only_above_three_dimensions() -> None:
    mining = HEADS["triplet"].settings["mining"]
    assert [mining.auto(10, dimensions).parameter.contains("batch_hard") for dimensions in (2, 3, 4)] == [
        False,
        False,
        True,
    ]


REFUSALS = [
    ("arcface", "margin_rad", 28.6, "must be from 0 to 3.14159 (rad)", "degrees? 28.6° = 0.499 rad"),
    ("hybrid", "margin_rad", 30, "must be from 0 to 3.14159 (rad)", "degrees? 30° = 0.524 rad"),
    ("arcface", "margin_rad", 500, "must be from 0 to 3.14159 (rad)", "the nearest valid value is 3.14159"),
    ("arcface", "margin_rad", -0.1, "must be from 0 to 3.14159 (rad)", "the nearest valid value is 0"),
    ("cosface", "margin_cos", 28.6, "must be from 0 to 2 (cosine)", "the nearest valid value is 1.999999"),
    ("sphereface", "margin_mult", 0.5, "must be from 1 to 100 (factor)", "the nearest valid value is 1"),
    ("arcface", "scale", 0, "must be from 0.001 to 10000 (a factor)", "the nearest valid value is 0.001"),
    ("triplet", "mining", "hard", "must be semi_hard or batch_hard or batch_all", "write semi_hard"),
    ("triplet", "margin_dist", "wide", "must be a number (distance)", "write a number from 0 to 1000"),
    ("softmax", "head_lr", True, "must be a number (peak of OneCycle)", "write a number from 1e-07 to 10"),
    ("softmax", "lr", 100.0, "must be from 1e-07 to 10 (peak of OneCycle)", "the nearest valid value is 10"),
]


@pytest.mark.parametrize(("head", "name", "value", "rule", "fix"), REFUSALS)
def test_refuses_what_makes_no_sense_with_a_fix(head: str, name: str, value: float | str, rule: str, fix: str) -> None:
    assert settings_of(head)[name].refusal(value) == (rule, fix)


@pytest.mark.parametrize(("head", "name"), SETTINGS)
def test_the_ends_of_what_is_valid_are_valid(head: str, name: str) -> None:
    setting = settings_of(head)[name]
    valid = setting.valid
    ends = valid.values if isinstance(valid, Choice) else (valid.low, valid.high)
    assert [setting.refusal(end) for end in ends] == [None] * len(ends)


@pytest.mark.parametrize("value", [0, 1])
def test_a_switch_takes_no_number_for_a_truth_value(value: int) -> None:
    assert HEADS["arcface"].settings["detach_margin"].refusal(value) is not None


@pytest.mark.parametrize(
    ("setting", "value"),
    [(HEADS["triplet"].settings["normalise"], "yes"), (HEADS["arcface"].settings["detach_margin"], 2)],
)
def test_a_switch_names_the_truth_values_as_yaml_writes_them(setting: Setting, value: str | int) -> None:
    assert setting.refusal(value) == ("must be false or true", "write false")
