"""The angular slack that a margin leaves: closed forms against the heads themselves, inverses and limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.heads.margin_curve import Margin
from search_spaces import class_separation
from search_spaces.angular_slack import SLACK_KEPT, AngularMargin, farthest
from search_spaces.distributions import Range
from search_spaces.heads import HEADS

MARGINS: dict[str, AngularMargin] = {head: space.margin for head, space in HEADS.items() if space.margin}
ANGLES = [math.radians(degrees) for degrees in (0.5, 3.6, 36, 70, 90, 120, 179)]
SHARES = st.floats(0.05, 1.0)
APART = st.floats(0.05, math.pi)


@st.composite
def margins(draw: st.DrawFn, head: str) -> dict[str, Any]:
    margin, settings = MARGINS[head], HEADS[head].settings
    valid = settings[margin.setting].valid
    assert isinstance(valid, Range)
    bends = {name: draw(st.floats(0.01, 3)) for name in margin.bends_at}
    return {margin.setting: draw(st.floats(valid.low, min(valid.high, valid.low + 3)))} | bends


@pytest.mark.parametrize("head", MARGINS)
def test_the_geometry_names_settings_of_its_head(head: str) -> None:
    of_role: dict[str | None, list[str]] = {role: [] for role in ("margin", "crossover", "scale", None)}
    for name, setting in HEADS[head].settings.items():
        of_role[setting.role].append(name)
    assert of_role["margin"] == [MARGINS[head].setting]
    assert of_role["crossover"] == [*MARGINS[head].bends_at]
    assert of_role["scale"] == ["scale"]


@pytest.mark.parametrize("head", MARGINS)
@given(data=st.data(), angle=APART)
@settings(deadline=None)
def test_the_slack_is_the_one_that_the_head_itself_leaves(head: str, data: st.DataObject, angle: float) -> None:
    params = data.draw(margins(head))
    assert MARGINS[head].slack(params, angle) == pytest.approx(
        float(Margin(head, params).angular_slack(np.array(angle))), abs=1e-7
    )


@pytest.mark.parametrize("head", MARGINS)
@given(share=SHARES, angle=APART, crossover=st.floats(0.01, 3))
@settings(deadline=None)
def test_a_margin_leaves_the_share_that_was_asked_for(head: str, share: float, angle: float, crossover: float) -> None:
    others = {"crossover_rad": crossover}
    margin = MARGINS[head].margin_at(share, angle, others)
    params = others | {MARGINS[head].setting: margin}
    assert MARGINS[head].share(params, angle) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("head", MARGINS)
@pytest.mark.parametrize("angle", ANGLES)
def test_without_a_margin_the_slack_is_half_the_angle(head: str, angle: float) -> None:
    params = {MARGINS[head].setting: MARGINS[head].no_margin, "crossover_rad": 0.2}
    assert MARGINS[head].slack(params, angle) == pytest.approx(angle / 2)
    assert MARGINS[head].margin_at(1.0, angle, params) == pytest.approx(params[MARGINS[head].setting])


@pytest.mark.parametrize("head", ["arcface", "cosface"])
@pytest.mark.parametrize("angle", ANGLES)
def test_from_the_infeasible_margin_on_no_slack_is_left(head: str, angle: float) -> None:
    least = MARGINS[head].infeasible_from(angle)
    for excess in (1 + 1e-9, 1.5, 3):
        assert MARGINS[head].slack({MARGINS[head].setting: excess * least}, angle) == pytest.approx(0, abs=1e-7)
    assert MARGINS[head].slack({MARGINS[head].setting: 0.99 * least}, angle) > 0


@pytest.mark.parametrize("head", ["sphereface", "hybrid"])
def test_a_margin_that_vanishes_at_the_centre_always_leaves_some_slack(head: str) -> None:
    assert MARGINS[head].infeasible_from(0.6) == math.inf
    assert MARGINS[head].slack({MARGINS[head].setting: 100.0, "crossover_rad": 0.1}, 0.6) > 0


@pytest.mark.parametrize("angle", ANGLES)
def test_the_hybrid_is_between_its_two_limits(angle: float) -> None:
    small = {"margin_rad": 0.3 * angle, "crossover_rad": 1e-6 * angle}
    assert MARGINS["hybrid"].slack(small, angle) == pytest.approx(MARGINS["arcface"].slack(small, angle), rel=1e-6)
    large = {"margin_rad": 0.4 * 1e4 * angle, "crossover_rad": 1e4 * angle}
    assert MARGINS["hybrid"].slack(large, angle) == pytest.approx(angle / 2.4, rel=1e-6)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("share", [0.1, 0.25, 0.6, 1.0])
def test_the_closed_forms_by_hand(angle: float, share: float) -> None:
    assert (angle - MARGINS["arcface"].margin_at(share, angle)) / 2 == pytest.approx(share * angle / 2)
    sine = MARGINS["cosface"].margin_at(share, angle) / (2 * math.sin(angle / 2))
    assert angle / 2 - math.asin(min(1.0, sine)) == pytest.approx(share * angle / 2, abs=1e-7)
    assert angle / (MARGINS["sphereface"].margin_at(share, angle) + 1) == pytest.approx(share * angle / 2)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_cosface_margin_without_slack_is_one_minus_the_cosine_between_centres(angle: float) -> None:
    """Where no slack is left, the target's cosine at its own centre, 1 − m, equals that of the neighbour."""
    assert MARGINS["cosface"].infeasible_from(angle) == pytest.approx(1 - math.cos(angle))


def test_cosface_on_a_circle_of_ten_classes() -> None:
    angle = class_separation.separation(10, 2).angle_rad
    assert MARGINS["cosface"].margin_at(SLACK_KEPT, angle) == pytest.approx(0.172, abs=5e-4)
    assert MARGINS["cosface"].infeasible_from(angle) == pytest.approx(0.191, abs=5e-4)
    assert MARGINS["arcface"].infeasible_from(angle) == pytest.approx(0.628, abs=5e-4)


@pytest.mark.parametrize(
    ("head", "params", "angle", "words"),
    [
        ("arcface", {}, 0.6, "needs margin_rad as a number, but got margin_rad=None"),
        ("hybrid", {"margin_rad": 0.3}, 0.6, "needs crossover_rad as a number"),
        ("cosface", {"margin_cos": True}, 0.6, "margin_cos=True"),
        ("cosface", {"margin_cos": 0.1}, 0.0, "above 0 and at most π rad, but got 0"),
        ("cosface", {"margin_cos": 0.1}, 36.0, "above 0 and at most π rad, but got 36"),
    ],
)
def test_refuses_what_has_no_slack(head: str, params: dict[str, Any], angle: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MARGINS[head].slack(params, angle)


class ByHalving(AngularMargin):
    """A margin of which only the slack is stated: cos θ − m·θ."""

    setting = "margin_slope"

    def slack_rad(self, margin: float, apart_rad: float, *bends: float) -> float:
        return farthest(lambda angle: math.cos(angle) - margin * angle > math.cos(apart_rad - angle), apart_rad)


class ArcFaceByHalving(AngularMargin):
    """ArcFace's, without its closed forms."""

    setting = "margin_rad"

    def slack_rad(self, margin: float, apart_rad: float, *bends: float) -> float:
        return farthest(lambda angle: angle + margin < apart_rad - angle, apart_rad)


@pytest.mark.parametrize("angle", ANGLES[1:])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.6, 1.0])
def test_a_margin_without_closed_forms_is_found_by_halving(angle: float, share: float) -> None:
    found = ByHalving().margin_at(share, angle)
    assert ByHalving().share({"margin_slope": found}, angle) == pytest.approx(share, abs=1e-6)
    assert ArcFaceByHalving().margin_at(share, angle) == pytest.approx(MARGINS["arcface"].margin_at(share, angle))
    there = ArcFaceByHalving().at_another_angle(share * angle, angle, 0.5)
    assert there == pytest.approx(MARGINS["arcface"].at_another_angle(share * angle, angle, 0.5))


def test_halving_finds_the_smallest_infeasible_margin_or_that_there_is_none() -> None:
    assert ArcFaceByHalving().infeasible_from(0.6) == pytest.approx(0.6)
    assert ByHalving().infeasible_from(0.6) > 1e6  # it vanishes at the centre, which its class should say


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_refuses_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        MARGINS["arcface"].margin_at(share, 0.6)
