"""Settings carried from one dataset to another: there and back, equal shares, and what stays as it is."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import class_separation
from search_spaces.angular_slack import AngularMargin
from search_spaces.heads import HEADS, UnknownHead, settings_of, space_of
from search_spaces.transfer import carried, typical_scale

SIZES = st.tuples(st.sampled_from([2, 3, 5, 10, 14, 100, 1000]), st.sampled_from([2, 3, 128]))


def defaults(head: str, size: tuple[int, int]) -> dict[str, Any]:
    return {name: setting.auto(*size).start for name, setting in settings_of(head).items()}


def margin_of(head: str) -> AngularMargin:
    found = space_of(head).margin
    assert found
    return found


def angle(size: tuple[int, int]) -> float:
    return class_separation.separation(*size).angle_rad


@pytest.mark.parametrize("head", HEADS)
@given(source=SIZES, target=SIZES, fraction=st.floats(0.05, 0.95), scale=st.floats(1.0, 100.0))
@settings(deadline=None)
def test_there_and_back_is_the_same(
    head: str, source: tuple[int, int], target: tuple[int, int], fraction: float, scale: float
) -> None:
    params = defaults(head, source) | {"scale": scale}
    if head in ("arcface", "cosface"):
        margin = margin_of(head)
        params[margin.setting] = fraction * margin.infeasible_from(angle(source))
    elif head == "hybrid":
        params |= {"margin_rad": fraction * angle(source), "crossover_rad": fraction * angle(source) / 2}
    back = carried(head, carried(head, params, source, target), target, source)
    assert back.keys() == params.keys()
    for name, value in params.items():
        assert back[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [(2, 2), (10, 3), (1000, 64)])
def test_to_the_same_place_nothing_changes(head: str, size: tuple[int, int]) -> None:
    params = defaults(head, size) | {"margin_cos": 1.9}
    assert carried(head, params, size, size) == params


@pytest.mark.parametrize("head", [head for head in HEADS if HEADS[head].margin])
@pytest.mark.parametrize("target", [(3, 2), (10, 2), (100, 3), (1000, 128)])
def test_the_share_of_the_slack_stays(head: str, target: tuple[int, int]) -> None:
    source = (10, 3)
    params = defaults(head, source)
    there = carried(head, params, source, target)
    share = margin_of(head).share(params, angle(source))
    assert margin_of(head).share(there, angle(target)) == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("head", HEADS)
@given(source=SIZES, target=SIZES)
@settings(deadline=None, max_examples=30)
def test_what_arrives_is_valid(head: str, source: tuple[int, int], target: tuple[int, int]) -> None:
    params = defaults(head, source) | {"margin_rad": 3.0, "margin_cos": 1.9}
    params = {name: value for name, value in params.items() if name in settings_of(head)}
    there = carried(head, params, source, target)
    assert [settings_of(head)[name].refusal(value) for name, value in there.items()] == [None] * len(there)


def test_the_rest_is_taken_as_it_is() -> None:
    params: dict[str, Any] = {"lr": 0.01, "margin_dist": 0.2, "mining": "semi_hard", "normalise": True}
    assert carried("triplet", params, (10, 3), (100, 16)) == params
    assert carried("softmax", {"scale": 7.0, "lr": 1}, (10, 3), (100, 16)) == {"scale": 7.0, "lr": 1}


def test_a_scale_keeps_its_multiple_of_adacos() -> None:
    there = carried("arcface", {"scale": 10}, (10, 3), (100, 3))
    assert there == {"scale": pytest.approx(10 * math.log(99) / math.log(9))}
    assert typical_scale(10) == pytest.approx(3.107, abs=1e-3)


@pytest.mark.parametrize(("source", "target"), [((2, 3), (10, 3)), ((10, 3), (2, 3))])
def test_with_two_classes_a_scale_keeps_its_multiple_of_the_smallest(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    there = carried("cosface", {"scale": 12.0}, source, target)
    assert there["scale"] == pytest.approx(
        12 * class_separation.smallest_scale(target[0]) / class_separation.smallest_scale(source[0])
    )


def test_an_infeasible_margin_stays_infeasible_by_the_same_ratio() -> None:
    there = carried("cosface", {"margin_cos": 0.35}, (10, 2), (10, 3))
    margin = margin_of("cosface")
    here, least = margin.infeasible_from(angle((10, 2))), margin.infeasible_from(angle((10, 3)))
    assert there["margin_cos"] == pytest.approx(0.35 / here * least)
    assert margin.slack(there, angle((10, 3))) == 0


def test_refuses_a_head_that_there_is_not() -> None:
    with pytest.raises(UnknownHead, match=r"there is no head 'arcfase'; did you mean arcface\? the heads are softmax"):
        carried("arcfase", {}, (10, 3), (10, 2))
