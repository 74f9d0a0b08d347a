"""The scatter in a real browser: every class in its colour, turned by hand or by keys, changed by what is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


def eye(page: Any) -> NDArray[np.float64]:
    found = page.evaluate("() => document.getElementById('scatter')._fullLayout.scene.camera.eye")
    return np.array([found[axis] for axis in "xyz"])


def test_the_scatter_shows_every_class_in_its_colour(shown: Any, page: Any) -> None:
    pixels = shown.pixels()
    assert all(shown.count(label, pixels=pixels) > 20 for label in range(4))
    assert shown.count(4, pixels=pixels) == 0


def test_dragging_turns_the_scatter(shown: Any, page: Any) -> None:
    before, looked_from = shown.pixels(), eye(page)
    page.locator("#scatter").scroll_into_view_if_needed()
    box = page.locator("#scatter").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 120, middle[1] + 20, steps=8)
    page.mouse.up()
    assert (shown.pixels() != before).any()
    assert np.abs(eye(page) - looked_from).max() > 0.1


@pytest.mark.parametrize(
    ("key", "turned"),
    [("ArrowLeft", True), ("ArrowUp", True), ("+", False), ("-", False)],
)
def test_keys_turn_the_scatter_and_come_nearer(shown: Any, page: Any, key: str, turned: bool) -> None:
    before, looked_from = shown.pixels(), eye(page)
    page.locator("#scatter").focus()
    page.keyboard.press(key)
    assert (shown.pixels() != before).any()
    lengths = np.linalg.norm(looked_from), np.linalg.norm(eye(page))
    aligned = looked_from @ eye(page) / (lengths[0] * lengths[1])
    assert bool(aligned < 0.999) is turned
    assert bool(abs(lengths[1] / lengths[0] - 1) < 1e-6) is turned


def test_the_arrow_keys_go_back_to_where_they_began(shown: Any, page: Any) -> None:
    looked_from = eye(page)
    page.locator("#scatter").focus()
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        shown.pixels()
    assert eye(page) == pytest.approx(looked_from, abs=1e-6)


def test_the_choice_of_a_head_changes_what_is_shown(shown: Any, page: Any) -> None:
    assert page.locator("#scatter-head option").all_inner_texts() == ["softmax", "arcface"]
    before = shown.pixels()
    page.select_option("#scatter-head", "arcface")
    after = shown.pixels()
    assert (after != before).any()
    assert page.locator("#scatter .gtitle").text_content() == "arcface-000, epoch 3: 0.9000"
    page.select_option("#scatter-head", "softmax")


def test_hiding_a_class_takes_its_colour_away_until_it_is_shown_again(shown: Any, page: Any) -> None:
    chip = page.get_by_role("group", name="Show or hide a class").get_by_role("button", name="1", exact=True)
    before = shown.count(1)
    for pressed in ("false", "true"):
        chip.click()
        assert chip.get_attribute("aria-pressed") == pressed
        now = shown.count(1)
        assert now <= before / 20 if pressed == "false" else now > before / 2
    assert before > 20


def test_a_hidden_class_stays_hidden_when_another_head_is_chosen(shown: Any, page: Any) -> None:
    chip = page.locator("#scatter-classes button").nth(2)
    chip.click()
    page.select_option("#scatter-head", "arcface")
    hidden = shown.count(2)
    chip.click()
    assert shown.count(2) > 20 * max(1, hidden)
    page.select_option("#scatter-head", "softmax")


def lengths(page: Any) -> NDArray[np.float64]:
    points = page.evaluate(
        "() => document.getElementById('scatter').data.flatMap((each) => each.x.map((_, n) => [each.x[n], each.y[n],"
        " each.z ? each.z[n] : 0]))"
    )
    return np.linalg.norm(points, axis=1)


def test_directions_only_puts_every_point_on_the_sphere_where_the_head_goes_by_angle(shown: Any, page: Any) -> None:
    label = page.locator("#scatter-sphere-label")
    assert label.is_hidden()
    page.select_option("#scatter-head", "arcface")
    assert label.is_visible()
    before = shown.pixels()
    assert np.ptp(lengths(page)) > 0.5
    page.check("#scatter-sphere")
    assert (shown.pixels() != before).any()
    assert lengths(page) == pytest.approx(1)
    assert len(lengths(page)) == 80
    page.uncheck("#scatter-sphere")
    assert np.ptp(lengths(page)) > 0.5
    page.select_option("#scatter-head", "softmax")


def test_a_flat_embedding_is_drawn_flat(flat: Any) -> None:
    pixels = flat.pixels()
    assert all(flat.count(label, pixels=pixels) > 50 for label in range(4))
    flat.page.check("#scatter-sphere")
    assert lengths(flat.page) == pytest.approx(1)
    flat.page.locator("#scatter-classes button").first.click()
    assert flat.count(0) == 0


def test_it_offers_no_upload(shown: Any) -> None:
    buttons = shown.page.locator(".modebar-btn").all()
    titles = [button.get_attribute("data-title") or "" for button in buttons]
    assert titles
    assert not [title for title in titles if "share" in title.lower() or "cloud" in title.lower()]
