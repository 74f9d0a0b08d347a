"""Distributions written as in a W&B sweep: what is read, what is refused, and that nothing leaves its bounds."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.distributions import Choice, Parameter, Range, SpaceError, Value, constant, parse

READ: list[tuple[Any, Parameter]] = [
    (0.3, Choice((0.3,))),
    (7, Choice((7,))),
    (True, Choice((True,))),
    ("semi_hard", Choice(("semi_hard",))),
    ({"value": 0.3}, Choice((0.3,))),
    ({"values": ["a", "b"]}, Choice(("a", "b"))),
    ({"values": [0.5]}, Choice((0.5,))),
    ({"min": 0.1, "max": 0.5}, Range(0.1, 0.5)),
    ({"min": 1, "max": 5}, Range(1, 5, integer=True)),
    ({"min": 1, "max": 5.0}, Range(1, 5.0)),
    ({"distribution": "uniform", "min": 1, "max": 5}, Range(1, 5)),
    ({"distribution": "int_uniform", "min": 1, "max": 5}, Range(1, 5, integer=True)),
    ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1}, Range(1e-4, 1e-1, log=True)),
    ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}, Range(0.0, 1.0, step=0.25)),
    ({"distribution": "q_uniform", "min": 0.1, "max": 0.3, "q": 0.2}, Range(0.1, 0.3, step=0.2)),  # 0.3 − 0.1 < 0.2
]

# what is written, the rule it breaks, a piece of the fix
REFUSED: list[tuple[Any, str, str]] = [
    (None, "a parameter is a value or a distribution", "{min: 0.1, max: 0.5}"),
    ([1, 2], "a parameter is a value or a distribution", "{values: [a, b]}"),
    ({"minimum": 0, "max": 1}, "a distribution has no key 'minimum'", "distribution, value, values, min, max, q"),
    (float("inf"), "a value must be finite", "write a number"),
    ({"value": float("nan")}, "a value must be finite", "write a number"),
    ({"value": [1, 2]}, "a value is one number, text or truth value", "{values: […]}"),
    ({"value": 1, "min": 0}, "value and min exclude each other", "keep value"),
    ({"values": [1], "max": 0}, "values and max exclude each other", "keep values"),
    ({"values": []}, "values is a list of different values", "{values: [0.1, 0.2]}"),
    ({"values": "abc"}, "values is a list of different values", "{values: [0.1, 0.2]}"),
    ({"values": [1, 1]}, "values is a list of different values", "{values: [0.1, 0.2]}"),
    ({"values": [[1], [2]]}, "values holds numbers, texts or truth values", "{values: [0.1, 0.2]}"),
    ({"values": [1.0, float("-inf")]}, "a value must be finite", "write a number"),
    ({}, "a range needs min and max, both finite numbers", "{min: 0.1, max: 0.5}"),
    ({"min": 0.1}, "a range needs min and max, both finite numbers", "{min: 0.1, max: 0.5}"),
    ({"min": 0.1, "max": "0.5"}, "a range needs min and max, both finite numbers", "{min: 0.1, max: 0.5}"),
    ({"values": [True, 1.0]}, "values is a list of different values", "{values: [0.1, 0.2]}"),  # a searcher sees one
    ({"min": False, "max": True}, "a range needs min and max, both finite numbers", "{min: 0.1, max: 0.5}"),
    ({"min": 0.0, "max": float("inf")}, "a range needs min and max, both finite numbers", "{min: 0.1, max: 0.5}"),
    ({"distribution": "log_uniform", "min": -3.0, "max": -1.0}, "log_uniform takes exponents", "log_uniform_values"),
    ({"distribution": "normal", "min": 0.0, "max": 1.0}, "distribution is one of uniform", "distribution: uniform"),
    ({"min": 0.5, "max": 0.1}, "min must be below max", "swap them"),
    ({"min": 0.5, "max": 0.5}, "min must be below max", "{value: 0.5}"),
    ({"distribution": "log_uniform_values", "min": 0.0, "max": 1.0}, "a logarithmic range lies above 0", "raise min"),
    ({"distribution": "int_uniform", "min": 0.5, "max": 3}, "int_uniform needs integers", "whole numbers"),
    ({"min": 0.0, "max": 1.0, "q": 0.1}, "q belongs to q_uniform", "distribution: q_uniform"),
    ({"distribution": "q_uniform", "min": 0.0, "max": 1.0}, "q_uniform needs it", "q: 1.0"),
    ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0}, "q must be above 0", "write q: 1.0"),
    ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 2}, "at most max − min", "write q: 1.0"),
    ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": True}, "q must be above 0", "write q: 1.0"),
    ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.6}, "q", "0.6"),  # 1.0 is not on the raster
]


@pytest.mark.parametrize(("written", "parameter"), READ, ids=str)
def test_reads_wandb_sweep_syntax(written: Any, parameter: Parameter) -> None:
    assert parse(written) == parameter


@pytest.mark.parametrize(("written", "rule", "fix"), REFUSED, ids=str)
def test_refuses_with_the_rule_and_a_fix(written: Any, rule: str, fix: str) -> None:
    with pytest.raises(SpaceError) as caught:
        parse(written)
    assert rule in caught.value.rule
    assert fix in caught.value.fix
    assert str(caught.value) == f"{caught.value.rule}; {caught.value.fix}"


numbers = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)
values = st.one_of(st.booleans(), st.integers(-1000, 1000), numbers, st.text(max_size=8))


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    kind = draw(st.sampled_from(["uniform", "integer", "log", "step"]))
    if kind == "integer":
        low = draw(st.integers(-1000, 1000))
        return Range(low, low + draw(st.integers(1, 1000)), integer=True)
    if kind == "step":  # as people write them: with two decimals, and max on the raster
        low, step, steps = draw(st.integers(-500, 500)), draw(st.integers(1, 100)), draw(st.integers(1, 50))
        return Range(low / 100, (low + step * steps) / 100, step=step / 100)
    low_end = draw(st.floats(1e-6, 1e3)) if kind == "log" else draw(numbers)
    high = low_end + draw(st.floats(max(1e-3, abs(low_end) * 1e-3), 1e6))
    return Range(low_end, high, log=kind == "log")


choices = st.lists(values, min_size=1, max_size=5, unique=True).map(lambda chosen: Choice(tuple(chosen)))


@given(st.one_of(ranges(), choices))
@settings(deadline=None)
def test_what_wandb_is_told_reads_back_to_the_same(parameter: Parameter) -> None:
    again = parse(parameter.to_wandb())
    assert again == parameter
    assert [type(value) for value in again.values] == [type(value) for value in parameter.values]


@given(ranges(), st.integers(2, 12))
@settings(deadline=None)
def test_a_grid_stays_inside_and_holds_no_value_twice(space: Range, points: int) -> None:
    grid = [float(value) for value in space.grid(points)]
    assert 2 <= len(grid) <= points
    assert grid == sorted(set(grid))
    slack = 1e-9 * (space.high - space.low)
    assert all(space.low - slack <= value <= space.high + slack for value in grid)


@given(ranges(), numbers)
@settings(deadline=None)
def test_clipped_gives_a_member_of_the_range(space: Range, value: float) -> None:
    assert space.contains(space.clipped(value))
    assert space.clipped(space.low) == space.low


@given(ranges(), st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=50)
def test_a_suggestion_of_optuna_stays_inside(space: Range, seed: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    suggested = space.suggest(trial, "x")
    assert space.contains(suggested)
    assert isinstance(suggested, int) == space.integer


@pytest.mark.parametrize(
    ("space", "points", "expected"),
    [
        (Range(0.0, 1.0), 3, [0.0, 0.5, 1.0]),
        (Range(1e-4, 1e-2, log=True), 3, [1e-4, 1e-3, 1e-2]),
        (Range(1, 3, integer=True), 9, [1, 2, 3]),
        (Range(0.0, 1.0, step=0.25), 3, [0.0, 0.5, 1.0]),
        (Choice(("a", "b", "c")), 2, ["a", "b", "c"]),
    ],
    ids=str,
)
def test_a_grid_is_even_in_the_measure_of_the_range(space: Parameter, points: int, expected: list[Value]) -> None:
    grid = space.grid(points)
    assert grid == (pytest.approx(expected) if isinstance(space, Range) else expected)


def test_a_range_of_integers_holds_no_fraction() -> None:
    assert Range(1, 5, integer=True).contains(3)
    assert not Range(1, 5, integer=True).contains(2.5)


def test_a_stepped_range_holds_only_its_raster() -> None:
    space = Range(0.0, 1.0, step=0.25)
    assert space.contains(0.75)
    assert not space.contains(0.6)
    assert space.clipped(0.6) == 0.5


def test_a_grid_of_one_point_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least 2 points, but got 1"):
        Range(0.0, 1.0).grid(1)


def test_a_constant_is_given_without_asking_the_searcher() -> None:
    assert constant(0.3).suggest(None, "x") == 0.3  # type: ignore[arg-type]
    assert constant(0.3).to_wandb() == {"value": 0.3}


@pytest.mark.parametrize("value", ["0.3", None, math.nan, -0.1, 1.1])
def test_a_range_does_not_hold_what_is_no_number_between_its_ends(value: Any) -> None:
    assert not Range(0.0, 1.0).contains(value)


def test_a_choice_holds_its_values_alone() -> None:
    assert Choice(("a", "b")).contains("b")
    assert not Choice(("a", "b")).contains("c")


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (Range(0.1, 0.5), "0.1 … 0.5"),
        (Range(1e-3, 0.5, log=True), "0.001 … 0.5 log"),
        (Range(0.0, 1.0, step=0.25), "0 … 1 step 0.25"),
        (Choice(("a", 0.25)), "a | 0.25"),
    ],
)
def test_prints_what_a_person_reads(parameter: Parameter, text: str) -> None:
    assert str(parameter) == text
