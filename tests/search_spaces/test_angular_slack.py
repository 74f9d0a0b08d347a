"""The room that a margin leaves: closed forms against the heads themselves, inverses and limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.heads.margin_curve import Margin
from search_spaces import angular_slack, class_separation

ANGLES = [math.radians(degrees) for degrees in (0.5, 3.6, 36, 70, 90, 120, 179)]
SHARES = st.floats(0.05, 1.0)
APART = st.floats(0.05, math.pi)


@st.composite
def margins(draw: st.DrawFn, head: str) -> dict[str, Any]:
    if head == "cosface":
        return {"margin_cos": draw(st.floats(0, 1.9))}
    if head == "sphereface":
        return {"margin_mult": draw(st.floats(1, 6))}
    crossover = {"crossover_rad": draw(st.floats(0.01, 3))} if head == "hybrid" else {}
    return {"margin_rad": draw(st.floats(0, 3))} | crossover


@pytest.mark.parametrize("head", angular_slack.MARGINS)
@given(data=st.data(), angle=APART)
@settings(deadline=None)
def test_the_room_is_the_one_that_the_head_itself_leaves(head: str, data: st.DataObject, angle: float) -> None:
    params = data.draw(margins(head))
    assert angular_slack.room(head, params, angle) == pytest.approx(
        float(Margin(head, params).room(np.array(angle))), abs=1e-7
    )


@pytest.mark.parametrize("head", angular_slack.MARGINS)
@given(share=SHARES, angle=APART, crossover=st.floats(0.01, 3))
@settings(deadline=None)
def test_a_margin_leaves_the_share_that_was_asked_for(head: str, share: float, angle: float, crossover: float) -> None:
    others = {"crossover_rad": crossover}
    margin = angular_slack.margin_at(head, share, angle, others)
    params = others | {angular_slack.MARGINS[head]: margin}
    assert angular_slack.share_of_room(head, params, angle) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("head", angular_slack.MARGINS)
@pytest.mark.parametrize("angle", ANGLES)
def test_without_a_margin_the_room_is_half_the_angle(head: str, angle: float) -> None:
    params = {angular_slack.MARGINS[head]: 1.0 if head == "sphereface" else 0.0, "crossover_rad": 0.2}
    assert angular_slack.room(head, params, angle) == pytest.approx(angle / 2)
    assert angular_slack.margin_at(head, 1.0, angle, params) == pytest.approx(params[angular_slack.MARGINS[head]])


@pytest.mark.parametrize("head", ["arcface", "cosface"])
@pytest.mark.parametrize("angle", ANGLES)
def test_from_the_infeasible_margin_on_no_room_is_left(head: str, angle: float) -> None:
    least = angular_slack.infeasible_from(head, angle)
    for excess in (1 + 1e-9, 1.5, 3):
        assert angular_slack.room(head, {angular_slack.MARGINS[head]: excess * least}, angle) == pytest.approx(
            0, abs=1e-7
        )
    assert angular_slack.room(head, {angular_slack.MARGINS[head]: 0.99 * least}, angle) > 0


@pytest.mark.parametrize("head", ["sphereface", "hybrid"])
def test_a_margin_that_vanishes_at_the_centre_always_leaves_some_room(head: str) -> None:
    assert angular_slack.infeasible_from(head, 0.6) == math.inf
    assert angular_slack.room(head, {angular_slack.MARGINS[head]: 100.0, "crossover_rad": 0.1}, 0.6) > 0


@pytest.mark.parametrize("angle", ANGLES)
def test_the_hybrid_is_between_its_two_limits(angle: float) -> None:
    small = {"margin_rad": 0.3 * angle, "crossover_rad": 1e-6 * angle}
    assert angular_slack.room("hybrid", small, angle) == pytest.approx(
        angular_slack.room("arcface", small, angle), rel=1e-6
    )
    large = {"margin_rad": 0.4 * 1e4 * angle, "crossover_rad": 1e4 * angle}
    assert angular_slack.room("hybrid", large, angle) == pytest.approx(angle / 2.4, rel=1e-6)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("share", [0.1, 0.25, 0.6, 1.0])
def test_the_closed_forms_by_hand(angle: float, share: float) -> None:
    assert (angle - angular_slack.margin_at("arcface", share, angle)) / 2 == pytest.approx(share * angle / 2)
    sine = angular_slack.margin_at("cosface", share, angle) / (2 * math.sin(angle / 2))
    assert angle / 2 - math.asin(min(1.0, sine)) == pytest.approx(share * angle / 2, abs=1e-7)
    assert angle / (angular_slack.margin_at("sphereface", share, angle) + 1) == pytest.approx(share * angle / 2)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_cosface_margin_without_room_is_one_minus_the_cosine_between_centres(angle: float) -> None:
    """Where no room is left, the target's cosine at its own centre, 1 − m, equals that of the neighbour."""
    assert angular_slack.infeasible_from("cosface", angle) == pytest.approx(1 - math.cos(angle))


def test_cosface_on_a_circle_of_ten_classes() -> None:
    angle = class_separation.separation(10, 2).angle_rad
    assert angular_slack.margin_at("cosface", angular_slack.ROOM_KEPT, angle) == pytest.approx(0.172, abs=5e-4)
    assert angular_slack.infeasible_from("cosface", angle) == pytest.approx(0.191, abs=5e-4)
    assert angular_slack.infeasible_from("arcface", angle) == pytest.approx(0.628, abs=5e-4)


@pytest.mark.parametrize(
    ("head", "params", "angle", "words"),
    [
        ("softmax", {}, 0.6, "got head='softmax'"),
        ("arcface", {}, 0.6, "needs margin_rad as a number, but got margin_rad=None"),
        ("hybrid", {"margin_rad": 0.3}, 0.6, "needs crossover_rad as a number"),
        ("cosface", {"margin_cos": True}, 0.6, "margin_cos=True"),
        ("cosface", {"margin_cos": 0.1}, 0.0, "above 0 and at most π rad, but got 0"),
        ("cosface", {"margin_cos": 0.1}, 36.0, "above 0 and at most π rad, but got 36"),
    ],
)
def test_refuses_what_has_no_room(head: str, params: dict[str, Any], angle: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        angular_slack.room(head, params, angle)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_refuses_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        angular_slack.margin_at("arcface", share, 0.6)
