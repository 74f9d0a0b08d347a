"""What a margin does, seen from outside: against each head's formula, and the angular slack against its closed form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.heads.margin_curve import Margin, is_spherical, margin_of
from search_spaces.heads import HEADS, settings_of
from tests import toy_head

Array = Any
ANGLES = np.concatenate([np.linspace(0, math.pi, 181), math.pi * np.array([1 / 3, 1 / 2, 2 / 3])])
APART = np.array([0.02, 0.3, 0.9, 1.7, 2.6, 3.1, math.pi])
ATOL = 1e-12  # halving 50 times leaves a thousandth of this


def psi(angle: Array) -> Array:
    """(−1)^k·cos φ − 2k, k = ⌊φ/π⌋."""
    turns = np.floor(angle / math.pi)
    return np.where(turns % 2 == 0, 1, -1) * np.cos(angle) - 2 * turns


def bent(angle: Array, margin: float, crossover: float) -> Array:
    return angle + margin * np.tanh(angle / crossover)


FORMULAS: list[Any] = [
    ("arcface", {"margin_rad": 0.0}, lambda angle: np.cos(angle)),
    ("arcface", {"margin_rad": 0.5}, lambda angle: psi(angle + 0.5)),
    ("arcface", {"margin_rad": 3.1}, lambda angle: psi(angle + 3.1)),
    ("cosface", {"margin_cos": 0.0}, lambda angle: np.cos(angle)),
    ("cosface", {"margin_cos": 0.35}, lambda angle: np.cos(angle) - 0.35),
    ("sphereface", {"margin_mult": 1.0}, lambda angle: np.cos(angle)),
    ("sphereface", {"margin_mult": 1.4}, lambda angle: psi(1.4 * angle)),
    ("sphereface", {"margin_mult": 4.0, "magnitude": "fixed", "scale": 30.0}, lambda angle: psi(4.0 * angle)),
    ("hybrid", {"margin_rad": 0.5, "crossover_rad": 0.2}, lambda angle: psi(bent(angle, 0.5, 0.2))),
    ("hybrid", {"margin_rad": 3.0, "crossover_rad": 2.0}, lambda angle: psi(bent(angle, 3.0, 2.0))),
]


def margin(head: str, **params: Any) -> Margin:
    found = margin_of(head, params)
    assert found
    return found


def defaults(head: str) -> dict[str, Any]:
    return {name: setting.auto(10, 3).start for name, setting in settings_of(head).items()}


@pytest.mark.parametrize(
    ("head", "params", "formula"), FORMULAS, ids=lambda value: "formula" if callable(value) else str(value)
)
def test_the_target_cosine_is_the_heads_formula_beyond_pi_too(head: str, params: dict[str, Any], formula: Any) -> None:
    found = margin(head, **params).target_cosine(ANGLES)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, formula(ANGLES), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("head", "params"), [(head, params) for head, params, _ in FORMULAS], ids=str)
def test_the_target_cosine_never_rises_with_the_angle(head: str, params: dict[str, Any]) -> None:
    assert (np.diff(margin(head, **params).target_cosine(np.linspace(0, math.pi, 2000))) < 0).all()


@pytest.mark.parametrize("shape", [(), (1,), (184,), (8, 23), (2, 4, 23)])
def test_angles_may_have_any_shape(shape: tuple[int, ...]) -> None:
    arcface, angles = margin("arcface", margin_rad=0.5), np.resize(ANGLES, shape)
    np.testing.assert_allclose(arcface.target_cosine(angles), psi(angles + 0.5), rtol=0, atol=1e-12)
    np.testing.assert_allclose(arcface.angular_slack(angles), np.maximum(angles - 0.5, 0) / 2, rtol=0, atol=ATOL)
    assert arcface.target_cosine(angles).shape == arcface.angular_slack(angles).shape == shape


@pytest.mark.parametrize(("head", "params"), [(head, params) for head, params, _ in FORMULAS], ids=str)
def test_asking_for_the_slack_leaves_the_angles_as_they_are(head: str, params: dict[str, Any]) -> None:
    given = APART.copy()
    margin(head, **params).angular_slack(given)
    assert (given == APART).all()


@pytest.mark.parametrize("head", ["arcface", "cosface", "sphereface", "hybrid"])
def test_without_a_margin_the_slack_is_half_the_angle(head: str) -> None:
    none = {"margin_rad": 0.0, "margin_cos": 0.0, "margin_mult": 1.0}
    params = {name: none.get(name, value) for name, value in defaults(head).items()}
    np.testing.assert_allclose(margin(head, **params).angular_slack(APART), APART / 2, rtol=0, atol=ATOL)


@pytest.mark.parametrize("amount", [0.05, 0.5, 1.2, 3.0])
def test_the_slack_of_arcface(amount: float) -> None:
    expected = np.maximum(APART - amount, 0) / 2
    np.testing.assert_allclose(margin("arcface", margin_rad=amount).angular_slack(APART), expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("amount", [1.05, 1.4, 4.0, 20.0])
def test_the_slack_of_sphereface(amount: float) -> None:
    expected = APART / (amount + 1)
    np.testing.assert_allclose(
        margin("sphereface", margin_mult=amount).angular_slack(APART), expected, rtol=0, atol=ATOL
    )


@pytest.mark.parametrize("amount", [0.02, 0.35, 0.9, 1.99])
def test_the_slack_of_cosface(amount: float) -> None:
    asked = amount / (2 * np.sin(APART / 2))
    expected = np.maximum(APART / 2 - np.arcsin(np.minimum(asked, 1)), 0)
    np.testing.assert_allclose(margin("cosface", margin_cos=amount).angular_slack(APART), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("amount", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("crossover", [1e-3, 0.2, 1.0, 50.0])
def test_the_slack_of_hybrid_solves_its_equation(amount: float, crossover: float) -> None:
    slack = margin("hybrid", margin_rad=amount, crossover_rad=crossover).angular_slack(APART)
    assert ((slack > 0) & (slack < APART / 2)).all()  # near the centre it is a multiplied angle: always feasible
    steepness = 1 + amount / crossover
    np.testing.assert_allclose(bent(slack, amount, crossover), APART - slack, rtol=0, atol=10 * steepness * ATOL)


@pytest.mark.parametrize(
    ("head", "params", "apart"),
    [
        ("arcface", {"margin_rad": 0.5}, 0.49),
        ("arcface", {"margin_rad": 3.1}, 3.0),
        ("cosface", {"margin_cos": 0.35}, 0.8),  # 2·sin²(0.4) = 0.303
        ("cosface", {"margin_cos": 1.99}, 3.0),
        ("arcface", {"margin_rad": 0.0}, 0.0),
    ],
)
def test_there_is_no_slack_where_the_margin_cannot_be_kept(head: str, params: dict[str, Any], apart: float) -> None:
    assert margin(head, **params).angular_slack(np.array([apart])) == pytest.approx(0, abs=ATOL)


MARGINS = {"arcface": ("margin_rad", 0, 3.1), "cosface": ("margin_cos", 0, 1.99), "sphereface": ("margin_mult", 1, 50),
           "hybrid": ("margin_rad", 0, 3.1)}  # fmt: skip


@pytest.mark.parametrize("head", MARGINS)
@given(shares=st.lists(st.floats(0, 1), min_size=2, max_size=2), apart=st.floats(0, math.pi))
@settings(deadline=None, max_examples=40)
def test_a_larger_margin_leaves_no_more_slack(head: str, shares: list[float], apart: float) -> None:
    name, low, high = MARGINS[head]
    known = {"crossover_rad": 0.3} if head == "hybrid" else {}
    slacks = [
        margin(head, **known, **{name: low + share * (high - low)}).angular_slack(np.array([apart]))[0]
        for share in sorted(shares)
    ]
    assert 0 <= slacks[1] <= slacks[0] + ATOL
    assert slacks[0] <= apart / 2 + ATOL


@pytest.mark.parametrize("head", HEADS)
def test_only_heads_with_centres_on_the_sphere_have_a_margin(head: str) -> None:
    assert (margin_of(head, defaults(head)) is None) == (head in ("softmax", "triplet"))


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_spherical_if_it_tells_classes_apart_by_angle(head: str) -> None:
    for normalise in (False, True):
        known = defaults(head) | ({"normalise": normalise} if head == "triplet" else {})
        expected = {"softmax": False, "triplet": normalise}.get(head, True)
        assert is_spherical(head, known) is expected


def test_settings_of_the_recipe_and_unknown_ones_change_nothing() -> None:
    plain, full = margin("arcface", margin_rad=0.4), margin("arcface", margin_rad=0.4, lr=0.1, head_lr=3, colour="red")
    assert (plain.target_cosine(ANGLES) == full.target_cosine(ANGLES)).all()
    assert (plain.angular_slack(APART) == full.angular_slack(APART)).all()
    assert is_spherical("triplet", {"margin_dist": 0.1, "normalise": True, "weight_decay": 0.1})
    assert not is_spherical("softmax", {"lr": 0.1})


def test_the_scale_and_the_detached_gradient_do_not_matter() -> None:
    plain = margin("cosface", margin_cos=0.3)
    other = margin("cosface", margin_cos=0.3, scale=77.0, detach_margin=True)
    assert (plain.target_cosine(ANGLES) == other.target_cosine(ANGLES)).all()


def test_a_new_angular_head_with_a_margin_of_another_name_needs_no_change(tmp_path: Path) -> None:
    with toy_head.added(tmp_path):
        new = margin("shrunk", margin_slope=0.25, lr=0.1)
        np.testing.assert_allclose(new.target_cosine(ANGLES), np.cos(ANGLES) - 0.25 * ANGLES, rtol=0, atol=1e-12)
        slack = new.angular_slack(APART)
        np.testing.assert_allclose(np.cos(slack) - 0.25 * slack, np.cos(APART - slack), rtol=0, atol=10 * ATOL)
        assert is_spherical("shrunk", {"margin_slope": 0.25})
